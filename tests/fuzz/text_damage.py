"""Lists of cases and BIDS text files that a person or a program wrote wrongly."""

from __future__ import annotations

import random
from pathlib import Path

from byte_damage import damage_file

CELLS = (
    *("", " ", "no", "yes", "maybe", "train", "test", "Zebulon", "../../Zebulon", "/etc/passwd", "/dev/zero", "."),
    *("1.5", "-1", "nan", "inf", "1e400", "9" * 5000, "Q" * 300, '"', '""', "'", "=Quirke()", "\x1b[31m", "\0", "\t"),
    *("ependymoma", "extramedullary", "lumbar", "Siemens", "a\nb", "i0.nii.gz", "r0.nii", "Zebulon_target", "é\udcff"),
    *("Zebulon_target/SER5/IM0000", "Zebulon_target/SEG/IM0001", "Zebulon_target/SER5", "~", "%s", "{}", "C:\\x"),
    *("x" * 300 + ".nii", "a/" * 3000, "file:///etc/passwd", "con", "i0.nii/", "sub-Zebulon0"),
)
COLUMNS = (
    *("patient", "image", "reference", "compartment", "tumor_type", "split", "maker", "field_strength", "region"),
    *("series", "part", "use", "Zebulon", "", "patient "),
)
ENCODINGS = ("utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1252", "utf-7", "cp037")
JSON_TEXTS = (
    *("", "[]", "null", "1e999", '"Zebulon"', "{", '{"ContrastBolusIngredient": [1]}', "[" * 5000, '{"a": NaN}'),
    *('{"Manufacturer": {"Zebulon": 1}, "MagneticFieldStrength": 1e400}', '{"MagneticFieldStrength": "-3T"}'),
    *('{"Manufacturer": null, "BodyPart": ["Quirke"]}', "9" * 5000, '{"MagneticFieldStrength": ' + "9" * 400 + "}"),
    *('{"x": "\\ud800"}', "\ufeff{}"),
)


def damage_list(source: Path, rng: random.Random) -> None:
    """Damage the cases.csv of a source."""
    path = source / "cases.csv"
    choice = rng.random()
    if choice < 0.25:
        damage_file(path, rng)
    elif choice < 0.4:
        text = path.read_text().replace("ZQ", "ŻQ") if rng.random() < 0.5 else path.read_text()
        path.write_bytes(text.encode(rng.choice(ENCODINGS), errors="replace"))
    else:
        _damage_cells(path, rng)


def _damage_cells(path: Path, rng: random.Random, separator: str = ",") -> None:
    rows = [line.split(separator) for line in path.read_text().splitlines()]
    for _ in range(rng.choice((1, 1, 2, 5))):
        change = rng.random()
        row = rng.choice(rows[1:] or rows)
        if change < 0.5:
            row[rng.randrange(len(row))] = rng.choice(CELLS)
        elif change < 0.6:
            rows[0][rng.randrange(len(rows[0]))] = rng.choice(COLUMNS)
        elif change < 0.7:
            rows[0].append(rng.choice(COLUMNS))
            for one in rows[1:]:
                one.append(rng.choice(CELLS))
        elif change < 0.8:
            rows.append(list(row))
        elif change < 0.9:
            del row[rng.randrange(len(row))]
            row or row.append("")
        else:
            row[rng.randrange(len(row))] = f'"{rng.choice(CELLS)}"'
    end = rng.choice(("\n", "\n", "\r\n", "\r", "\n\n"))
    path.write_bytes(end.join(separator.join(row) for row in rows).encode("utf-8", "surrogateescape"))


def damage_bids(source: Path, rng: random.Random) -> None:
    """Damage a text file or a name of a BIDS data set."""
    texts = sorted([*source.rglob("*.json"), *source.rglob("*.tsv")])
    path = rng.choice(texts)
    choice = rng.random()
    if choice < 0.25:
        damage_file(path, rng)
    elif choice < 0.5 and path.suffix == ".json":
        path.write_bytes(rng.choice(JSON_TEXTS).encode("utf-8", "surrogatepass"))
    elif choice < 0.7:
        _damage_cells(source / "participants.tsv", rng, "\t")
    else:
        _rename(rng.choice(sorted(p for p in source.rglob("sub-*"))), rng)


def _rename(path: Path, rng: random.Random) -> None:
    stem, ending = (path.name, "") if path.is_dir() else path.name.split(".", 1)
    names = (
        *("sub-", "sub", "sub-é", "sub-Zebulon_ses-1_ses-2_T1w", "_", "sub-Zebulon0__T1w", "sub-Zebulon0_T1w_T1w"),
        *(stem.replace("-", "_"), stem.upper(), stem + "_run-1", stem.replace("ce-gd", "ce-"), "sub-Quirke1_T1w"),
        *("sub-Zebulon0_acq-sag_ce-gd_label-tumor_space-MNI_mask", "sub-Zebulon0_ses-a_T1w", "-_-"),
    )  # fmt: skip
    name = rng.choice(names) + (f".{ending}" if ending else "")
    if not path.with_name(name).exists():
        path.rename(path.with_name(name))
