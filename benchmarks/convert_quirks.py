"""What this package, dcm2niix and dicom2nifti make of series that are not plain: real files with known voxels.

Usage: convert_quirks.py

Prints a Markdown table. For each tool: the volumes that it made, and the share of the voxels that the series holds
which any of them has with the right displayed value (rescale applied) at the right place; or that it refused.
"""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dicom2nifti.convert_dicom
import nibabel
import numpy as np
import numpy.typing as npt
from measuring import BESIDE
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from nnunet_spine.dataset_conversion.dicom_grouping import group_files
from nnunet_spine.dataset_conversion.dicom_reading import read_series
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.series_parts import parts_of

TESTS = Path(__file__).parents[1] / "tests" / "unit" / "dataset_conversion"
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
OBLIQUE = (0.1736481776669303, 0.984807753012208, 0.0, 0.0, 0.0, -1.0)
SHAPE = (6, 64, 40)
Array = npt.NDArray[Any]
Found = list[tuple[Array, Array]]
"""Volumes: voxels (x, y, z) and the affine to RAS in mm."""


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.parent.name, path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules[path.parent.name] = module
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


make, sources = _module(TESTS / "conftest.py"), _module(TESTS / "sources" / "conftest.py")


@dataclass(frozen=True)
class Quirk:
    """Datasets of one series, and what they show: plans with their displayed values, NaN where a slice is not there.

    `by` gives how far each slice lies from its place in the plan, in mm.
    """

    datasets: list[Any]
    truth: list[tuple[Any, Array]]
    by: Callable[[int], Array] = lambda _: np.zeros(3)


def plan_of(seed: int = 3, **options: Any) -> Any:
    """A plan of slices that a tool finds complete."""
    tags = {"RepetitionTime": 600.0, "EchoTime": 10.0, "PatientPosition": "HFS", **options.pop("tags", {})}
    return make.SeriesPlan(make.asymmetric(SHAPE, seed), tags=tags, **options)


def plain(**options: Any) -> Quirk:
    """One volume."""
    plan = plan_of(**options)
    scale, offset = plan.rescale or (1.0, 0.0)
    return Quirk(make.datasets_of(plan), [(plan, plan.array * scale + offset)])


def compressed(syntax: Any) -> Quirk:
    """One volume in a transfer syntax."""
    quirk = plain()
    for dataset in quirk.datasets:
        dataset.compress(syntax, generate_instance_uid=False)
    return quirk


def without(number: int) -> Quirk:
    """A slice is missing."""
    quirk = plain()
    del quirk.datasets[number]
    plan, values = quirk.truth[0]
    left = values.astype(float)
    left[number] = np.nan
    return Quirk(quirk.datasets, [(plan, left)])


def moved(by: Callable[[int], Array]) -> Quirk:
    """Slices away from where even spacing puts them."""
    quirk = plain()
    for number, dataset in enumerate(quirk.datasets):
        dataset.ImagePositionPatient = list(quirk.truth[0][0].point(number, 0, 0) + by(number))
    return Quirk(quirk.datasets, quirk.truth, by)


def together(*plans: Any) -> Quirk:
    """Volumes under one Series Instance UID."""
    groups = [make.datasets_of(plan) for plan in plans]
    for number, dataset in enumerate(one for group in groups for one in group):
        dataset.SeriesInstanceUID, dataset.InstanceNumber = groups[0][0].SeriesInstanceUID, number + 1
        dataset.FrameOfReferenceUID = groups[0][0].FrameOfReferenceUID
    return Quirk([one for group in groups for one in group], [(plan, plan.array.astype(float)) for plan in plans])


def doubled() -> Quirk:
    """A slice is there twice, with other pixels the second time."""
    quirk = plain()
    again = make.datasets_of(plan_of(seed=8))[2]
    again.SeriesInstanceUID, again.InstanceNumber = quirk.datasets[0].SeriesInstanceUID, 7
    return Quirk([*quirk.datasets, again], quirk.truth)


def rescaled_by_slice(*, private: bool = False) -> Quirk:
    """Each slice has its own rescale; `private`: Philips's private scale, which differs as well."""
    plan = plan_of(tags={"Manufacturer": "Philips Medical Systems"})
    datasets = make.datasets_of(plan)
    slopes = 1.0 + np.arange(len(datasets)) / 4
    for dataset, slope in zip(datasets, slopes, strict=True):
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = slope, 0.0, "normalized"
        if private:
            block = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
            block.add_new(0x0D, "FL", 0.0)
            block.add_new(0x0E, "FL", 0.01 * slope)
    return Quirk(datasets, [(plan, plan.array * slopes[:, None, None])])


def enhanced(*echoes: float, own_rescale: bool = False) -> Quirk:
    """An Enhanced MR object of one volume for each echo time, frames shuffled."""
    plan = plan_of()
    frames = [
        {"slice": k, "echo": echo, "add": 100 * n, "slope": 1 + k / 4 if own_rescale else 1.0, "intercept": 0.0}
        for n, echo in enumerate(echoes)
        for k in range(len(plan.array))
    ]
    order = [int(i) for i in np.random.default_rng(1).permutation(len(frames))]
    slopes = 1 + np.arange(len(plan.array))[:, None, None] / 4 if own_rescale else 1.0
    truth = [(plan, (plan.array + 100 * n) * slopes) for n in range(len(echoes))]
    return Quirk([sources.enhanced_dataset(plan, frames=frames, order=order)], truth)


QUIRKS: dict[str, Callable[[], Quirk]] = {
    "plain": plain,
    "oblique by 10 degrees": lambda: plain(cosines=OBLIQUE),
    "rescale of the series": lambda: plain(rescale=(2.5, -10.0)),
    "rescale of each slice": rescaled_by_slice,
    "the same, and Philips's private scale": lambda: rescaled_by_slice(private=True),
    "JPEG-LS": lambda: compressed(JPEGLSLossless),
    "JPEG 2000": lambda: compressed(JPEG2000Lossless),
    "RLE": lambda: compressed(RLELossless),
    "Enhanced, frames shuffled": lambda: enhanced(10.0),
    "Enhanced, rescale of each frame": lambda: enhanced(10.0, own_rescale=True),
    "Enhanced, two echoes": lambda: enhanced(10.0, 90.0),
    "two echoes in a series": lambda: together(plan_of(1), plan_of(2, tags={"EchoTime": 90.0})),
    "two time points in a series": lambda: together(
        plan_of(1, tags={"TemporalPositionIdentifier": 1}), plan_of(2, tags={"TemporalPositionIdentifier": 2})
    ),
    "two stations in a series": lambda: together(plan_of(1), plan_of(2, origin=(-8.0, -60.0, -60.0))),
    "sagittal and axial in a series": lambda: together(plan_of(1), plan_of(2, cosines=(1, 0, 0, 0, 1, 0))),
    "an inner slice missing": lambda: without(3),
    "a place with two slices": doubled,
    "uneven gaps (one slice off by 1.5 of 4 mm)": lambda: moved(lambda k: np.array([1.5 * (k == 3), 0, 0])),
    "slices shifted within their plane (20 degrees)": lambda: moved(lambda k: np.array([0, 1.456 * k, 0])),
}


def ours(folder: Path, _: Path) -> Found | str:
    """Volumes of this package, or why it refused."""
    (series,) = group_files(folder, folder.iterdir()).series
    found = []
    try:
        for part in parts_of(series):
            volume = read_series(part.files, part.frames).volume
            found.append((np.transpose(volume.array), TO_RAS @ volume.geometry.affine_lps()))
    except Unusable as unusable:
        return f"refused: {unusable.found}"
    return found


def by_dcm2niix(folder: Path, output: Path) -> Found | str:
    """Volumes of dcm2niix."""
    subprocess.run([BESIDE / "dcm2niix", "-z", "y", "-o", output, folder], check=False, capture_output=True)
    return volumes_in(output)


def by_dicom2nifti(folder: Path, output: Path) -> Found | str:
    """Volumes of dicom2nifti, or the name of what it raised."""
    try:
        dicom2nifti.convert_dicom.dicom_series_to_nifti(str(folder), str(output / "1.nii.gz"), reorient_nifti=False)
    except Exception as failure:  # noqa: BLE001 - whatever it raises is what it makes of the series
        return f"refused: {str(failure).splitlines()[0][:60] or type(failure).__name__}"
    return volumes_in(output)


def volumes_in(folder: Path) -> Found | str:
    """All volumes of a folder, those of four dimensions taken apart."""
    found: Found = []
    for path in sorted(folder.glob("*.nii.gz")):
        image: Any = nibabel.load(path)
        array = np.asarray(image.dataobj, dtype=float)
        parts = [array] if array.ndim == 3 else [array[..., n] for n in range(array.shape[3])]
        found += [(part, image.affine) for part in parts]
    return found or "nothing written"


def right_share(found: Found, quirk: Quirk) -> float:
    """Share of the true voxels that any volume has, by value and place."""
    right = total = 0
    for plan, values in quirk.truth:
        places = np.array([plan.point(*index) + quirk.by(index[0]) for index in np.ndindex(*values.shape)])
        has = np.zeros(values.size, bool)
        for array, affine in found:
            index = np.linalg.inv(affine) @ TO_RAS @ np.vstack([places.T, np.ones(len(places))])
            nearest = np.rint(index[:3]).astype(int)
            on = (np.abs(index[:3] - nearest) < 0.05).all(axis=0)
            on &= ((nearest >= 0) & (nearest < np.array(array.shape)[:, None])).all(axis=0)
            taken = np.full(values.size, np.nan)
            taken[on] = array[tuple(nearest[:, on])]
            has |= np.isclose(taken, values.ravel(), rtol=1e-4, atol=1e-2)
        right, total = right + int(has.sum()), total + int(np.isfinite(values).sum())
    return right / total


def main() -> None:
    """Print the table."""
    logging.disable(logging.CRITICAL)
    print("| series | this | dcm2niix | dicom2nifti |\n|---|---|---|---|")
    for name, write in QUIRKS.items():
        quirk = write()
        cells = []
        with tempfile.TemporaryDirectory() as scratch:
            make.write_datasets(Path(scratch) / "series", quirk.datasets, seed=7)
            for tool in (ours, by_dcm2niix, by_dicom2nifti):
                output = Path(scratch) / tool.__name__
                output.mkdir()
                found = tool(Path(scratch) / "series", output)
                if isinstance(found, str):
                    cells.append(found)
                else:
                    shapes = ", ".join("x".join(map(str, array.shape)) for array, _ in found)
                    cells.append(f"{shapes}: {100 * right_share(found, quirk):.0f} %")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
