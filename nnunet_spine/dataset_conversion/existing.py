"""A data set that is already there: the same source leaves it alone, another one adds to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnunet_spine.cases import CASES_FILE, SPLITS_FILE, read_cases, write_splits
from nnunet_spine.dataset_conversion import private_mapping
from nnunet_spine.dataset_conversion.build import Run, build
from nnunet_spine.dataset_conversion.conversion import Conversion, Request, fold
from nnunet_spine.dataset_conversion.found_source import FoundSource
from nnunet_spine.dataset_conversion.known import problems_of, read_known, read_manifest, recorded_folds
from nnunet_spine.dataset_conversion.matching import match
from nnunet_spine.dataset_conversion.problems import Problem, Severity
from nnunet_spine.dataset_conversion.pseudonyms import pseudonyms
from nnunet_spine.dataset_conversion.raw_dataset import Target
from nnunet_spine.dataset_conversion.sources import Discovery
from nnunet_spine.errors import NnunetSpineError, NotFound, NotWritable
from nnunet_spine.files import read_json, remove_abandoned, remove_partial


def check_preprocessed(target: Target) -> None:
    """Check that no preprocessed cases of a removed data set are left under this name.

    Raises
    ------
    NotWritable
        Where there are.
    """
    folder = target.preprocessed_folder
    if folder.is_dir() and any(path.name != SPLITS_FILE for path in folder.iterdir()):
        raise NotWritable(
            f"{folder} holds preprocessed cases of a data set that is not in {target.raw} any more; nnU-Net would mix "
            "the two. Remove it, or choose another number."
        )


def settle(request: Request) -> None:
    """End what a killed process left of this data set: all of its change is there afterwards, or nothing of it.

    To be called by the data set's sole writer.
    """
    folder = request.target.folder
    if folder.parent.is_dir():
        remove_abandoned(folder)
    try:
        cases = [case.case for case in read_cases(folder / CASES_FILE)] if folder.is_dir() else []
    except NnunetSpineError:
        return  # no data set of ours: what follows refuses it
    private_mapping.settle(request.mapping, cases)
    remove_partial(request.splits)


def renew(request: Request, found: FoundSource, run: Run) -> Conversion:
    """Leave the data set that is there alone where it was made from this source, else add to it what is new.

    Raises
    ------
    NotWritable
        Where it was made with other options or by something else.
    NotFound
        Where something is to be added, and its private mapping is not there.
    """
    manifest, report = read_manifest(request)
    parameters = request.parameters(found.digest())
    if manifest["parameters"] == parameters:
        return keep_existing(request, found.discovery, manifest, report)
    known = read_known(request)
    matches = match(found.discovery.cases, found.digests, known)
    conversion = build(request, found, parameters, run, known=known, matches=matches)
    write_missing_splits(request, conversion)
    return conversion


def keep_existing(
    request: Request, discovery: Discovery, manifest: Mapping[str, Any], report: Mapping[str, Any]
) -> Conversion:
    """The data set that is there, made from the same source with the same options.

    What is missing beside it, its folds or its private mapping, is made again.

    Raises
    ------
    NotFound
        Where the mapping of a data set that has grown is missing: one source does not tell all of it.
    """
    cases = read_cases(request.target.folder / CASES_FILE)
    problems = problems_of(report)
    if not request.mapping.exists():
        if manifest.get("changes"):
            raise NotFound(
                f"{request.target.folder} has grown, and its private mapping is not at {request.mapping}. Put it back, "
                "or name it with --mapping."
            )
        text = _mapping_again(discovery, problems, request.seed)
        private_mapping.write_pending(request.mapping, text)
        private_mapping.publish(request.mapping)
    folding = fold(cases, report["training_volumes_ml"], request, recorded_folds(request, report))
    conversion = Conversion(
        request.target.folder, request.splits, request.mapping, tuple(cases), folding, problems, already_converted=True
    )
    write_missing_splits(request, conversion)
    return conversion


def write_missing_splits(request: Request, conversion: Conversion) -> None:
    """Write splits_final.json where it is absent, or older than the data set."""
    wanted = [{"train": list(one.train), "val": list(one.test)} for one in conversion.folding.folds]
    if not request.splits.exists() or read_json(request.splits) != wanted:
        write_splits(request.splits, conversion.folding.folds)


def _mapping_again(discovery: Discovery, problems: tuple[Problem, ...], seed: int) -> str:
    """The mapping follows from the source and the seed, once it is known what was left out."""
    left_out = {problem.where for problem in problems if problem.severity is Severity.ERROR}
    kept = [case for case in discovery.cases if case.where not in left_out]
    names = dict(zip((case.where for case in kept), pseudonyms(kept, seed=seed), strict=True))
    return private_mapping.mapping_text(discovery, names)
