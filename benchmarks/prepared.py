"""What several benchmarks measure on: exports, data sets and trained models below one folder, each made once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from convert_exports import Size, write_export
from measuring import BESIDE

NUMBER = "58"
NO_BIAS = "nnUNetSpinePlansNoBias"
SPINE = [sys.executable, "-m", "nnunet_spine"]


@dataclass(frozen=True)
class Prepared:
    """Folder of everything that is made once.

    Parameters
    ----------
    work
        The folder.
    """

    work: Path

    def export(self, size: Size) -> Path:
        """An export of phantoms."""
        kind = "wanted" if size.only_wanted else "all"
        folder = self.work / f"export_{size.cases}_{size.side}_{size.slices}_{kind}"
        write_export(folder, size)
        return folder

    def study(self, size: Size) -> Study:
        """A study on such an export."""
        return Study(self.work / f"study_{size.cases}_{size.side}_{size.slices}", self.export(size))


@dataclass(frozen=True)
class Study:
    """A data set as nnU-Net's folders hold it.

    Parameters
    ----------
    root
        Of nnU-Net's three folders.
    export
        What it is converted from.
    """

    root: Path
    export: Path

    @cached_property
    def environment(self) -> dict[str, str]:
        """Variables of nnU-Net for this study, worker counts by the CPUs."""
        cpus = str(len(os.sched_getaffinity(0)))
        folders = {f"nnUNet_{name}": str(self.root / f"nnUNet_{name}") for name in ("raw", "preprocessed", "results")}
        counts = {"nnUNet_n_proc_DA": cpus, "nnUNet_def_n_proc": cpus, "OMP_WAIT_POLICY": "PASSIVE"}
        trainers = subprocess.run([*SPINE, "env"], capture_output=True, text=True, check=True).stdout
        own = next(line for line in trainers.splitlines() if "nnUNet_extTrainer" in line)
        return {**folders, **counts, "nnUNet_extTrainer": own.partition("=")[2].strip().strip("'\"")}

    @property
    def dataset(self) -> str:
        """Full name of the data set."""
        return next(path.name for path in (self.root / "nnUNet_raw").glob("Dataset*"))

    @property
    def raw(self) -> Path:
        """Folder of the raw data set."""
        return self.root / "nnUNet_raw" / self.dataset

    @property
    def preprocessed(self) -> Path:
        """Folder of plans and preprocessed cases."""
        return self.root / "nnUNet_preprocessed" / self.dataset

    def ours(self, *arguments: str | Path) -> list[str]:
        """A command of this package."""
        return [*SPINE, *map(str, arguments)]

    def theirs(self, name: str, *arguments: str | Path) -> list[str]:
        """A command of nnU-Net."""
        return [str(BESIDE / name), *map(str, arguments)]

    def run(self, command: list[str]) -> None:
        """Run a command that makes something."""
        done = subprocess.run(command, env={**os.environ, **self.environment}, capture_output=True, text=True)
        if done.returncode:
            sys.exit(
                f"{' '.join(command)[:300]} ended with {done.returncode}:\n{done.stdout[-800:]}{done.stderr[-2000:]}"
            )

    def _once(self, name: str, make: Callable[[], None]) -> Study:
        done = self.root / f".{name}"
        if not done.exists():
            make()
            self.root.mkdir(parents=True, exist_ok=True)
            done.touch()
        return self

    def converted(self) -> Study:
        """With the raw data set."""
        return self._once("converted", lambda: self.run(self.ours("convert", self.export, "--dataset", NUMBER)))

    def planned(self) -> Study:
        """With plans without the bias step, whose cost depends on the method and not on this package's ways."""
        plan = self.ours("plan", NUMBER, "--bias", "none", "--plans-name", NO_BIAS)
        return self.converted()._once("planned", lambda: self.run(plan))

    def preprocessed_cases(self) -> Study:
        """With preprocessed cases."""
        preprocess = self.ours("preprocess", NUMBER, "--plans", NO_BIAS)
        return self.planned()._once("preprocessed", lambda: self.run(preprocess))

    def planned_by_nnunet(self) -> Study:
        """With nnU-Net's own plans."""
        command = self.theirs("nnUNetv2_plan_and_preprocess", "-d", NUMBER, "-c", "3d_fullres", "--no_pp")
        return self.converted()._once("planned_by_nnunet", lambda: self.run(command))

    def preprocessed_by_nnunet(self) -> Study:
        """With nnU-Net's own preprocessed cases."""
        command = self.theirs("nnUNetv2_preprocess", "-d", NUMBER, "-plans_name", "nnUNetPlans", "-c", "3d_fullres")
        return self.planned_by_nnunet()._once("preprocessed_by_nnunet", lambda: self.run(command))

    def trained(self) -> Study:
        """With four folds of one epoch."""

        def train() -> None:
            for fold in range(4):
                self.run(self.train(fold))

        return self.preprocessed_cases()._once("trained", train)

    def trained_one(self) -> Study:
        """With the first fold of one epoch."""
        return self.preprocessed_cases()._once("trained_one", lambda: self.run(self.train(0)))

    def train(self, fold: int) -> list[str]:
        """The command that trains a fold for one epoch."""
        return self.ours("train", NUMBER, str(fold), "--plans", NO_BIAS, "--epochs", "1", "--device", "cpu")

    def images(self, count: int) -> Path:
        """A folder of the first images of the data set, to be predicted."""
        folder = self.root / f"images_{count}"
        if not folder.is_dir():
            folder.mkdir()
            for path in sorted((self.raw / "imagesTr").glob("*_0000.nii.gz"))[:count]:
                shutil.copy(path, folder)
        return folder
