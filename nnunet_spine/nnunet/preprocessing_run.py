"""Preprocessing of a whole data set: case by case, only what is missing, each case complete or not at all."""

from __future__ import annotations

import glob
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_spine.errors import BadInput, NnunetSpineError, NotWritable, WorkFailed
from nnunet_spine.files import (
    make_folder,
    read_object,
    remove_abandoned,
    replacing,
    sha256,
    system_reason,
    write_json,
    write_on,
)
from nnunet_spine.images import check_complete, read_volume, write_volume
from nnunet_spine.locks import sole_writer
from nnunet_spine.manifest import make_manifest
from nnunet_spine.nnunet.environment import CONFIGURATION, PLANS_NAME, Workspace, allocated_cpus, is_trusted
from nnunet_spine.nnunet.orientation import PREPROCESSOR_NAME, axes_of, of_our_plans, stored_grid, survey, turned
from nnunet_spine.nnunet.plans_check import check_configuration, find_plans, read_dataset_json
from nnunet_spine.nnunet.raw_cases import raw_cases
from nnunet_spine.preprocessing.pipeline import SETTINGS_KEY, IntensitySettings
from nnunet_spine.progress import Progress, silent
from nnunet_spine.protocol import Departure, departures
from nnunet_spine.worker_processes import prepare_processes, worker_pool

PARTS = (".b2nd", "_seg.b2nd", ".pkl")
"""Files of a preprocessed case; the last one is moved into place last, so a case that has it is complete."""

WORKER_IMPORTS = ("nnunet_spine.nnunet.preprocessor", "nibabel")
"""The modules whose imports the worker processes share."""

REFERENCES = "gt_segmentations"
"""Folder of the references, as nnU-Net's validation wants them."""

MOST_NAMED = 5

_PART = re.compile(r".+\.(b2nd|pkl|npz|npy)")
"""Names of the files that nnU-Net and this package write for a case."""


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
    BadInput, NotFound
        If plans or data set are absent or cannot be used, or a case cannot be preprocessed; the case is named.
    NotWritable
        If another process preprocesses by these plans, their folder holds what preprocessing did not put there, or the
        disk is full.
    WorkFailed
        If a worker process is ended from outside, as when memory runs out.
    """
    name = workspace.dataset_name(dataset)
    folder = workspace.preprocessed / name
    plans_file = folder / f"{plans_name}.json"
    plans = find_plans(folder, plans_name, dataset, trusted=is_trusted())
    settings = check_configuration(plans, configuration, str(plans_file), trusted=is_trusted())
    dataset_json = read_dataset_json(folder / "dataset.json")
    different = _departures(settings)
    cases = raw_cases(workspace.raw / name)
    workspace.apply()
    output = folder / settings["data_identifier"]
    _check_place(output)
    with sole_writer(output):
        prepare_processes(*WORKER_IMPORTS, keep_memory=True)  # they get ready while files are hashed
        state_file = folder / f"{output.name}_manifest.json"
        state = read_object(state_file) if state_file.is_file() else None
        ours = settings["preprocessor_name"] == PREPROCESSOR_NAME
        if output.is_dir():
            _check_content(output, state, plans_name, f"{plans_name}_{configuration}" if ours else None)
        hashes = {case: sha256(image) + sha256(label) for case, (image, label) in cases.items()}
        axes = of_our_plans(plans).axes if ours else None
        parameters = {"plans": plans_name, "configuration": settings, "orientation": axes}
        made_so = state is not None and _is_made_so(state, parameters, [image for image, _ in cases.values()])
        kept = _sound_cases(output, state, hashes) if state is not None and made_so else []
        missing = [case for case in cases if case not in kept]
        make_folder(output)
        _remove_other(output, kept)
        # Written before the first case: whatever is then found complete was made by these settings from these files.
        if missing or state is None:
            manifest = make_manifest("preprocess", parameters=parameters, inputs=hashes, departures=different)
            write_json(state_file, manifest)
        _copy_references(cases, folder / REFERENCES, missing)
        work = _Work(plans, configuration, dataset_json)
        _run(work, output, {case: cases[case] for case in missing}, progress)
    return Preprocessed(output, tuple(missing), tuple(kept))


def _check_place(output: Path) -> None:
    """Refuse a folder that is a link, which is not to be followed, or has another purpose; `NotWritable`."""
    if output.is_symlink() or output.name == REFERENCES:
        what = "a link" if output.is_symlink() else "the folder of references"
        raise NotWritable(f"{output} is {what}, and preprocessed cases need a folder of their own. {_OTHER_PLACE}")


def _check_content(output: Path, state: Mapping[str, Any] | None, plans_name: str, own_name: str | None) -> None:
    """Check that a folder may be emptied of its cases: they are of these plans, and there is nothing else.

    Parameters
    ----------
    output
        The folder.
    state
        Its manifest, or None.
    plans_name
        Name of the plans.
    own_name
        Name that nnU-Net's own command gives to the folder if it preprocesses by plans of this package, which writes no
        manifest; None for plans of nnU-Net.

    Raises
    ------
    NotWritable
        If it holds anything that preprocessing by these plans did not put there.
    """
    found = sorted(path for path in output.iterdir() if not path.name.startswith("."))
    strays = [path.name for path in found if path.is_symlink() or not path.is_file() or not _PART.fullmatch(path.name)]
    if strays:
        more = f" and {len(strays) - MOST_NAMED} more" if len(strays) > MOST_NAMED else ""
        raise NotWritable(
            f"{output} holds what is no preprocessed case: {', '.join(strays[:MOST_NAMED])}{more}. Nothing was "
            f"removed. Move it away. {_OTHER_PLACE}"
        )
    if found and not (output.name == own_name if state is None else _is_of(state, plans_name)):
        raise NotWritable(
            f"{output} holds cases that were not made by `nnunet-spine preprocess` of the plans {plans_name}. Nothing "
            f"was removed. Remove the folder if you do not need it. {_OTHER_PLACE}"
        )


_OTHER_PLACE = "`data_identifier` in the plans names the folder."


def _is_of(state: Mapping[str, Any], plans_name: str) -> bool:
    """Whether a manifest is that of cases of these plans."""
    parameters = state.get("parameters")
    return state.get("step") == "preprocess" and isinstance(parameters, dict) and parameters.get("plans") == plans_name


def _is_made_so(state: Mapping[str, Any], parameters: Mapping[str, Any], images: Sequence[Path]) -> bool:
    """Whether the manifest of earlier cases is of these settings.

    That of version 0.1 names no orientation: its cases are as they are stored.
    """
    earlier, axes = state.get("parameters"), parameters["orientation"]
    if not isinstance(earlier, dict):
        return False
    if axes is not None and "orientation" not in earlier and set(survey(images).axes) != {axes}:
        return False
    return bool(
        earlier.get("configuration") == parameters["configuration"] and earlier.get("orientation", axes) == axes
    )


def _departures(configuration: dict[str, Any]) -> list[Departure]:
    """What the intensity settings of a configuration differ in from the protocol; nothing where it has none of ours."""
    if SETTINGS_KEY not in configuration:
        return []
    return departures(IntensitySettings.from_json(configuration[SETTINGS_KEY]).protocol_values())


def _sound_cases(output: Path, state: Mapping[str, Any], hashes: Mapping[str, str]) -> list[str]:
    """Cases that are complete and were made from these files."""
    inputs = state.get("inputs")
    made = inputs if isinstance(inputs, dict) else {}
    return [
        case
        for case, content in hashes.items()
        if made.get(case) == content and all((output / f"{case}{part}").is_file() for part in PARTS)
    ]


def _remove_other(output: Path, kept: Sequence[str]) -> None:
    """Remove all cases but the kept ones: nnU-Net trains on what it finds. `_check_content` has seen what is there."""
    wanted = {f"{case}{part}" for case in kept for part in PARTS}
    for path in output.iterdir():
        if _PART.fullmatch(path.name) and path.name not in wanted:
            path.unlink()


def _copy_references(cases: dict[str, tuple[Path, Path]], folder: Path, changed: list[str]) -> None:
    """Copy the references that are not there, or whose case changed, in the order of axes of their images.

    nnU-Net compares them with predictions voxel by voxel, and those are in the order of the image.
    """
    if folder.is_symlink():
        raise NotWritable(f"{folder} is a link, and references are written into it. Put a folder there.")
    make_folder(folder)
    for case, (image, reference) in cases.items():
        copy = folder / f"{case}.nii.gz"
        if case not in changed and copy.is_file():
            continue
        axes, drawn = (axes_of(stored_grid(path)) for path in (image, reference))
        if axes != drawn:
            write_volume(copy, turned(read_volume(reference), axes))
            continue
        with replacing(copy) as temporary:
            shutil.copyfile(reference, temporary)


@dataclass(frozen=True)
class _Work:
    """What a worker process preprocesses by: plans that were read once, whatever becomes of their file meanwhile."""

    plans: dict[str, Any]
    configuration: str
    dataset_json: dict[str, Any]


def _run(work: _Work, output: Path, cases: dict[str, tuple[Path, Path]], progress: Progress) -> None:
    remove_abandoned(output)
    try:
        staging = Path(tempfile.mkdtemp(prefix=f".{output.name}.partial.", dir=output.parent))
    except OSError as error:
        raise NotWritable(f"Cannot write {output}: {system_reason(error)}. {_SPACE}") from error
    try:
        with worker_pool(min(allocated_cpus(), len(cases) or 1)) as pool:
            jobs = {
                pool.submit(_preprocess_case, work, staging / case, image, label): case
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


def _preprocess_case(work: _Work, output: Path, image: Path, label: Path) -> None:
    """Preprocess one case in a worker; the case is named if it fails."""
    import torch
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from nnunet_spine.nnunet.configuration import adopt

    torch.set_num_threads(1)
    plans = PlansManager(work.plans)
    settings = plans.get_configuration(work.configuration)
    adopt(plans, settings)
    preprocessor = settings.preprocessor_class(verbose=False)
    try:
        if settings.preprocessor_name != PREPROCESSOR_NAME:  # ours looks at its files itself
            for path in (image, label):
                check_complete(path)
        with _whole_parts(output):
            preprocessor.run_case_save(str(output), [str(image)], str(label), plans, settings, work.dataset_json)
    except MemoryError:
        raise WorkFailed(
            f"{output.name} cannot be preprocessed: there is not enough memory. Use fewer CPUs or a larger machine."
        ) from None
    except (NnunetSpineError, RuntimeError) as error:
        raise BadInput(f"{output.name} cannot be preprocessed: {error}") from None
    except OSError as error:
        raise NotWritable(
            f"{output.name} cannot be preprocessed: its files cannot be written ({system_reason(error)}). The finished "
            f"cases are kept. {_SPACE}"
        ) from None


@contextmanager
def _whole_parts(case: Path) -> Iterator[None]:
    """Raise the system's reason, an `OSError`, if a file of a case breaks off: blosc2 raises an error without one."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, NnunetSpineError):
            for path in case.parent.glob(f"{glob.escape(case.name)}*.b2nd"):
                write_on(path)
        raise


_SPACE = "Free space, or work on another disk, and run the command again."
