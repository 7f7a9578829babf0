"""From a source to a raw data set with folds, a manifest and a private mapping: complete, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunet_spine.dataset_conversion import private_mapping
from nnunet_spine.dataset_conversion.build import Page, Run, build
from nnunet_spine.dataset_conversion.conversion import Conversion, Request
from nnunet_spine.dataset_conversion.existing import check_preprocessed, renew, settle
from nnunet_spine.dataset_conversion.found_source import FoundSource
from nnunet_spine.dataset_conversion.matching import Matches
from nnunet_spine.dataset_conversion.raw_dataset import Target, check_number_is_free
from nnunet_spine.dataset_conversion.reference_selection import NO_SELECTION, Selection
from nnunet_spine.dataset_conversion.source_kinds import discover
from nnunet_spine.dataset_conversion.told import nothing_usable
from nnunet_spine.errors import BadInput
from nnunet_spine.locks import sole_writer
from nnunet_spine.progress import Progress, silent
from nnunet_spine.protocol import PROTOCOL
from nnunet_spine.worker_processes import prepare_processes

WORKER_IMPORTS = "nnunet_spine.dataset_conversion.case_conversion"
"""The module whose imports the worker processes share."""


def convert(
    source: Path,
    *,
    dataset: int,
    name: str,
    raw: Path,
    preprocessed: Path,
    results: Path | None = None,
    folds: int = PROTOCOL.folds,
    seed: int = PROTOCOL.seed,
    mapping: Path | None = None,
    selection: Selection = NO_SELECTION,
    processes: int = 1,
    progress: Progress = silent,
    page: Page | None = None,
) -> Conversion:
    """Convert a DICOM export, a BIDS data set or a cases.csv to nnU-Net's raw data set, or add to what is there.

    Known cases keep identifier, fold and bytes. New cases are added, changed references replace those that are there,
    which are kept beside; cases that the source does not have stay.

    Parameters
    ----------
    source
        Folder of a DICOM export or of a BIDS data set, or a cases.csv.
    dataset, name, raw, preprocessed, results
        Number and name of the data set, and nnU-Net's folders; nothing is written to `results`.
    folds, seed
        Number of folds; seed of the case numbers and of the folds.
    mapping
        File of the private mapping; by default in a folder `private` beside `raw`.
    selection
        What is tumor in the references; by default what their words and types say.
    processes, progress
        Cases converted side by side, where more than 1 needs an importable main module; told after each file and case.
    page
        Makes the report for people from the content of conversion_report.json; None writes none.

    Raises
    ------
    BadInput, NotFound
        Where the source, a row of cases.csv or an option cannot be used, or no case is left.
    NotWritable
        Where another data set is in the way, or an output folder cannot be written.

    Notes
    -----
    NotFound is raised as well where a data set is to grow and its private mapping is not there.
    """
    target = Target(dataset, name, raw, preprocessed)
    request = Request(target, mapping or private_mapping.default_path(raw, target.full_name), folds, seed, selection)
    check_request(request, [folder for folder in (raw, preprocessed, results) if folder])
    run = Run(processes=processes, progress=progress, results=results, page=page)
    with sole_writer(target.folder):
        settle(request)
        if processes > 1:
            prepare_processes(WORKER_IMPORTS)  # they get ready while the source is looked at
        found = FoundSource.of(discover(source, selection=selection, processes=processes, progress=progress), selection)
        if target.folder.exists():
            return renew(request, found, run)
        check_preprocessed(target)
        if not found.discovery.cases:
            raise BadInput(nothing_usable(found.discovery.problems, found.discovery.files))
        everything = Matches(tuple(range(len(found.discovery.cases))))
        return build(request, found, request.parameters(found.digest()), run, known=None, matches=everything)


def check_request(request: Request, folders: Sequence[Path]) -> None:
    """Check the options of a request against nnU-Net's folders; `BadInput` or `NotWritable` where they cannot be."""
    if request.seed < 0:
        raise BadInput(f"The seed is {request.seed}. Expected a whole number that is not negative.")
    check_number_is_free(request.target, folders)
    private_mapping.check_place(request.mapping, [request.target.folder, request.target.preprocessed_folder])
