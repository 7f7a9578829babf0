import io

import numpy as np
from PIL import Image

from nnunet_spine.evaluation.policy import MaskState
from nnunet_spine.evaluation.results import CaseResult, Evaluation
from nnunet_spine.reporting.figures import DARK, LIGHT
from nnunet_spine.reporting.strip_plot import strip_plot_png, swarm


def evaluation(*dices: float | None) -> Evaluation:
    state = MaskState.PRESENT
    rows = [
        CaseResult(f"c{i}", f"c{i}", i % 2, d, None if d is None else d > 0, state, state) for i, d in enumerate(dices)
    ]
    return Evaluation(tuple(rows), (0, 1))


def test_swarm_sets_near_values_apart_and_leaves_lone_ones_in_the_middle():
    offsets = swarm([0.0, 0.0, 0.0, 0.5], 0.8)
    assert len(set(offsets[:3])) == 3
    assert sum(offsets[:3]) == 0
    assert offsets[3] == 0


def test_swarm_stays_within_its_width():
    offsets = swarm([0.0] * 58, 0.2)
    assert max(offsets) - min(offsets) <= 0.2
    assert swarm([], 0.2) == []


def test_equal_inputs_give_equal_bytes_and_other_values_another_picture():
    models = {"A": evaluation(0.1, 0.0, 0.7), "B": evaluation(0.2, 0.3, None)}
    assert strip_plot_png(models, LIGHT) == strip_plot_png(models, LIGHT)
    assert strip_plot_png(models, LIGHT) != strip_plot_png({**models, "B": evaluation(0.2, 0.9, None)}, LIGHT)


def test_background_is_the_themes():
    for theme, value in ((LIGHT, 255), (DARK, 0x1B)):
        picture = np.asarray(Image.open(io.BytesIO(strip_plot_png({"A": evaluation(0.5)}, theme))))
        assert picture[0, 0, 0] == value


def test_no_case_at_all_gives_an_empty_plot():
    assert strip_plot_png({"A": Evaluation((), ())}, LIGHT).startswith(b"\x89PNG")
