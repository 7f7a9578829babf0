"""Whether the folds of a data set are those of its cases, before nnU-Net trains without a word on others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nnunet_spine.cases import SPLITS_FILE, read_splits
from nnunet_spine.errors import BadInput

MOST_NAMED = 5


def check_folds(raw: Path, preprocessed: Path) -> None:
    """Check that each training case is in a fold, and that folds name no other cases.

    nnU-Net trains on what splits_final.json lists: a case that is in no fold takes no part, and nothing says so.

    Parameters
    ----------
    raw, preprocessed
        Folders of the data set. Without splits_final.json in the latter there is nothing to check.

    Raises
    ------
    BadInput
        Naming the cases; also as for `read_splits`.
    """
    path = preprocessed / SPLITS_FILE
    if not path.is_file():
        return
    training = {label.name.removesuffix(".nii.gz") for label in (raw / "labelsTr").glob("*.nii.gz")}
    folded = {case for fold in read_splits(path) for case in (*fold.train, *fold.test)}
    remedy = f"Convert again, which writes the folds of what is in {raw}, or correct the file."
    if training - folded:
        raise BadInput(f"{path} has no fold for the training cases {_named(training - folded)}. {remedy}")
    if folded - training:
        raise BadInput(f"{path} names cases that are not in {raw}: {_named(folded - training)}. {remedy}")


def _named(cases: Iterable[str]) -> str:
    ordered = sorted(cases)
    more = f" and {len(ordered) - MOST_NAMED} more" if len(ordered) > MOST_NAMED else ""
    return ", ".join(ordered[:MOST_NAMED]) + more
