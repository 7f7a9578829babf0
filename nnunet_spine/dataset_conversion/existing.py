"""A data set that is already there: the same one is kept, another one is not overwritten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nnunet_spine.cases import CASES_FILE, SPLITS_FILE, read_cases, read_splits, write_splits
from nnunet_spine.dataset_conversion import private_mapping
from nnunet_spine.dataset_conversion.conversion import REPORT_FILE, Conversion, Request, fold
from nnunet_spine.dataset_conversion.problems import Problem, Severity
from nnunet_spine.dataset_conversion.pseudonyms import pseudonyms
from nnunet_spine.dataset_conversion.raw_dataset import Target
from nnunet_spine.dataset_conversion.sources import Discovery
from nnunet_spine.errors import NnunetSpineError, NotWritable
from nnunet_spine.files import read_json
from nnunet_spine.manifest import MANIFEST_FILE

STEP = "convert"


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


def keep_existing(request: Request, discovery: Discovery, parameters: Mapping[str, Any]) -> Conversion:
    """The data set that is there, where it was made from the same source with the same options.

    What is missing beside it, its folds or its private mapping, is made again.

    Parameters
    ----------
    request
        What is asked for.
    discovery
        The source.
    parameters
        What the manifest of the same conversion records.

    Raises
    ------
    NotWritable
        Where it was made from another source, with other options, or by something else.
    """
    report = _report_of_same(request.target, parameters)
    cases = read_cases(request.target.folder / CASES_FILE)
    problems = tuple(
        Problem(**{**problem, "severity": Severity(problem["severity"])}) for problem in report["problems"]
    )
    folding = fold(cases, report["training_volumes_ml"], request)
    if request.splits.exists():
        folding = replace(folding, folds=tuple(read_splits(request.splits)))
    else:
        write_splits(request.splits, folding.folds)
    if not request.mapping.exists():
        private_mapping.write_mapping(request.mapping, _mapping_again(discovery, problems, request.seed))
    return Conversion(
        request.target.folder, request.splits, request.mapping, tuple(cases), folding, problems, already_converted=True
    )


def _report_of_same(target: Target, parameters: Mapping[str, Any]) -> Any:
    try:
        manifest = read_json(target.folder / MANIFEST_FILE)
        if manifest["step"] == STEP and manifest["parameters"] == parameters:
            return read_json(target.folder / REPORT_FILE)
    except (NnunetSpineError, KeyError, TypeError):
        pass  # not a data set of ours, or a damaged one: the refusal below names it
    raise NotWritable(
        f"{target.folder} already exists, made from another source or with other options. Remove it, or choose "
        "another number and name."
    )


def _mapping_again(discovery: Discovery, problems: tuple[Problem, ...], seed: int) -> str:
    """The mapping follows from the source and the seed, once it is known what was left out."""
    left_out = {problem.where for problem in problems if problem.severity is Severity.ERROR}
    kept = [case for case in discovery.cases if case.where not in left_out]
    names = dict(zip((case.where for case in kept), pseudonyms(kept, seed=seed), strict=True))
    return private_mapping.mapping_text(discovery, names)
