"""The places of a study: what it reads, where it may write, and that nothing in its output leads elsewhere.

A study file, and a folder with the output of one, may come from somebody else. What is refused here is refused before
anything is written. No message names the source, since its path may name a patient.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from nnunet_spine.errors import NnunetSpineError
from nnunet_spine.files import is_regular_file, make_folder, system_reason, write_text
from nnunet_spine.workflow.step_commands import evaluation_folder, fold_folder
from nnunet_spine.workflow.step_state import read_state
from nnunet_spine.workflow.study_settings import StudySettings
from nnunet_spine.workflow.study_steps import LOGS, RECORDS, STATES, read_record, steps_of

MARKER = ".nnunet_spine_study"
MARKER_TEXT = "This folder is the output of a study. `nnunet-spine run` writes here.\n"

ENGINE_FOLDER = ".snakemake"
EARLIER = "earlier"
OWN_FOLDERS = (RECORDS, STATES, LOGS, ENGINE_FOLDER, EARLIER, "models", "evaluation", "comparison", "report")
"""What a study makes in its output, beside nnU-Net's folders."""


def check_source(study: StudySettings) -> None:
    """Refuse a study whose source, or whose converted data set, is missing or cannot be read.

    Raises
    ------
    BadInput, NotFound
        If so, with the reason.
    """
    if study.source is None:
        name = study.dataset_name()
        if not is_regular_file(study.workspace().raw / name / "dataset.json"):
            raise study.refuse(
                "dataset",
                f"there is no raw data set {study.workspace().raw / name}. "
                "Name its folder's parent under root, or give a source to convert.",
            )
        return
    try:
        mode = study.source.stat().st_mode
    except FileNotFoundError as error:
        raise study.refuse(
            "source",
            f"there is no such file or folder{_twin(study.source)}. Check the path, which begins at the study file.",
        ) from error
    except OSError as error:
        raise study.refuse("source", f"it cannot be read: {system_reason(error)}. Check its permissions.") from error
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise study.refuse("source", "it is a device, a pipe or a socket. Name a folder, or a cases.csv.")
    if not os.access(study.source, os.R_OK | (os.X_OK if stat.S_ISDIR(mode) else 0)):
        raise study.refuse("source", "it cannot be read: Permission denied. Change its permissions.")


def _twin(path: Path) -> str:
    """What to say of a file whose name looks the same and is written with other characters of Unicode."""
    with suppress(OSError):
        wanted = unicodedata.normalize("NFC", path.name)
        if any(unicodedata.normalize("NFC", name) == wanted for name in os.listdir(path.parent)):  # noqa: PTH208
            return " (one whose name looks the same has its accents encoded in another way; rename it)"
    return ""


def check_places(study: StudySettings) -> None:
    """Refuse a study that would write into its source, read what it writes, or write where other files are.

    Raises
    ------
    BadInput
        If so; the key is named. Nothing was changed.
    """
    output, source = study.output, study.source
    for key, folder in (("output", output), ("root", study.root)):
        if folder is not None and source is not None and folder.is_relative_to(source):
            raise study.refuse(key, "it lies in the source, which is only read. Name a folder beside the source.")
    if source is not None and any(source.is_relative_to(output / name) for name in OWN_FOLDERS):
        raise study.refuse("source", "it lies in a folder that this study writes. Name another source or output.")
    shared = study.workspace()
    if any(output.is_relative_to(folder) for folder in (shared.raw, shared.preprocessed)):
        raise study.refuse("output", f"{output} lies in one of nnU-Net's own folders. Name a folder beside them.")
    _check_folder(study, "output", output, is_ours=_is_output)
    if study.root is not None and study.root != output:
        _check_folder(study, "root", study.root, is_ours=_is_workspace)
    for path in (output / name for name in OWN_FOLDERS):
        if os.path.lexists(path) and not path.is_symlink() and not path.is_dir():
            raise study.refuse("output", f"{path} is in the way of a folder of the study. Remove it.")
    for link in _links(study):
        raise study.refuse(
            "output",
            f"{link} is a link, and a study writes only into its own output. Nothing was changed. Put a folder there, "
            "or name another output.",
        )


def _check_folder(study: StudySettings, key: str, folder: Path, *, is_ours: Callable[[Path], bool]) -> None:
    """Refuse a folder that holds what is not ours, or that cannot be made or written."""
    if key == "root" and is_ours(folder):  # it may be read only, or the home folder
        return
    if is_system_folder(folder):
        raise study.refuse(key, f"{folder} is a folder of the system or your home folder. Name one below it.")
    try:
        names = set(os.listdir(folder))  # noqa: PTH208
    except FileNotFoundError:
        _check_creatable(study, key, folder)
        return
    except OSError as error:
        raise study.refuse(key, f"{folder} cannot be used: {system_reason(error)}. Name a folder.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise study.refuse(key, f"{folder} cannot be written. Change its permissions, or name another folder.")
    beside = study.file.parent.resolve()
    if names - {ENGINE_FOLDER} and not folder.is_relative_to(beside) and not is_ours(folder):
        raise study.refuse(
            key,
            f"{folder} holds files that {_OURS[key]}, and was left alone. Name a new or empty folder, or one below the "
            "study file's.",
        )


_OURS = {"output": "no study made", "root": "are not nnU-Net's (nnUNet_raw and nnUNet_preprocessed)"}


def is_system_folder(folder: Path) -> bool:
    """Whether a folder, links followed, is the root of the system, the home folder, or one above it."""
    try:
        home = Path.home().resolve()
    except (RuntimeError, OSError):
        home = Path(os.sep)
    return home.is_relative_to(folder)


def _check_creatable(study: StudySettings, key: str, folder: Path) -> None:
    parent = next(parent for parent in folder.parents if os.path.lexists(parent))
    if not os.access(parent, os.W_OK | os.X_OK):
        raise study.refuse(key, f"{parent} cannot be written, so that {folder} cannot be made. Name another folder.")


def _is_workspace(folder: Path) -> bool:
    """Whether a folder holds nnU-Net's."""
    return (folder / "nnUNet_raw").is_dir() or (folder / "nnUNet_preprocessed").is_dir()


def _is_output(folder: Path) -> bool:
    """Whether a study wrote this folder; older ones left no mark, but records and states."""
    return (
        is_regular_file(folder / MARKER)
        or any(read_record(path) is not None for path in (folder / RECORDS).glob("*.json"))
        or any(read_state(path) is not None for path in (folder / STATES).glob("*.json"))
    )


def _links(study: StudySettings) -> Iterator[Path]:
    """Links among what the study writes."""
    output = study.output
    places = {output / name for name in OWN_FOLDERS}
    for step in steps_of(study).values():
        places.add(output / EARLIER / step.name)
        if step.model is not None:
            places.add(evaluation_folder(study, step.model.label))
        if step.kind == "train":
            with suppress(NnunetSpineError):  # no data set yet
                places.add(fold_folder(step, study))
    parents = {parent for place in places for parent in place.parents if parent.is_relative_to(output)}
    yield from (place for place in sorted((places | parents) - {output}) if place.is_symlink())
    for name in (RECORDS, STATES, LOGS, ENGINE_FOLDER):
        for parent, folders, files in os.walk(output / name):
            yield from (path for entry in (*folders, *files) if (path := Path(parent, entry)).is_symlink())


def prepare_output(study: StudySettings) -> None:
    """Make and mark the study's output.

    Raises
    ------
    BadInput
        As for `check_places`.
    NotWritable
        If it cannot be written.
    """
    check_places(study)
    make_folder(study.output)
    if not is_regular_file(study.output / MARKER):
        write_text(study.output / MARKER, MARKER_TEXT)
