"""Names of values in the header of a NIfTI label map, as Connectome Workbench and TotalSegmentator write them."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

from nnunet_spine.dataset_conversion.reference_selection import Parts, Structure
from nnunet_spine.volume_headers import start_of

LABELS_IN_HEADER = Parts("a label map", "named value", "the label table in its header")
_LABEL = re.compile(r'<Label\b[^>]*\bKey="(\d{1,9})"[^>]*>\s*(?:<!\[CDATA\[(.*?)\]\]>|([^<]*))\s*</Label>', re.DOTALL)


def labels_of(path: Path) -> list[Structure]:
    """Named values of a label map, without 0, by the label table in its header; empty if it has none.

    Parameters
    ----------
    path
        A volume file; only NIfTI has such tables, as an extension of its header.
    """
    start = start_of(path) if path.name.lower().endswith((".nii", ".nii.gz")) else b""
    begin, end = start.find(b"<LabelTable"), start.find(b"</LabelTable>")
    if not 0 <= begin < end:
        return []
    table = start[begin:end].decode("utf-8", "replace")
    found = {(int(value), unescape(marked or plain).strip()) for value, marked, plain in _LABEL.findall(table)}
    return [Structure(value, (name,)) for value, name in sorted(found) if value > 0]
