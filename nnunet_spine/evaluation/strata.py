"""Figures by stratum: where the model does well and where it does not, without a claim from a handful."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np

from nnunet_spine.cases import UNKNOWN, Compartment, Region
from nnunet_spine.evaluation.appearance import Look
from nnunet_spine.evaluation.facts import FEWEST, CaseFacts
from nnunet_spine.evaluation.results import Group
from nnunet_spine.evaluation.tables import UNDEFINED, mean_sd, number, rate
from nnunet_spine.json_entries import Entry

STRATA_FILE = "strata.csv"
NEEDS_CASES, NEEDS_IMAGES = "--cases", "--images"
NOT_JUDGED = f"n < {FEWEST}"
TABLE_HEADER = ("stratum", "cases", "patients", "sensitivity", "mean Dice", "median")
_LONGEST_LEVEL = 24


@dataclass(frozen=True)
class Factor:
    """What cases are separated by.

    Parameters
    ----------
    name
        As printed.
    level
        The level that a case belongs to.
    order
        Levels that have an order of their own; others follow by name, "unknown" last.
    needs
        Option of the command that this needs, or "".
    """

    name: str
    level: Callable[[CaseFacts], str]
    order: tuple[str, ...] = ()
    needs: str = ""


@dataclass(frozen=True)
class Stratum:
    """Figures of the cases of one level; where patients are fewer than `FEWEST`, only their number.

    Parameters
    ----------
    factor, level
        Which cases.
    cases, patients
        How many. A patient stands in each stratum that holds one of its cases.
    detected
        Patients with a detected case among those of the stratum.
    sensitivity
        Detected patients over patients.
    dice_mean, dice_sd, dice_median
        Over cases, misses counting 0; SD as in the table of results.
    """

    factor: str
    level: str
    cases: int
    patients: int
    detected: int | None = None
    sensitivity: float | None = None
    dice_mean: float | None = None
    dice_sd: float | None = None
    dice_median: float | None = None

    @classmethod
    def from_entry(cls, row: Entry) -> Stratum:
        """Read a row of evaluation.json; `BadInput` if it is something else."""
        return cls(
            row.get("factor").text(),
            row.get("level").text(),
            row.get("cases").count(),
            row.get("patients").count(),
            row.get("detected").optional(Entry.count),
            *[row.get(f.name).optional(Entry.number) for f in fields(cls)[5:]],
        )

    @property
    def judged(self) -> bool:
        """Whether there are enough patients for figures."""
        return self.patients >= FEWEST

    def cells(self) -> tuple[str, ...]:
        """Cells of its row below `TABLE_HEADER`."""
        level = self.level if len(self.level) <= _LONGEST_LEVEL else self.level[: _LONGEST_LEVEL - 1] + "…"
        counts = (f" {level}", str(self.cases), str(self.patients))
        if not self.judged:
            return (*counts, NOT_JUDGED, UNDEFINED, UNDEFINED)
        return (
            *counts,
            rate(self.detected or 0, self.patients),
            mean_sd(self.dice_mean, self.dice_sd),
            number(self.dice_median),
        )


STRATA_COLUMNS = (*[f.name for f in fields(Stratum)], "judged")


@dataclass(frozen=True)
class Strata:
    """All strata, and the factors that could not be computed with the option that each needs."""

    rows: tuple[Stratum, ...]
    not_computed: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Value of the key "strata" in evaluation.json."""
        return {
            "fewest_patients": FEWEST,
            "rows": self.csv_rows(),
            "not_computed": [{"factor": factor, "needs": needs} for factor, needs in self.not_computed],
            "definition": definition(),
        }

    @classmethod
    def from_entry(cls, content: Entry) -> Strata:
        """Read what `to_json` gave; `BadInput` if it is something else."""
        rows = [Stratum.from_entry(row) for row in content.get("rows").items()]
        missing = content.get("not_computed").items()
        return cls(tuple(rows), tuple((one.get("factor").text(), one.get("needs").text()) for one in missing))

    def csv_rows(self) -> list[dict[str, Any]]:
        """Rows of strata.csv."""
        return [{**asdict(row), "judged": row.judged} for row in self.rows]

    def table_rows(self) -> list[tuple[str, ...]]:
        """Rows below `TABLE_HEADER`: the name of each factor, then its levels."""
        found: list[tuple[str, ...]] = []
        for row, before in zip(self.rows, (None, *self.rows), strict=False):
            if before is None or before.factor != row.factor:
                found.append((row.factor, *[""] * (len(TABLE_HEADER) - 1)))
            found.append(row.cells())
        return found

    def remarks(self) -> list[str]:
        """Sentences below the table."""
        missing = [
            f"Not computed without {option}: {', '.join(names)}."
            for option in (NEEDS_CASES, NEEDS_IMAGES)
            if (names := [factor for factor, needs in self.not_computed if needs == option])
        ]
        return [definition(), *missing]


def definition() -> str:
    """What the figures of a stratum are."""
    return (
        "Strata: sensitivity counts patients, Dice counts cases, misses as 0. A patient counts in each stratum that "
        "holds one of its cases, as detected where one of those is. Sizes and views are thirds of the judged cases. "
        f"{NOT_JUDGED}: fewer than {FEWEST} patients, not judged."
    )


def stratify(facts: Sequence[CaseFacts], *, with_images: bool) -> Strata:
    """Figures by each factor.

    Parameters
    ----------
    facts
        The judged cases.
    with_images
        Whether images were given, so that the look of lesions is known.
    """
    given = {"": True, NEEDS_IMAGES: with_images, NEEDS_CASES: any(f.metadata for f in facts)}
    factors = list(_factors(facts))
    rows = tuple(row for factor in factors if given[factor.needs] for row in _levels(factor, facts))
    return Strata(rows, tuple((f.name, f.needs) for f in factors if not given[f.needs]))


def _levels(factor: Factor, facts: Sequence[CaseFacts]) -> Iterator[Stratum]:
    by_level: dict[str, list[CaseFacts]] = {}
    for fact in facts:
        by_level.setdefault(factor.level(fact), []).append(fact)
    order = {level: place for place, level in enumerate(factor.order)}
    for level in sorted(by_level, key=lambda name: (name == UNKNOWN, order.get(name, len(order)), name)):
        yield _stratum(factor.name, level, by_level[level])


def _stratum(factor: str, level: str, facts: Sequence[CaseFacts]) -> Stratum:
    group = Group.of([fact.result for fact in facts])
    if group.patients < FEWEST:
        return Stratum(factor, level, group.cases, group.patients)
    figures = group.figures
    return Stratum(
        factor,
        level,
        group.cases,
        group.patients,
        detected=group.detected,
        sensitivity=figures.sensitivity,
        dice_mean=figures.dice_mean,
        dice_sd=figures.dice_sd,
        dice_median=float(np.median([fact.dice for fact in facts])),
    )


def _factors(facts: Sequence[CaseFacts]) -> Iterator[Factor]:
    """The factors in the order of the table; sizes and views by thirds of `facts`."""
    yield Factor("compartment", _told("compartment"), tuple(Compartment), NEEDS_CASES)
    yield Factor("tumor type", _told("tumor_type"), needs=NEEDS_CASES)
    yield Factor("tumor type in training", lambda f: _seen(f.trained_on_type), ("yes", "no"), NEEDS_CASES)
    yield _thirds("size (reference)", [_volume_ml(f) for f in facts], _volume_ml, "ml", decimals=1)
    yield Factor("lesion's look", _look, tuple(Look), NEEDS_IMAGES)
    yield Factor("region", _told("region"), tuple(Region), NEEDS_CASES)
    yield _thirds("view, head to foot", [_height_mm(f) for f in facts], _height_mm, "mm", decimals=0)
    yield Factor("lesion at image border", _cut, ("no", "yes"))
    yield Factor("maker", _told("maker"), needs=NEEDS_CASES)
    yield Factor("maker in training", lambda f: _seen(f.trained_on_maker), ("yes", "no"), NEEDS_CASES)
    yield Factor("field strength", _tesla, needs=NEEDS_CASES)


def thirds(values: Sequence[float | None]) -> tuple[float, ...]:
    """The one or two cut points that part the known values in thirds; none where there is no value."""
    known = [value for value in values if value is not None]
    return tuple(sorted({float(cut) for cut in np.quantile(known, (1 / 3, 2 / 3))})) if known else ()


def _thirds(
    name: str, values: Sequence[float | None], of: Callable[[CaseFacts], float | None], unit: str, *, decimals: int
) -> Factor:
    cuts = thirds(values)
    texts = [f"{cut:.{decimals}f}" for cut in cuts]
    between = [f"{low} to under {high} {unit}" for low, high in pairwise(texts)]
    labels = (f"under {texts[0]} {unit}", *between, f"{texts[-1]} {unit} and more") if texts else ()

    def level(fact: CaseFacts) -> str:
        """The third that a case lies in."""
        value = of(fact)
        return UNKNOWN if value is None else labels[int(np.searchsorted(cuts, value, side="right"))]

    return Factor(name, level, labels)


def _told(name: str) -> Callable[[CaseFacts], str]:
    return lambda fact: str(getattr(fact.metadata, name, UNKNOWN))


def _volume_ml(fact: CaseFacts) -> float | None:
    return fact.result.reference_volume_ml


def _height_mm(fact: CaseFacts) -> float | None:
    return fact.seen.extent.head_to_foot_mm if fact.seen.extent else None


def _tesla(fact: CaseFacts) -> str:
    strength = fact.metadata.field_strength if fact.metadata else None
    return UNKNOWN if strength is None else f"{strength:.1f} T"


def _look(fact: CaseFacts) -> str:
    return fact.seen.appearance.look.value if fact.seen.appearance else UNKNOWN


def _cut(fact: CaseFacts) -> str:
    return UNKNOWN if fact.seen.border_voxels is None else "yes" if fact.seen.border_voxels else "no"


def _seen(trained_on: int | None) -> str:
    return UNKNOWN if trained_on is None else "yes" if trained_on else "no"
