"""What the protocol leaves open, derived from the data set: grid, batch, spacing, each with its reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_spine.errors import BadInput, WorkFailed
from nnunet_spine.preprocessing.geometry import fitted_shape
from nnunet_spine.protocol import PROTOCOL

GIB = 2**30

DEFAULT_MEMORY_GIB = 8.0
"""nnU-Net's own default memory target for planning."""

LARGEST_SHARE_OF_CASES = 0.05
"""nnU-Net's cap: a batch covers at most this share of the training data."""

SMALLEST_IN_PLANE = 2 * PROTOCOL.grid_multiple
"""Instance norm needs more than one voxel at the deepest level, a sixteenth of the grid."""

SMALLEST_BATCH = 2
"""nnU-Net's least batch size."""


@dataclass(frozen=True)
class Derived:
    """The derived part of the plans.

    Parameters
    ----------
    grid
        Voxels (slice, y, x); also the patch.
    batch_size
        Cases per step.
    spacing_mm
        Median spacing (slice, y, x) after the resize.
    median_shape
        Median voxels (slice, y, x) after the resize.
    reasons
        One sentence for each derived value, by its name in the plans.
    """

    grid: tuple[int, int, int]
    batch_size: int
    spacing_mm: tuple[float, float, float]
    median_shape: tuple[int, int, int]
    reasons: dict[str, str]


def derive(
    shapes: Sequence[Sequence[int]],
    spacings_mm: Sequence[Sequence[float]],
    *,
    memory_gib: float,
    training_bytes: Callable[[Sequence[int], int], int],
    cases_per_fold: int,
) -> Derived:
    """Derive grid, batch size and spacing from the fingerprint and the memory.

    Parameters
    ----------
    shapes
        Voxels (slice, y, x) of each case after cropping.
    spacings_mm
        Spacing (slice, y, x) of each case, in mm.
    memory_gib
        Memory that training may take, in GiB.
    training_bytes
        Bytes of a training step for a grid and a batch size.
    cases_per_fold
        Training cases of a fold.

    Raises
    ------
    BadInput
        Where there is no case.
    WorkFailed
        Where not even the smallest grid fits the memory.
    """
    if not len(shapes):
        raise BadInput("The data set has no training case to plan from.")
    budget = memory_gib * GIB
    grid, grid_reason = _grid(np.asarray(shapes), lambda g: training_bytes(g, SMALLEST_BATCH) <= budget, memory_gib)
    cap = max(SMALLEST_BATCH, round(LARGEST_SHARE_OF_CASES * cases_per_fold))
    batch_size = max(
        b for b in range(SMALLEST_BATCH, cap + 1) if b == SMALLEST_BATCH or training_bytes(grid, b) <= budget
    )
    fitted = np.array([fitted_shape(shape, grid) for shape in shapes])
    spacing = np.median(np.asarray(spacings_mm) * np.asarray(shapes) / fitted, axis=0)
    median_shape = np.median(fitted, axis=0)
    reasons = {
        "patch_size": grid_reason,
        "batch_size": (
            f"at most {LARGEST_SHARE_OF_CASES:.0%} of a fold's {cases_per_fold} training cases, at least "
            f"{SMALLEST_BATCH} (nnU-Net's rule); a step takes about {training_bytes(grid, batch_size) / GIB:.2f} GiB "
            f"of the {memory_gib:g} GiB allowed"
        ),
        "spacing": "median of the cases' spacings after the resize; each case keeps its own factor",
    }
    return Derived(
        grid,
        batch_size,
        (float(spacing[0]), float(spacing[1]), float(spacing[2])),
        (int(median_shape[0]), int(median_shape[1]), int(median_shape[2])),
        reasons,
    )


def _grid(
    shapes: np.ndarray[tuple[int, int], np.dtype[np.int64]],
    fits: Callable[[tuple[int, int, int]], bool],
    memory_gib: float,
) -> tuple[tuple[int, int, int], str]:
    """Largest grid that the data ask for and the memory allows, with the reason."""
    step = PROTOCOL.grid_multiple
    wanted = [int(shapes[:, 0].max()), *[round(float(n)) for n in np.median(shapes[:, 1:], axis=0)]]
    least = (step, SMALLEST_IN_PLANE, SMALLEST_IN_PLANE)
    sides = [max(m, step * math.ceil(n / step)) for n, m in zip(wanted, least, strict=True)]
    asked = tuple(sides)
    while not fits((sides[0], sides[1], sides[2])):
        # Shrink what is largest in its plane first; slices last, since they are few and thick.
        shrinkable = [axis for axis in (1, 2, 0) if sides[axis] > least[axis]]
        if not shrinkable:
            raise WorkFailed(
                f"Not even a grid of {sides} (slice, y, x) can be trained in {memory_gib:g} GiB. "
                "Plan with more memory: `nnunet-spine plan --memory-gib`."
            )
        in_plane = [axis for axis in shrinkable if axis != 0]
        axis = max(in_plane, key=lambda a: sides[a] / wanted[a]) if in_plane else 0
        sides[axis] -= step
    grid = (sides[0], sides[1], sides[2])
    reason = (
        f"the most slices of a case ({wanted[0]}) and the median in-plane size ({wanted[1]} x {wanted[2]} voxels), "
        f"each up to the next multiple of {step}"
    )
    if grid != asked:
        reason += f"; {asked[0]}x{asked[1]}x{asked[2]} made smaller to train in {memory_gib:g} GiB"
    return grid, reason
