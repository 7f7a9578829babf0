"""A BIDS data set as a source: T1w images after contrast, and the labels of its derivatives."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_spine.cases import UNKNOWN
from nnunet_spine.dataset_conversion.bids_labels import labels_of, single_label
from nnunet_spine.dataset_conversion.bids_names import BidsName, images_below
from nnunet_spine.dataset_conversion.problems import Problem, Unusable, note
from nnunet_spine.dataset_conversion.source_files import look_below
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


def discover_bids(folder: Path, *, progress: Progress = silent) -> Discovery:
    """Find the pairs of a BIDS data set: for each session one T1w image, and the label that was drawn on it.

    An image with the `ce` entity, or whose sidecar names a contrast agent, comes before others.

    Parameters
    ----------
    folder
        Root of the data set, with `derivatives`.
    progress
        Told after each session.

    Raises
    ------
    BadInput
        Where it holds no T1w image.
    """
    sessions = _sessions(folder)
    if not sessions:
        raise BadInput(
            "The BIDS data set holds no T1w image (sub-*/anat/*_T1w.nii.gz). Give one that does, or a cases.csv that "
            "lists images and references."
        )
    labels, people = labels_of(folder), _participants(folder)
    found = []
    for number, images in enumerate(sessions, start=1):
        found.append(_look(f"session {number}", folder, images, labels, people))
        progress(number, len(sessions), "")
    cases = tuple(one.case for one in found if one.case)
    return Discovery(
        cases,
        tuple(problem for one in found for problem in one.problems),
        {one.proposal.where: one.proposal.identity for one in found if not one.case},
        files=_account(folder, cases),
        proposals=tuple(one.proposal for one in found),
    )


def _sessions(folder: Path) -> list[list[BidsName]]:
    """T1w images by subject and session, in the order of their paths."""
    sessions: dict[tuple[str, str], list[BidsName]] = defaultdict(list)
    for image in images_below(folder):
        if image.suffix == "T1w" and image.path.parent.name == "anat":
            sessions[image.subject, image.entities.get("ses", "")].append(image)
    return list(sessions.values())


def _look(
    where: str,
    folder: Path,
    images: Sequence[BidsName],
    labels: Sequence[BidsName],
    people: Mapping[str, Mapping[str, str]],
) -> Found:
    sidecars = {image: _sidecar(folder, image) for image in images}
    labelled = [image for image in images if any(label.is_of(image) for label in labels)]
    ranked = sorted(labelled or images, key=lambda image: _rank(image, sidecars[image]))
    image, rivals = ranked[-1], [one for one in ranked[:-1] if _rank(one, sidecars[one])[0] > 0]
    contrast = _contrast(image, sidecars[image])
    confidence = "low" if not contrast else "medium" if rivals else "high"
    reason = f"T1w, {contrast or 'no sign of contrast agent'}"
    details = _details(sidecars[image], people.get(image.subject, {}))
    try:
        reference = single_label(image, labels)
    except Unusable as unusable:
        identity = Identity(image.subject, image=image.path.relative_to(folder).as_posix())
        proposal = Proposal(where, identity, unusable.found, confidence, image.path, details=details, usable=False)
        return Found(proposal, problems=(unusable.at(where),))
    relative = [path.relative_to(folder).as_posix() for path in (image.path, reference)]
    identity = Identity(image.subject, "", "", *relative)
    case = SourceCase(where, (image.path,), reference, details, identity)
    proposal = Proposal(where, identity, reason, confidence, image.path, reference, details=details)
    return Found(proposal, case, tuple(_notes(where, contrast, len(rivals))))


def _notes(where: str, contrast: str, rivals: int) -> Iterator[Problem]:
    if not contrast:
        yield note(
            where,
            "a T1w image without sign of contrast agent was taken",
            "the entity ce, or a contrast agent in the sidecar",
            CORRECT,
        )
    if rivals:
        yield note(where, f"{rivals + 1} T1w images after contrast fit; the last by name was taken", remedy=CORRECT)


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


def _sidecar(folder: Path, image: BidsName) -> dict[str, Any]:
    """What the JSON files that apply to an image say, the nearest one last (BIDS' inheritance principle)."""
    said: dict[str, Any] = {}
    for parent in reversed([p for p in image.path.parents if p.is_relative_to(folder)]):
        for path in sorted(parent.glob("*.json")):
            name = BidsName.of(path)
            if name is not None and name.suffix == image.suffix and name.entities.items() <= image.entities.items():
                said |= _json_object(path)
    return said


def _json_object(path: Path) -> dict[str, Any]:
    """Content of a sidecar; empty where it is damaged, since nothing in it is needed."""
    try:
        content = json.loads(read_text(path))
    except (NnunetSpineError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


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


def _account(folder: Path, cases: Sequence[SourceCase]) -> dict[str, int]:
    used = {path for case in cases for path in (*case.image, case.reference)}
    below = look_below(folder)
    seen = below.files
    volumes = sum(path.name.lower().endswith((".nii", ".nii.gz")) for path in seen)
    counts = {
        "used": len(used),
        "other images and labels": volumes - len(used),
        "no images": len(seen) - volumes,
        "hidden": below.hidden,
    }
    return {**counts, "total": sum(counts.values())}
