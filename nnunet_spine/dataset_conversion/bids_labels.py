"""Which label of a BIDS data set's derivatives is the tumor on an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunet_spine.dataset_conversion.bids_names import BidsName, derived_below, images_below
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.vocabulary import speaks_of_tumor

LABEL_SUFFIXES = ("dseg", "mask", "seg")
WANTED = "one label of the tumor in derivatives (*_label-tumor_mask.nii.gz, *_dseg.nii.gz or *_mask.nii.gz)"


def labels_of(folder: Path) -> list[BidsName]:
    """Labels of a data set: in its derivatives, and beside its images."""
    found = [*derived_below(folder), *images_below(folder)]
    return [name for name in found if name.suffix in LABEL_SUFFIXES or "label" in name.entities]


def single_label(image: BidsName, labels: Sequence[BidsName]) -> Path:
    """The label of the tumor on an image.

    Those whose `label` or `desc` says tumor are meant; where there is none, one that names nothing at all.

    Raises
    ------
    Unusable
        Where there is none, or more than one.
    """
    own = [label for label in labels if label.is_of(image)]
    named = [label for label in own if speaks_of_tumor([_words(label)])]
    plain = [label for label in own if not label.entities.get("label")]
    fitting = named or plain
    if not fitting:
        others = f", but {len(own)} labels of something else" if own else ""
        raise Unusable(f"no label of a tumor{others}", WANTED, "Add it, or name image and label in a cases.csv")
    if len(fitting) > 1:
        raise Unusable(
            f"{len(fitting)} labels of the image fit", WANTED, "Keep the one to use, or name it in a cases.csv"
        )
    return fitting[0].path


def _words(label: BidsName) -> str:
    return " ".join(label.entities.get(key, "") for key in ("label", "desc"))
