"""New images to predict: found in a folder by nnU-Net's names, in any of the formats that can be turned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunet_spine.cases import CHANNEL
from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.files import is_regular_file, system_reason
from nnunet_spine.grids import SAME_GRID_SPACINGS
from nnunet_spine.images import SUFFIXES, is_volume_file, volume_stem
from nnunet_spine.nnunet.orientation import Orientation, angle_degrees, axes_of
from nnunet_spine.volume_headers import read_nifti_forms, read_volume_header

LONGEST_CASE = 200
"""Bytes of a case's name: with what is added to it meanwhile, a file's name may have 255."""

MOST_NAMED = 5

_NAMES = f"CASE{CHANNEL} and one of {', '.join(SUFFIXES)}"


def find_images(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Find the images of a folder.

    Parameters
    ----------
    folder
        Holds CASE_0000.nii.gz, or .nii, .nrrd, .mha. Other files, and those whose names begin with a dot, are passed
        over.

    Returns
    -------
    images, warnings
        Image by case, and a sentence on volumes that have no such name.

    Raises
    ------
    NotFound, BadInput
        If there is no such folder, no image in it, two of one case, or one that is no file.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise NotFound(f"There is no folder {folder}: it {what}. Give a folder of images named {_NAMES}.")
    try:
        volumes = sorted(p for p in folder.iterdir() if is_volume_file(p) and not p.name.startswith("."))
    except OSError as error:
        raise BadInput(f"{folder} cannot be read: {system_reason(error)}. Check its permissions.") from error
    images: dict[str, Path] = {}
    for path in volumes:
        if volume_stem(path).endswith(CHANNEL):
            case = volume_stem(path).removesuffix(CHANNEL)
            _check_name(path, case)
            if case in images:
                raise BadInput(f"{folder} holds {images[case].name} and {path.name} for one case. Keep one of them.")
            images[case] = path
    if not images:
        raise BadInput(
            f"There is no image in {folder}: their names are {_NAMES}. Convert DICOM with `nnunet-spine convert`, or "
            "rename the files."
        )
    others = [p.name for p in volumes if p not in images.values() and volume_stem(p) not in images]
    return images, [_left_out(others)] if others else []


def _check_name(path: Path, case: str) -> None:
    shown = ascii(path.name) if not path.name.isprintable() else path.name
    if not case or len(case.encode("utf-8", "surrogateescape")) > LONGEST_CASE:
        raise BadInput(f"{shown} names its case with 0 or more than {LONGEST_CASE} bytes. Rename it.")
    if not path.name.isprintable():
        raise BadInput(f"{shown} has characters in its name that are no text. Rename it.")
    if not is_regular_file(path):
        what = "a folder" if path.is_dir() else "a link to nothing" if path.is_symlink() else "no regular file"
        raise BadInput(f"{path} is {what}; expected an image. Remove it, or put the image there.")


def _left_out(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return (
        f"{len(names)} volumes are not predicted, since they are not named {_NAMES}: "
        f"{', '.join(names[:MOST_NAMED])}{more}."
    )


def orientation_warning(case: str, path: Path, orientation: Orientation) -> str:
    """A sentence on an image that is more oblique than those of training; empty otherwise.

    An image whose header cannot be read is left to who reads the image.
    """
    try:
        grid = read_volume_header(path).geometry
    except (RuntimeError, OSError, ValueError):
        return ""
    angle = angle_degrees(grid)
    if not orientation.is_too_oblique(angle):
        return ""
    return (
        f"{case} is oblique by {angle:.1f} degrees from {axes_of(grid)}, and the training images by at most "
        f"{orientation.largest_angle_degrees:.1f}: the model may not know what it looks like."
    )


def forms_warning(case: str, path: Path) -> str:
    """A sentence on a NIfTI whose two forms place its voxels apart; empty otherwise.

    ITK takes the sform. Forms whose axes point to different directions are refused by who reads the image, and an image
    whose header cannot be read is left to it.
    """
    try:
        grid = read_volume_header(path).geometry
    except (RuntimeError, OSError, ValueError):
        return ""
    apart_mm = read_nifti_forms(path).apart_mm(grid.size_xyz)
    if apart_mm <= SAME_GRID_SPACINGS * min(grid.spacing_xyz_mm):
        return ""
    return (
        f"sform and qform of {case} place voxels up to {apart_mm:.1f} mm apart, and the sform is taken: in a program "
        "that takes the qform, the segmentation may lie elsewhere. Convert it from DICOM again, or set both forms."
    )
