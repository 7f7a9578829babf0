"""Training cases of a raw data set: an image and a reference each."""

from __future__ import annotations

from pathlib import Path

from nnunet_spine.cases import CHANNEL
from nnunet_spine.errors import NotFound

ENDING = ".nii.gz"


def raw_cases(raw: Path) -> dict[str, tuple[Path, Path]]:
    """Image and reference of each training case, by its identifier.

    Parameters
    ----------
    raw
        The raw data set, with imagesTr and labelsTr.

    Raises
    ------
    NotFound
        If there is no case, or one lacks its reference.
    """
    cases = {}
    for image in sorted((raw / "imagesTr").glob(f"*{CHANNEL}{ENDING}")):
        case = image.name.removesuffix(f"{CHANNEL}{ENDING}")
        label = raw / "labelsTr" / f"{case}{ENDING}"
        if not label.is_file():
            raise NotFound(f"{case} has an image but no reference {label}. Convert again, or remove the image.")
        cases[case] = (image, label)
    if not cases:
        raise NotFound(
            f"There is no training image in {raw / 'imagesTr'}. Make the data set with `nnunet-spine convert`."
        )
    return cases
