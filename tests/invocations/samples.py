"""Small sound inputs of every sub-command, made once by the commands themselves; invocations get damaged copies.

Six invented patients with volumes of 6 x 32 x 28 voxels; all paths are relative to the folder of the samples.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from templates import write_templates

PATIENTS = 6
SHAPE = (6, 32, 28)
SPACING_XYZ_MM = (1.25, 1.5, 4.0)
DATASET = "Dataset058_IntraduralSpineTumor"
MODEL = "nnUNetTrainerSpine__nnUNetSpinePlans__3d_fullres"
RAW, PREPROCESSED = f"home/nnUNet_raw/{DATASET}", f"home/nnUNet_preprocessed/{DATASET}"
TRAINED = f"home/nnUNet_results/{DATASET}/{MODEL}"
CHANNELS = [4, 8, 8]
"""Of the network's levels: a model of a few hundred kB."""

STUDY = """\
source: export/cases.csv
output: study
folds: 2
device: cpu
models:
  first: {epochs: 1, bias: none}
  second: {trainer: nnUNetTrainerSpineNoBackground, epochs: 1, bias: none}
notes: [made up]
"""


def make_samples(folder: Path) -> None:
    """Write the samples below `folder`; raises where one of the commands does not end with 0."""
    folder.mkdir(parents=True)
    templates = folder.with_name("templates")
    write_templates(templates)
    for name, kind in (("dicom", "dicom_seg"), ("bids", "bids")):
        shutil.copytree(templates / kind, folder / name)
    shutil.rmtree(templates)
    with chdir(folder):
        _write_export(Path("export"))
        _write_volumes(Path("volumes"))
        Path("study.yaml").write_text(STUDY)
        for command in _commands():
            _spine(command)
            AFTER.get(command[0], lambda: None)()


def _commands() -> Iterator[list[str]]:
    root = ["--root", "home"]
    yield ["convert", "export/cases.csv", *root, "--folds", "2"]
    yield ["plan", "58", *root, "--bias", "none"]
    yield ["preprocess", "58", *root]
    yield ["train", "58", "0", *root, "--epochs", "1", "--device", "cpu", "--threads", "1", "--save-probabilities"]
    yield ["predict", "58", "--input", "new", "--output", "predicted", *root, "--device", "cpu"]
    for name in "ab":
        yield [
            "evaluate",
            *JUDGED,
            "--predictions",
            f"predictions/{name}",
            "--output",
            f"judged/{name}",
            "--accept-empty",
        ]
    yield ["compare", "judged/a", "judged/b", "--output", "compared", "--labels", "first", "second"]
    shown = ["--references", f"{RAW}/labelsTr", "--images", f"{RAW}/imagesTr"]
    yield ["report", "--evaluation", "judged/a", "--predictions", "predictions/a", *shown, "--output", "reported"]
    yield ["correct-bias", "volumes/a.nii.gz", "--output", "corrected", "--report", "pages/bias.html", "--field"]
    yield ["job", "study.yaml", "convert"]
    yield ["phantoms", "--cases", "1", "--output", "cohort"]


JUDGED = ["--reference", f"{RAW}/labelsTr", "--splits", f"{PREPROCESSED}/splits_final.json"]
JUDGED += ["--cases", f"{RAW}/cases.csv", "--images", f"{RAW}/imagesTr"]
JUDGED += [
    *("--resize-ceiling", f"{PREPROCESSED}/nnUNetSpinePlans_resize_ceiling.csv"),
    *("--bias-fields", f"{PREPROCESSED}/nnUNetSpinePlans_bias_fields.csv"),
]


def _spine(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "nnunet_spine", *command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"The sample of {command[:2]} was not made:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _anatomy(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and tumor of a patient, (z, y, x)."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices(SHAPE)
    center = 2.5, 12 + seed % 4, 14 - seed % 3
    tumor = ((z - center[0]) / 1.5) ** 2 + ((y - center[1]) / 5) ** 2 + ((x - center[2]) / 4) ** 2 < 1
    image = np.where(y > 2, 100 + 15 * rng.standard_normal(SHAPE) + 90 * tumor, 2).clip(1) * (1 + y / 60)
    return image.astype(np.float32), tumor.astype(np.uint8)


def volume(array: np.ndarray) -> sitk.Image:
    """An array (z, y, x) of that shape on the samples' grid."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING_XYZ_MM)
    image.SetOrigin((-10.0, 5.0, 40.0))
    image.SetDirection((0, 0, 1, 1, 0, 0, 0, -1, 0))
    return image


def _write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(volume(array), str(path), useCompression=True)


def _write_export(folder: Path) -> None:
    rows = ["patient,image,reference,compartment,tumor_type,split,maker,field_strength,region"]
    for number in range(PATIENTS):
        image, tumor = _anatomy(number)
        _write(folder / f"i{number}.nii.gz", image)
        _write(folder / f"r{number}.nii.gz", tumor)
        rows.append(f"Q{number},i{number}.nii.gz,r{number}.nii.gz,extramedullary,meningioma,,Canon,1.5,lumbar")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    for number in (50, 51):
        _write(Path("new") / f"new_{number}_0000.nii.gz", _anatomy(number)[0])


def _write_volumes(folder: Path) -> None:
    for number, suffix in enumerate((".nii.gz", ".nii", ".nrrd", ".mha")):
        _write(folder / f"{'abcd'[number]}{suffix}", _anatomy(20 + number)[0])


def _after_plan() -> None:
    """Make the planned network small, as a user may."""
    path = Path(PREPROCESSED) / "nnUNetSpinePlans.json"
    plans = json.loads(path.read_text())
    network = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    network |= {"channels": CHANNELS, "strides": network["strides"][: len(CHANNELS) - 1], "num_res_units": 1}
    path.write_text(json.dumps(plans, indent=2))


def _after_convert() -> None:
    """Predictions of two models, those of the first with probabilities; and corrected masks."""
    for path in sorted(Path(RAW, "labelsTr").iterdir()):
        label = sitk.ReadImage(str(path))
        tumor = sitk.GetArrayFromImage(label)
        for name, shift in (("a", 1), ("b", 2)):
            made = sitk.GetImageFromArray(np.roll(tumor, shift, axis=1))
            made.CopyInformation(label)
            place = Path("predictions", name, path.name)
            place.parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(made, str(place))
        likely = 0.1 + 0.8 * np.roll(tumor, 1, axis=1).astype(np.float32)
        np.savez_compressed(f"predictions/a/{path.name[:-7]}.npz", probabilities=np.stack([1 - likely, likely]))
    first = next(iter(sorted(Path("predictions/a").glob("*.nii.gz"))))
    Path("corrections").mkdir()
    shutil.copy(first, "corrections")


def _after_train() -> None:
    for path in Path("home").rglob("checkpoint_best.pth"):  # like the final one
        path.unlink()


AFTER = {"convert": _after_convert, "plan": _after_plan, "train": _after_train}


def unset_variables() -> None:
    """Leave nothing of nnU-Net's or this package's variables in the environment."""
    for name in [name for name in os.environ if name.lower().startswith("nnunet")]:
        del os.environ[name]
