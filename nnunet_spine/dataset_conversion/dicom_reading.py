"""A DICOM series as a volume: pydicom decodes its planes, and the grid is the one that their headers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.errors import InvalidDicomError

from nnunet_spine.dataset_conversion.dicom_files import HEADER_ERRORS, open_dataset
from nnunet_spine.dataset_conversion.frame_headers import frame_headers
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.slice_grid import SlicePlaces, fit_grid
from nnunet_spine.dataset_conversion.slice_pixels import planes_of, without_padding
from nnunet_spine.images import Volume


@dataclass(frozen=True, eq=False)
class SeriesVolume:
    """A series as a volume (float64), and what a user should know of how it was read."""

    volume: Volume
    notes: tuple[str, ...] = ()


def read_series(files: Sequence[Path], frames: Sequence[Sequence[int]] = ()) -> SeriesVolume:
    """Read a DICOM series, classic or Enhanced, with the rescale of each slice or frame applied.

    The values are those that the standard's rescale gives, which scanners and viewers display. Real-world value maps
    and private scales are not applied.

    Parameters
    ----------
    files
        All files of the series, in any order.
    frames
        Numbers (from 1) of the frames of each file that belong to the series; empty for files of one frame.

    Returns
    -------
    SeriesVolume
        On the series' own grid: array axes (slice, row, column).

    Raises
    ------
    Unusable
        If slices are missing, doubled, uneven or not on one grid, or the pixels cannot be decoded.
    """
    objects = [_Object.read(path, frames[index] if frames else ()) for index, path in enumerate(files)]
    grid = fit_grid(SlicePlaces.of([header for one in objects for header in one.plane_headers]))
    planes = [plane for one in objects for plane in planes_of(one.dataset, one.frames, one.headers)]
    values, note = without_padding([planes[number] for number in grid.order])
    return SeriesVolume(Volume(values, grid.geometry), (*grid.notes(), *((note,) if note else ())))


@dataclass(frozen=True, eq=False)
class _Object:
    """A file with its pixels, and the attributes of its planes."""

    dataset: Any
    frames: tuple[int, ...]
    headers: Mapping[int, Mapping[str, Any]]

    @property
    def plane_headers(self) -> list[Any]:
        """Attributes of each plane that is wanted."""
        return [self.headers[number] for number in self.frames] if self.frames else [self.dataset]

    @classmethod
    def read(cls, path: Path, frames: Sequence[int]) -> _Object:
        try:
            dataset = open_dataset(path)
            headers = dict(frame_headers(dataset)) if frames else {}
            missing = [number for number in frames if number not in headers]
        except (InvalidDicomError, *HEADER_ERRORS) as failure:
            raise Unusable("a file of the series ends early or is damaged", "files that are whole", _AGAIN) from failure
        if missing:
            raise Unusable(f"{len(missing)} frames without a header", "a header for each frame", _AGAIN)
        return cls(dataset, tuple(frames), headers)


_AGAIN = "Export the series again"
