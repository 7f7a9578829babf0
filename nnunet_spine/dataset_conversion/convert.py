"""From a source to a raw data set with folds, a manifest and a private mapping: complete, or not at all."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nnunet_spine.cases import Case, Split, write_splits
from nnunet_spine.dataset_conversion import private_mapping
from nnunet_spine.dataset_conversion.case_conversion import Job, Outcome, convert_cases
from nnunet_spine.dataset_conversion.conversion import (
    REPORT_FILE,
    Conversion,
    ConvertedCase,
    Request,
    fold,
    report_of,
    volumes_of,
)
from nnunet_spine.dataset_conversion.existing import STEP, check_preprocessed, keep_existing
from nnunet_spine.dataset_conversion.file_account import after_conversion, in_words
from nnunet_spine.dataset_conversion.problems import Problem, Severity, note
from nnunet_spine.dataset_conversion.pseudonyms import pseudonyms
from nnunet_spine.dataset_conversion.raw_dataset import Target, check_number_is_free, file_names, write_dataset_files
from nnunet_spine.dataset_conversion.source_kinds import discover
from nnunet_spine.dataset_conversion.sources import Discovery, SourceCase
from nnunet_spine.errors import BadInput
from nnunet_spine.files import sha256, staged_folder, write_json
from nnunet_spine.manifest import make_manifest, write_manifest
from nnunet_spine.progress import Progress, silent
from nnunet_spine.protocol import PROTOCOL, departures

FOLDERS = {Split.TRAIN: ("imagesTr", "labelsTr"), Split.TEST: ("imagesTs", "labelsTs")}
"""nnU-Net's folders of images and labels."""


@dataclass(frozen=True)
class _Source:
    """A discovered source with the digests of its cases (image, reference)."""

    discovery: Discovery
    digests: tuple[tuple[str, str], ...]

    def digest(self) -> str:
        """SHA-256 of all that the conversion depends on."""
        content = [
            [
                [*digest, case.where, case.patient_key, case.split, asdict(case.details), case.frames]
                for case, digest in zip(self.discovery.cases, self.digests, strict=True)
            ],
            [problem.as_dict() for problem in self.discovery.problems],
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def convert(
    source: Path,
    *,
    dataset: int,
    name: str,
    raw: Path,
    preprocessed: Path,
    results: Path | None = None,
    folds: int = PROTOCOL.folds,
    seed: int = PROTOCOL.seed,
    mapping: Path | None = None,
    processes: int = 1,
    progress: Progress = silent,
) -> Conversion:
    """Convert a DICOM export, a BIDS data set or a cases.csv to nnU-Net's raw data set.

    Parameters
    ----------
    source
        Folder of a DICOM export or of a BIDS data set, or a cases.csv.
    dataset, name, raw, preprocessed, results
        Number and name of the data set, and nnU-Net's folders; nothing is written to `results`.
    folds, seed
        Number of folds; seed of the case numbers and of the folds.
    mapping
        File of the private mapping; by default in a folder `private` beside `raw`.
    processes, progress
        Cases converted side by side, where more than 1 needs an importable main module; told after each file and case.

    Raises
    ------
    BadInput, NotFound
        Where the source, a row of cases.csv or an option cannot be used, or no case is left.
    NotWritable
        Where another data set is in the way, or an output folder cannot be written.
    """
    target = Target(dataset, name, raw, preprocessed)
    request = Request(target, mapping or private_mapping.default_path(raw, target.full_name), folds, seed)
    _check_request(request, [folder for folder in (raw, preprocessed, results) if folder])
    found = _read_source(source, progress)
    if target.folder.exists():
        return keep_existing(request, found.discovery, request.parameters(found.digest()))
    check_preprocessed(target)
    return _make(request, found, processes, progress)


def _check_request(request: Request, folders: Sequence[Path]) -> None:
    if request.seed < 0:
        raise BadInput(f"The seed is {request.seed}. Expected a whole number that is not negative.")
    check_number_is_free(request.target, folders)
    private_mapping.check_place(request.mapping, [request.target.folder, request.target.preprocessed_folder])


def _make(request: Request, found: _Source, processes: int, progress: Progress) -> Conversion:
    target = request.target
    if not found.discovery.cases:
        raise BadInput(_nothing_usable(found.discovery.problems, found.discovery.files))
    with _undone_on_failure([target.folder, request.splits, request.mapping]), staged_folder(target.folder) as staging:
        converted, problems = _convert_cases(found, staging, request.seed, processes, progress)
        cases = tuple(one.case for one in converted)
        training_ml = volumes_of(converted, Split.TRAIN)
        folding = fold(cases, training_ml, request)
        problems += [note("folds", text) for text in folding.notes]
        write_dataset_files(staging, training=len(training_ml), cases=cases)
        kept = {one.source.where for one in converted}
        files = after_conversion(
            found.discovery.files, [case for case in found.discovery.cases if case.where not in kept]
        )
        write_json(staging / REPORT_FILE, {**report_of(request, converted, folding, problems), "files": files})
        _write_manifest(staging, request.parameters(found.digest()), converted)
        names = {one.source.where: (one.case.case, one.case.patient) for one in converted}
        private_mapping.write_mapping(request.mapping, private_mapping.mapping_text(found.discovery, names))
        write_splits(request.splits, folding.folds)
    return Conversion(target.folder, request.splits, request.mapping, cases, folding, tuple(problems))


def _read_source(source: Path, progress: Progress) -> _Source:
    discovery = discover(source, progress=progress)
    try:
        digests = tuple((_digest(case.image), _digest((case.reference,))) for case in discovery.cases)
    except OSError as failure:
        raise BadInput(f"A file of the source cannot be read ({failure.strerror}). Check its permissions.") from failure
    return _Source(discovery, digests)


def _digest(files: Sequence[Path]) -> str:
    """SHA-256 of files, whatever their names and order."""
    return hashlib.sha256("".join(sorted(sha256(path) for path in files)).encode()).hexdigest()


def _nothing_usable(problems: Sequence[Problem], files: dict[str, int]) -> str:
    errors = [problem.describe() for problem in problems if problem.severity is Severity.ERROR]
    more = f" And {len(errors) - 3} more." if len(errors) > 3 else ""
    looked_at = f" Looked at {in_words(files)}." if files else ""
    return f"No case of the source can be used; nothing was written. {' '.join(errors[:3])}{more}{looked_at}"


def _convert_cases(
    found: _Source, staging: Path, seed: int, processes: int, progress: Progress
) -> tuple[list[ConvertedCase], list[Problem]]:
    """Convert into `staging` under running numbers, then rename what is sound to our identifiers."""
    for folder in {folder for case in found.discovery.cases for folder in FOLDERS[case.split]}:
        (staging / folder).mkdir()
    jobs = [Job(case, *_paths(staging, case.split, f"{i}")) for i, case in enumerate(found.discovery.cases)]
    outcomes = convert_cases(jobs, processes=processes, progress=progress)
    left_out = [p for outcome in outcomes if outcome.volume_ml is None for p in outcome.problems]
    problems = [*found.discovery.problems, *left_out]
    sound = [i for i, outcome in enumerate(outcomes) if outcome.volume_ml is not None]
    if not sound:
        raise BadInput(_nothing_usable(problems, found.discovery.files))
    converted = []
    for i, names in zip(sound, pseudonyms([jobs[i].source for i in sound], seed=seed), strict=True):
        converted.append(_named(jobs[i].source, outcomes[i], found.digests[i], names))
        image, label = _paths(staging, jobs[i].source.split, names[0])
        jobs[i].image.rename(image)
        jobs[i].label.rename(label)
    converted.sort(key=lambda one: one.case.case)
    return converted, [*problems, *(p for one in converted for p in one.notes), *_copies(converted)]


def _paths(folder: Path, split: Split, case: str) -> tuple[Path, Path]:
    (images, labels), (image, label) = FOLDERS[split], file_names(case)
    return folder / images / image, folder / labels / label


def _named(source: SourceCase, outcome: Outcome, digests: tuple[str, str], names: tuple[str, str]) -> ConvertedCase:
    case = Case(*names, **vars(source.details))
    notes = tuple(replace(problem, where=case.case) for problem in outcome.problems)
    volume_ml = round(float(outcome.volume_ml or 0.0), 6)
    return ConvertedCase(source, case, volume_ml, digests, outcome.voxels_sha256, notes)


def _copies(converted: Sequence[ConvertedCase]) -> list[Problem]:
    """Notes on equal images under different patients: a fold would be tested on what it was trained on."""
    by_voxels: dict[str, list[Case]] = defaultdict(list)
    for one in converted:
        by_voxels[one.voxels_sha256].append(one.case)
    return [
        note(
            ", ".join(case.case for case in cases),
            "the same image under different patients",
            "one patient for one image, since folds would leak",
            "See the private mapping, and list the cases in a cases.csv with one patient or without the copy",
        )
        for cases in by_voxels.values()
        if len({case.patient for case in cases}) > 1
    ]


def _write_manifest(folder: Path, parameters: Mapping[str, Any], converted: Sequence[ConvertedCase]) -> None:
    inputs = {}
    for one in converted:
        inputs[f"{one.case.case} image"], inputs[f"{one.case.case} reference"] = one.digests
    differing = departures({"folds": parameters["folds"], "seed": parameters["seed"]})
    write_manifest(folder, make_manifest(STEP, parameters=parameters, inputs=inputs, departures=differing))


@contextmanager
def _undone_on_failure(paths: Sequence[Path]) -> Iterator[None]:
    """Where the block raises, remove the files and the empty folders that it made at and above `paths`."""
    missing = {p for path in paths for p in (path, *path.parents) if not p.exists()}
    try:
        yield
    except BaseException:
        for path in sorted(missing, key=lambda p: len(p.parts), reverse=True):
            if path.is_file():
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        raise
