"""NIfTI, NRRD and MHA files with absurd headers."""

from __future__ import annotations

import gzip
import random
import re
import struct
from pathlib import Path

from byte_damage import damage_file

VOLUMES = (".nii", ".nii.gz", ".nrrd", ".mha")
SHORTS, FLOATS = (
    (0, 1, -1, 2, 3, 4, 5, 7, 13, 32767, -32768),
    (0.0, -1.0, 1e30, -1e30, float("nan"), float("inf"), 1e-30),
)
NIFTI_FIELDS = {
    **{f"dim{i}": (40 + 2 * i, "<h", SHORTS) for i in range(8)},
    **{f"pixdim{i}": (76 + 4 * i, "<f", FLOATS) for i in range(8)},
    "sizeof_hdr": (0, "<i", (0, 349, -1, 540)),
    "datatype": (70, "<h", (0, 1, 2, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1536, 1792, 2304, -1)),
    "bitpix": (72, "<h", (0, 1, 8, 16, 24, 64, 128, -8, 32767)),
    "vox_offset": (108, "<f", (0.0, 1.0, 348.0, 1e9, -352.0, 1e30, float("nan"))),
    "scl_slope": (112, "<f", FLOATS),
    "scl_inter": (116, "<f", FLOATS),
    "xyzt_units": (123, "<b", (0, 1, 3, 127)),
    "qform_code": (252, "<h", SHORTS),
    "sform_code": (254, "<h", SHORTS),
    **{f"quatern{i}": (256 + 4 * i, "<f", FLOATS) for i in range(6)},
    **{f"srow{i}": (280 + 4 * i, "<f", FLOATS) for i in range(12)},
    "magic": (344, "<4s", (b"n+1\0", b"ni1\0", b"n+2\0", b"\0\0\0\0", b"Zebu")),
}
TEXT_FIELDS = {
    b"sizes": (b"1 1 1", b"99999 99999 99999", b"-1 8 4", b"0 0 0", b"8 10", b"8 10 4 4", b"nan", b"4294967296 1 1"),
    b"DimSize": (b"1 1 1", b"99999 99999 99999", b"-1 8 4", b"0 0 0", b"8 10", b"8 10 4 4", b"x", b"4294967296 1 1"),
    b"dimension": (b"0", b"2", b"4", b"17", b"-3", b"x"),
    b"NDims": (b"0", b"2", b"4", b"17", b"-3", b"x", b"2000000000"),
    b"encoding": (b"gzip", b"raw", b"ascii", b"hex", b"bzip2", b"Zebulon"),
    b"CompressedData": (b"True", b"False", b"x"),
    b"CompressedDataSize": (b"0", b"-1", b"99999999999", b"7"),
    b"ElementType": (b"MET_UCHAR", b"MET_DOUBLE", b"MET_CHAR_ARRAY", b"MET_OTHER", b"Zebulon"),
    b"type": (b"double", b"block", b"uint8", b"Zebulon", b"long long"),
    b"ElementNumberOfChannels": (b"0", b"3", b"-1", b"1000000"),
    b"ElementDataFile": (b"../../../etc/passwd", b"/dev/zero", b"Zebulon.raw", b"LIST", b"i%02d.raw 0 9 1", b""),
    b"ElementSpacing": (b"0 0 0", b"nan nan nan", b"-1 1 1", b"1e300 1 1", b"x", b"1"),
    b"TransformMatrix": (b"0 0 0 0 0 0 0 0 0", b"1 0 0 1 0 0 0 0 1", b"nan 0 0 0 1 0 0 0 1", b"3 0 0 0 3 0 0 0 3"),
    b"Offset": (b"nan 0 0", b"1e300 0 0", b"inf inf inf", b"x"),
    b"space": (b"left-posterior-superior", b"right-up", b"scanner-xyz-time", b"Zebulon"),
    b"space directions": (
        *(b"none none none", b"(0,0,0) (0,0,0) (0,0,0)", b"(nan,0,0) (0,1,0) (0,0,1)", b"(1,0,0) (1,0,0) (0,0,1)"),
    ),
    b"space origin": (b"(nan,0,0)", b"(1e300,0,0)", b"(1,2)", b"none"),
    b"kinds": (b"domain domain vector", b"RGB-color domain domain", b"x"),
    b"endian": (b"big", b"little", b"x"),
    b"data file": (b"../../../etc/passwd", b"/dev/zero", b"Zebulon.raw", b"LIST\n../x\n../y", b"x%03d 1 9 1", b"."),
}  # fmt: skip


def damage_volume(source: Path, rng: random.Random) -> None:
    """Damage one volume of a source, or two."""
    files = sorted(path for path in source.rglob("*") if path.name.endswith(VOLUMES))
    for path in rng.sample(files, rng.choice((1, 1, 1, 2))):
        damage_one_volume(path, rng)


def damage_one_volume(path: Path, rng: random.Random) -> None:
    """Damage the bytes or the header of a volume file."""
    if rng.random() < 0.35:
        damage_file(path, rng)
    elif path.name.endswith((".nii", ".nii.gz")):
        _damage_nifti(path, rng)
    else:
        _damage_text_header(path, rng)


def _damage_nifti(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    packed = content[:2] == b"\x1f\x8b"
    data = bytearray(gzip.decompress(content) if packed else content)
    for name in rng.sample(sorted(NIFTI_FIELDS), rng.choice((1, 1, 2, 4))):
        offset, kind, values = NIFTI_FIELDS[name]
        struct.pack_into(kind, data, offset, rng.choice(values))
    if rng.random() < 0.05:
        struct.pack_into("<8h", data, 40, 3, 32767, 32767, 32767, 1, 1, 1, 1)
    if rng.random() < 0.1:  # values that are no numbers, or beyond any
        struct.pack_into("<f", data, len(data) - 4, rng.choice(FLOATS))
    path.write_bytes(gzip.compress(bytes(data), 1) if packed else bytes(data))


def _damage_text_header(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    present = [name for name in TEXT_FIELDS if re.search(rb"(?m)^" + name + rb"( =|:)", content)]
    for name in rng.sample(present, rng.choice((1, 1, 2))):
        value = rng.choice(TEXT_FIELDS[name])
        content = re.sub(
            rb"(?m)^(" + name + rb")( =|:)[^\n]*", lambda m, v=value: m[1] + m[2] + b" " + v, content, count=1
        )
    if rng.random() < 0.2 and content.startswith(b"NRRD"):  # a detached header
        line = b"data file: " + rng.choice(TEXT_FIELDS[b"data file"]) + b"\n"
        content = content.replace(b"\n\n", b"\n" + line + b"\n", 1)
    path.write_bytes(content)
