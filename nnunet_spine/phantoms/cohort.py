"""Writing a cohort as a hospital's DICOM export."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from nnunet_spine.cases import CASES_FILE, Split
from nnunet_spine.errors import BadInput, NotWritable, WorkFailed
from nnunet_spine.files import is_regular_file, read_json, staged_folder, write_csv
from nnunet_spine.manifest import MANIFEST_FILE, make_manifest, write_manifest
from nnunet_spine.phantoms.backgrounds import BackgroundSet, background_hashes, find_backgrounds, read_background
from nnunet_spine.phantoms.dicom_mr import series_datasets
from nnunet_spine.phantoms.dicom_seg import SEGMENTATION_SERIES, segmentation_dataset
from nnunet_spine.phantoms.identity import identity_of
from nnunet_spine.phantoms.implant import ImplantedScene
from nnunet_spine.phantoms.makers import MAKERS
from nnunet_spine.phantoms.model import CaseSpec, Series
from nnunet_spine.phantoms.sampling import sample_cohort
from nnunet_spine.phantoms.scene import AnalyticScene
from nnunet_spine.phantoms.study import Scene, acquire, reference_mask
from nnunet_spine.progress import Progress, silent

COHORT_COLUMNS = ("patient", "image", "reference", "compartment", "tumor_type", "split")
STEP = "phantoms"
GENERATOR = 1
"""Raised whenever the same seed gives other files."""

_MOST_CASES = 5000
_FEWEST_FOR_POOL = 6
_UNSPEAKABLE = 10**18
_FACTS = ("cases", "patients", "files", "megabytes", "smallest_ml", "largest_ml")
"""Fields of a summary that the manifest keeps."""


@dataclass(frozen=True)
class CohortSummary:
    """What was written, or was there already.

    Parameters
    ----------
    folder
        Root of the export, with `cases.csv`.
    cases, patients, files
        How many of each; files are DICOM files.
    megabytes
        Size of the DICOM files, in 10^6 bytes.
    smallest_ml, largest_ml
        Range of the reference volumes.
    already_there
        Whether an identical cohort was found and left alone.
    unused_backgrounds
        Why each volume of the background folder that was not used could not be.
    """

    folder: Path
    cases: int
    patients: int
    files: int
    megabytes: float
    smallest_ml: float
    largest_ml: float
    already_there: bool
    unused_backgrounds: tuple[str, ...] = ()


@dataclass(frozen=True)
class WrittenCase:
    """One study on disk.

    Parameters
    ----------
    row
        Its row of `cases.csv`.
    files, size_bytes
        Its DICOM files.
    volume_ml
        Volume of its reference.
    """

    row: dict[str, str]
    files: int
    size_bytes: int
    volume_ml: float


def write_cohort(
    output: Path, *, cases: int = 58, seed: int = 0, background: Path | None = None, progress: Progress = silent
) -> CohortSummary:
    """Write a synthetic cohort as DICOM, complete or not at all.

    Parameters
    ----------
    output
        Folder to create. One that holds the same cohort already is left alone.
    cases, seed
        Size of the cohort, and what it is drawn from.
    background
        Folder of real volumes to put the tumors into, instead of an analytic anatomy.
    progress
        Called after each case.

    Raises
    ------
    BadInput
        Where `cases` or `seed` cannot be, or `background` holds no usable volume.
    NotWritable
        Where `output` holds something else, or cannot be written.
    WorkFailed
        Where a worker process stops.
    """
    if not 1 <= cases <= _MOST_CASES:
        found = f"{cases}" if abs(cases) < _UNSPEAKABLE else "that many"
        raise BadInput(f"A cohort of {found} cases was asked for. Choose between 1 and {_MOST_CASES}.")
    if not 0 <= seed < _UNSPEAKABLE:
        raise BadInput(f"The seed must be a whole number from 0 to {_UNSPEAKABLE - 1}. Choose another one.")
    backgrounds = find_backgrounds(background) if background is not None else BackgroundSet((), ())
    parameters = {"generator": GENERATOR, "cases": cases, "seed": seed}
    inputs = background_hashes(backgrounds.paths)
    earlier = _earlier_cohort(output, parameters, inputs)
    if earlier is not None:
        return replace(earlier, unused_backgrounds=backgrounds.unused)
    summary = _staged(output, sample_cohort(cases, seed), backgrounds.paths, parameters, inputs, progress)
    return replace(summary, unused_backgrounds=backgrounds.unused)


def _staged(
    output: Path,
    specs: Sequence[CaseSpec],
    backgrounds: Sequence[Path],
    parameters: dict[str, Any],
    inputs: dict[str, str],
    progress: Progress,
) -> CohortSummary:
    try:
        with staged_folder(output) as staging:
            jobs = [_job(staging, case, parameters["seed"], backgrounds) for case in specs]
            written = _write_cases(jobs, progress)
            write_csv(staging / CASES_FILE, COHORT_COLUMNS, [case.row for case in written])
            summary = _summary(output, written)
            manifest = make_manifest(STEP, parameters=parameters, inputs=inputs)
            write_manifest(staging, {**manifest, "summary": _facts(summary)})
    except BrokenProcessPool as error:
        raise WorkFailed(
            "A worker process stopped before its case was written; nothing was kept. Usually memory ran out: run "
            "again on fewer CPUs (taskset -c 0 ...) or with more memory."
        ) from error
    except NotWritable:
        raise
    except OSError as error:
        raise NotWritable(f"Cannot write the cohort to {output}: {error.strerror or error}.") from error
    return summary


def _earlier_cohort(output: Path, parameters: dict[str, Any], inputs: dict[str, str]) -> CohortSummary | None:
    """Summary of the same cohort where `output` holds it, complete; None where there is nothing of a cohort."""
    path = output / MANIFEST_FILE
    if not is_regular_file(path):
        return None
    manifest = read_json(path)
    expected = {"step": STEP, "parameters": parameters, "inputs": inputs}
    if not isinstance(manifest, dict) or any(manifest.get(key) != value for key, value in expected.items()):
        raise NotWritable(
            f"{output} holds another cohort or something else: its {MANIFEST_FILE} does not name this one's "
            "number of cases, seed and background. Remove the folder, or choose another place."
        )
    facts = manifest.get("summary")
    found = sum(1 for file in output.rglob("IM*") if is_regular_file(file))
    if not isinstance(facts, dict) or not _are_facts(facts) or found != facts["files"]:
        raise NotWritable(
            f"{output} holds {found} DICOM files, which is not what its {MANIFEST_FILE} names: some were removed or "
            "added. Remove the folder and run again."
        )
    return CohortSummary(folder=output, already_there=True, **facts)


def _are_facts(facts: dict[str, Any]) -> bool:
    """Whether this is what `_facts` gave."""
    return set(facts) == set(_FACTS) and all(type(value) in (int, float) for value in facts.values())


def _facts(summary: CohortSummary) -> dict[str, Any]:
    return {name: getattr(summary, name) for name in _FACTS}


def _summary(output: Path, written: Sequence[WrittenCase]) -> CohortSummary:
    volumes = [case.volume_ml for case in written]
    return CohortSummary(
        folder=output,
        cases=len(written),
        patients=len({case.row["patient"] for case in written}),
        files=sum(case.files for case in written),
        megabytes=round(sum(case.size_bytes for case in written) / 1e6, 1),
        smallest_ml=round(min(volumes), 3),
        largest_ml=round(max(volumes), 3),
        already_there=False,
    )


@dataclass(frozen=True)
class _Job:
    folder: Path
    case: CaseSpec
    seed: int
    background: Path | None


def _job(folder: Path, case: CaseSpec, seed: int, backgrounds: Sequence[Path]) -> _Job:
    """A case with its background: all studies of a patient have the same one."""
    return _Job(folder, case, seed, backgrounds[case.patient_number % len(backgrounds)] if backgrounds else None)


def _write_cases(jobs: Sequence[_Job], progress: Progress) -> list[WrittenCase]:
    written = []
    for case in _each_written(jobs):
        written.append(case)
        progress(len(written), len(jobs), case.row["patient"])
    return written


def _each_written(jobs: Sequence[_Job]) -> Iterator[WrittenCase]:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cpus, len(jobs))
    if workers < 2 or len(jobs) < _FEWEST_FOR_POOL:
        yield from map(_write_job, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_write_job, jobs)


def _write_job(job: _Job) -> WrittenCase:
    scene: Scene
    if job.background is None:
        scene = AnalyticScene(job.case)
    else:
        scene = ImplantedScene(job.case, read_background(job.background))
    return write_case(job.folder, scene, job.seed)


def write_case(folder: Path, scene: Scene, seed: int) -> WrittenCase:
    """Write all series of one study, and its reference, below `folder`.

    Parameters
    ----------
    folder
        Root of the export.
    scene
        What is imaged.
    seed
        Seed of the cohort.
    """
    case = scene.case
    identity = identity_of(case, seed)
    study = folder / case.patient / ("STUDY" if case.study_number == 1 else f"STUDY{case.study_number}")
    datasets: dict[Series, list[Dataset]] = {
        series: series_datasets(acquire(scene, series), case, identity) for series in Series
    }
    mask = reference_mask(scene.lesion_share())
    segmentation = segmentation_dataset(datasets[Series.T1_POST], mask, case.lesion, identity)
    rng = np.random.default_rng([seed, case.number, 50])
    files: list[Path] = []
    folders = {}
    for series in Series:
        number = MAKERS[case.acquisition.maker].series[series].number
        folders[series] = study / f"SER{number:04d}"
        files += _save(folders[series], datasets[series], rng)
    files += _save(study / f"SER{SEGMENTATION_SERIES:04d}", [segmentation], rng)
    row = {
        "patient": case.patient,
        "image": folders[Series.T1_POST].relative_to(folder).as_posix(),
        "reference": files[-1].relative_to(folder).as_posix(),
        "compartment": case.lesion.compartment.value,
        "tumor_type": case.lesion.tumor_type,
        "split": Split.TRAIN.value,
    }
    volume_ml = float(mask.sum()) * scene.grid(Series.T1_POST).geometry.voxel_ml
    return WrittenCase(row, len(files), sum(file.stat().st_size for file in files), volume_ml)


def _save(folder: Path, datasets: Sequence[Dataset], rng: np.random.Generator) -> list[Path]:
    """Save under an archive's file names, whose order is at times not that of the instance numbers."""
    folder.mkdir(parents=True)
    order = rng.permutation(len(datasets)) if rng.random() < 0.3 else np.arange(len(datasets))
    paths = [folder / f"IM{place + 1:06d}" for place in order]
    for path, dataset in zip(paths, datasets, strict=True):
        dataset.save_as(path, enforce_file_format=True)
    return paths
