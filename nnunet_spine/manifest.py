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
from nnunet_spine.files import read_json, write_json
from nnunet_spine.protocol import PROTOCOL, Departure, Protocol

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


def recorded_departures(*folders: Path) -> list[Departure]:
    """Departures that the manifests of folders, and of the folds below them, record; each once.

    Parameters
    ----------
    folders
        Of predictions, evaluations, folds or trained models; one without a manifest of ours records none.
    """
    paths = [path for folder in folders for path in (folder / MANIFEST_FILE, *_manifests_of_folds(folder))]
    manifests = [read_json(path) for path in paths if path.is_file()]
    found = [Departure(**values) for manifest in manifests if "step" in manifest for values in manifest["departures"]]
    return [departure for number, departure in enumerate(found) if departure not in found[:number]]


def _manifests_of_folds(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"fold_*/{MANIFEST_FILE}"))
