"""Nothing of a hostile source's identities is outside the private mapping."""

from __future__ import annotations

import csv
import gzip
import os
import re
import stat
import time
from pathlib import Path
from typing import Any

import nibabel
import pytest
import SimpleITK as sitk

from nnunet_spine.cli.main import main
from nnunet_spine.images import read_volume

NAME = "Dataset058_IntraduralSpineTumor"
PATIENTS = [
    "../../../etc/Quirke-pass",
    "Zebulon\x1b[31m\x07Quirke",
    "Q" * 300,
    "Żółć^Ąęśćź",
    "=HYPERLINK(Quirke)",
    "0007741-ZQ",
    " 7741-zq ",
]
"""Path traversal, control characters, 300 characters, non-ASCII, a formula, one patient spelt in two ways."""

TAGS = {
    "PatientName": "Zebulon^Quirke",  # the same for different people
    "InstitutionName": "Klinikum Quirkestadt",
    "InstitutionAddress": "Quirkegasse 7",
    "StudyDescription": "SPINE of Zebulon",
    "SeriesDescription": "t1_sag_KM Quirke",
    "ProtocolName": "PROTOQUIRKE",
    "OperatorsName": "Operatrix^Q",
    "StationName": "QUIRKEMR1",
    "DeviceSerialNumber": "SER-998877",
    "ImageComments": "Zebulon says hello",
    "ContrastBolusAgent": "Gadovist",
    "RepetitionTime": 600.0,
    "EchoTime": 10.0,
}
WORDS = [
    *("Zebulon", "zebulon", "Quirke", "quirke", "QUIRKE", "7741", "QQQQ", "etc/", "HYPERLINK", "Żółć", "Ąęśćź"),
    *(
        "Klinikum",
        "Operatrix",
        "998877",
        "19410203",
        "1941-02-03",
        "20190304",
        "101112",
        "ACC991",
        "Doktor",
        "1.2.3.77.",
    ),
    *("1.2.826.0.1.3680043", "SER5", "SEG5", "IM00"),
]


@pytest.fixture
def hostile(make: Any, tmp_path: Path) -> Path:
    """An export of seven studies in folders that are named after patients; all times are of 2001."""
    root = tmp_path / "Zebulon archive"
    for number, patient in enumerate(PATIENTS):
        plan = make.Plan(
            make.asymmetric(seed=number), patient=patient, study=f"1.2.3.77.{number}", origin=(-8.0, number, 90.0),
            tags=TAGS,
        )  # fmt: skip
        make.write_study(root / f"Quirke\n{number}", plan, make.blob())
    (root / "Quirke note.txt").write_text("Zebulon")
    (root / os.fsdecode(b"Zebulon\xff\xfe.txt")).write_text("Zebulon")
    for path in root.rglob("*"):
        os.utime(path, (1e9, 1e9))
    return root


def unpacked(path: Path) -> bytes:
    """Content of a file without digests, whose digits can spell any short number by chance."""
    content = path.read_bytes()
    content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    return re.sub(rb"\b[0-9a-f]{32,}\b", b"", content)


def leaks(out: Path) -> dict[str, list[str]]:
    """Words of the source by the file of the output whose name or content has them."""
    found = {}
    for path in sorted(out.rglob("*")):
        name, content = str(path.relative_to(out)), unpacked(path) if path.is_file() else b""
        words = [word for word in WORDS if word in name or word.encode() in content]
        if words:
            found[name] = words
    return found


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_a_grep_of_the_output_finds_nothing_outside_the_mapping(
    hostile: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, late = tmp_path / "out", tmp_path / "later"
    started = time.time() - 2
    (hostile / "Quirke\n6").rename(late)
    root = ["--root", str(out)]
    assert main(["convert", str(hostile), *root]) == 0
    late.rename(hostile / "Quirke\n6")
    assert main(["convert", str(hostile), *root]) == 0  # grows by the other spelling
    raw = out / "nnUNet_raw" / NAME
    new = tmp_path / "new" / "Zebulon_Quirke_0000.nii.gz"
    new.parent.mkdir()
    image = sitk.ReadImage(str(next((raw / "imagesTr").iterdir()))) * 3
    sitk.WriteImage(image, str(new))
    masks = tmp_path / "masks"
    masks.mkdir()
    sitk.WriteImage(sitk.BinaryThreshold(image, 30, 90), str(masks / "Zebulon_Quirke.nrrd"))
    sitk.WriteImage(sitk.Image(3, 3, 3, sitk.sitkUInt8), str(masks / "Quirke.nii.gz"))
    assert main(["import-corrections", str(masks), "--images", str(new.parent), *root]) == 1
    printed = "".join(capfd.readouterr())
    assert [word for word in WORDS if word in printed] == []

    mapping = out / "private" / f"{NAME}_mapping.csv"
    assert list(leaks(out)) == [str(mapping.relative_to(out))]
    assert stat.S_IMODE(mapping.stat().st_mode) == 0o600
    assert stat.S_IMODE(mapping.parent.stat().st_mode) == 0o700
    with mapping.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["case"]]
    assert len(rows) == len(PATIENTS) + 1
    assert len({row["patient"] for row in rows}) == len(PATIENTS)  # two spellings are one, the import is another
    assert all("\n" not in value and "\x1b" not in value for row in rows for value in row.values())
    for path in out.rglob("*"):
        assert path.stat().st_mtime > started, path
    for path in raw.rglob("*.nii.gz"):
        header = nibabel.load(path).header
        for key in ("descrip", "aux_file", "db_name", "intent_name"):
            assert bytes(header[key]).strip(b"\0") == b"", (path, key)
        assert header.extensions == []
        assert unpacked(path)[4:5] != b"\x1f"
        assert path.read_bytes()[3:8] == b"\0\0\0\0\0"  # gzip: neither name nor time
        read_volume(path)


def test_text_in_a_source_volume_stays_there(make: Any, tmp_path: Path) -> None:
    image = make.itk_image(make.asymmetric())
    for key in ("descrip", "aux_file", "intent_name", "db_name", "Zebulon"):
        image.SetMetaData(key, "Zebulon")
    rows = ["patient,image,reference"]
    for number, suffix in enumerate([".nii.gz", ".nrrd", ".mha", ".nii.gz"]):
        image += 1
        for key in ("descrip", "aux_file", "intent_name", "Zebulon"):
            image.SetMetaData(key, "Zebulon")
        sitk.WriteImage(image, str(tmp_path / f"i{number}{suffix}"))
        sitk.WriteImage(make.itk_image(make.blob()), str(tmp_path / f"m{number}{suffix}"))
        rows.append(f"Quirke{number},i{number}{suffix},m{number}{suffix}")
    assert b"Zebulon" in unpacked(tmp_path / "i0.nii.gz")
    (tmp_path / "cases.csv").write_text("\n".join(rows))
    assert main(["convert", str(tmp_path / "cases.csv"), "--root", str(tmp_path / "out")]) == 0
    assert list(leaks(tmp_path / "out")) == [f"private/{NAME}_mapping.csv"]
