"""Polynomial fields: Legendre products up to a total degree, fitted at samples and evaluated separably."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numpy.polynomial import legendre

FloatArray = npt.NDArray[np.float64]


@lru_cache(maxsize=16)
def exponents(order: int) -> tuple[tuple[int, int, int], ...]:
    """Degrees (z, y, x) of the products of total degree 1 to `order`, lower degrees first; the constant is left out."""
    every = [(i, j, k) for i in range(order + 1) for j in range(order + 1) for k in range(order + 1)]
    return tuple(sorted((e for e in every if 0 < sum(e) <= order), key=lambda e: (sum(e), e)))


def size(order: int) -> int:
    """Number of products up to a total degree."""
    return len(exponents(order))


def axis_basis(positions: npt.NDArray[np.intp], length: int, order: int) -> FloatArray:
    """Legendre polynomials 0 to `order` at voxel positions, the axis being -1 to 1; shape (positions, order + 1)."""
    scaled = (2.0 * positions - (length - 1)) / max(length - 1, 1)
    return np.asarray(legendre.legvander(scaled, order), np.float64)


def products(indices: Sequence[npt.NDArray[np.intp]], shape: Sequence[int], order: int) -> FloatArray:
    """Values of all products at samples on a grid; shape (products, z, y, x)."""
    z, y, x = (axis_basis(i, n, order) for i, n in zip(indices, shape, strict=True))
    values = np.empty((size(order), len(z), len(y), len(x)))
    for product, (i, j, k) in zip(values, exponents(order), strict=True):
        np.multiply(np.multiply.outer(z[:, i], y[:, j])[:, :, None], x[:, k], out=product)
    return values


def evaluate(coefficients: FloatArray, shape: Sequence[int], order: int) -> npt.NDArray[np.float32]:
    """The polynomial on the whole grid (z, y, x), float32, one axis after the other."""
    cube = np.zeros((order + 1,) * 3, np.float32)
    for exponent, value in zip(exponents(order), coefficients, strict=True):
        cube[exponent] = value
    bz, by, bx = (axis_basis(np.arange(n), n, order).astype(np.float32) for n in shape)
    planes = np.tensordot(bz, cube, axes=(1, 0))  # (z, j, k)
    rows = np.matmul(by, planes)  # (z, y, k)
    values: npt.NDArray[np.float32] = np.matmul(rows, bx.T)
    return values
