"""A BIDS data set as a source: T1w images after contrast, and the labels of its derivatives."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_spine.cases import UNKNOWN
from nnunet_spine.dataset_conversion.bids_labels import Label, candidates, label_of, labels_in
from nnunet_spine.dataset_conversion.bids_names import BidsName, derived_in, images_in, in_only_sessions
from nnunet_spine.dataset_conversion.bids_sidecars import Sidecars
from nnunet_spine.dataset_conversion.file_account import ABSENT
from nnunet_spine.dataset_conversion.problems import Problem, Unusable, note
from nnunet_spine.dataset_conversion.reference_selection import NO_SELECTION, Selection
from nnunet_spine.dataset_conversion.source_files import Absent, SourceFiles, look_below
from nnunet_spine.dataset_conversion.sources import CORRECT, Details, Discovery, Found, Identity, Proposal, SourceCase
from nnunet_spine.dataset_conversion.vocabulary import compartment_of, maker_of, region_of, tumor_type_of
from nnunet_spine.errors import BadInput, NnunetSpineError
from nnunet_spine.files import read_text
from nnunet_spine.progress import Progress, silent

DESCRIPTION_FILE, PARTICIPANTS_FILE = "dataset_description.json", "participants.tsv"

_COLUMNS = {
    "compartment": ("compartment", "location", "localisation", "diagnosis", "pathology"),
    "tumor_type": ("tumor_type", "tumour_type", "diagnosis", "pathology", "histology", "entity"),
    "region": ("region", "level", "spine_level"),
}
"""Columns of participants.tsv that are looked into."""


def is_bids(folder: Path) -> bool:
    """Whether a folder is a BIDS data set: its description, or subjects with an `anat` folder."""
    return (folder / DESCRIPTION_FILE).is_file() or any(
        path.is_dir() for pattern in ("sub-*/anat", "sub-*/ses-*/anat") for path in folder.glob(pattern)
    )


def discover_bids(folder: Path, *, selection: Selection = NO_SELECTION, progress: Progress = silent) -> Discovery:
    """Find the pairs of a BIDS data set: for each session one T1w image, and the label that was drawn on it.

    An image with the `ce` entity, or whose sidecar names a contrast agent, comes before others.

    Parameters
    ----------
    folder
        Root of the data set, with `derivatives`.
    selection
        What is tumor in the labels.
    progress
        Told after each session.

    Raises
    ------
    BadInput
        If it holds no T1w image.
    """
    seen = look_below(folder)
    paths = sorted([*seen.files, *seen.absent])
    images, derived = images_in(folder, paths), derived_in(folder, paths)
    sessions = _sessions(images)
    if not sessions:
        raise BadInput(
            "The BIDS data set holds no T1w image (sub-*/anat/*_T1w.nii.gz). Give one that does, or a cases.csv that "
            "lists images and references."
        )
    sidecars = Sidecars(folder, seen.files)
    labels = labels_in(folder, in_only_sessions([*derived, *images], sessions), sidecars)
    source = _Source(folder, labels, sidecars, _participants(folder), seen.absent, selection)
    found = []
    for number, session in enumerate(sessions, start=1):
        found.append(_look(f"session {number}", session, source))
        progress(number, len(sessions), "")
    cases = tuple(one.case for one in found if one.case)
    return Discovery(
        cases,
        (*seen.warnings(), *(problem for one in found for problem in one.problems)),
        {one.proposal.where: one.proposal.identity for one in found if not one.case},
        tuple(path.relative_to(folder).as_posix() for path in sorted(seen.absent)),
        _account(seen, cases),
        tuple(one.proposal for one in found),
    )


@dataclass(frozen=True)
class _Source:
    """What is the same for all sessions of a data set."""

    folder: Path
    labels: Sequence[Label]
    sidecars: Sidecars
    people: Mapping[str, Mapping[str, str]]
    absent: Mapping[Path, Absent]
    selection: Selection

    def check_there(self, path: Path, what: str) -> None:
        """Refuse a file that cannot be read, `Unusable` with the reason."""
        if why := self.absent.get(path):
            raise Unusable(f"the {what} is {why}", f"the {what} itself", why.remedy)


def _sessions(images: Sequence[BidsName]) -> list[list[BidsName]]:
    """T1w images by subject and session, in the order of their paths."""
    sessions: dict[tuple[str, str], list[BidsName]] = defaultdict(list)
    for image in images:
        if image.suffix == "T1w" and not image.bare and image.path.parent.name == "anat":
            sessions[image.subject, image.entities.get("ses", "")].append(image)
    return list(sessions.values())


def _look(where: str, images: Sequence[BidsName], source: _Source) -> Found:
    sidecars = {image: source.sidecars.of(image) for image in images}
    ranked = sorted(_labelled(images, source), key=lambda image: _rank(image, sidecars[image]))
    image, rivals = ranked[-1], [one for one in ranked[:-1] if _rank(one, sidecars[one])[0] > 0]
    contrast = _contrast(image, sidecars[image])
    confidence = "low" if not contrast else "medium" if rivals else "high"
    reason = f"T1w, {contrast or 'no sign of contrast agent'}"
    details = _details(sidecars[image], source.people.get(image.subject, {}))
    try:
        source.check_there(image.path, "T1w image")
        label, claim = label_of(image, source.labels, source.selection)
        source.check_there(label.name.path, "label of the tumor")
    except Unusable as unusable:
        identity = Identity(image.subject, image=image.path.relative_to(source.folder).as_posix())
        proposal = Proposal(where, identity, unusable.found, confidence, image.path, details=details, usable=False)
        return Found(proposal, problems=(unusable.at(where),))
    reference = label.name.path
    relative = [path.relative_to(source.folder).as_posix() for path in (image.path, reference)]
    identity = Identity(image.subject, "", "", *relative)
    case = SourceCase(where, (image.path,), reference, details, identity, claim=claim)
    proposal = Proposal(where, identity, reason, confidence, image.path, reference, details=details)
    shared = 0 if label.drawn_on or label.name.is_named_like(image) else sum(label.is_of(one) for one in images)
    return Found(proposal, case, tuple(_notes(where, contrast, len(rivals), shared)))


def _labelled(images: Sequence[BidsName], source: _Source) -> Sequence[BidsName]:
    """Those images that have a label of the tumor, else all."""
    meant = candidates(source.labels, source.selection)
    return [image for image in images if any(label.is_of(image) for label in meant)] or images


def _notes(where: str, contrast: str, rivals: int, shared: int) -> Iterator[Problem]:
    if not contrast:
        yield note(
            where,
            "a T1w image without sign of contrast agent was taken",
            "the entity ce, or a contrast agent in the sidecar",
            CORRECT,
        )
    if rivals:
        yield note(where, f"{rivals + 1} T1w images after contrast fit; the last by name was taken", remedy=CORRECT)
    if shared > 1:
        yield note(
            where,
            f"the name of the label fits {shared} T1w images of the session, and its sidecar names no source",
            "the entities of one of them",
            CORRECT,
        )


def _rank(image: BidsName, sidecar: Mapping[str, Any]) -> tuple[int, int, str]:
    """What speaks for an image: contrast agent, a sagittal acquisition, and last its name."""
    sagittal = "sag" in image.entities.get("acq", "").lower()
    return bool(_contrast(image, sidecar)), sagittal, image.path.name


def _contrast(image: BidsName, sidecar: Mapping[str, Any]) -> str:
    """What speaks for contrast agent; empty where nothing does."""
    entity = image.entities.get("ce", "").lower()
    if entity and entity not in ("none", "no", "pre"):
        return "after contrast by its name"
    ingredient = str(sidecar.get("ContrastBolusIngredient", "")).lower()
    return "after contrast by its sidecar" if ingredient not in ("", "none", "n/a") else ""


def _participants(folder: Path) -> dict[str, dict[str, str]]:
    """Rows of participants.tsv by subject; empty where there is none, or it is damaged."""
    try:
        lines = read_text(folder / PARTICIPANTS_FILE).splitlines()
    except NnunetSpineError:
        return {}
    header = [name.strip().lower() for name in lines[0].split("\t")] if lines else []
    rows = [dict(zip(header, line.split("\t"), strict=False)) for line in lines[1:] if line.strip()]
    return {row["participant_id"].strip(): row for row in rows if row.get("participant_id")}


def _details(sidecar: Mapping[str, Any], person: Mapping[str, str]) -> Details:
    def of(kind: str) -> list[str]:
        return [person[column] for column in _COLUMNS[kind] if column in person]

    body = [str(sidecar.get(key, "")) for key in ("BodyPart", "BodyPartExamined", "SeriesDescription", "ProtocolName")]
    return Details(
        compartment=compartment_of(of("compartment")),
        tumor_type=tumor_type_of(of("tumor_type")),
        maker=maker_of(str(sidecar.get("Manufacturer", "")) or person.get("manufacturer", "") or UNKNOWN),
        field_strength=_tesla(sidecar.get("MagneticFieldStrength")),
        region=region_of([*of("region"), *body]),
    )


def _tesla(value: Any) -> float | None:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:t|tesla)?\s*", str(value).lower())
    return float(found[1]) if found and 0 < float(found[1]) < 30 else None


def _account(seen: SourceFiles, cases: Sequence[SourceCase]) -> dict[str, int]:
    used = {path for case in cases for path in (*case.image, case.reference)}
    volumes = sum(path.name.lower().endswith((".nii", ".nii.gz")) for path in seen.files)
    missing = {ABSENT: seen.absent_files} if seen.absent_files else {}
    counts = {
        "used": len(used),
        "other images and labels": volumes - len(used),
        "no images": len(seen.files) - volumes,
        **missing,
        "hidden": seen.hidden,
    }
    return {**counts, "total": sum(counts.values())}
