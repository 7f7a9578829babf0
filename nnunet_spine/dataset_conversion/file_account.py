"""What became of every file of a source folder: counts that add up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from nnunet_spine.dataset_conversion.dicom_grouping import Export
from nnunet_spine.dataset_conversion.sources import SourceCase

USED, LEFT_OUT, OTHER_SERIES, OTHER_MODALITY = "used", "of a case left out", "other MR series", "other modality"
REFERENCES, COPIES, DIRECTORIES = "other references", "copies", "DICOMDIR"
UNREADABLE, NOT_DICOM, HIDDEN, TOTAL = "unreadable", "not DICOM", "hidden", "total"
ABSENT = "links and files that cannot be read"


def account(export: Export, cases: Iterable[SourceCase]) -> dict[str, int]:
    """Number of files of a DICOM export by what became of them; the last entry is their sum.

    Parameters
    ----------
    export
        All that the folder holds.
    cases
        What of it is used.
    """
    used = {path for case in cases for path in (*case.image, case.reference)}
    counts = dict.fromkeys(
        (USED, OTHER_SERIES, REFERENCES, OTHER_MODALITY, COPIES, DIRECTORIES, UNREADABLE, NOT_DICOM, HIDDEN), 0
    )
    for series in export.series:
        taken = used.intersection(series.files)
        kind = OTHER_SERIES if series.is_mr else REFERENCES if series.is_reference else OTHER_MODALITY
        counts[USED] += len(taken)
        counts[kind] += len(series.files) - len(taken)
    counts[COPIES], counts[DIRECTORIES] = len(export.copies), export.directories
    counts[UNREADABLE], counts[NOT_DICOM] = len(export.damaged), len(export.not_dicom)
    counts[HIDDEN] = export.below.hidden
    if absent := export.below.absent_files:
        counts[ABSENT] = absent
    return {**counts, TOTAL: sum(counts.values())}


def after_conversion(files: dict[str, int], left_out: Sequence[SourceCase]) -> dict[str, int]:
    """The account, the files of cases that could not be converted apart from those that are used."""
    if not files:
        return {}
    lost = len({path for case in left_out for path in _files_of(case)})
    return {USED: files[USED] - lost, LEFT_OUT: lost, **{key: n for key, n in files.items() if key != USED}}


def _files_of(case: SourceCase) -> tuple[Path, ...]:
    return (*case.image, case.reference)


def in_words(files: dict[str, int]) -> str:
    """One phrase such as "183 files: 12 used, 64 other modality"; empty for an empty account."""
    parts = [f"{count} {kind}" for kind, count in files.items() if count and kind != TOTAL]
    return f"{files[TOTAL]} files: {', '.join(parts)}" if files else ""
