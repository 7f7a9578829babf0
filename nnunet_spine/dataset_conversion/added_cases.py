"""Cases that a source adds to a data set, and references that it replaces; all within a staged folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_spine.cases import Case
from nnunet_spine.dataset_conversion.case_conversion import Job, Outcome, convert_cases
from nnunet_spine.dataset_conversion.conversion import StoredCase
from nnunet_spine.dataset_conversion.found_source import FoundSource
from nnunet_spine.dataset_conversion.known import Known
from nnunet_spine.dataset_conversion.near_duplicates import Descriptor
from nnunet_spine.dataset_conversion.problems import Problem, Unusable
from nnunet_spine.dataset_conversion.pseudonyms import Taken, pseudonyms
from nnunet_spine.dataset_conversion.raw_dataset import FILE_ENDING, FOLDERS, case_paths, history_folder
from nnunet_spine.files import make_folder, sha256
from nnunet_spine.grids import difference
from nnunet_spine.images import read_volume
from nnunet_spine.progress import Progress


@dataclass(frozen=True)
class Added:
    """A new case: its number in the source, what is stored, what a user should know, and what its image is like."""

    number: int
    stored: StoredCase
    notes: tuple[Problem, ...]
    descriptor: Descriptor | None


@dataclass(frozen=True)
class Done:
    """A converted pair in the scratch folder, under no name yet."""

    job: Job
    outcome: Outcome


def add_cases(
    staging: Path,
    scratch: Path,
    found: FoundSource,
    chosen: Sequence[int],
    new: Sequence[int],
    *,
    seed: int,
    taken: Taken | None,
    processes: int,
    progress: Progress,
) -> tuple[list[Added], list[Problem], dict[int, Done]]:
    """Convert the `chosen` cases of a source into `scratch`, and move those that are `new` and sound to `staging`.

    Returns
    -------
    added
        New cases, sorted by identifier.
    problems
        Why others were left out.
    done
        Sound pairs by number that are not new; still in `scratch`.
    """
    for folder in {folder for number in new for folder in FOLDERS[found.discovery.cases[number].split]}:
        make_folder(staging / folder)
    sources = [found.discovery.cases[number] for number in chosen]
    jobs = [
        Job(case, scratch / f"{i}_image{FILE_ENDING}", scratch / f"{i}_label{FILE_ENDING}", found.selection)
        for i, case in enumerate(sources)
    ]
    outcomes = convert_cases(jobs, processes=processes, progress=progress)
    pairs = {number: Done(job, outcome) for number, job, outcome in zip(chosen, jobs, outcomes, strict=True)}
    problems = [p for outcome in outcomes if outcome.volume_ml is None for p in outcome.problems]
    sound = {number: pair for number, pair in pairs.items() if pair.outcome.volume_ml is not None}
    fresh = [number for number in sound if number in set(new)]
    names = pseudonyms([sound[n].job.source for n in fresh], seed=seed, taken=taken or Taken())
    added = [_added(staging, n, sound[n], name, found.digests[n]) for n, name in zip(fresh, names, strict=True)]
    added.sort(key=lambda one: one.stored.case.case)
    return added, problems, {n: pair for n, pair in sound.items() if n not in set(new)}


def _added(staging: Path, number: int, pair: Done, names: tuple[str, str], digests: tuple[str, str]) -> Added:
    source = pair.job.source
    case = Case(*names, **vars(source.details))
    for made, place in zip((pair.job.image, pair.job.label), case_paths(staging, source.split, case.case), strict=True):
        made.rename(place)
    notes = tuple(replace(problem, where=case.case) for problem in pair.outcome.problems)
    return Added(number, StoredCase(case, source.split, _volume(pair), digests), notes, pair.outcome.descriptor)


def _volume(pair: Done) -> float:
    return round(float(pair.outcome.volume_ml or 0.0), 6)


def replace_references(
    staging: Path, known: Known, found: FoundSource, corrected: Mapping[int, str], done: Mapping[int, Done]
) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Put corrected references into the place of those that are there, which are kept in the history.

    A reference that marks the same voxels is no correction.

    Returns
    -------
    replaced
        For each: case, kept_as (relative to the data set), sha256 of the file kept, source_sha256 of what it was made
        from, new_source_sha256, volume_ml.
    problems
        Corrections that do not fit.
    """
    replaced, problems = [], []
    for number, name in corrected.items():
        if number not in done:
            continue
        one, pair = known.by_name[name], done[number]
        image, label = case_paths(staging, one.split, name)
        try:
            if _is_same_mask(pair.job, image, label):
                continue
        except Unusable as unusable:
            problems.append(unusable.at(name))
            continue
        history = make_folder(history_folder(staging, one.split, name))
        kept = history / f"{len(list(history.iterdir())) + 1}{FILE_ENDING}"
        label.rename(kept)
        pair.job.label.rename(label)
        digest = found.digests[number][1]
        replaced.append(
            {
                "case": name,
                "kept_as": kept.relative_to(staging).as_posix(),
                "sha256": sha256(kept),
                "source_sha256": one.digests[1],
                "new_source_sha256": digest,
                "volume_ml": _volume(pair),
            }
        )
    return replaced, problems


def _is_same_mask(job: Job, image: Path, label: Path) -> bool:
    """Whether a converted reference marks what the stored one does; `Unusable` where its grid is not the image's."""
    stored, fresh = read_volume(label), read_volume(job.label)
    grid = read_volume(image).geometry
    if not fresh.geometry.same_grid(grid):
        raise Unusable(
            f"the corrected reference belongs to an image on another grid: {difference(fresh.geometry, grid)}",
            "the grid of the image that was converted",
            "Draw it on the image in the data set",
        )
    return bool(np.array_equal(stored.array, fresh.array))
