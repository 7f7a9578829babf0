"""Which label of a BIDS data set's derivatives is the tumor on an image, and what says so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_spine.dataset_conversion.bids_names import IMAGE_SUFFIX, BidsName
from nnunet_spine.dataset_conversion.bids_sidecars import Sidecars
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.reference_selection import Claim, Selection, Structure
from nnunet_spine.dataset_conversion.tumor_words import Meaning, meaning_of, names

LABEL_SUFFIXES = ("dseg", "mask", "seg", "roi", "label")
_PROBABILITIES = re.compile(r"prob|soft", re.IGNORECASE)
WANTED = (
    "one label of the tumor in derivatives, known by its name (*_label-tumor_mask.nii.gz), the Type of its sidecar, "
    "its folder, or a label table (*_dseg.tsv)"
)


@dataclass(frozen=True)
class Label:
    """A mask or a label map of a data set, and what is known of its content.

    Parameters
    ----------
    name
        The file.
    meaning, says
        What is in it, and what says so, in words of ours.
    structures
        Named values of a label map.
    drawn_on
        Names of images that its sidecar gives as its sources.
    is_probability
        Whether it is a map of probabilities, which is no mask.
    """

    name: BidsName
    meaning: Meaning
    says: str = ""
    structures: tuple[Structure, ...] = ()
    drawn_on: tuple[BidsName, ...] = ()
    is_probability: bool = False

    def is_of(self, image: BidsName) -> bool:
        """Whether it belongs to an image, by its name and by the sources that its sidecar gives."""
        return self.name.is_of(image) and (not self.drawn_on or any(_is_same(one, image) for one in self.drawn_on))

    def is_named(self, labels: Sequence[str]) -> bool:
        """Whether its name has one of a user's words."""
        return any(names(list(self.name.words.values()), label) for label in labels)

    def names_a_value(self, labels: Sequence[str]) -> bool:
        """Whether its table has one of a user's words."""
        return any(one.is_named(labels) for one in self.structures)


def labels_in(folder: Path, found: Iterable[BidsName], sidecars: Sidecars) -> list[Label]:
    """Masks, label maps and maps of probabilities among the NIfTI files of a data set."""
    return [_label(folder, name, sidecars) for name in found if _is_label(name)]


def _is_probability(name: BidsName) -> bool:
    return bool(_PROBABILITIES.search(name.suffix) or any(_PROBABILITIES.search(part) for part in name.bare))


def _is_label(name: BidsName) -> bool:
    if name.suffix in LABEL_SUFFIXES or not {"label", "seg"}.isdisjoint(name.entities):
        return True
    is_image = bool(IMAGE_SUFFIX.fullmatch(name.suffix))
    return not is_image and meaning_of(list(name.words.values())) is not Meaning.NOTHING


def _label(folder: Path, name: BidsName, sidecars: Sidecars) -> Label:
    sidecar, structures = sidecars.of(name), sidecars.named_values(name)
    meaning, says = _content(folder, name, sidecar)
    if structures and meaning is not Meaning.OTHER:
        meanings = {one.meaning for one in structures}
        if Meaning.TUMOR in meanings:
            meaning, says = Meaning.TUMOR, "its label table"
        elif meaning is Meaning.TUMOR and (len(structures) > 1 or Meaning.NOTHING not in meanings):
            meaning = Meaning.BOTH
    return Label(name, meaning, says, structures, tuple(_sources(name, sidecar)), _is_probability(name))


def _content(folder: Path, name: BidsName, sidecar: Mapping[str, Any]) -> tuple[Meaning, str]:
    """What is in a file, by its own name, else by its sidecar, else by the folders of its derivative."""
    words = name.words
    own = meaning_of(list(words.values()))
    if own is not Meaning.NOTHING:
        place = next((key for key, text in words.items() if meaning_of([text]) is own), "name")
        return own, "its file name" if place == "name" else f"its BIDS entity {place}"
    kind = meaning_of([str(sidecar.get("Type", ""))])
    if kind is not Meaning.NOTHING:
        return kind, "the Type of its sidecar"
    folders = [part for part in name.path.relative_to(folder).parts[1:-1] if not part.startswith(("sub-", "ses-"))]
    return meaning_of(folders), "its folder"


def _sources(name: BidsName, sidecar: Mapping[str, Any]) -> Iterator[BidsName]:
    """Images of the same subject that a sidecar names as sources."""
    for key in ("RawSources", "Sources", "SpatialReference"):
        texts = sidecar.get(key)
        for text in texts if isinstance(texts, list) else [texts]:
            source = BidsName.of(Path(text.rpartition("/")[2])) if isinstance(text, str) else None
            if source is not None and source.subject == name.subject and IMAGE_SUFFIX.fullmatch(source.suffix):
                yield source


def _is_same(source: BidsName, image: BidsName) -> bool:
    own = {key: value for key, value in source.entities.items() if key not in ("desc", "space", "res")}
    return source.suffix == image.suffix and own == image.entities


def label_of(image: BidsName, labels: Sequence[Label], selection: Selection) -> tuple[Label, Claim]:
    """The label of the tumor on an image, and what the source says of it.

    Parameters
    ----------
    image, labels
        An image, and all labels of its data set.
    selection
        What the user says.

    Raises
    ------
    Unusable
        If nothing says which label is the tumor, or more than one is.
    """
    own = [label for label in labels if label.is_of(image)]
    fitting = candidates(own, selection)
    if not fitting:
        raise _none(own, [label for label in labels if _is_elsewhere(label, image)], selection)
    if len(fitting) > 1:
        raise Unusable(
            f"{len(fitting)} labels of the image fit", WANTED, "Keep the one to use, or name it in a cases.csv"
        )
    (label,) = fitting
    by_label = label.is_named(selection.labels) and not label.names_a_value(selection.labels)
    says = "--tumor-label" if by_label else label.says if label.meaning is Meaning.TUMOR else ""
    return label, Claim(says, label.structures, by_label)


def candidates(labels: Sequence[Label], selection: Selection) -> list[Label]:
    """Those labels that may be meant: what the user names, else what says tumor, else what a user's values are of."""
    labels = [one for one in labels if not one.is_probability]
    if selection.labels:
        return [one for one in labels if one.is_named(selection.labels) or one.names_a_value(selection.labels)]
    tumors = [one for one in labels if one.meaning is Meaning.TUMOR]
    if tumors or not selection.numbers:
        return tumors
    return [one for one in labels if one.meaning is not Meaning.OTHER]


def _is_elsewhere(label: Label, image: BidsName) -> bool:
    """Whether a label of the tumor is of the image's subject, but of another image, session or space."""
    return label.name.subject == image.subject and label.meaning is Meaning.TUMOR and not label.is_of(image)


def _none(own: Sequence[Label], elsewhere: Sequence[Label], selection: Selection) -> Unusable:
    labels = [one for one in own if not one.is_probability]
    if selection.labels and labels:
        return Unusable(
            f"{len(labels)} labels of the image, none of which has a name that was asked for",
            "the name given with --tumor-label in a file's name or in its label table",
            "Compare it with the names, or name image and label in a cases.csv",
        )
    unclear = sum(one.meaning is not Meaning.OTHER for one in labels)
    if unclear:
        what = "1 of which nothing says what it shows" if unclear == 1 else f"{unclear} that do not say what they show"
        return Unusable(
            f"no label of a tumor, but {what}",
            WANTED,
            "If it is the tumor, give its value with --segment, or name image and label in a cases.csv",
        )
    others = [f"{len(labels)} labels of something else"] if labels else []
    if soft := len(own) - len(labels):
        others.append(f"{soft} map{'s' if soft > 1 else ''} of probabilities")
    if elsewhere:
        others.append(f"{len(elsewhere)} of another image, session or space of the subject")
    but = f", but {' and '.join(others)}" if others else ""
    return Unusable(f"no label of a tumor{but}", WANTED, "Add it, or name image and label in a cases.csv")
