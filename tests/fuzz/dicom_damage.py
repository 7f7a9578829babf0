"""DICOM files with absurd attributes: well formed, and wrong."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from byte_damage import damage_file
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from templates import TARGET

pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

NUMBERS = ("0", "-1", "1e9", "nan", "inf", "-inf", "1e308", "1e-300", "", "abc", "7\\7", "\\", "-0", "65536", "1e39")
VECTORS = {
    "PixelSpacing": ("0\\0", "nan\\nan", "-0.5\\0.5", "1e9\\1e9", "0.5", "0.5\\0.5\\0.5", "1e-9\\1e-9", "inf\\1"),
    "ImageOrientationPatient": (
        *("0\\0\\0\\0\\0\\0", "1\\0\\0\\1\\0\\0", "0\\1\\0\\0\\0.7\\-0.7", "nan\\1\\0\\0\\0\\-1"),
        *("0\\1\\0", "2\\0\\0\\0\\3\\0"),
        *("0\\1e200\\0\\0\\0\\-1e200", "1e-200\\0\\0\\0\\1e-200\\0", "0\\1\\0\\0\\0.001\\-1", "inf\\0\\0\\0\\1\\0"),
    ),
    "ImagePositionPatient": ("0\\0\\0", "inf\\0\\0", "nan\\nan\\nan", "1e300\\0\\0", "1\\2", "-8\\0\\90"),
}  # fmt: skip
SCALARS = {
    **dict.fromkeys(
        ("RescaleSlope", "RescaleIntercept", "EchoTime", "RepetitionTime", "SliceThickness", "SpacingBetweenSlices"),
        NUMBERS,
    ),
    **dict.fromkeys(("NumberOfFrames", "InstanceNumber", "SeriesNumber", "SegmentNumber"), NUMBERS),
    "MagneticFieldStrength": NUMBERS,
    "MaximumFractionalValue": NUMBERS,
    "SeriesTime": ("999999", "abc", "101112.99999999", "", "\\"),
    "SeriesDate": ("20191399", "00000000", "abc"),
    "Modality": ("CT", "", "MR\\MR", "Zebulon"),
    "SOPClassUID": ("", "x", *(f"1.2.840.10008.5.1.4.1.1.{kind}" for kind in ("2", "4.1", "66.4"))),
    "SeriesInstanceUID": ("", "1.2.3", "x" * 300, "1\\2"),
    "StudyInstanceUID": ("", "1.2.3", "Zebulon"),
    "FrameOfReferenceUID": ("", "1.2.3"),
    "PatientID": ("", "\\", "../../Quirke", "Q" * 300, "Zebulon\x1b[31m", "=Quirke()"),
    "SpecificCharacterSet": ("ISO_IR 9999", "ISO 2022 IR 87\\ISO 2022 IR 149", "\\", "Zebulon"),
    "PhotometricInterpretation": ("RGB", "PALETTE COLOR", "YBR_FULL_422", "", "Zebulon", "MONOCHROME1"),
    "ImageType": ("", "DERIVED", "Zebulon\\Quirke\\MPR"),
    "ContrastBolusAgent": ("", "none", "Zebulon"),
    "SegmentationType": ("FRACTIONAL", "BINARY", "LABELMAP", "", "Zebulon"),
    "ContourGeometricType": ("POINT", "", "Zebulon", "OPEN_PLANAR"),
    "ROINumber": NUMBERS,
    "ReferencedROINumber": NUMBERS,
}  # fmt: skip
SHORTS = {
    "Rows": (0, 1, 9, 11, 65535),
    "Columns": (0, 1, 7, 9, 65535),
    "BitsAllocated": (0, 1, 7, 8, 13, 16, 32, 64, 65535),
    "BitsStored": (0, 1, 12, 17, 65535),
    "HighBit": (0, 11, 16, 65535),
    "PixelRepresentation": (1, 2, 65535),
    "SamplesPerPixel": (0, 3, 65535),
    "PlanarConfiguration": (0, 1, 7),
}
SYNTAXES = (
    *("1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5", "1.2.3", ""),
    *("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"),
    *("1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.201"),
)


def damage_dicom(source: Path, rng: random.Random) -> None:
    """Damage one or all files of the target patient."""
    files = sorted(path for path in (source / TARGET).rglob("IM*") if path.is_file())
    chosen = files if rng.random() < 0.3 else [rng.choice(files)]
    if rng.random() < 0.3:
        for path in chosen[:1]:
            damage_file(path, rng)
        return
    if rng.random() < 0.4:
        chosen = [path for path in files if path.parent.name in ("SEG", "RT")]
    elif len(chosen) > 1:
        chosen = [path for path in files if path.parent.name == "SER5"]
    edits = [rng.choice(EDITS)(rng) for _ in range(rng.choice((1, 1, 2, 3)))]
    for path in chosen:
        _rewrite(path, edits, random.Random(rng.random()))


Patches = dict[Any, Any]
"""What to change after writing: value representations to put in the place of LO, by tag; depths of sequences to put in
the place of attributes; a transfer syntax under "syntax".
"""

Edit = Callable[[Dataset, random.Random], Patches | None]


def _rewrite(path: Path, edits: Sequence[Edit], rng: random.Random) -> None:
    dataset = pydicom.dcmread(path)
    patches: Patches = {}
    for edit in edits:
        patches |= edit(dataset, rng) or {}
    dataset.save_as(path, enforce_file_format=False)
    content = path.read_bytes()
    for tag, representation in patches.items():
        if tag == "syntax":
            content = _with_syntax(content, representation)
            continue
        if isinstance(representation, int):
            content = _nest(content, tag, representation)
            continue
        mark = struct.pack("<HH", tag.group, tag.element)
        content = content.replace(mark + b"LO", mark + representation.encode())
    path.write_bytes(content)


def _places(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Items that have an attribute, at any depth."""
    found = [dataset] if keyword in dataset else []
    for element in dataset:
        if element.VR == "SQ":
            found += [place for item in element.value for place in _places(item, keyword)]
    return found


def _set_text(dataset: Dataset, keyword: str, text: str) -> Patches:
    """Put text into an attribute whatever its value representation, by way of LO."""
    tag = Tag(keyword)
    representation = pydicom.datadict.dictionary_VR(tag)
    for place in _places(dataset, keyword) or [dataset]:
        place[tag] = DataElement(tag, "LO", text.split("\\") if "\\" in text else text)
    return {tag: representation}


def _text(rng: random.Random) -> Edit:
    table = {**VECTORS, **SCALARS} if rng.random() < 0.6 else VECTORS
    keyword = rng.choice(sorted(table))
    text = rng.choice(table[keyword])
    return lambda dataset, _: _set_text(dataset, keyword, text)


def _short(rng: random.Random) -> Edit:
    keyword = rng.choice(sorted(SHORTS))
    value = rng.choice(SHORTS[keyword])

    def edit(dataset: Dataset, _: random.Random) -> None:
        setattr(dataset, keyword, value)

    return edit


def _huge(rng: random.Random) -> Edit:
    """A size that nobody should reserve memory for."""
    frames = rng.choice((1, 10_000, 10**9))

    def edit(dataset: Dataset, _: random.Random) -> None:
        dataset.Rows = dataset.Columns = 65535
        if frames > 1 and "NumberOfFrames" in dataset:
            dataset.NumberOfFrames = frames

    return edit


def _delete(rng: random.Random) -> Edit:
    share = rng.random()

    def edit(dataset: Dataset, _: random.Random) -> None:
        holders = _holders(dataset)
        holder = holders[int(share * len(holders))]
        elements = [element.tag for element in holder]
        if elements:
            del holder[elements[int(share * 7919) % len(elements)]]

    return edit


def _holders(dataset: Dataset) -> list[Dataset]:
    """The dataset and all items in it, at most 1000; the dataset itself for a third of the list."""
    below: list[Dataset] = []
    waiting = [dataset]
    while waiting and len(below) < 1000:
        items = [item for element in waiting.pop() if element.VR == "SQ" for item in element.value]
        below += items
        waiting += items
    return [dataset] * max(1, len(below) // 2) + below


def _garble(rng: random.Random) -> Edit:
    """Any attribute, at any depth, with a value of another kind."""
    share, text = rng.random(), rng.choice((*NUMBERS, "Zebulon", "Q" * 300, "1.2.3"))

    def edit(dataset: Dataset, _: random.Random) -> Patches | None:
        holders = _holders(dataset)
        holder = holders[int(share * len(holders))]
        elements = [element for element in holder if 2 < element.tag.group < 0x7FE0]
        if not elements:
            return None
        element = elements[int(share * 7919) % len(elements)]
        if element.VR == "SQ":
            change = int(share * 104729) % 3
            element.value = [] if change == 0 else [Dataset()] if change == 1 else [*element.value, *element.value]
            return None
        holder[element.tag] = DataElement(element.tag, "LO", text)
        short = element.VR in ("DS", "IS", "CS", "UI", "LO", "DA", "TM", "SH", "PN", "LT", "ST", "AS", "DT")
        return {element.tag: element.VR} if short and share < 0.8 else None

    return edit


def _syntax(rng: random.Random) -> Edit:
    """A transfer syntax that the file is not in."""
    syntax = rng.choice(SYNTAXES)

    def edit(dataset: Dataset, _: random.Random) -> Patches:
        return {"syntax": syntax}

    return edit


def _pixels(rng: random.Random) -> Edit:
    change = rng.choice(("short", "long", "none", "empty", "float"))

    def edit(dataset: Dataset, _: random.Random) -> None:
        if "PixelData" not in dataset:
            return
        content = dataset.PixelData
        if change == "none":
            del dataset.PixelData
        elif change == "float":
            dataset.FloatPixelData = content
        else:
            packed = dataset.file_meta.TransferSyntaxUID.is_compressed
            other = {"short": content[: len(content) // 3 * 2], "long": content * 3, "empty": b""}[change]
            dataset.PixelData = encapsulate([other or b"\0\0"]) if packed else other

    return edit


def _nested(rng: random.Random) -> Edit:
    tag, depth = rng.choice((0x00081115, 0x00091002, 0x52009229)), rng.choice((5, 60, 400, 5000))
    return lambda dataset, _: {Tag(tag): depth}


def _nest(content: bytes, tag: Any, depth: int) -> bytes:
    """Put a sequence of so many levels in the place of an attribute, or at the end of the header's first group."""
    mark = struct.pack("<HH", tag.group, tag.element) + b"SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    end = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    place = content.find(b"\x08\x00\x60\x00CS")  # Modality
    return content[:place] + mark * depth + end * depth + content[place:] if place > 0 else content


def _with_syntax(content: bytes, syntax: str) -> bytes:
    """Another Transfer Syntax UID in the meta information, whose length is mended."""
    place = content.find(b"\x02\x00\x10\x00UI")
    if place < 0:
        return content
    (length,) = struct.unpack_from("<H", content, place + 6)
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    (group,) = struct.unpack_from("<I", content, 140)
    changed = content[: place + 6] + struct.pack("<H", len(value)) + value + content[place + 8 + length :]
    return changed[:140] + struct.pack("<I", group + len(value) - length) + changed[144:]


def _private(rng: random.Random) -> Edit:
    junk = rng.randbytes(rng.choice((0, 3, 1000)))

    def edit(dataset: Dataset, _: random.Random) -> None:
        dataset.add_new(0x00090010, "LO", "Zebulon")
        dataset.add_new(0x00091001, "UN", junk)
        dataset.add_new(0x20050010, "LO", "Philips MR Imaging DD 001")
        dataset.add_new(0x2005100E, "UN", junk)

    return edit


def _frames(rng: random.Random) -> Edit:
    """Frames of a SEG or Enhanced MR: fewer, more, at other places, of nothing."""
    change, far = rng.choice(("fewer", "more", "far", "same", "nothing", "uneven")), rng.choice((1e3, 1e6, 1e12))

    def edit(dataset: Dataset, _: random.Random) -> None:
        frames = dataset.get("PerFrameFunctionalGroupsSequence")
        if not frames:
            return
        if change == "fewer":
            dataset.PerFrameFunctionalGroupsSequence = frames[:-1]
        elif change == "more":
            dataset.PerFrameFunctionalGroupsSequence = [*frames, frames[0]]
        elif change == "nothing":
            dataset.PerFrameFunctionalGroupsSequence = [Dataset() for _ in frames]
        else:
            for number, frame in enumerate(frames):
                shift = {"far": far, "same": 0.0, "uneven": number**2.2}[change]
                place = Dataset()
                place.ImagePositionPatient = [shift, 0.0, 0.0]
                frame.PlanePositionSequence = [place]

    return edit


def _contours(rng: random.Random) -> Edit:
    """Contours of one point, two, very many, crossing themselves, or of no numbers."""
    kind, seed = rng.choice(CONTOUR_KINDS), rng.randrange(10**6)

    def edit(dataset: Dataset, _: random.Random) -> Patches | None:
        contours = [c for roi in dataset.get("ROIContourSequence") or [] for c in roi.get("ContourSequence") or []]
        for contour in contours[: 1 if kind in ("many", "huge") else None]:
            points = _points_of(contour)
            contour.ContourData = _other_points(kind, points, np.random.default_rng(seed))
        if contours and kind in ("text", "odd"):
            return _set_text(dataset, "ContourData", {"text": "a\\b\\c", "odd": "1\\2\\3\\4"}[kind])
        return None

    return edit


def _points_of(contour: Dataset) -> np.ndarray:
    """Points of a contour (n, 3); one at the origin where other damage left none."""
    try:
        return np.asarray(contour.get("ContourData") or [0.0, 0.0, 0.0], dtype=float).reshape(-1, 3)
    except ValueError:
        return np.zeros((1, 3))


CONTOUR_KINDS = (
    *("one", "two", "none", "line", "nan", "inf", "far", "wide", "crossing", "many", "tilted", "random", "text", "odd"),
    *("between", "tiny", "huge"),
)


def _other_points(kind: str, points: np.ndarray, rng: np.random.Generator) -> list[str]:
    centre = points.mean(axis=0)
    turn = rng.uniform(0, 2 * np.pi, {"many": 20_000, "huge": 60_000}.get(kind, 40))
    circle = centre + np.stack([0 * turn, 9 * np.cos(turn), 9 * np.sin(turn)], axis=1)
    changed = {
        "one": points[:1],
        "two": points[:2],
        "none": points[:0],
        "line": centre + np.arange(5)[:, None] * [[0.0, 1.0, 1.0]],
        "nan": points * np.nan,
        "inf": points + np.inf,
        "far": points + rng.choice([1e3, 9e3, 1e7, 1e300]),
        "wide": centre + (points - centre) * rng.choice([1e2, 1e3, 3e3]),
        "crossing": rng.permutation(points.repeat(2, axis=0)),
        "tilted": points + rng.normal(0, 3, points.shape),
        "random": centre + rng.normal(0, 30, (40, 3)) * [0, 1, 1],
        "between": points + np.array([rng.uniform(-3, 3), 0, 0]),
        "tiny": centre + (points - centre) * 1e-3,
        "many": circle,
        "huge": circle,
    }.get(kind, points)
    return [f"{value:.10g}" for value in np.ravel(changed)]


EDITS = (_text, _text, _text, _short, _short, _huge, _delete, _delete, _garble, _garble, _syntax, _pixels)
EDITS = (*EDITS, _nested, _private, _frames, _contours, _contours)
