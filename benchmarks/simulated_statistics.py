"""How often the statistics of evaluate and compare err, on simulated cohorts of this field's size.

Usage: simulated_statistics.py [--studies 10000] [--patients 58] [--folds 4]

Prints Markdown tables. A patient's Dice is 0 with the source deck's rate of misses (19 of 58), else from a beta
distribution with the deck's true-positive mean and SD (0.48 and 0.22). Two models of one method have that same
distribution and are tied by a Gaussian copula, whose variance has three parts: the patient, which both models share;
the training, which the patients of a fold share for each model; and the rest. Nothing differs between the methods, so
that every difference found is false.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, ndtr

from nnunet_spine.evaluation.intervals import bca_of_mean, clopper_pearson
from nnunet_spine.evaluation.methods import compare_seeds
from nnunet_spine.evaluation.paired_tests import hodges_lehmann, mcnemar, signed_rank

Array = npt.NDArray[np.float64]
LEVEL = 0.05
MISSED = 19 / 58
DETECTED_MEAN, DETECTED_SD = 0.48, 0.22
TRUE_MEAN = (1 - MISSED) * DETECTED_MEAN
SHARED_BY_MODELS = 0.6
"""Part of the variance that two models of one method share, since a hard patient is hard for both."""


@dataclass(frozen=True)
class Design:
    """A cohort, and how much of the variance the models of a fold bring in by their training (0 to 0.4)."""

    patients: int = 58
    folds: int = 4
    training: float = 0.0

    @property
    def fold_of(self) -> npt.NDArray[np.int64]:
        """Fold of each patient, sizes as even as they get: 15, 15, 14, 14 of 58."""
        return np.arange(self.patients) % self.folds


def dice_of(uniform: Array) -> Array:
    """Dice at quantiles of its distribution."""
    total = DETECTED_MEAN * (1 - DETECTED_MEAN) / DETECTED_SD**2 - 1
    detected = np.clip((uniform - MISSED) / (1 - MISSED), 0, 1)
    return np.asarray(betaincinv(DETECTED_MEAN * total, (1 - DETECTED_MEAN) * total, detected))


def draw(design: Design, models: int, rng: np.random.Generator) -> Array:
    """Dice of models of one method on one cohort, shape (models, patients)."""
    patient = rng.standard_normal(design.patients)
    training = rng.standard_normal((models, design.folds))[:, design.fold_of]
    rest = rng.standard_normal((models, design.patients))
    parts = (SHARED_BY_MODELS, design.training, 1 - SHARED_BY_MODELS - design.training)
    latent = sum(np.sqrt(part) * values for part, values in zip(parts, (patient, training, rest), strict=True))
    return dice_of(ndtr(latent))


def rejects_dice(design: Design, rng: np.random.Generator) -> bool:
    """Whether Wilcoxon's test finds a difference between two models."""
    first, second = draw(design, 2, rng)
    return signed_rank(second - first).p < LEVEL


def rejects_detection(design: Design, rng: np.random.Generator) -> bool:
    """Whether McNemar's test finds a difference between two models."""
    first, second = draw(design, 2, rng) > 0
    return mcnemar(int((first & ~second).sum()), int((second & ~first).sum())) < LEVEL


def rejects_methods(design: Design, rng: np.random.Generator, *, seeds: int = 3) -> bool:
    """Whether a difference between two methods is found, over patients and over seeds."""
    dice = draw(design, 2 * seeds, rng)
    first, second = dice[:seeds], dice[seeds:]
    p = compare_seeds(first.mean(axis=1), second.mean(axis=1)).p
    return p is not None and max(p, signed_rank(second.mean(axis=0) - first.mean(axis=0)).p) < LEVEL


def median_covered(design: Design, rng: np.random.Generator) -> bool:
    """Whether the interval of the median difference holds 0."""
    first, second = draw(design, 2, rng)
    interval = hodges_lehmann(second - first).interval
    return interval is not None and interval.low <= 0 <= interval.high


def mean_covered(design: Design, rng: np.random.Generator, *, resamples: int = 1999) -> bool:
    """Whether the BCa interval holds the true mean Dice."""
    interval = bca_of_mean(draw(design, 1, rng)[0], resamples=resamples, rng=rng)
    return interval is not None and interval.low <= TRUE_MEAN <= interval.high


def sensitivity_covered(design: Design, rng: np.random.Generator) -> bool:
    """Whether Clopper-Pearson's interval holds the true sensitivity."""
    interval = clopper_pearson(int((draw(design, 1, rng) > 0).sum()), design.patients)
    return interval is not None and interval.low <= 1 - MISSED <= interval.high


def rate(event: Callable[[Design, np.random.Generator], bool], design: Design, studies: int, seed: int = 58) -> float:
    """How often an event occurs in simulated studies."""
    rng = np.random.default_rng(seed)
    return float(np.mean([event(design, rng) for _ in range(studies)]))


EVENTS = {
    "Wilcoxon finds a difference": rejects_dice,
    "McNemar finds a difference": rejects_detection,
    "a difference between methods, 3 seeds of each": rejects_methods,
    "Hodges-Lehmann's interval holds 0": median_covered,
    "BCa's interval holds the mean": mean_covered,
    "Clopper-Pearson's interval holds the rate": sensitivity_covered,
}


def main() -> None:
    """Print a table of all events by the part of the training's noise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=10000)
    parser.add_argument("--patients", type=int, default=58)
    parser.add_argument("--folds", type=int, default=4)
    arguments = parser.parse_args()
    parts = (0.0, 0.02, 0.05, 0.1, 0.2)
    print(f"| % of {arguments.studies} studies, {arguments.patients} patients | {' | '.join(map(str, parts))} |")
    print("|---|" + "---|" * len(parts))
    for name, event in EVENTS.items():
        designs = [Design(arguments.patients, arguments.folds, part) for part in parts]
        cells = [f"{100 * rate(event, design, arguments.studies):.1f}" for design in designs]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
