"""A data set that is already there, with the patients of its private mapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from nnunet_spine.cases import CASES_FILE, Fold, Split, read_cases, read_splits
from nnunet_spine.dataset_conversion import private_mapping
from nnunet_spine.dataset_conversion.conversion import REPORT_FILE, STEP, Request, StoredCase, fold
from nnunet_spine.dataset_conversion.patient_key import patient_key
from nnunet_spine.dataset_conversion.problems import Problem, Severity
from nnunet_spine.dataset_conversion.pseudonyms import Taken
from nnunet_spine.dataset_conversion.raw_dataset import Target
from nnunet_spine.errors import NnunetSpineError, NotFound, NotWritable
from nnunet_spine.files import read_json
from nnunet_spine.manifest import MANIFEST_FILE


@dataclass(frozen=True)
class Known:
    """What a data set holds.

    Parameters
    ----------
    folder
        The raw data set.
    cases
        All cases, test cases included, sorted.
    folds
        Of the training cases.
    manifest
        Of the last conversion.
    problems
        Told by earlier conversions.
    rows
        The private mapping by case.
    files
        Files of the last source by what became of them.
    choices
        How sure the choice of each case's image was, and why it was taken.
    """

    folder: Path
    cases: tuple[StoredCase, ...]
    folds: tuple[Fold, ...]
    manifest: Mapping[str, Any]
    problems: tuple[Problem, ...]
    rows: Mapping[str, Mapping[str, str]] = field(repr=False)
    files: Mapping[str, int] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @cached_property
    def by_name(self) -> dict[str, StoredCase]:
        """Cases by identifier."""
        return {one.case.case: one for one in self.cases}

    @property
    def changes(self) -> list[dict[str, Any]]:
        """Every change since the first conversion, as the manifest records it."""
        return list(self.manifest.get("changes", []))

    def earlier_references(self, case: str) -> set[str]:
        """SHA-256 of the source's files of all references that the case has had and has no more."""
        replaced = [entry for change in self.changes for entry in change["replaced_references"]]
        return {entry["source_sha256"] for entry in replaced if entry["case"] == case}

    @cached_property
    def _keys(self) -> dict[str, str]:
        return {case: patient_key(row.get("patient_id", "")) for case, row in self.rows.items()}

    def key_of(self, case: str) -> str:
        """Key of the case's patient; empty where the mapping does not tell."""
        return self._keys.get(case, "")

    def taken(self) -> Taken:
        """Names that are given already."""
        patients = {self.key_of(one.case.case): one.case.patient for one in self.cases}
        unknown = {f"\0{one.case.patient}": one.case.patient for one in self.cases}  # a key that no identifier has
        return Taken(tuple(one.case.case for one in self.cases), unknown | {k: p for k, p in patients.items() if k})


def read_manifest(request: Request) -> tuple[Any, Any]:
    """Manifest and report of the data set that is there.

    Raises
    ------
    NotWritable
        Where it was made with other options, or by something else.
    """
    target = request.target
    try:
        manifest, report = read_json(target.folder / MANIFEST_FILE), read_json(target.folder / REPORT_FILE)
        made = {key: manifest["parameters"][key] for key in request.options}
        if manifest["step"] == STEP and made == request.options and report["training_volumes_ml"]:
            return manifest, report
    except (NnunetSpineError, KeyError, TypeError):
        pass  # not a data set of ours, or a damaged one: the refusal below names it
    raise NotWritable(
        f"{target.folder} already exists, made by something else or with other options (seed, folds, what is "
        "tumor). Give the same options to add to it, choose another number and name, or remove it."
    )


def problems_of(report: Any) -> tuple[Problem, ...]:
    """Problems that a report tells."""
    return tuple(Problem(**{**problem, "severity": Severity(problem["severity"])}) for problem in report["problems"])


def recorded_folds(request: Request, report: Any) -> tuple[Fold, ...]:
    """Folds of the data set: those of splits_final.json, or those that were made where that is absent or outdated."""
    recorded = _folds_of(report)
    if request.splits.exists():
        found = tuple(read_splits(request.splits))
        if not recorded or _tested(found) == _tested(recorded):
            return found
    if recorded:
        return recorded
    return fold(read_cases(request.target.folder / CASES_FILE), report["training_volumes_ml"], request).folds


def _folds_of(report: Any) -> tuple[Fold, ...]:
    tests = [tuple(sorted(test)) for test in report.get("folds", [])]
    cases = {case for test in tests for case in test}
    return tuple(Fold(number, tuple(sorted(cases - set(test))), test) for number, test in enumerate(tests))


def _tested(folds: tuple[Fold, ...]) -> set[str]:
    return {case for fold_ in folds for case in fold_.test}


def read_known(request: Request) -> Known:
    """Read a data set of ours with its private mapping.

    Raises
    ------
    NotWritable
        Where it was made with other options, or by something else.
    NotFound
        Where its private mapping is not there.
    """
    manifest, report = read_manifest(request)
    if not request.mapping.is_file():
        raise NotFound(
            f"{request.target.folder} has no private mapping at {request.mapping}; without it nobody can tell which of "
            "its patients a new case belongs to. Name the mapping with --mapping."
        )
    return Known(
        request.target.folder,
        stored_cases(request.target, manifest, report),
        recorded_folds(request, report),
        manifest,
        problems_of(report),
        private_mapping.read_mapping(request.mapping),
        report.get("files", {}),
        {one["case"]: (one.get("confidence", ""), one.get("reason", "")) for one in report.get("case_list", [])},
    )


def stored_cases(target: Target, manifest: Any, report: Any) -> tuple[StoredCase, ...]:
    """Cases of a data set with what its report and its manifest record."""
    volumes = {Split.TRAIN: report["training_volumes_ml"], Split.TEST: report["test_volumes_ml"]}
    inputs = manifest["inputs"]
    return tuple(
        StoredCase(
            case,
            split := Split.TEST if case.case in volumes[Split.TEST] else Split.TRAIN,
            volumes[split][case.case],
            (inputs[f"{case.case} image"], inputs[f"{case.case} reference"]),
        )
        for case in read_cases(target.folder / CASES_FILE)
    )
