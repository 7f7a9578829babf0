"""HD95 and NSD by several libraries against surfaces that are known: pairs of ellipsoids on thick and thin slices.

    pip install panoptica
    python benchmarks/surface_tools.py

A tool that is not installed is left out. Truth is worked out from the ellipsoids themselves: points spread over both
surfaces, each with its area, and the nearest point of the other surface; it knows no voxels. A second table has one
pair with a stray component far away, where the definitions part.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy.spatial import KDTree

Mask = npt.NDArray[np.bool_]
Spacing = tuple[float, float, float]
Triple = tuple[float, float, float]
"""HD95 in mm, NSD at 1 mm, NSD at 2 mm."""
Tool = Callable[[Mask, Mask, Spacing], Triple]

SPACINGS_MM: tuple[Spacing, ...] = ((4.0, 0.5, 0.5), (3.3, 0.7, 0.7), (1.0, 1.0, 1.0))
EXTENT_MM = 64.0
POINTS = 20_000


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid along the axes (z, y, x), in mm."""

    centre: npt.NDArray[np.float64]
    radii: npt.NDArray[np.float64]

    def mask(self, spacing: Spacing) -> Mask:
        """Voxels whose centres lie in it."""
        axes = [np.arange(int(EXTENT_MM / s)) * s for s in spacing]
        parts = [((a - c) / r) ** 2 for a, c, r in zip(axes, self.centre, self.radii, strict=True)]
        return np.asarray(parts[0][:, None, None] + parts[1][:, None] + parts[2] <= 1)

    def surface(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Points on it, and the area that each stands for."""
        number = np.arange(POINTS) + 0.5
        polar, azimuth = np.arccos(1 - 2 * number / POINTS), np.pi * (1 + 5**0.5) * number
        unit = np.stack([np.cos(polar), np.sin(polar) * np.sin(azimuth), np.sin(polar) * np.cos(azimuth)], axis=1)
        return self.centre + unit * self.radii, np.linalg.norm(unit / self.radii, axis=1)


def truth(one: Ellipsoid, other: Ellipsoid) -> Triple:
    """From the surfaces themselves."""
    (a, area_a), (b, area_b) = one.surface(), other.surface()
    scale = [np.prod(e.radii) for e in (one, other)]
    to_b, to_a = KDTree(b).query(a)[0], KDTree(a).query(b)[0]
    return of_distances(to_b, area_a * scale[0], to_a, area_b * scale[1])


def of_distances(*parts: npt.NDArray[np.float64]) -> Triple:
    """HD95 (the larger of the two directions) and NSDs of distances with areas."""
    to_b, area_a, to_a, area_b = parts

    def quantile(distances: npt.NDArray[np.float64], areas: npt.NDArray[np.float64]) -> float:
        order = np.argsort(distances)
        share = np.cumsum(areas[order]) / areas.sum()
        return float(distances[order][min(np.searchsorted(share, 0.95), len(order) - 1)])

    def nsd(tolerance: float) -> float:
        close = area_a[to_b <= tolerance].sum() + area_b[to_a <= tolerance].sum()
        return float(close / (area_a.sum() + area_b.sum()))

    return max(quantile(to_b, area_a), quantile(to_a, area_b)), nsd(1), nsd(2)


def by_package(a: Mask, b: Mask, spacing: Spacing) -> Triple:
    """What nnunet_spine makes of its tool."""
    from nnunet_spine.evaluation.surfaces import surface_measures

    found = surface_measures(a, b, spacing)
    return found.hd95_mm, found.nsd_1mm, found.nsd_2mm


def by_surface_distance(a: Mask, b: Mask, spacing: Spacing) -> Triple:
    """DeepMind's surface-distance."""
    import surface_distance as tool

    found = tool.compute_surface_distances(a, b, spacing)
    nsds = [float(tool.compute_surface_dice_at_tolerance(found, t)) for t in (1.0, 2.0)]
    return float(tool.compute_robust_hausdorff(found, 95)), nsds[0], nsds[1]


def _monai(a: Mask, b: Mask, spacing: Spacing, *, subvoxels: bool) -> Triple:
    import torch
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.surface_dice import compute_surface_dice

    p, r = (torch.from_numpy(m[None, None].astype(np.float32)) for m in (b, a))
    hd = compute_hausdorff_distance(p, r, include_background=True, percentile=95, spacing=spacing)
    nsds = [
        compute_surface_dice(p, r, [t], include_background=True, spacing=spacing, use_subvoxels=subvoxels).item()
        for t in (1.0, 2.0)
    ]
    return hd.item(), nsds[0], nsds[1]


def by_monai(a: Mask, b: Mask, spacing: Spacing) -> Triple:
    """MONAI's defaults: every border voxel counts the same."""
    return _monai(a, b, spacing, subvoxels=False)


def by_monai_subvoxels(a: Mask, b: Mask, spacing: Spacing) -> Triple:
    """MONAI with use_subvoxels for NSD."""
    return _monai(a, b, spacing, subvoxels=True)


def by_panoptica(a: Mask, b: Mask, spacing: Spacing) -> Triple:
    """Panoptica: both directions in one list."""
    from panoptica.metrics.hausdorff_distance import _compute_hausdorff_distance95
    from panoptica.metrics.normalized_surface_dice import _compute_normalized_surface_dice as nsd

    hd = float(_compute_hausdorff_distance95(a, b, voxelspacing=spacing))
    return hd, *[float(nsd(a, b, voxelspacing=spacing, threshold=t)) for t in (1.0, 2.0)]  # type: ignore[return-value]


def by_simpleitk(a: Mask, b: Mask, spacing: Spacing) -> Triple:
    """SimpleITK's recipe: LabelContour and a Maurer distance map."""
    images = [sitk.GetImageFromArray(m.astype(np.uint8)) for m in (a, b)]
    for image in images:
        image.SetSpacing(spacing[::-1])
    contours = [sitk.GetArrayFromImage(sitk.LabelContour(i)) > 0 for i in images]
    maps = [
        np.abs(sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(i, squaredDistance=False, useImageSpacing=True)))
        for i in images
    ]
    to_b, to_a = maps[1][contours[0]], maps[0][contours[1]]
    return of_distances(to_b, np.ones(to_b.size), to_a, np.ones(to_a.size))


TOOLS: dict[str, Tool] = {
    "nnunet_spine": by_package,
    "surface-distance": by_surface_distance,
    "MONAI": by_monai,
    "MONAI, subvoxels": by_monai_subvoxels,
    "panoptica": by_panoptica,
    "SimpleITK": by_simpleitk,
}


def pairs(number: int) -> Iterator[tuple[Spacing, Ellipsoid, Ellipsoid]]:
    """Random pairs that overlap more or less."""
    for seed in range(number):
        random = np.random.default_rng(seed)
        centre, radii = EXTENT_MM / 2 + random.uniform(-4, 4, 3), random.uniform(4, 14, 3)
        moved = Ellipsoid(centre + random.normal(0, 2, 3), radii * random.uniform(0.7, 1.3, 3))
        yield SPACINGS_MM[seed % len(SPACINGS_MM)], Ellipsoid(centre, radii), moved


def installed() -> dict[str, Tool]:
    """Tools that can be imported."""
    found, mask = {}, np.zeros((5, 5, 5), bool)
    mask[1:3, 1:3, 1:3] = True
    for name, tool in TOOLS.items():
        try:
            tool(mask, mask, (1.0, 1.0, 1.0))
            found[name] = tool
        except ImportError:
            print(f"{name} is not installed")
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=60)
    number = parser.parse_args().pairs
    warnings.filterwarnings("ignore")
    tools = installed()
    errors: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in tools}
    seconds = dict.fromkeys(tools, 0.0)
    for spacing, one, other in pairs(number):
        expected = np.array(truth(one, other))
        a, b = one.mask(spacing), other.mask(spacing)
        for name, tool in tools.items():
            started = time.perf_counter()
            errors[name].append(np.array(tool(a, b, spacing)) - expected)
            seconds[name] += time.perf_counter() - started
    print(
        "| tool | HD95, mm: mean error, mean absolute, worst | NSD 1 mm | NSD 2 mm | ms a case |\n|---|---|---|---|---|"
    )
    for name, rows in errors.items():
        table = np.array(rows)
        cells = [f"{c.mean():+.2f}, {np.abs(c).mean():.2f}, {np.abs(c).max():.2f}" for c in table.T]
        print(f"| {name} | {' | '.join(cells)} | {seconds[name] / number * 1000:.0f} |")
    print("\nHD95 of a lesion that was found exactly, with a small stray component 200 mm away:")
    a, b = stray_pair()
    for name, tool in tools.items():
        print(f"| {name} | {tool(a, b, (4.0, 1.0, 1.0))[0]:.1f} mm |")


def stray_pair() -> tuple[Mask, Mask]:
    """A box, and the same box with a small one 200 mm away."""
    reference = np.zeros((10, 40, 260), bool)
    reference[3:7, 10:30, 10:30] = True
    prediction = reference.copy()
    prediction[4:6, 15:21, 230:237] = True
    return reference, prediction


if __name__ == "__main__":
    main()
