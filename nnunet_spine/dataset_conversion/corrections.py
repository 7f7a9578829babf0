"""Masks that a person corrected become references: of new training cases, or of cases that the data set has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nnunet_spine.cases import CHANNEL
from nnunet_spine.dataset_conversion import private_mapping
from nnunet_spine.dataset_conversion.build import Run, build
from nnunet_spine.dataset_conversion.case_list import with_columns
from nnunet_spine.dataset_conversion.conversion import Conversion, Request
from nnunet_spine.dataset_conversion.existing import settle, write_missing_splits
from nnunet_spine.dataset_conversion.found_source import FoundSource
from nnunet_spine.dataset_conversion.known import Known, read_known
from nnunet_spine.dataset_conversion.mask_place import check_mask_place
from nnunet_spine.dataset_conversion.matching import Matches, match
from nnunet_spine.dataset_conversion.problems import Problem, Unusable, note
from nnunet_spine.dataset_conversion.raw_dataset import Target, case_paths
from nnunet_spine.dataset_conversion.reference_selection import NO_SELECTION, Claim, Selection
from nnunet_spine.dataset_conversion.references import read_reference
from nnunet_spine.dataset_conversion.sources import Details, Discovery, Identity, Proposal, SourceCase
from nnunet_spine.dataset_conversion.tumor_evidence import with_evidence
from nnunet_spine.dataset_conversion.volume_reading import read_finite_volume
from nnunet_spine.errors import BadInput, NnunetSpineError, NotFound
from nnunet_spine.files import read_csv, read_json
from nnunet_spine.images import SUFFIXES, is_volume_file, reorient, volume_stem
from nnunet_spine.locks import sole_writer
from nnunet_spine.manifest import MANIFEST_FILE

STEP = "import-corrections"
SLICER_SUFFIX = ".seg"
"""What 3D Slicer puts before .nrrd."""


@dataclass(frozen=True)
class _Place:
    """What is the same for all masks.

    Parameters
    ----------
    images
        Folder of the images of new cases.
    known
        The data set.
    selection
        What the user says of the masks.
    labels
        What the data set's own references call the tumor.
    """

    images: Path
    known: Known
    selection: Selection
    labels: tuple[str, ...]

    @property
    def claim(self) -> Claim:
        """What is known of a mask that a person corrected."""
        return Claim("the mask's name", labels=self.labels)


def request_for(target: Target, mapping: Path | None) -> Request:
    """Request for a data set that is there, with the options that it was made with.

    Raises
    ------
    NotFound
        Where it is not there, or not one of ours.
    """
    try:
        made = read_json(target.folder / MANIFEST_FILE)["parameters"]
        folds, seed = int(made["folds"]), int(made["seed"])
        selection = Selection.from_parameters(made["tumor"])
    except (NnunetSpineError, KeyError, TypeError, ValueError, AttributeError) as failure:
        raise NotFound(
            f"{target.folder} is no data set that `nnunet-spine convert` made. Convert first, or give --dataset."
        ) from failure
    place = mapping or private_mapping.default_path(target.raw, target.full_name)
    return Request(target, place, folds, seed, selection)


def import_corrections(
    masks: Path,
    request: Request,
    run: Run,
    *,
    images: Path | None = None,
    listed: Path | None = None,
    selection: Selection = NO_SELECTION,
) -> Conversion:
    """Take corrected masks into a data set.

    A mask named after a known case becomes its reference, and the earlier one is kept. A mask with another name becomes
    a training case with the image of that name.

    Parameters
    ----------
    masks
        Folder of CASE.nii.gz, .nii, .nrrd, .seg.nrrd or .mha.
    request, run
        The data set, and how.
    images
        Folder of the images of new cases, CASE_0000.nii.gz or any volume file; by default the data set's imagesTs.
    listed
        CSV with the columns case and patient, and any of the optional ones of a cases.csv, that says whose the new
        cases are. A new case that it does not list is a patient of its own.
    selection
        What is tumor in the masks; by default what is named so, or as the data set's own tumor is, or the only value.

    Raises
    ------
    NotFound, BadInput
        Where a folder or file is not there, holds nothing, or the data set's private mapping is missing.
    """
    for folder in [masks] + ([images] if images else []):
        if not folder.is_dir():
            raise NotFound(f"There is no folder {folder}. Check the path.")
    private_mapping.check_place(request.mapping, [request.target.folder, request.target.preprocessed_folder])
    with sole_writer(request.target.folder):
        settle(request)
        known = read_known(request)
        rows = _rows(listed) if listed else {}
        place = _Place(images or known.folder / "imagesTs", known, selection, request.selection.labels)
        found = FoundSource.of(_sources(masks, rows, place), selection)
        conversion = build(
            request,
            found,
            known.manifest["parameters"],
            replace(run, command=STEP),
            known=known,
            matches=_matches(found, known),
        )
        write_missing_splits(request, conversion)
        return conversion


def _rows(listed: Path) -> dict[str, dict[str, str]]:
    try:
        return {row["case"]: row for row in read_csv(listed, ("case", "patient"))}
    except NnunetSpineError as failure:
        raise type(failure)(str(failure).replace(str(listed), "The list of new cases")) from failure


def _sources(masks: Path, rows: Mapping[str, Mapping[str, str]], place: _Place) -> Discovery:
    """Masks that are sound, as pairs; those of known cases under their identifiers."""
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(masks.iterdir()):
        if path.is_file() and is_volume_file(path) and not path.name.startswith("."):
            by_name[volume_stem(path).removesuffix(SLICER_SUFFIX)].append(path)
    if not by_name:
        raise BadInput(f"{masks} holds no mask ({', '.join(SUFFIXES)}). Give the folder of the corrected masks.")
    known, cases, problems = place.known, [], []
    for number, (name, paths) in enumerate(by_name.items(), start=1):
        where = name if name in known.by_name else f"mask {number} by name"
        try:
            cases.append(_source(name, where, paths, rows.get(name), place))
        except Unusable as unusable:
            problems.append(unusable.at(where))
    proposals = tuple(Proposal(case.where, case.identity, "corrected mask") for case in cases)
    discovery = Discovery(tuple(cases), (*problems, *_notes(cases, known)), proposals=proposals)
    return with_evidence(discovery, place.selection)


def _source(name: str, where: str, paths: Sequence[Path], row: Mapping[str, str] | None, place: _Place) -> SourceCase:
    if len(paths) > 1:
        raise Unusable(f"{len(paths)} masks of this name", "one", "Keep the one that is right")
    (mask,), known = paths, place.known
    if name in known.by_name:
        split = known.by_name[name].split
        image = case_paths(known.folder, split, name)[0]
        source = SourceCase(name, (image,), mask, Details(), Identity(), split, claim=place.claim)
    else:
        image = _image_of(name, place.images)
        details = with_columns(Details(), row, "The list of new cases") if row else Details()
        identity = Identity((row or {}).get("patient", ""), image=image.name)
        source = SourceCase(where, (image,), mask, details, identity, claim=place.claim)
    grid = reorient(read_finite_volume(image, "image")).geometry
    check_mask_place(read_reference(mask, None, place.selection, place.claim).mask, grid)
    return source


def _image_of(name: str, images: Path) -> Path:
    for suffix in SUFFIXES:
        for path in (images / f"{name}{CHANNEL}{suffix}", images / f"{name}{suffix}"):
            if path.is_file():
                return path
    raise Unusable(
        "no case of the data set and no image has its name",
        "the identifier of a case, or the name of an image without _0000",
        "Rename the mask, or give the folder of its image with --images",
    )


def _notes(cases: Sequence[SourceCase], known: Known) -> list[Problem]:
    new = [case for case in cases if case.where not in known.by_name]
    alone = sum(not case.patient_key for case in new)
    listed = [case for case in new if case.image[0].parent == known.folder / "imagesTs"]
    notes = []
    if alone:
        notes.append(
            note(
                "source",
                f"{alone} masks are of images whose patient nobody told; each counts as a patient of its own",
                remedy="Where a patient has another case here, list both with --cases, since folds would leak",
            )
        )
    if listed:
        notes.append(
            note(
                "source",
                f"{len(listed)} masks are of images in imagesTs, which are training cases from now on",
                remedy="Do not judge a model by its predictions on them",
            )
        )
    return notes


def _matches(found: FoundSource, known: Known) -> Matches:
    """Known cases by their identifier, others by their image, as in a conversion."""
    cases = found.discovery.cases
    named = {number: case.where for number, case in enumerate(cases) if case.where in known.by_name}
    others = [number for number in range(len(cases)) if number not in named]
    by_image = match([cases[n] for n in others], [found.digests[n] for n in others], known)
    present = named | {others[n]: case for n, case in by_image.present.items()}
    fresh = {n: case for n, case in present.items() if found.digests[n][1] != known.by_name[case].digests[1]}
    return Matches(tuple(others[n] for n in by_image.new), fresh, present, (), by_image.problems)
