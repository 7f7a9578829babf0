"""A first field without classes: what the differences of neighbouring samples have in common.

Most neighbours are of one tissue, and differ by the field's slope and noise; the others differ by a contrast, and are
outliers. A robust fit of slopes needs no classes, so it cannot mistake one strong field for many tissues.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

SCALES = (0.5, 0.3, 0.2, 0.15, 0.1, 0.1)
"""Log difference at which a pair has a quarter of its weight, step by step: from nearly all pairs to smooth ones."""


def neighbour_pairs(tissue: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Both samples of each pair of neighbours along an axis, as numbers of tissue samples.

    Parameters
    ----------
    tissue
        Whether a sample is tissue, shape (nz, ny, nx).
    """
    numbers = np.full(tissue.shape, -1, np.intp)
    numbers[tissue] = np.arange(np.count_nonzero(tissue))
    firsts, seconds = [], []
    for axis in range(3):
        along = np.moveaxis(numbers, axis, 0)
        first, second = along[:-1].ravel(), along[1:].ravel()
        both = (first >= 0) & (second >= 0)
        firsts.append(first[both])
        seconds.append(second[both])
    return np.concatenate(firsts), np.concatenate(seconds)


def slope_equations(
    logs: FloatArray, basis: FloatArray, tissue: npt.NDArray[np.bool_], precision: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Normal equations of the field that the differences of neighbours show.

    By iteratively reweighted least squares with Geman and McClure's weights, the scale narrowing (graduated
    non-convexity). The leading part of the equations is that of a lower order.

    Parameters
    ----------
    logs
        Log intensities of the tissue samples, shape (samples,).
    basis
        The field's products there, shape (samples, products).
    tissue
        Whether a sample is tissue, shape (nz, ny, nx).
    precision
        Of the prior on each coefficient.

    Returns
    -------
    matrix, right_side
        Shapes (products, products) and (products,).

    Source
    ------
    Black and Rangarajan, On the unification of line processes, outlier rejection, and robust statistics with
    applications in early vision, IJCV 19(1):57-91, 1996.
    """
    first, second = neighbour_pairs(tissue)
    # float32 halves the time of the largest sums; this is but a start.
    differences = (logs[first] - logs[second]).astype(np.float32)
    single = basis.astype(np.float32)
    slopes = single[first] - single[second]
    left_over = differences
    matrix, right_side = np.diag(precision), np.zeros(precision.size)
    for scale in SCALES:
        roots = 1 / (1 + (left_over / np.float32(scale)) ** 2) / np.float32(scale)
        weighted = slopes * roots[:, None]
        matrix = np.diag(precision) + weighted.T @ weighted
        right_side = (weighted.T @ (roots * differences)).astype(np.float64)
        left_over = differences - slopes @ np.linalg.solve(matrix, right_side).astype(np.float32)
    return matrix, right_side
