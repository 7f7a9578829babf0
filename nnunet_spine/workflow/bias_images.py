"""Bias-field correction of image files: corrected volumes, fields, and a page of pictures."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine.errors import BadInput, NnunetSpineError, NotWritable
from nnunet_spine.files import check_output, obstacle, system_reason
from nnunet_spine.images import SUFFIXES, Volume, is_volume_file, volume_stem
from nnunet_spine.locks import sole_writer, sole_writer_in
from nnunet_spine.preprocessing.advice import Findings, findings
from nnunet_spine.preprocessing.bias import BiasCorrection, correct_bias
from nnunet_spine.preprocessing.intensity import adjust_gamma, check_gamma
from nnunet_spine.progress import Progress, silent
from nnunet_spine.protocol import BiasMethod
from nnunet_spine.reporting.bias_page import BiasCase, BiasPage, draw_case, failed_case, is_bias_page, write_bias_page
from nnunet_spine.workflow.same_grid import read_with_spacing, write_into_grid_of

PAGE_SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class BiasSettings:
    """What is to be done to each image.

    Parameters
    ----------
    method
        Of the correction.
    gamma
        Exponent of the contrast step before it, as in preprocessing; 1 leaves the image as it is.
    with_field
        Whether the field is written, too.
    """

    method: BiasMethod = BiasMethod.VAN_LEEMPUT
    gamma: float = 1.0
    with_field: bool = False


@dataclass(frozen=True)
class ImageResult:
    """What came of one image.

    Parameters
    ----------
    source
        The image.
    written, kept
        Files that were written, and files that were there with the same bytes.
    findings
        None where it could not be corrected.
    error
        Why it could not, or "".
    """

    source: Path
    written: tuple[Path, ...] = ()
    kept: tuple[Path, ...] = ()
    findings: Findings | None = None
    error: str = ""


def correct_images(
    sources: Sequence[Path],
    settings: BiasSettings,
    *,
    output: Path | None,
    page: Path | None = None,
    progress: Progress = silent,
) -> list[ImageResult]:
    """Correct image files one after the other; one that cannot be corrected does not hinder the others.

    Parameters
    ----------
    sources
        NIfTI, NRRD or MHA files of scalar volumes.
    settings
        What to do.
    output
        Folder of the corrected volumes, float32, on the grid of their source and under its name; None writes none.
    page
        HTML file of pictures, or None.
    progress
        Told of each image.

    Raises
    ------
    BadInput
        Where gamma is not above 0, or two outputs, or an output and an input, would be one file.
    NotWritable
        If the folder or the page cannot be written, the page would replace a file that is no such page, or another
        process is at work on one of them.
    """
    check_gamma(settings.gamma)
    _check_names(sources, settings, output, page)
    with ExitStack() as held:
        if output:
            held.enter_context(sole_writer_in(output))
        if page:
            _check_page(page)
            held.enter_context(sole_writer(page))
        results, cases = [], []
        for number, source in enumerate(sources, start=1):
            result, case = _attempt(source, settings, output, with_pictures=page is not None)
            results.append(result)
            cases += [case] if case else []
            progress(number, len(sources), source.name)
        if page:
            write_bias_page(page, BiasPage(settings.method, settings.gamma, tuple(cases)))
    return results


def _attempt(
    source: Path, settings: BiasSettings, output: Path | None, *, with_pictures: bool
) -> tuple[ImageResult, BiasCase | None]:
    """What came of an image, whether or not it could be corrected."""
    try:
        return _correct_image(source, settings, output, with_pictures=with_pictures)
    except NnunetSpineError as error:
        reason = _naming(source, error)
    except MemoryError:
        reason = f"{source} needs more memory than there is. Use a machine with more, or crop it."
    return ImageResult(source, error=reason), failed_case(source.name, reason)


def _check_page(page: Path) -> None:
    """Refuse to replace what is no page of pictures."""
    check_output(page)
    if page.exists() and not is_bias_page(page):
        raise NotWritable(
            f"{page} is there and is no page of `nnunet-spine correct-bias`. It was left alone. Choose another name, "
            "or remove it."
        )


def output_names(source: Path, *, with_field: bool) -> tuple[str, ...]:
    """Names of the files that an image gives: the corrected volume, then the field where it is wanted."""
    stem = volume_stem(source)
    return (source.name, f"{stem}_field{source.name[len(stem) :]}") if with_field else (source.name,)


def _check_names(sources: Sequence[Path], settings: BiasSettings, output: Path | None, page: Path | None) -> None:
    if page and page.suffix.lower() not in PAGE_SUFFIXES:
        raise BadInput(f"The page of pictures is to be {page}; expected a name that ends in .html.")
    if output is None:
        return
    names = Counter(name for source in sources for name in output_names(source, with_field=settings.with_field))
    twice = sorted(name for name, count in names.items() if count > 1)
    if twice:
        raise BadInput(
            f"Two outputs would both be {output / twice[0]}. Rename an image, or correct them into different folders."
        )
    inputs = {os.path.realpath(source): source for source in sources}
    for name in names:
        overwritten = inputs.get(os.path.realpath(output / name))
        if overwritten:
            raise BadInput(f"{output / name} would overwrite the input {overwritten}. Choose another output folder.")


def _naming(source: Path, error: NnunetSpineError) -> str:
    """The error's message with the file's name, which pure functions do not know."""
    return str(error) if str(source) in str(error) else f"{source}: {error}"


def _correct_image(
    source: Path, settings: BiasSettings, output: Path | None, *, with_pictures: bool
) -> tuple[ImageResult, BiasCase | None]:
    if os.path.lexists(source) and not obstacle(source) and not is_volume_file(source):
        raise BadInput(f"{source} is no volume file by its name; expected {', '.join(SUFFIXES)}.")
    volume = read_with_spacing(source)
    image = Volume(adjust_gamma(volume.array, settings.gamma), volume.geometry)
    correction = correct_bias(image.array, image.geometry.spacing_zyx_mm, settings.method)
    told = findings(correction)
    written, kept = _write(source, image, correction, settings, output) if output else ((), ())
    case = draw_case(source.name, image, correction, told, gamma=settings.gamma) if with_pictures else None
    return ImageResult(source, written, kept, told), case


def _write(
    source: Path, image: Volume, correction: BiasCorrection, settings: BiasSettings, output: Path
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Write the files of an image together: none is in place before all are complete."""
    names = output_names(source, with_field=settings.with_field)
    try:
        with tempfile.TemporaryDirectory(prefix=".partial.", dir=output) as staging:
            fresh = [Path(staging) / name for name in names]
            for path, array in zip(fresh, (correction.image, correction.field), strict=False):
                write_into_grid_of(path, Volume(array, image.geometry), source)
            return _put_in_place(fresh, output)
    except NnunetSpineError:
        raise
    except OSError as error:
        raise NotWritable(f"Cannot write into {output}: {system_reason(error)}.") from error


def _put_in_place(fresh: Sequence[Path], output: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Move files into a folder; those that are there already are kept. Nothing is moved where one is refused."""
    kept = [path for path in fresh if _is_there(path, output / path.name)]
    missing = [path for path in fresh if path not in kept]
    for path in missing:
        path.replace(output / path.name)
    return tuple(output / path.name for path in missing), tuple(output / path.name for path in kept)


def _is_there(fresh: Path, target: Path) -> bool:
    """Whether a file is there with the same bytes.

    Raises
    ------
    NotWritable
        Where it is there with others.
    """
    check_output(target)
    if not target.exists():
        return False
    if target.read_bytes() == fresh.read_bytes():
        return True
    raise NotWritable(
        f"{target} already exists and holds something else than this correction. Remove it, or choose another folder."
    )
