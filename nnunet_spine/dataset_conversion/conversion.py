"""What a conversion is asked for, and what it came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnunet_spine.cases import SPLITS_FILE, Case, Fold, Split
from nnunet_spine.dataset_conversion.fold_extension import extend_folds
from nnunet_spine.dataset_conversion.folds import FoldCase, Folding, make_folds
from nnunet_spine.dataset_conversion.problems import Problem, Severity
from nnunet_spine.dataset_conversion.raw_dataset import Target
from nnunet_spine.dataset_conversion.reference_selection import NO_SELECTION, Selection

STEP = "convert"
REPORT_FILE = "conversion_report.json"
PAGE_FILE = "conversion_report.html"


@dataclass(frozen=True)
class Request:
    """The data set to make, its folds, where the private mapping goes, and what is tumor in the references."""

    target: Target
    mapping: Path
    folds: int
    seed: int
    selection: Selection = NO_SELECTION

    @property
    def splits(self) -> Path:
        """File of the folds."""
        return self.target.preprocessed_folder / SPLITS_FILE

    @property
    def options(self) -> dict[str, Any]:
        """What a data set keeps as long as it grows."""
        return {
            "dataset": self.target.number,
            "name": self.target.name,
            "folds": self.folds,
            "seed": self.seed,
            "tumor": self.selection.parameters(),
        }

    def parameters(self, source_sha256: str) -> dict[str, Any]:
        """What the manifest records; two conversions with equal parameters give the same data set."""
        return {**self.options, "source_sha256": source_sha256}


@dataclass(frozen=True)
class Conversion:
    """What a conversion came to.

    Parameters
    ----------
    folder
        The raw data set.
    splits, mapping
        Files of the folds and of the private mapping.
    cases
        All converted cases, test cases included.
    folding
        Folds and strata of the training cases.
    problems
        Notes, and what was left out.
    already_converted
        Whether the same data set was there before, and was left alone.
    added, corrected, absent
        Cases that a data set which was there got, those whose reference was replaced, and those that it has and the
        source does not.
    outdated
        What was made from the data set before it changed, and how to make it again.
    """

    folder: Path
    splits: Path
    mapping: Path
    cases: tuple[Case, ...]
    folding: Folding
    problems: tuple[Problem, ...]
    already_converted: bool = False
    added: tuple[str, ...] = ()
    corrected: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    outdated: tuple[str, ...] = ()

    @property
    def left_out(self) -> int:
        """Number of studies or rows that were left out."""
        return sum(problem.severity is Severity.ERROR for problem in self.problems)

    @property
    def patients(self) -> int:
        """Number of patients of the converted cases."""
        return len({case.patient for case in self.cases})


@dataclass(frozen=True)
class StoredCase:
    """A case of the data set, with what the folds and the manifest need.

    Parameters
    ----------
    case
        What may be told of it.
    split
        Whether it takes part in cross-validation.
    volume_ml
        Of the lesion.
    digests
        SHA-256 of the source's image and reference.
    """

    case: Case
    split: Split
    volume_ml: float
    digests: tuple[str, str]


def fold(
    cases: Sequence[Case], volumes_ml: Mapping[str, float], request: Request, earlier: Sequence[Fold] = ()
) -> Folding:
    """Folds of the training cases, which are those with a volume in `volumes_ml`; `earlier` folds are extended."""
    training = [
        FoldCase(case.case, case.patient, case.compartment, volumes_ml[case.case])
        for case in cases
        if case.case in volumes_ml
    ]
    if earlier:
        return extend_folds(earlier, training, seed=request.seed)
    return make_folds(training, k=request.folds, seed=request.seed)


def volumes_of(cases: Sequence[StoredCase], split: Split) -> dict[str, float]:
    """Lesion volumes of one split, in ml, by case."""
    return {one.case.case: one.volume_ml for one in cases if one.split is split}


def report_of(
    request: Request,
    cases: Sequence[StoredCase],
    folding: Folding,
    problems: Sequence[Problem],
    changes: Sequence[Mapping[str, Any]],
    files: Mapping[str, int],
    choices: Mapping[str, tuple[str, str]],
) -> dict[str, Any]:
    """Content of the report that lies in the data set; no value of the source's but lesion volumes."""
    severities = Counter(problem.severity for problem in problems)
    return {
        "dataset": request.target.full_name,
        "cases": len(cases),
        "patients": len({one.case.patient for one in cases}),
        "left_out": severities[Severity.ERROR],
        "warnings": severities[Severity.WARNING],
        "notes": severities[Severity.NOTE],
        "fold_sizes": [len(fold.test) for fold in folding.folds],
        "strata": dict(sorted(Counter(folding.strata.values()).items())),
        "training_volumes_ml": volumes_of(cases, Split.TRAIN),
        "test_volumes_ml": volumes_of(cases, Split.TEST),
        "folds": [list(fold.test) for fold in folding.folds],
        "case_list": _case_list(cases, folding, choices),
        "problems": [problem.as_dict() for problem in problems],
        "changes": list(changes),
        "files": dict(files),
    }


def _case_list(
    cases: Sequence[StoredCase], folding: Folding, choices: Mapping[str, tuple[str, str]]
) -> list[dict[str, Any]]:
    fold_of = {case: fold.number for fold in folding.folds for case in fold.test}
    return [
        {
            **asdict(one.case),
            "split": one.split.value,
            "fold": fold_of.get(one.case.case),
            "stratum": folding.strata.get(one.case.case),
            "volume_ml": one.volume_ml,
            **dict(zip(("confidence", "reason"), choices.get(one.case.case, ("", "")), strict=True)),
        }
        for one in cases
    ]
