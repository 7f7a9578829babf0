"""Masks from files: found, read and checked; and where an nnU-Net folder keeps them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_spine.errors import BadInput, NnunetSpineError, NotFound
from nnunet_spine.files import folder_content, is_folder
from nnunet_spine.grids import Geometry
from nnunet_spine.images import is_volume_file, read_volume, volume_stem

_FOLD_FOLDER = re.compile(r"fold_(\d+)")
_ALL_FOLDER = "fold_all"
VALIDATION_FOLDER = "validation"
"""Folder of a fold's predictions of its own test cases, in nnU-Net's results."""


@dataclass(frozen=True, eq=False)
class MaskVolume:
    """A mask on its grid.

    Parameters
    ----------
    mask
        Boolean array (z, y, x), True where the label is above 0.
    geometry
        Its grid.
    unexpected_labels
        Labels found besides 0 and 1, ascending.
    """

    mask: npt.NDArray[np.bool_]
    geometry: Geometry
    unexpected_labels: tuple[int, ...]

    @property
    def volume_ml(self) -> float:
        """Volume of the mask, in ml."""
        return int(np.count_nonzero(self.mask)) * self.geometry.voxel_ml


def foreground(labels: npt.NDArray[Any]) -> tuple[npt.NDArray[np.bool_], tuple[int, ...]]:
    """Foreground of a label map, and its labels besides 0 and 1.

    Parameters
    ----------
    labels
        Array of any shape; a floating type is accepted where all its values are whole numbers.

    Returns
    -------
    mask
        Boolean array of the same shape, True where the label is above 0.
    unexpected
        Labels other than 0 and 1, ascending.

    Raises
    ------
    BadInput
        Where a value is not a whole number, as in a map of probabilities.
    """
    if labels.dtype == np.uint8 and labels.max(initial=0) <= 1:  # most masks: no copy, no comparison
        return labels.view(np.bool_), ()
    others = np.unique(labels[(labels != 0) & (labels != 1)])
    fractional = others[~(np.isfinite(others) & (others == np.round(others)))]
    if fractional.size:
        raise BadInput(
            f"It holds {fractional[0]:.4g} and is no label map. Expected whole numbers, 0 for background and 1 for "
            "tumor; a map of probabilities must be thresholded first."
        )
    return labels > 0, tuple(int(label) for label in others)


def read_mask(path: Path) -> MaskVolume:
    """Read a label map as a mask.

    Raises
    ------
    NotFound, BadInput
        Where it is absent, cannot be read, is not a scalar 3D volume, or holds values that are no labels.
    """
    volume = read_volume(path)
    mask, unexpected = foreground(volume.array)
    return MaskVolume(mask, volume.geometry, unexpected)


def reason_of(error: NnunetSpineError, path: Path) -> str:
    """An error's words without the path that they may begin with, which may carry what must not be printed."""
    return str(error).removeprefix(str(path)).strip()


def volumes_by_case(folder: Path) -> dict[str, Path]:
    """Volume files of a folder by their stem, sorted; an absent folder has none.

    Raises
    ------
    BadInput
        Where two files are of one case.
    """
    found: dict[str, Path] = {}
    for path in folder_content(folder) if is_folder(folder) else []:
        if not is_volume_file(path) or path.name.startswith("."):
            continue
        case = volume_stem(path)
        if case in found:
            raise BadInput(f"{folder} holds {found[case].name} and {path.name} for one case. Keep one of them.")
        found[case] = path
    return found


@dataclass(frozen=True)
class Located:
    """Predictions of a cross-validation.

    Parameters
    ----------
    paths
        Prediction by case; cases that have none are absent.
    extra
        Predictions, relative to the folder, of cases that their fold does not test.
    """

    paths: Mapping[str, Path]
    extra: tuple[str, ...]


def locate_predictions(folder: Path, fold_of: Mapping[str, int]) -> Located:
    """Find the prediction of each case.

    Parameters
    ----------
    folder
        Either a flat folder of CASE.nii.gz, or a trained-model folder of nnU-Net, in which a case is taken from
        fold_K/validation of the fold that tests it and from no other.
    fold_of
        Number of the fold that tests a case, by case.

    Raises
    ------
    NotFound
        Where there is no such folder, or it has no prediction of any case.
    BadInput
        If its predictions are those of nnU-Net's fold `all`, which trained on every case.
    """
    if not is_folder(folder):
        raise NotFound(f"There is no folder {folder} with predictions. Check the path.")
    _refuse_all(folder)
    found = [(p, m) for p in folder_content(folder) if (m := _FOLD_FOLDER.fullmatch(p.name)) and is_folder(p)]
    by_fold = {int(m[1]): p for p, m in found}
    paths: dict[str, Path] = {}
    extra = []
    sources = {k: p / VALIDATION_FOLDER for k, p in sorted(by_fold.items())} if by_fold else {None: folder}
    for number, source in sources.items():
        within = "" if source == folder else f"{source.relative_to(folder).as_posix()}/"
        for case, path in volumes_by_case(source).items():
            if case in fold_of and number in (None, fold_of[case]):
                paths[case] = path
            else:
                extra.append(f"{within}{path.name}")
    if not paths:
        where = f"its fold folders ({', '.join(p.name for p in by_fold.values())})" if by_fold else "it"
        raise NotFound(
            f"No prediction of any of the {len(fold_of)} test cases is in {folder}: looked for CASE.nii.gz in {where}. "
            "Give a folder of predictions, or a trained-model folder (TRAINER__PLANS__CONFIGURATION)."
        )
    return Located(paths, tuple(extra))


def _refuse_all(folder: Path) -> None:
    """Refuse a model of the fold `all` alone, and the predictions of its training cases."""
    place = folder.resolve()
    own = place.parent if place.name == VALIDATION_FOLDER else place
    alone = (folder / _ALL_FOLDER).is_dir() and not any(folder.glob("fold_[0-9]*")) and not volumes_by_case(folder)
    if alone or own.name == _ALL_FOLDER:
        raise BadInput(
            f"{folder} is of the fold `all`, which trained on every case: there are no test cases, and the Dice of its "
            "predictions says nothing about new patients. Train and evaluate the numbered folds, or give predictions "
            "of images that it has not seen."
        )
