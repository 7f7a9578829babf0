"""Names of segments in the header of an NRRD file, as 3D Slicer and slicerio write them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.reference_selection import Parts, Structure
from nnunet_spine.dataset_conversion.volume_reading import unusable_volume
from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.volume_headers import read_volume_header

SLICER_SEGMENTS = Parts("a segmentation of 3D Slicer", "segment")
_KEY = re.compile(r"Segment(\d{1,6})_(Name|LabelValue|Layer|Tags)")
_CODE = re.compile(r"([^~^|]*)\^([^~^|]*)\^([^~^|]*)")
_REPRESENTATIONS = ("Segmentation_MasterRepresentation", "Segmentation_SourceRepresentation")


def segments_of(path: Path) -> list[Structure]:
    """Segments that the header of a volume file names, without the background (0); empty if it names none.

    Parameters
    ----------
    path
        A volume file; only NRRD has such names.

    Raises
    ------
    Unusable
        If the header cannot be read, or describes segments that cannot be separated in the voxels.

    Source
    ------
    https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html
    """
    if not path.name.lower().endswith(".nrrd"):
        return []
    try:
        reader = read_volume_header(path, layers=True).reader
    except (BadInput, NotFound, RuntimeError) as failure:
        raise unusable_volume(failure, path, "reference") from failure
    keys = [key for key in reader.GetMetaDataKeys() if _KEY.fullmatch(key) or key in _REPRESENTATIONS]
    values = {key: _text(reader.GetMetaData(key)) for key in keys}
    if any("fractional" in values.get(key, "").lower() for key in _REPRESENTATIONS):
        raise Unusable(
            "a fractional label map of 3D Slicer",
            "a binary label map",
            "Convert it to one in Slicer, and save it again",
        )
    return _segments(values, reader.GetNumberOfComponents())


def _text(value: str) -> str:
    """Text of a header; bytes that are not UTF-8 are taken for Latin-1, as older files have it."""
    return value.encode("utf-8", "surrogateescape").decode("latin-1") if re.search("[\udc80-\udcff]", value) else value


def _segments(values: Mapping[str, str], layers: int) -> list[Structure]:
    found: dict[int, dict[str, str]] = defaultdict(dict)
    for key, value in values.items():
        if matched := _KEY.fullmatch(key):
            found[int(matched[1])][matched[2]] = value.strip()
    listed = [found[number] for number in sorted(found)]
    if listed and not any("LabelValue" in one for one in listed):  # before 3D Slicer 4.11: a layer for each segment
        if len(listed) != layers:
            raise Unusable(
                f"{len(listed)} named segments without label values in {layers} layers",
                "a label value for each segment, or a layer for each",
                "Save the segmentation again in 3D Slicer",
            )
        listed = [{**one, "LabelValue": "1", "Layer": str(layer)} for layer, one in enumerate(listed)]
    return [segment for one in listed if (segment := _segment(one, layers)).number > 0]


def _segment(values: Mapping[str, str], layers: int) -> Structure:
    value, layer = values.get("LabelValue", ""), values.get("Layer") or "0"
    if not (value.isascii() and value.isdigit() and layer.isascii() and layer.isdigit() and int(layer[:9]) < layers):
        raise Unusable(
            "a segment whose label value or layer is missing or not in the file",
            f"a label value, and a layer from 0 to {layers - 1}",
            "Save the segmentation again in 3D Slicer",
        )
    category, kind = _terms(values.get("Tags", ""))
    return Structure(
        int(value[:9]),
        (values.get("Name", ""),),
        ((kind[0], kind[1]),) if kind[1] else (),
        (kind[2],),
        ((category[0], category[1]),) if category[1] else (),
        int(layer),
    )


def _terms(tags: str) -> tuple[tuple[str, str, str], tuple[str, str, str]]:
    """Category and type, each as scheme, value and meaning, of a segment's terminology; empty texts if missing."""
    entry = next((one for one in tags.split("|") if "TerminologyEntry:" in one), "")
    parts = entry.split("TerminologyEntry:")[-1].split("~")
    found = [matched.groups() if (matched := _CODE.fullmatch(part.strip())) else ("", "", "") for part in parts[1:3]]
    category, kind = (*found, ("", "", ""), ("", "", ""))[:2]
    return (category[0], category[1], category[2]), (kind[0], kind[1], kind[2])
