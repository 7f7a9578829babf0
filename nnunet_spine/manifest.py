"""Where an output came from: versions, protocol, seed, hashes of inputs, command, departures."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from nnunet_spine import __version__
from nnunet_spine.errors import BadInput
from nnunet_spine.files import is_regular_file, read_json, write_json
from nnunet_spine.json_entries import Entry, read_entry
from nnunet_spine.protocol import PROTOCOL, Departure, Origin, Protocol

MANIFEST_FILE = "manifest.json"
FOLLOWS_PROTOCOL = "follows_protocol"
"""Parameter of a training's manifest; false where nnU-Net's own method was trained."""

_REPORTED_PACKAGES = (
    "nnunetv2",
    "torch",
    "monai",
    "SimpleITK",
    "numpy",
    "scipy",
    "pydicom",
    "highdicom",
    "acvl-utils",
    "surface-distance",
)


def versions() -> dict[str, str]:
    """Versions of Python, this package and what its results depend on."""
    found = {"python": platform.python_version(), "nnunet_spine": __version__}
    for name in _REPORTED_PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def make_manifest(
    step: str,
    *,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, str] | None = None,
    departures: Iterable[Departure] = (),
    protocol: Protocol = PROTOCOL,
) -> dict[str, Any]:
    """Manifest of one step.

    Parameters
    ----------
    step
        The sub-command or step, such as "convert".
    parameters
        What the step was asked to do. Never a path of the source: it may carry a patient's name.
    inputs
        SHA-256 by the name of an input, names being ours.
    departures
        What differs from the protocol.
    protocol
        The protocol in force.
    """
    return {
        "step": step,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "command": [Path(sys.argv[0]).name, step],
        "parameters": dict(parameters),
        "inputs": dict(inputs or {}),
        "protocol": asdict(protocol),
        "departures": [asdict(departure) for departure in departures],
    }


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest into `folder`."""
    write_json(folder / MANIFEST_FILE, manifest)


def predicted_by(folder: Path) -> tuple[int | str, ...]:
    """Folds of the model that made the predictions in a folder, as their manifest says; empty without a manifest."""
    path = folder / MANIFEST_FILE
    content = read_json(path) if is_regular_file(path) else None
    parameters = content.get("parameters") if isinstance(content, dict) and content.get("step") == "predict" else None
    folds = parameters.get("folds") if isinstance(parameters, dict) else None
    return tuple(fold for fold in folds if type(fold) in (int, str)) if isinstance(folds, list) else ()


def recorded_departures(*folders: Path) -> list[Departure]:
    """Departures that the manifests of folders, and of the folds below them, record; each once.

    Parameters
    ----------
    folders
        Of predictions, evaluations, folds or trained models; one without a manifest of ours records none.

    Raises
    ------
    BadInput
        If a manifest of ours is not as this package writes it; file and key are named.
    """
    paths = [path for folder in folders for path in (folder / MANIFEST_FILE, *_manifests_of_folds(folder))]
    found = [departure for path in paths if is_regular_file(path) for departure in _departures_in(path)]
    return [departure for number, departure in enumerate(found) if departure not in found[:number]]


def recorded_step(folder: Path) -> str | None:
    """Step that the manifest of a folder names; None if there is no manifest, or one of another program."""
    path = folder / MANIFEST_FILE
    try:
        content = read_json(path) if is_regular_file(path) else None
    except BadInput:
        return None
    step = content.get("step") if isinstance(content, dict) else None
    return step if isinstance(step, str) else None


def recorded_inputs(folder: Path) -> dict[str, str]:
    """SHA-256 by the name of an input, as the manifest of a folder records them.

    Raises
    ------
    NotFound, BadInput
        If there is no manifest, or it is not as this package writes it; file and key are named.
    """
    inputs = read_entry(folder / MANIFEST_FILE, _REMEDY).get("inputs")
    return {name: entry.text() for name, entry in inputs.members().items()}


_REMEDY = "Give the folder as this package wrote it, or make it again."
_LONGEST_VALUE = 1000


def _departures_in(path: Path) -> list[Departure]:
    content = read_json(path)
    if not isinstance(content, dict) or "step" not in content:
        return []  # of another program
    return [_departure(entry) for entry in Entry(path, "", content, _REMEDY).get("departures").items()]


def _departure(entry: Entry) -> Departure:
    protocol, run = (_value(entry.get(name)) for name in ("protocol", "run"))
    return Departure(entry.get("name").name(), protocol, run, entry.get("origin").choice(Origin))


def _value(entry: Entry) -> Any:
    """A value of the protocol, of whatever kind, that a line can show."""
    try:
        length = len(str(entry.value))
    except RecursionError as error:
        raise entry.refuse("is nested too deeply") from error
    if length > _LONGEST_VALUE:
        raise entry.refuse(f"has {length} characters; expected at most {_LONGEST_VALUE}")
    return entry.value


def _manifests_of_folds(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"fold_*/{MANIFEST_FILE}"))
