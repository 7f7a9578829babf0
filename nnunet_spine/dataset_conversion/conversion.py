"""What a conversion is asked for, and what it came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_spine.cases import SPLITS_FILE, Case, Split
from nnunet_spine.dataset_conversion.folds import FoldCase, Folding, make_folds
from nnunet_spine.dataset_conversion.problems import Problem, Severity
from nnunet_spine.dataset_conversion.raw_dataset import Target
from nnunet_spine.dataset_conversion.reference_selection import NO_SELECTION, Selection
from nnunet_spine.dataset_conversion.sources import SourceCase

REPORT_FILE = "conversion_report.json"


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

    def parameters(self, source_sha256: str) -> dict[str, Any]:
        """What the manifest records; two conversions with equal parameters give the same data set."""
        return {
            "dataset": self.target.number,
            "name": self.target.name,
            "folds": self.folds,
            "seed": self.seed,
            "source_sha256": source_sha256,
            **self.selection.parameters(),
        }


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
    """

    folder: Path
    splits: Path
    mapping: Path
    cases: tuple[Case, ...]
    folding: Folding
    problems: tuple[Problem, ...]
    already_converted: bool = False

    @property
    def left_out(self) -> int:
        """Number of studies or rows that were left out."""
        return sum(problem.severity is Severity.ERROR for problem in self.problems)

    @property
    def patients(self) -> int:
        """Number of patients of the converted cases."""
        return len({case.patient for case in self.cases})


@dataclass(frozen=True)
class ConvertedCase:
    """A converted case under our name, with what the folds and the manifest need.

    Parameters
    ----------
    source
        The pair that it was made from.
    case
        What may be told of it.
    volume_ml
        Of the lesion.
    digests
        SHA-256 of the source's image and reference.
    voxels_sha256
        Of the stored image's voxels.
    notes
        What a user should know of it.
    """

    source: SourceCase
    case: Case
    volume_ml: float
    digests: tuple[str, str]
    voxels_sha256: str
    notes: tuple[Problem, ...]


def fold(cases: Sequence[Case], volumes_ml: dict[str, float], request: Request) -> Folding:
    """Folds of the training cases, which are those with a volume in `volumes_ml`."""
    training = [case for case in cases if case.case in volumes_ml]
    return make_folds(
        [FoldCase(case.case, case.patient, case.compartment, volumes_ml[case.case]) for case in training],
        k=request.folds,
        seed=request.seed,
    )


def volumes_of(converted: Sequence[ConvertedCase], split: Split) -> dict[str, float]:
    """Lesion volumes of one split, in ml, by case."""
    return {one.case.case: one.volume_ml for one in converted if one.source.split is split}


def report_of(
    request: Request, converted: Sequence[ConvertedCase], folding: Folding, problems: Sequence[Problem]
) -> dict[str, Any]:
    """Content of the report that lies in the data set; no value of the source's but lesion volumes."""
    return {
        "dataset": request.target.full_name,
        "cases": len(converted),
        "patients": len({one.case.patient for one in converted}),
        "left_out": sum(problem.severity is Severity.ERROR for problem in problems),
        "fold_sizes": [len(fold.test) for fold in folding.folds],
        "strata": dict(sorted(Counter(folding.strata.values()).items())),
        "training_volumes_ml": volumes_of(converted, Split.TRAIN),
        "test_volumes_ml": volumes_of(converted, Split.TEST),
        "problems": [problem.as_dict() for problem in problems],
    }
