"""Models side by side: the same cases in the same folds, tested patient by patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from nnunet_spine.errors import BadInput
from nnunet_spine.evaluation.methods import MethodTests, check_seeds, compare_methods, group_methods
from nnunet_spine.evaluation.model_tests import ModelTests, adjusted, compare_patients
from nnunet_spine.evaluation.output import write_together
from nnunet_spine.evaluation.pairing import (
    PairedSummary,
    difference,
    first_difference,
    pairs_of,
    rounded_references,
    summarise_pairs,
)
from nnunet_spine.evaluation.results import Evaluation, read_evaluation
from nnunet_spine.evaluation.schedule import Schedules, Training, schedules_of
from nnunet_spine.evaluation.verdicts import (
    ABOUT_MODELS,
    ABOUT_TESTS,
    detection_verdict,
    dice_verdict,
    method_verdict,
)
from nnunet_spine.files import csv_text, json_text
from nnunet_spine.manifest import MANIFEST_FILE

COMPARISON_FILE = "comparison.json"
PAIRED_FILE = "paired.csv"
TESTS_FILE = "tests.csv"
STEP = "compare"
FILES = (PAIRED_FILE, TESTS_FILE, MANIFEST_FILE, COMPARISON_FILE)
TESTS_COLUMNS = (
    "of",
    *dict.fromkeys(f.name for kind in (ModelTests, MethodTests) for f in fields(kind)),
    "verdict",
    "detection_verdict",
)


@dataclass(frozen=True)
class Comparison:
    """Evaluations of the same cases.

    Parameters
    ----------
    models
        Evaluation by label, the baseline first.
    notes
        Caveats to show on top.
    trainings
        What is recorded of each model's training, by label.
    methods
        Labels of the models by method, each model being a seed; empty where models are compared as they are.
    """

    models: Mapping[str, Evaluation]
    notes: tuple[str, ...] = ()
    trainings: Mapping[str, Training] = field(default_factory=dict)
    methods: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def keys(self) -> dict[str, str]:
        """A letter for each label: A for the baseline."""
        return dict(zip(self.models, ascii_uppercase, strict=False))

    @property
    def paired(self) -> tuple[PairedSummary, ...]:
        """Counts and differences of each other model against the baseline, case by case."""
        (first, baseline), *others = self.models.items()
        return tuple(
            summarise_pairs(pairs_of(baseline, model), baseline=self.keys[first], model=self.keys[label])
            for label, model in others
        )

    @cached_property
    def tests(self) -> tuple[ModelTests, ...]:
        """Tests of each other model against the baseline, patient by patient."""
        (first, baseline), *others = self.models.items()
        return adjusted(
            [
                compare_patients(pairs_of(baseline, model), baseline=self.keys[first], model=self.keys[label])
                for label, model in others
            ]
        )

    @cached_property
    def method_tests(self) -> tuple[MethodTests, ...]:
        """Tests of each other method against the first; empty without methods."""
        return compare_methods(self.methods, self.models) if self.methods else ()

    @property
    def schedules(self) -> Schedules:
        """Whether this is a full-schedule or an equal-cost comparison."""
        trainings = {self.keys[label]: self.trainings.get(label, ()) for label in self.models}
        return schedules_of(trainings, next(iter(self.models.values())).fold_numbers)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """A sentence for each test, those on methods first."""
        on_models = [
            v for t in self.tests for v in (dice_verdict(t, self.schedules), detection_verdict(t, self.schedules))
        ]
        return (*[method_verdict(t, self.schedules) for t in self.method_tests], *on_models)

    @property
    def explanations(self) -> tuple[str, ...]:
        """How the verdicts are to be read."""
        mode = f"Mode: {self.schedules.mode}. {self.schedules.explanation}"
        return (mode, ABOUT_TESTS, ABOUT_MODELS)

    def rows(self) -> list[dict[str, Any]]:
        """Rows of paired.csv, a row for each case; differences are model minus baseline."""
        keys = list(self.keys.values())
        rows = []
        for results in zip(*(model.results for model in self.models.values()), strict=True):
            row: dict[str, Any] = {name: getattr(results[0], name) for name in ("case", "patient", "fold")}
            by_key = dict(zip(keys, results, strict=True))
            row |= {f"dice_{key}": result.dice for key, result in by_key.items()}
            row |= {f"difference_{key}_minus_A": difference(results[0], by_key[key]) for key in keys[1:]}
            row |= {f"detected_{key}": result.detected for key, result in by_key.items()}
            rows.append(row)
        return rows

    def test_rows(self) -> list[dict[str, Any]]:
        """Rows of tests.csv, a row for each comparison of models and of methods."""
        on_models = [
            {
                "of": "models",
                **asdict(test),
                "verdict": dice_verdict(test, self.schedules),
                "detection_verdict": detection_verdict(test, self.schedules),
            }
            for test in self.tests
        ]
        on_methods = [
            {"of": "methods", **asdict(test), "verdict": method_verdict(test, self.schedules)}
            for test in self.method_tests
        ]
        return [*on_methods, *on_models]

    def to_json(self) -> dict[str, Any]:
        """Content of comparison.json."""
        return {
            "notes": list(self.notes),
            "mode": self.schedules.mode.value,
            "verdicts": list(self.verdicts),
            "explanations": list(self.explanations),
            "models": [
                {"key": self.keys[label], "label": label, **_without_cases(model)}
                for label, model in self.models.items()
            ],
            "methods": {name: [self.keys[label] for label in labels] for name, labels in self.methods.items()},
            "tests": self.test_rows(),
            "paired": [asdict(summary) for summary in self.paired],
            "cases": self.rows(),
        }


def compare(
    models: Mapping[str, Evaluation],
    *,
    notes: Sequence[str] = (),
    trainings: Mapping[str, Training] | None = None,
    methods: Sequence[str] | None = None,
) -> Comparison:
    """Set models side by side.

    Parameters
    ----------
    models
        Two or more evaluations by label; the first is the baseline.
    notes
        Caveats to pass through, such as "far from trained: no conclusion".
    trainings
        What is recorded of each model's training, by label; see `nnunet_spine.evaluation.schedule.training_of`.
    methods
        Name of each model's method; models of one name are its seeds. None compares the models alone.

    Raises
    ------
    BadInput
        Where there are fewer than two models or more than 26, they were not judged on the same cases, folds, patients,
        references and criterion, or the methods do not fit them.
    """
    if not 2 <= len(models) <= len(ascii_uppercase):
        raise BadInput(f"{len(models)} evaluations were given. Give from 2 to {len(ascii_uppercase)}.")
    (first, baseline), *others = models.items()
    rounded = []
    for label, model in others:
        if reason := first_difference(baseline, model):
            raise BadInput(
                f"{label} cannot be compared with {first}: {reason}. Evaluate both on the same references, splits "
                "and table of cases."
            )
        if note := rounded_references(baseline, model):
            rounded.append(f"{label} and {first}: {note}")
    groups = group_methods(methods, list(models)) if methods else {}
    check_seeds(groups, trainings or {})
    all_notes = tuple(dict.fromkeys((*notes, *rounded)))  # those of an earlier comparison hold them already
    return Comparison(models, all_notes, dict(trainings or {}), groups)


def write_comparison(folder: Path, comparison: Comparison, manifest: Mapping[str, Any]) -> None:
    """Write comparison.json, tests.csv, paired.csv and manifest.json.

    Parameters
    ----------
    folder
        Created where absent.
    comparison
        What to write.
    manifest
        From `nnunet_spine.manifest.make_manifest`.
    """
    rows = comparison.rows()
    columns = list(rows[0]) if rows else ["case", "patient", "fold"]
    write_together(
        folder,
        {
            PAIRED_FILE: csv_text(columns, rows),
            TESTS_FILE: csv_text(TESTS_COLUMNS, comparison.test_rows()),
            MANIFEST_FILE: json_text(manifest),
            COMPARISON_FILE: json_text(comparison.to_json()),
        },
        step=STEP,
    )


def label_models(paths: Sequence[Path], labels: Sequence[str] | None = None) -> dict[str, Evaluation]:
    """Read evaluations and label them.

    Parameters
    ----------
    paths
        Files evaluation.json.
    labels
        One for each; None takes the names of the files' folders.

    Raises
    ------
    NotFound, BadInput
        Where a file cannot be used, or there is not one different label for each.
    """
    names = list(labels) if labels else [path.absolute().parent.name for path in paths]
    if len(names) != len(paths):
        raise BadInput(f"{len(paths)} evaluations and {len(names)} labels were given. Give one label for each.")
    if len(set(names)) != len(names):
        raise BadInput(f"The labels are {', '.join(names)}. Give a different one to each model by --labels.")
    return {name: read_evaluation(path) for name, path in zip(names, paths, strict=True)}


def _without_cases(evaluation: Evaluation) -> dict[str, Any]:
    return {key: value for key, value in evaluation.to_json().items() if key != "cases"}
