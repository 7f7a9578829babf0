"""Exports to convert: the package's phantoms as a hospital's archive writes them, of any size of image."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from nnunet_spine.phantoms.cohort import write_case
from nnunet_spine.phantoms.dicom_mr import series_datasets
from nnunet_spine.phantoms.dicom_seg import segmentation_dataset
from nnunet_spine.phantoms.identity import identity_of
from nnunet_spine.phantoms.model import CaseSpec, Series
from nnunet_spine.phantoms.sampling import sample_cohort
from nnunet_spine.phantoms.scene import AnalyticScene
from nnunet_spine.phantoms.study import acquire, reference_mask

SEED = 0


@dataclass(frozen=True)
class Size:
    """An export: cases, pixels along a side (0 as the phantoms have), slices, and whether it has the other series."""

    cases: int
    side: int = 0
    slices: int = 16
    only_wanted: bool = False


@dataclass(frozen=True)
class _Job:
    folder: Path
    case: CaseSpec
    only_wanted: bool


def write_export(folder: Path, size: Size) -> None:
    """Write an export; one that is there is left alone."""
    if folder.is_dir():
        return
    staging = folder.with_name(f".{folder.name}")
    staging.mkdir(parents=True)
    jobs = [_Job(staging, _sized(case, size), size.only_wanted) for case in sample_cohort(size.cases, SEED)]
    with ProcessPoolExecutor() as pool:
        list(pool.map(_write, jobs))
    staging.rename(folder)


def _sized(case: CaseSpec, size: Size) -> CaseSpec:
    """The case with the same field of view on another grid."""
    if not size.side:
        return case
    grid = case.grid
    thinner = grid.slices / size.slices
    return replace(
        case,
        grid=replace(
            grid,
            rows=size.side,
            columns=size.side,
            slices=size.slices,
            pixel_mm=grid.pixel_mm * max(grid.rows, grid.columns) / size.side,
            slice_spacing_mm=grid.slice_spacing_mm * thinner,
            slice_thickness_mm=grid.slice_thickness_mm * thinner,
        ),
    )


def _write(job: _Job) -> None:
    scene = AnalyticScene(job.case)
    if not job.only_wanted:
        write_case(job.folder, scene, SEED)
        return
    identity = identity_of(job.case, SEED)
    datasets = series_datasets(acquire(scene, Series.T1_POST), job.case, identity)
    reference = segmentation_dataset(datasets, reference_mask(scene.lesion_share()), job.case.lesion, identity)
    study = job.folder / job.case.patient / f"STUDY{job.case.study_number}"
    _save(study / "IMAGE", datasets)
    _save(study / "SEG", [reference])


def _save(folder: Path, datasets: Sequence[object]) -> None:
    folder.mkdir(parents=True)
    for number, dataset in enumerate(datasets, start=1):
        dataset.save_as(folder / f"IM{number:06d}", enforce_file_format=True)  # type: ignore[attr-defined]


def wanted_series(folder: Path) -> list[Path]:
    """Folders of the sagittal T1 after contrast of an export with all series: that which its SEG names."""
    import pydicom

    found = []
    for study in sorted(path for path in folder.glob("*/*") if path.is_dir()):
        reference = pydicom.dcmread(study / "SER0900" / "IM000001", stop_before_pixels=True)
        uid = reference.ReferencedSeriesSequence[0].SeriesInstanceUID
        for series in sorted(study.iterdir()):
            first = pydicom.dcmread(next(series.iterdir()), stop_before_pixels=True)
            if first.SeriesInstanceUID == uid:
                found.append(series)
    return found
