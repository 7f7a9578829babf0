"""The rates of error of the statistics, in a small edition of benchmarks/simulated_statistics.py."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[3] / "benchmarks" / "simulated_statistics.py"
specification = importlib.util.spec_from_file_location(PATH.stem, PATH)
simulation = sys.modules[PATH.stem] = importlib.util.module_from_spec(specification)
specification.loader.exec_module(simulation)

INDEPENDENT = simulation.Design()
NOISY = simulation.Design(training=0.1)


def test_the_cohorts_are_of_this_fields_kind():
    rng = np.random.default_rng(0)
    dice = np.array([simulation.draw(NOISY, 2, rng) for _ in range(1000)])
    detected = dice[dice > 0]
    assert (dice == 0).mean() == pytest.approx(19 / 58, abs=0.01)
    assert (detected.mean(), detected.std()) == pytest.approx((0.48, 0.22), abs=0.01)
    assert np.bincount(NOISY.fold_of).tolist() == [15, 15, 14, 14]


def test_tests_of_independent_cases_err_as_often_as_they_say():
    assert simulation.rate(simulation.rejects_dice, INDEPENDENT, 2000) == pytest.approx(0.05, abs=0.02)
    assert simulation.rate(simulation.rejects_detection, INDEPENDENT, 2000) <= 0.05


def test_intervals_cover_as_often_as_they_say():
    assert simulation.rate(simulation.sensitivity_covered, INDEPENDENT, 2000) >= 0.95
    assert simulation.rate(simulation.mean_covered, INDEPENDENT, 1000) == pytest.approx(0.95, abs=0.03)
    assert simulation.rate(simulation.median_covered, INDEPENDENT, 1000) >= 0.95


def test_noise_of_training_breaks_the_test_of_models_and_not_that_of_methods():
    assert simulation.rate(simulation.rejects_dice, NOISY, 500) > 0.2
    assert simulation.rate(simulation.rejects_methods, NOISY, 500) <= 0.07
