"""The one file that knows both our names and the source's."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from nnunet_spine.dataset_conversion.patient_key import printable
from nnunet_spine.dataset_conversion.sources import Discovery
from nnunet_spine.errors import BadInput, NotWritable
from nnunet_spine.files import PRIVATE_MODE, csv_text, make_folder, read_csv, remove_partial, write_text

FOLDER = "private"
FOLDER_MODE = 0o700
COLUMNS = ("case", "patient", "where", "patient_id", "study_uid", "series_uid", "image", "reference")

Row = Mapping[str, str]


def default_path(raw: Path, full_name: str) -> Path:
    """Where the mapping goes unless told otherwise: beside nnU-Net's folders, not in them."""
    return raw.parent / FOLDER / f"{full_name}_mapping.csv"


def mapping_text(discovery: Discovery, names: Mapping[str, tuple[str, str]], earlier: Sequence[Row] = ()) -> str:
    """CSV of all that the source held.

    Parameters
    ----------
    discovery
        The source.
    names
        Our identifiers (case, patient) by `where`; what has none was left out.
    earlier
        Rows of cases that the data set had before; they come first.
    """
    rows = [*earlier]
    for case in discovery.cases:
        ours = dict(zip(("case", "patient"), names.get(case.where, ("", "")), strict=True))
        rows.append({**ours, "where": case.where, **asdict(case.identity)})
    rows += [{"where": where, **asdict(identity)} for where, identity in discovery.left_out.items()]
    rows += [{"where": "ignored", "image": path} for path in discovery.ignored]
    return csv_text(COLUMNS, [{column: printable(row.get(column, "")) for column in COLUMNS} for row in rows])


def read_mapping(path: Path) -> dict[str, Row]:
    """Rows of the mapping by case; what was left out has none.

    Raises
    ------
    NotFound, BadInput
        Where it is absent, or no mapping; the message never carries its content.
    """
    return {row["case"]: row for row in read_csv(path, ("case", "patient", "patient_id")) if row["case"]}


def check_place(
    path: Path, forbidden: Sequence[Path], *, what: str = "private mapping", option: str = "--mapping"
) -> None:
    """Check that the mapping, or another file with patients' identities, cannot be handed on by accident.

    Parameters
    ----------
    path
        Where it is to be written.
    forbidden
        Folders that are meant to be shared.
    what, option
        How messages name the file and the option that gives its place.

    Raises
    ------
    BadInput
        Where the path lies in one of them, or in a git work tree that does not ignore it.
    """
    absolute = path.absolute()
    inside = [folder for folder in forbidden if absolute.is_relative_to(folder.absolute())]
    if inside:
        raise BadInput(
            f"The {what} {path} would lie inside {inside[0]}, which is meant to be shared. Give another place "
            f"with {option}."
        )
    if path.is_dir():
        raise BadInput(f"The {what} {path} is a folder. Give a file with {option}.")
    if _is_tracked_by_git(absolute):
        raise BadInput(
            f"The {what} {path} would lie in a git work tree that does not ignore it, and could be committed "
            f"with patients' identities. Give a place outside with {option}, or add it to .gitignore."
        )


def _is_tracked_by_git(path: Path) -> bool:
    """Whether git would take the file up; False outside a work tree and where git is not installed."""
    folder = next(parent for parent in path.parents if parent.is_dir())
    try:
        inside = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "--is-inside-work-tree"],
            capture_output=True,
            check=False,
            text=True,
        )
        if inside.stdout.strip() != "true":
            return False
        ignored = subprocess.run(
            ["git", "-C", str(folder), "check-ignore", "--quiet", str(path)], capture_output=True, check=False
        )
    except OSError:
        return False
    return ignored.returncode != 0


def check_free(path: Path, text: str) -> None:
    """Check that no other mapping is there: without it, an older data set could not be traced to its patients.

    Raises
    ------
    NotWritable
        Where there is.
    """
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise NotWritable(
            f"{path} holds the mapping of another conversion. Move it to a safe place, or give another with --mapping."
        )


def pending(path: Path) -> Path:
    """Where a mapping waits for its data set to be complete."""
    return path.with_name(f".{path.name}.next")


def write_pending(path: Path, text: str) -> None:
    """Write a mapping beside its place, readable for its owner only; so is its folder where this makes it."""
    if not path.parent.exists():
        make_folder(path.parent.parent)
        path.parent.mkdir(mode=FOLDER_MODE)
    write_text(pending(path), text, mode=PRIVATE_MODE)


def publish(path: Path) -> None:
    """Put the mapping that waits into its place."""
    pending(path).replace(path)


def settle(path: Path, cases: Collection[str]) -> None:
    """End what a killed process left: publish the mapping that waits where the data set has its cases, or drop it.

    Parameters
    ----------
    path
        Place of the mapping.
    cases
        Of the data set that is there; none where there is none.
    """
    remove_partial(pending(path))
    if not pending(path).is_file():
        return
    if cases and set(read_mapping(pending(path))) <= set(cases):
        publish(path)
    else:
        pending(path).unlink()
