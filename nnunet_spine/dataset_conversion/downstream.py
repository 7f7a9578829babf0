"""What was made from a data set before it changed, and must be made again."""

from __future__ import annotations

from pathlib import Path


def outdated(number: int, full_name: str, preprocessed: Path, results: Path | None) -> tuple[str, ...]:
    """Sentences that name what is outdated and the command that makes it again, in the order of the work.

    Parameters
    ----------
    number, full_name
        Of the data set.
    preprocessed, results
        nnU-Net's folders.
    """
    folder = preprocessed / full_name
    plans = [path.stem for path in sorted(folder.glob("*lans.json"))]
    models = sorted(path for path in (results / full_name).glob("*__*") if path.is_dir()) if results else []
    found = []
    if plans:
        named = ", ".join(plans)
        found.append(f"Plans ({named}) are of the earlier cases: run nnunet-spine plan {number} for each again.")
    if any(path.is_dir() for path in folder.glob("*")):
        found.append(
            f"Preprocessed cases are of the earlier ones: run nnunet-spine preprocess {number}; it does what is new."
        )
    found += [_model(path) for path in models]
    return tuple(found)


def _model(path: Path) -> str:
    folds = [fold.name for fold in sorted(path.glob("fold_*"))]
    return (
        f"The model {path.name} ({', '.join(folds) or 'no fold'}) was trained on the earlier cases: move its folder "
        "away and train again. No case has changed its fold, so the earlier model has not seen what it is tested on."
    )
