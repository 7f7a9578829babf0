"""What is in nnU-Net's folder of a trained model: a folder for each fold. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunet_spine.errors import NotFound

ALL = "all"
"""nnU-Net's name of the fold that trains on every case: the model for new patients, which has no test cases."""

CHECKPOINT = "checkpoint_final.pth"
_PREFIX = "fold_"

FoldName = int | str
"""A number, or `ALL`."""


def fold_name(fold: FoldName) -> str:
    """Name of a fold's folder."""
    return f"{_PREFIX}{fold}"


def trained_folds(folder: Path) -> tuple[FoldName, ...]:
    """Folds that have a final checkpoint, by number; `ALL` comes last."""
    names = [path.parent.name.removeprefix(_PREFIX) for path in folder.glob(f"{_PREFIX}*/{CHECKPOINT}")]
    numbers = sorted(int(name) for name in names if name.isascii() and name.isdecimal() and str(int(name)) == name)
    return (*numbers, *([ALL] if ALL in names else []))


def chosen_folds(folder: Path, asked: Sequence[FoldName]) -> tuple[FoldName, ...]:
    """Folds to predict with: those asked for, else the numbered ones that are trained, else the one of all cases.

    Raises
    ------
    NotFound
        If the model has none, or not those.
    """
    trained = trained_folds(folder)
    absent = [str(fold) for fold in asked if fold not in trained]
    if trained and not absent:
        numbered = tuple(fold for fold in trained if fold != ALL)
        return tuple(dict.fromkeys(asked)) or numbered or trained
    if not folder.is_dir():
        raise NotFound(f"There is no trained model {folder}. Train one with `nnunet-spine train`, or check the names.")
    found = ", ".join(map(str, trained)) or "none"
    which = f"fold {', '.join(absent)}" if absent else "fold"
    raise NotFound(
        f"{folder} has no finished {which} (finished: {found}): a fold is finished with its {CHECKPOINT}. Train it "
        "with `nnunet-spine train`."
    )
