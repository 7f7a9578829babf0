"""Preprocessing of a whole data set: case by case, only what is missing, each case complete or not at all."""

from __future__ import annotations

import shutil
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_spine.cases import CHANNEL
from nnunet_spine.errors import BadInput, NnunetSpineError, NotFound, WorkFailed
from nnunet_spine.files import make_folder, read_json, replacing, sha256, write_json
from nnunet_spine.images import check_complete
from nnunet_spine.manifest import make_manifest
from nnunet_spine.nnunet.environment import CONFIGURATION, PLANS_NAME, Workspace, allocated_cpus
from nnunet_spine.preprocessing.pipeline import SETTINGS_KEY, IntensitySettings
from nnunet_spine.progress import Progress, silent
from nnunet_spine.protocol import Departure, departures
from nnunet_spine.worker_processes import prepare_processes, worker_pool

PARTS = (".b2nd", "_seg.b2nd", ".pkl")
"""Files of a preprocessed case; the last one is moved into place last, so a case that has it is complete."""

WORKER_IMPORTS = "nnunet_spine.nnunet.preprocessor"
"""The module whose imports the worker processes share."""


@dataclass(frozen=True)
class Preprocessed:
    """Result of preprocessing a data set.

    Parameters
    ----------
    folder
        Where the preprocessed cases are.
    done, kept
        Cases that were preprocessed now, and that were there already.
    """

    folder: Path
    done: tuple[str, ...]
    kept: tuple[str, ...]


def preprocess_dataset(
    dataset: str,
    workspace: Workspace,
    *,
    plans_name: str = PLANS_NAME,
    configuration: str = CONFIGURATION,
    progress: Progress = silent,
) -> Preprocessed:
    """Preprocess every case that is missing, and copy the references to where nnU-Net's validation wants them.

    Cases that were made by other settings, or from another image, are made anew.

    Parameters
    ----------
    dataset
        Number or full name of the data set.
    workspace
        nnU-Net's folders.
    plans_name, configuration
        Which plans to follow.
    progress
        Told of each case.

    Raises
    ------
    BadInput, NotFound, NotWritable
        Where the plans or the data set are absent, or a case cannot be preprocessed; the case is named.
    WorkFailed
        Where a worker process is ended from outside, as for want of memory.
    """
    name = workspace.dataset_name(dataset)
    folder = workspace.preprocessed / name
    plans_file = folder / f"{plans_name}.json"
    if not plans_file.is_file():
        raise NotFound(f"There are no plans {plans_file}. Make them with `nnunet-spine plan {dataset}`.")
    plans = read_json(plans_file)
    configurations = plans.get("configurations", {})
    if configuration not in configurations:
        raise BadInput(
            f"{plans_file} has no configuration {configuration}; it has {', '.join(configurations) or 'none'}."
        )
    workspace.apply()
    prepare_processes(WORKER_IMPORTS, keep_memory=True)  # they get ready while files are hashed
    output = make_folder(folder / configurations[configuration]["data_identifier"])
    state_file = folder / f"{output.name}_manifest.json"
    cases = _raw_cases(workspace.raw / name)
    hashes = {case: sha256(image) + sha256(label) for case, (image, label) in cases.items()}
    kept = _sound_cases(output, state_file, configurations[configuration], hashes)
    missing = [case for case in cases if case not in kept]
    _remove_other(output, kept)
    # Written before the first case: whatever is then found complete was made by these settings from these files.
    if missing or not state_file.is_file():
        parameters = {"plans": plans_name, "configuration": configurations[configuration]}
        different = _departures(configurations[configuration])
        write_json(state_file, make_manifest("preprocess", parameters=parameters, inputs=hashes, departures=different))
    _copy_references(cases, folder / "gt_segmentations", missing)
    _run(plans_file, configuration, folder / "dataset.json", output, {case: cases[case] for case in missing}, progress)
    return Preprocessed(output, tuple(missing), tuple(kept))


def _departures(configuration: dict[str, Any]) -> list[Departure]:
    """What the intensity settings of a configuration differ in from the protocol; nothing where it has none of ours."""
    if SETTINGS_KEY not in configuration:
        return []
    return departures(IntensitySettings.from_json(configuration[SETTINGS_KEY]).protocol_values())


def _raw_cases(raw: Path) -> dict[str, tuple[Path, Path]]:
    """Image and reference of each training case, by its identifier."""
    cases = {}
    for image in sorted((raw / "imagesTr").glob(f"*{CHANNEL}.nii.gz")):
        case = image.name.removesuffix(f"{CHANNEL}.nii.gz")
        label = raw / "labelsTr" / f"{case}.nii.gz"
        if not label.is_file():
            raise NotFound(f"{case} has an image but no reference {label}. Convert again, or remove the image.")
        cases[case] = (image, label)
    if not cases:
        raise NotFound(
            f"There is no training image in {raw / 'imagesTr'}. Make the data set with `nnunet-spine convert`."
        )
    return cases


def _sound_cases(output: Path, state_file: Path, configuration: dict[str, Any], hashes: dict[str, str]) -> list[str]:
    """Cases that are complete and were made by these settings from these files."""
    if not state_file.is_file():
        return []
    state = read_json(state_file)
    if state["parameters"]["configuration"] != configuration:
        return []
    return [
        case
        for case, content in hashes.items()
        if state["inputs"].get(case) == content and all((output / f"{case}{part}").is_file() for part in PARTS)
    ]


def _remove_other(output: Path, kept: list[str]) -> None:
    """Remove everything but the kept cases: nnU-Net takes every file in the folder for a case."""
    wanted = {f"{case}{part}" for case in kept for part in PARTS}
    for path in output.iterdir():
        if path.name not in wanted:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _copy_references(cases: dict[str, tuple[Path, Path]], folder: Path, changed: list[str]) -> None:
    """Copy the references that are not there, or whose case changed."""
    make_folder(folder)
    for case, (_, reference) in cases.items():
        copy = folder / f"{case}.nii.gz"
        if case in changed or not copy.is_file():
            with replacing(copy) as temporary:
                shutil.copyfile(reference, temporary)


def _run(
    plans_file: Path,
    configuration: str,
    dataset_json: Path,
    output: Path,
    cases: dict[str, tuple[Path, Path]],
    progress: Progress,
) -> None:
    staging = make_folder(output.parent / f".{output.name}.partial")
    try:
        with worker_pool(min(allocated_cpus(), len(cases) or 1)) as pool:
            jobs = {
                pool.submit(
                    _preprocess_case, plans_file, configuration, dataset_json, staging / case, image, label
                ): case
                for case, (image, label) in cases.items()
            }
            try:
                for number, job in enumerate(as_completed(jobs), start=1):
                    job.result()
                    for part in PARTS:
                        (staging / f"{jobs[job]}{part}").replace(output / f"{jobs[job]}{part}")
                    progress(number, len(jobs), jobs[job])
            except BrokenProcessPool as error:
                raise WorkFailed(
                    "A worker process was ended from outside, most often for want of memory. The finished cases are "
                    "kept: run the command again, with fewer CPUs or more memory."
                ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _preprocess_case(
    plans_file: Path, configuration: str, dataset_json: Path, output: Path, image: Path, label: Path
) -> None:
    """Preprocess one case in a worker; the case is named where it fails."""
    import torch
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from nnunet_spine.nnunet.configuration import adopt

    torch.set_num_threads(1)
    plans = PlansManager(str(plans_file))
    settings = plans.get_configuration(configuration)
    adopt(settings)
    preprocessor = settings.preprocessor_class(verbose=False)
    try:
        for path in (image, label):
            check_complete(path)
        preprocessor.run_case_save(str(output), [str(image)], str(label), plans, settings, read_json(dataset_json))
    except (NnunetSpineError, RuntimeError) as error:
        raise BadInput(f"{output.name} cannot be preprocessed: {error}") from None
