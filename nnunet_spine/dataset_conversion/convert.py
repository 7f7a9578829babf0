"""From a source to a raw data set with folds, a manifest and a private mapping: complete, or not at all."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nnunet_spine.cases import CASES_FILE, SPLITS_FILE, Case, Split, read_cases, read_splits, write_splits
from nnunet_spine.dataset_conversion import private_mapping
from nnunet_spine.dataset_conversion.case_conversion import Job, Outcome, convert_cases
from nnunet_spine.dataset_conversion.case_list import read_case_list
from nnunet_spine.dataset_conversion.dicom_discovery import discover_export
from nnunet_spine.dataset_conversion.folds import FoldCase, Folding, make_folds
from nnunet_spine.dataset_conversion.problems import Problem, Severity, note
from nnunet_spine.dataset_conversion.pseudonyms import pseudonyms
from nnunet_spine.dataset_conversion.raw_dataset import Target, check_number_is_free, file_names, write_dataset_files
from nnunet_spine.dataset_conversion.sources import Discovery, SourceCase
from nnunet_spine.errors import BadInput, NnunetSpineError, NotFound, NotWritable
from nnunet_spine.files import read_json, sha256, staged_folder, write_json
from nnunet_spine.manifest import MANIFEST_FILE, make_manifest, write_manifest
from nnunet_spine.progress import Progress, silent
from nnunet_spine.protocol import PROTOCOL, departures

STEP = "convert"
REPORT_FILE = "conversion_report.json"

FOLDERS = {Split.TRAIN: ("imagesTr", "labelsTr"), Split.TEST: ("imagesTs", "labelsTs")}
"""nnU-Net's folders of images and labels."""


@dataclass(frozen=True)
class Conversion:
    """What a conversion came to.

    Parameters
    ----------
    folder
        The raw data set.
    splits, mapping
        Files of the folds and of the private mapping.
    cases
        All converted cases, test cases included.
    folding
        Folds and strata of the training cases.
    problems
        Notes, and what was left out.
    already_converted
        Whether the same data set was there before, and was left alone.
    """

    folder: Path
    splits: Path
    mapping: Path
    cases: tuple[Case, ...]
    folding: Folding
    problems: tuple[Problem, ...]
    already_converted: bool = False

    @property
    def left_out(self) -> int:
        """Number of studies or rows that were left out."""
        return sum(problem.severity is Severity.ERROR for problem in self.problems)

    @property
    def patients(self) -> int:
        """Number of patients of the converted cases."""
        return len({case.patient for case in self.cases})


@dataclass(frozen=True)
class _Source:
    """A discovered source with the digests of its cases (image, reference)."""

    discovery: Discovery
    digests: tuple[tuple[str, str], ...]

    def digest(self) -> str:
        """SHA-256 of all that the conversion depends on."""
        content = [
            [
                [*digest, case.where, case.patient_key, case.split, asdict(case.details)]
                for case, digest in zip(self.discovery.cases, self.digests, strict=True)
            ],
            [problem.as_dict() for problem in self.discovery.problems],
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class _Named:
    """A converted case under our name, with what the folds and the manifest need."""

    source: SourceCase
    case: Case
    volume_ml: float
    digests: tuple[str, str]
    notes: tuple[Problem, ...]


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
    """Convert a source to nnU-Net's raw data set, with folds, a manifest and a private mapping.

    Parameters
    ----------
    source
        Folder of a DICOM export, or a cases.csv.
    dataset, name
        Number and name of the data set.
    raw, preprocessed, results
        nnU-Net's folders; nothing is written to `results`.
    folds
        Number of folds.
    seed
        Of the case numbers and of the folds.
    mapping
        File of the private mapping; by default in a folder `private` beside `raw`.
    processes
        Cases converted side by side; more than 1 needs an importable main module.
    progress
        Told after each file read, then after each case.

    Raises
    ------
    BadInput, NotFound
        Where the source, a row of cases.csv or an option cannot be used, or no case is left.
    NotWritable
        Where another data set is in the way, or an output folder cannot be written.
    """
    target = Target(dataset, name, raw, preprocessed)
    if seed < 0:
        raise BadInput(f"The seed is {seed}. Expected a whole number that is not negative.")
    mapping = mapping or private_mapping.default_path(raw, target.full_name)
    check_number_is_free(target, [folder for folder in (raw, preprocessed, results) if folder])
    private_mapping.check_place(mapping, [target.folder, target.preprocessed_folder])
    found = _read_source(source, progress)
    parameters = {"dataset": dataset, "name": name, "folds": folds, "seed": seed, "source_sha256": found.digest()}
    if target.folder.exists():
        return _existing(target, mapping, found.discovery, parameters)
    _check_preprocessed(target)
    if not found.discovery.cases:
        raise BadInput(_nothing_usable(found.discovery.problems))
    splits = target.preprocessed_folder / SPLITS_FILE
    with _undone_on_failure([target.folder, splits, mapping]), staged_folder(target.folder) as staging:
        named, problems = _convert_cases(found, staging, seed=seed, processes=processes, progress=progress)
        cases = tuple(one.case for one in named)
        folding = _fold(named, folds, seed)
        problems += [note("folds", text) for text in folding.notes]
        training = sum(one.source.split is Split.TRAIN for one in named)
        write_dataset_files(staging, training=training, cases=cases)
        write_json(staging / REPORT_FILE, _report(target, named, folding, problems))
        _write_manifest(staging, parameters, named)
        names = {one.source.where: (one.case.case, one.case.patient) for one in named}
        private_mapping.write_mapping(mapping, private_mapping.mapping_text(found.discovery, names))
        write_splits(splits, folding.folds)
    return Conversion(target.folder, splits, mapping, cases, folding, tuple(problems))


def _read_source(source: Path, progress: Progress) -> _Source:
    if source.is_dir():
        discovery = discover_export(source, progress=progress)
    elif source.suffix.lower() == ".csv" and source.is_file():
        discovery = read_case_list(source, progress=progress)
    elif source.exists():
        raise BadInput("The source is a file, but no cases.csv. Give the folder of a DICOM export, or a cases.csv.")
    else:
        raise NotFound("The source does not exist. Check the path of the DICOM export or of cases.csv.")
    try:
        digests = tuple((_digest(case.image), _digest((case.reference,))) for case in discovery.cases)
    except OSError as failure:
        raise BadInput(f"A file of the source cannot be read ({failure.strerror}). Check its permissions.") from failure
    return _Source(discovery, digests)


def _digest(files: Sequence[Path]) -> str:
    """SHA-256 of files, whatever their names and order."""
    return hashlib.sha256("".join(sorted(sha256(path) for path in files)).encode()).hexdigest()


def _nothing_usable(problems: Sequence[Problem]) -> str:
    errors = [problem.describe() for problem in problems if problem.severity is Severity.ERROR]
    more = f" And {len(errors) - 3} more." if len(errors) > 3 else ""
    return f"No case of the source can be used; nothing was written. {' '.join(errors[:3])}{more}"


def _check_preprocessed(target: Target) -> None:
    folder = target.preprocessed_folder
    if folder.is_dir() and any(path.name != SPLITS_FILE for path in folder.iterdir()):
        raise NotWritable(
            f"{folder} holds preprocessed cases of a data set that is not in {target.raw} any more; nnU-Net would mix "
            "the two. Remove it, or choose another number."
        )


def _convert_cases(
    found: _Source, staging: Path, *, seed: int, processes: int, progress: Progress
) -> tuple[list[_Named], list[Problem]]:
    """Convert into `staging` under running numbers, then rename what is sound to our identifiers."""
    for folder in {folder for case in found.discovery.cases for folder in FOLDERS[case.split]}:
        (staging / folder).mkdir()
    jobs = [Job(case, *_paths(staging, case.split, f"{i}")) for i, case in enumerate(found.discovery.cases)]
    outcomes = convert_cases(jobs, processes=processes, progress=progress)
    left_out = [p for o in outcomes if o.volume_ml is None for p in o.problems]
    problems = [*found.discovery.problems, *left_out]
    sound = [i for i, outcome in enumerate(outcomes) if outcome.volume_ml is not None]
    if not sound:
        raise BadInput(_nothing_usable(problems))
    named = []
    for i, names in zip(sound, pseudonyms([jobs[i].source for i in sound], seed=seed), strict=True):
        named.append(_name(jobs[i].source, outcomes[i], found.digests[i], names))
        image, label = _paths(staging, jobs[i].source.split, names[0])
        jobs[i].image.rename(image)
        jobs[i].label.rename(label)
    named.sort(key=lambda one: one.case.case)
    return named, problems + [p for one in named for p in one.notes]


def _paths(folder: Path, split: Split, case: str) -> tuple[Path, Path]:
    (images, labels), (image, label) = FOLDERS[split], file_names(case)
    return folder / images / image, folder / labels / label


def _name(source: SourceCase, outcome: Outcome, digests: tuple[str, str], names: tuple[str, str]) -> _Named:
    case = Case(*names, **vars(source.details))
    notes = tuple(replace(problem, where=case.case) for problem in outcome.problems)
    return _Named(source, case, round(float(outcome.volume_ml or 0.0), 6), digests, notes)


def _fold(named: Sequence[_Named], folds: int, seed: int) -> Folding:
    training = [one for one in named if one.source.split is Split.TRAIN]
    return make_folds(
        [FoldCase(one.case.case, one.case.patient, one.case.compartment, one.volume_ml) for one in training],
        k=folds,
        seed=seed,
    )


def _report(target: Target, named: Sequence[_Named], folding: Folding, problems: Sequence[Problem]) -> dict[str, Any]:
    return {
        "dataset": target.full_name,
        "cases": len(named),
        "patients": len({one.case.patient for one in named}),
        "left_out": sum(problem.severity is Severity.ERROR for problem in problems),
        "fold_sizes": [len(fold.test) for fold in folding.folds],
        "strata": dict(sorted(Counter(folding.strata.values()).items())),
        "training_volumes_ml": {one.case.case: one.volume_ml for one in named if one.source.split is Split.TRAIN},
        "test_volumes_ml": {one.case.case: one.volume_ml for one in named if one.source.split is Split.TEST},
        "problems": [problem.as_dict() for problem in problems],
    }


def _write_manifest(folder: Path, parameters: Mapping[str, Any], named: Sequence[_Named]) -> None:
    inputs = {}
    for one in named:
        inputs[f"{one.case.case} image"], inputs[f"{one.case.case} reference"] = one.digests
    differing = departures({"folds": parameters["folds"], "seed": parameters["seed"]})
    write_manifest(folder, make_manifest(STEP, parameters=parameters, inputs=inputs, departures=differing))


def _existing(target: Target, mapping: Path, discovery: Discovery, parameters: Mapping[str, Any]) -> Conversion:
    """The data set that is there, where it was made from the same source with the same options.

    What is missing beside it, its folds or its private mapping, is made again.
    """
    try:
        manifest = read_json(target.folder / MANIFEST_FILE)
        report = read_json(target.folder / REPORT_FILE)
        same = manifest["step"] == STEP and manifest["parameters"] == parameters
    except (NnunetSpineError, KeyError, TypeError):
        same = False
    if not same:
        raise NotWritable(
            f"{target.folder} already exists, made from another source or with other options. Remove it, or choose "
            "another number and name."
        )
    cases = {case.case: case for case in read_cases(target.folder / CASES_FILE)}
    problems = tuple(Problem(**{**p, "severity": Severity(p["severity"])}) for p in report["problems"])
    folding = make_folds(
        [FoldCase(c, cases[c].patient, cases[c].compartment, v) for c, v in report["training_volumes_ml"].items()],
        k=parameters["folds"],
        seed=parameters["seed"],
    )
    dropped = {problem.where for problem in problems if problem.severity is Severity.ERROR}
    kept = [case for case in discovery.cases if case.where not in dropped]
    names = dict(zip((case.where for case in kept), pseudonyms(kept, seed=parameters["seed"]), strict=True))
    splits = target.preprocessed_folder / SPLITS_FILE
    if splits.exists():
        folding = replace(folding, folds=tuple(read_splits(splits)))
    else:
        write_splits(splits, folding.folds)
    if not mapping.exists():
        private_mapping.write_mapping(mapping, private_mapping.mapping_text(discovery, names))
    return Conversion(target.folder, splits, mapping, tuple(cases.values()), folding, problems, already_converted=True)


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
