"""A small whole study: bright balls in noise, two models, two folds; and how it is run, disturbed and compared."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

CASES = 6
EPOCHS = 120 if os.environ.get("NNUNET_SPINE_SOAK") else 30
"""More where a training is to be stopped several times."""

MODELS = ("documented", "no-bias")

FOLDER = "it's {a} [1] #2: x; y & z | ~ * ? ! < > R\u00fcckenmark"
"""What a folder may be called."""

STUDY = """\
source: {source}
output: out
folds: 2
threads: 1
device: cpu
models:
  documented: {{epochs: {epochs}, memory_gib: 0.2}}
  no-bias: {{epochs: {epochs}, memory_gib: 0.2, bias: none}}
resources:
  convert: {{cpus: 2, memory_gib: 2}}
  plan: {{cpus: 2, memory_gib: 2}}
  preprocess: {{cpus: 2, memory_gib: 2}}
  evaluate: {{cpus: 1, memory_gib: 2}}
  report: {{cpus: 2, memory_gib: 2}}
slurm:
  partition: low
  accounting: off
  poll_seconds: 2
  stop_before_seconds: 30
notes:
  - Nothing follows from so few epochs.
"""


def write_source(folder: Path) -> Path:
    """Images and references as NIfTI, listed in a cases.csv."""
    folder.mkdir(parents=True)
    rows = ["patient,image,reference"]
    for number in range(CASES):
        rng = np.random.default_rng(number)
        shape = (int(rng.integers(9, 13)), int(rng.integers(44, 56)), int(rng.integers(36, 48)))
        z, y, x = np.indices(shape)
        centre = (shape[0] * 0.4, shape[1] * rng.uniform(0.3, 0.7), shape[2] * 0.6)
        ball = ((z - centre[0]) * 3.3) ** 2 + ((y - centre[1]) * 1.2) ** 2 + ((x - centre[2]) * 1.2) ** 2 < 9.0**2
        body = (y > 3) & (x > 5)
        signal = np.where(body, 100 + 20 * rng.standard_normal(shape) + 80 * ball, 0).clip(0)
        for name, array in (("image", signal * np.exp(0.8 * y / shape[1])), ("mask", ball)):
            volume = sitk.GetImageFromArray(array.astype(np.float32 if name == "image" else np.uint8))
            volume.SetSpacing((1.2, 1.2, 3.3))
            # Slices run from right to left, as in sagittal spine MRI.
            volume.SetDirection((0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
            sitk.WriteImage(volume, str(folder / f"{name}_{number}.nii.gz"))
        rows.append(f"P{number},image_{number}.nii.gz,mask_{number}.nii.gz")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n", encoding="ascii")
    return folder / "cases.csv"


def environment() -> dict[str, str]:
    """The environment without nnU-Net's variables; sub-processes import the code beside the tests."""
    kept = {k: v for k, v in os.environ.items() if not k.lower().startswith("nnunet")}
    code = str(Path(__file__).parents[2])
    return {**kept, "PYTHONPATH": code, "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Study:
    """A study file with its output."""

    file: Path
    output: Path

    @classmethod
    def write(cls, folder: Path, source: Path, *, epochs: int = EPOCHS) -> Study:
        folder.mkdir(parents=True, exist_ok=True)
        study = cls(folder / "study.yaml", folder / "out")
        study.file.write_text(STUDY.format(source=source, epochs=epochs), encoding="utf-8")
        return study

    def untrained_copy(self, folder: Path, source: Path, *models: str) -> Study:
        """A copy whose `models` are not trained yet."""
        copy = Study.write(folder, source)
        shutil.copytree(self.output, copy.output, ignore=shutil.ignore_patterns("logs", "state", ".snakemake"))
        for path in ("steps/compare.json", "steps/report.json"):
            (copy.output / path).unlink()
        for model in models:
            shutil.rmtree(copy.output / "models" / model)
            shutil.rmtree(copy.output / "steps" / "train" / model)
            (copy.output / "steps" / "evaluate" / f"{model}.json").unlink()
        return copy

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "nnunet_spine", arguments[0], str(self.file), *arguments[1:]]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = self.command("run", *arguments)
        return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=1200)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command("run", *arguments),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def complaint(self) -> str:
        """The ends of all logs, for a test that fails."""
        ends = []
        for path in sorted(self.output.glob("logs/**/*.log")):
            ends.append(f"== {path}\n" + "\n".join(path.read_text(encoding="utf-8").splitlines()[-12:]))
        return "\n".join(ends)

    def state(self, step: str) -> Mapping[str, Any]:
        path = self.output / "state" / f"{step}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def checkpoints(self, model: str) -> list[Path]:
        return list((self.output / "models" / model).rglob("checkpoint_latest.pth"))

    def wait_for_checkpoints(
        self, process: subprocess.Popen[str], model: str, count: int, seconds: float = 300
    ) -> None:
        """Wait until so many folds of a model are in training and have a checkpoint."""
        deadline = time.monotonic() + 300
        while len(self.checkpoints(model)) < count:
            assert process.poll() is None, f"{process.communicate()[0]}\n{self.complaint()}"
            assert time.monotonic() < deadline, self.complaint()
            time.sleep(0.05)


def weights(output: Path, model: str) -> dict[str, dict[str, Any]]:
    """Weight tensors of each fold of a model."""
    import torch

    found = {}
    for path in sorted((output / "models" / model).rglob("checkpoint_final.pth")):
        content = torch.load(path, weights_only=False, map_location="cpu")
        found[path.parent.name] = content["network_weights"]
    return found


def assert_same_weights(one: Path, other: Path, model: str) -> None:
    import torch

    first, second = weights(one, model), weights(other, model)
    assert first.keys() == second.keys() == {"fold_0", "fold_1"}
    for fold, tensors in first.items():
        assert tensors.keys() == second[fold].keys()
        different = [name for name, tensor in tensors.items() if not torch.equal(tensor, second[fold][name])]
        assert different == [], f"{model} {fold}"


def files(output: Path, *patterns: str) -> dict[str, Path]:
    """Files below an output by their relative paths."""
    return {str(p.relative_to(output)): p for pattern in patterns for p in output.glob(pattern) if p.is_file()}


def assert_same_files(one: Path, other: Path, *patterns: str) -> int:
    """The same names with the same bytes; how many."""
    first, second = files(one, *patterns), files(other, *patterns)
    assert first.keys() == second.keys()
    assert [name for name, path in first.items() if path.read_bytes() != second[name].read_bytes()] == []
    return len(first)
