"""Names of files in a BIDS data set, and in the way of the Spinal Cord Toolbox (sub-01_T1w_label-lesion_seg)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

ENDINGS = (".nii.gz", ".nii", ".json", ".tsv")

IMAGE_SUFFIX = re.compile(
    r"T[12](?:w|star|starw|map|rho)?|PD(?:w|T2|map)?|FLAIR|STIR|PSIR|UNIT1|MP2RAGE|MPRAGE|MT[SwR]\w*|inplaneT[12]|dwi|bold|"
    r"sbref|epi|angio|swi|ADC|FA|MD|ct|CT|pet|M0map|defacemask",
)
"""Suffixes of images, which stand within the names of labels that were drawn on them."""

_SOURCE_KEYS: Sequence[str] = (
    *("sub", "ses", "sample", "acq", "ce", "trc", "rec", "dir", "run", "mod", "echo", "flip", "inv", "mt", "part"),
    *("proc", "recording", "chunk", "task", "tracksys", "nuc", "voi", "stain", "split"),
)
"""Entities that a label has of its image."""

_DERIVED_KEYS: Sequence[str] = (
    *("space", "res", "den", "hemi", "atlas", "scale", "cohort", "from", "to", "mode", "label", "desc", "seg"),
)

_SPACES = ("orig", "individual", "scanner", "native", "subject", "t1w", "t1")
_TEMPLATE = re.compile(r"mni|pam50|template|icbm|talairach|fsaverage", re.IGNORECASE)


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
        The last part, such as T1w; empty if a label ends with an entity.
    bare
        Other parts without a key, such as T1w in sub-01_T1w_label-lesion_seg.
    """

    path: Path
    entities: dict[str, str] = field(hash=False)
    suffix: str
    bare: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: Path) -> BidsName | None:
        """The name of a file; None if it is not a name of BIDS."""
        ending = next((e for e in ENDINGS if path.name.lower().endswith(e)), None)
        if ending is None:
            return None
        stem = re.sub(r"_space_(?=[^_-]+(?:_|$))", "_space-", path.name[: -len(ending)])
        parts = stem.split("_")
        suffix = "" if "-" in parts[-1] else parts.pop()
        entities = {key: value for key, _, value in (part.partition("-") for part in parts if "-" in part)}
        return cls(path, entities, suffix, tuple(part for part in parts if part and "-" not in part))

    @property
    def subject(self) -> str:
        """The participant, such as sub-01."""
        return f"sub-{self.entities.get('sub', '')}"

    @property
    def words(self) -> dict[str, str]:
        """What the name says of its content, by the place where it says so: label, desc, seg or name."""
        words = {key: self.entities[key] for key in ("label", "desc", "seg") if self.entities.get(key)}
        own = [f"{k} {v}" for k, v in self.entities.items() if k not in (*_SOURCE_KEYS, *_DERIVED_KEYS)]
        own += [part for part in (*self.bare, self.suffix) if not IMAGE_SUFFIX.fullmatch(part)]
        return {**words, **({"name": " ".join(own)} if any(own) else {})}

    def is_of(self, image: BidsName) -> bool:
        """Whether this label belongs to an image: it names no other value of an entity of the image's.

        A label that names a space or the suffix of an image other than the image's own lies elsewhere. One that names
        the suffix has the image's whole name, as the Spinal Cord Toolbox writes it.
        """
        if any(self.entities.get(key) != image.entities.get(key) for key in ("sub", "ses")):
            return False
        own = {key: value for key, value in self.entities.items() if key in _SOURCE_KEYS}
        space = self.entities.get("space", "orig")
        drawn_on = [part for part in self.bare if IMAGE_SUFFIX.fullmatch(part) or _TEMPLATE.search(part)]
        return (
            (own == image.entities if drawn_on else own.items() <= image.entities.items())
            and space.lower() in (*_SPACES, image.suffix.lower())
            and all(part == image.suffix for part in drawn_on)
        )

    def is_named_like(self, image: BidsName) -> bool:
        """Whether this label has all entities of an image by which images differ."""
        return {k: v for k, v in self.entities.items() if k in _SOURCE_KEYS} == image.entities


def images_in(folder: Path, paths: Iterable[Path]) -> list[BidsName]:
    """NIfTI files of the subjects' own folders, in the order of the paths."""
    return [name for path in paths if _top(folder, path).startswith("sub-") and (name := _nifti_name(path))]


def derived_in(folder: Path, paths: Iterable[Path]) -> list[BidsName]:
    """NIfTI files of the derivatives, in the order of the paths."""
    return [name for path in paths if _top(folder, path) == "derivatives" and (name := _nifti_name(path))]


def in_only_sessions(names: Iterable[BidsName], sessions: Iterable[Sequence[BidsName]]) -> list[BidsName]:
    """The names, those without a session in the only session of their subject's images."""
    of_subject: dict[str, set[str]] = defaultdict(set)
    for images in sessions:
        of_subject[images[0].subject].add(images[0].entities.get("ses", ""))
    return [_in_session(name, of_subject.get(name.subject, set())) for name in names]


def _in_session(name: BidsName, sessions: set[str]) -> BidsName:
    if len(sessions) != 1 or "ses" in name.entities or sessions == {""}:
        return name
    return replace(name, entities={**name.entities, "ses": next(iter(sessions))})


def _top(folder: Path, path: Path) -> str:
    return path.relative_to(folder).parts[0] if path != folder else ""


def _nifti_name(path: Path) -> BidsName | None:
    name = BidsName.of(path) if path.name.lower().endswith((".nii", ".nii.gz")) else None
    return name if name is not None and "sub" in name.entities else None
