"""What a source is, and what it holds."""

from __future__ import annotations

from pathlib import Path

from nnunet_spine.dataset_conversion.bids_source import discover_bids, is_bids
from nnunet_spine.dataset_conversion.case_list import read_case_list
from nnunet_spine.dataset_conversion.dicom_discovery import discover_export
from nnunet_spine.dataset_conversion.reference_selection import NO_SELECTION, Selection
from nnunet_spine.dataset_conversion.sources import Discovery
from nnunet_spine.dataset_conversion.tumor_evidence import with_evidence
from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.progress import Progress, silent


def discover(
    source: Path, *, selection: Selection = NO_SELECTION, processes: int = 1, progress: Progress = silent
) -> Discovery:
    """Find the cases of a source, which is told by what it is.

    Parameters
    ----------
    source
        Folder of a DICOM export, a BIDS data set, or a cases.csv.
    selection
        What is tumor in the references.
    processes
        That read a DICOM export's headers, this one included.
    progress
        Told after each file or row.

    Raises
    ------
    BadInput, NotFound
        Where it is none of these, or holds nothing.
    """
    if source.is_dir():
        if is_bids(source):
            return with_evidence(discover_bids(source, selection=selection, progress=progress), selection)
        export = discover_export(source, selection=selection, processes=processes, progress=progress)
        return with_evidence(export, selection)
    if source.suffix.lower() == ".csv" and source.is_file():
        return with_evidence(read_case_list(source, progress=progress), selection)
    if source.exists():
        raise BadInput(
            "The source is a file, but no cases.csv. Give the folder of a DICOM export or of a BIDS data set, or a "
            "cases.csv."
        )
    raise NotFound("The source does not exist. Check the path of the DICOM export or of cases.csv.")
