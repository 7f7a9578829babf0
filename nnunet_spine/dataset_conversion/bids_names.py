"""Names of files in a BIDS data set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_spine.dataset_conversion.source_files import look_below
from nnunet_spine.files import is_regular_file

NOT_IN_RAW = ("derivatives", "sourcedata", "code", "stimuli")
"""Folders at the root whose images are not the subjects' own."""

ENDINGS = (".nii.gz", ".nii", ".json", ".tsv")


@dataclass(frozen=True)
class BidsName:
    """A file name taken apart, such as sub-01_ce-gd_T1w.nii.gz.

    Parameters
    ----------
    path
        The file.
    entities
        Values by key, such as ce: gd.
    suffix
        The last part, such as T1w; empty where a label ends with an entity.
    """

    path: Path
    entities: dict[str, str] = field(hash=False)
    suffix: str

    @classmethod
    def of(cls, path: Path) -> BidsName | None:
        """The name of a file; None where it is none of BIDS'."""
        ending = next((e for e in ENDINGS if path.name.lower().endswith(e)), None)
        if ending is None:
            return None
        parts = path.name[: -len(ending)].split("_")
        suffix = "" if "-" in parts[-1] else parts.pop()
        entities = {key: value for key, _, value in (part.partition("-") for part in parts if "-" in part)}
        return cls(path, entities, suffix)

    @property
    def subject(self) -> str:
        """The participant, such as sub-01."""
        return f"sub-{self.entities.get('sub', '')}"

    def is_of(self, image: BidsName) -> bool:
        """Whether this label belongs to an image: it names no other value of an entity of the image's.

        A label that names a space other than the image's own lies elsewhere.
        """
        own = {key: value for key, value in self.entities.items() if key not in ("label", "desc", "space", "seg")}
        space = self.entities.get("space", "orig")
        required = {key: image.entities.get(key) for key in ("sub", "ses")}
        return (
            own.items() <= image.entities.items()
            and all(self.entities.get(key) == value for key, value in required.items())
            and space in ("orig", "individual", "scanner", "T1w", image.suffix)
        )


def images_below(folder: Path) -> Iterator[BidsName]:
    """NIfTI files of the subjects' own folders, sorted by path."""
    for subject in sorted(folder.glob("sub-*")):
        yield from _named_below(subject)


def derived_below(folder: Path) -> Iterator[BidsName]:
    """NIfTI files of the derivatives, sorted by path."""
    yield from _named_below(folder / "derivatives")


def _named_below(folder: Path) -> Iterator[BidsName]:
    for path in sorted(path for path in look_below(folder).files if ".nii" in path.name):
        name = BidsName.of(path)
        if name is not None and "sub" in name.entities and is_regular_file(path):
            yield name
