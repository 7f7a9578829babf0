"""Making a data set, or adding to one: the old one or the new one is there at any instant, never a mixture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nnunet_spine.cases import Case, Split, write_splits
from nnunet_spine.dataset_conversion import private_mapping
from nnunet_spine.dataset_conversion.added_cases import Added, add_cases, replace_references
from nnunet_spine.dataset_conversion.conversion import (
    PAGE_FILE,
    REPORT_FILE,
    STEP,
    Conversion,
    Request,
    StoredCase,
    fold,
    report_of,
    volumes_of,
)
from nnunet_spine.dataset_conversion.downstream import outdated
from nnunet_spine.dataset_conversion.file_account import after_conversion
from nnunet_spine.dataset_conversion.folds import Folding
from nnunet_spine.dataset_conversion.found_source import FoundSource
from nnunet_spine.dataset_conversion.known import Known
from nnunet_spine.dataset_conversion.matching import Matches
from nnunet_spine.dataset_conversion.problems import Problem, Severity, note
from nnunet_spine.dataset_conversion.raw_dataset import write_dataset_files
from nnunet_spine.dataset_conversion.sources import Details, with_tumor
from nnunet_spine.dataset_conversion.told import (
    absence_notes,
    after_what_was_left_out,
    image_warnings,
    lasting,
    left_out_by_source,
    nothing_usable,
    spelling_notes,
    without_errors,
)
from nnunet_spine.errors import BadInput
from nnunet_spine.files import link_or_copy, make_folder, replacing_folder, staged_folder, write_json, write_text
from nnunet_spine.manifest import MANIFEST_FILE, make_manifest, write_manifest
from nnunet_spine.progress import Progress, silent
from nnunet_spine.protocol import departures

Page = Callable[[Mapping[str, Any]], str]
"""From the content of the report to an HTML page."""


@dataclass(frozen=True)
class Run:
    """How a conversion is run.

    Parameters
    ----------
    command
        That the user gave, for the record of changes.
    processes, progress
        Cases converted side by side; told after each.
    results
        nnU-Net's folder of trained models.
    page
        Makes the report for people; None writes none.
    """

    command: str = STEP
    processes: int = 1
    progress: Progress = silent
    results: Path | None = None
    page: Page | None = None


class _Unchanged(Exception):
    """Nothing of the source changes the data set that is there."""

    def __init__(self, known: Known, problems: Sequence[Problem]) -> None:
        super().__init__()
        self.known = known
        self.problems = tuple(problems)


@dataclass(frozen=True)
class _Content:
    """What the data set will hold; `told` are the problems of this run, `problems` those of its report."""

    cases: tuple[StoredCase, ...]
    folds: Folding
    problems: tuple[Problem, ...]
    told: tuple[Problem, ...]
    changes: tuple[Mapping[str, Any], ...]
    files: Mapping[str, int]
    choices: Mapping[str, tuple[str, str]]


def build(
    request: Request,
    found: FoundSource,
    parameters: Mapping[str, Any],
    run: Run,
    *,
    known: Known | None,
    matches: Matches,
) -> Conversion:
    """Convert what is new, and put the data set into its place in one step.

    The private mapping is written beside its place before that step and moved after it; folds follow. A process that
    is killed in between leaves what `existing.settle` ends.

    Parameters
    ----------
    request
        The data set.
    found
        The source.
    parameters
        For the manifest.
    run
        How.
    known
        The data set that is there.
    matches
        What the source has for it.

    Raises
    ------
    BadInput
        Where no case can be used.
    NotWritable
        Where a folder cannot be written.
    """
    target = request.target
    staged = replacing_folder if known else staged_folder
    places = [target.folder, request.splits, request.mapping, private_mapping.pending(request.mapping)]
    try:
        with _undone_on_failure(places), staged(target.folder) as staging:
            content, added, replaced = _fill(staging, request, found, run, known, matches)
            _write_records(staging, request, content, parameters, run)
            _write_mapping(request, found, added, known, matches)
            make_folder(target.preprocessed_folder)
    except _Unchanged as unchanged:
        return unchanged_conversion(request, unchanged.known, matches, unchanged.problems)
    private_mapping.publish(request.mapping)
    write_splits(request.splits, content.folds.folds)
    stale = outdated(target.number, target.full_name, target.preprocessed, run.results) if known else ()
    names = tuple(one.stored.case.case for one in added) if known else ()
    cases = tuple(one.case for one in content.cases)
    return Conversion(
        target.folder, request.splits, request.mapping, cases, content.folds, content.told,
        added=names, corrected=tuple(entry["case"] for entry in replaced), absent=matches.absent, outdated=stale,
    )  # fmt: skip


def unchanged_conversion(request: Request, known: Known, matches: Matches, problems: Sequence[Problem]) -> Conversion:
    """The data set that is there, to which a source adds nothing."""
    folding = fold([one.case for one in known.cases], volumes_of(known.cases, Split.TRAIN), request, known.folds)
    return Conversion(
        known.folder, request.splits, request.mapping, tuple(one.case for one in known.cases), folding,
        (*lasting(known), *problems), already_converted=True, absent=matches.absent,
    )  # fmt: skip


def _fill(
    staging: Path, request: Request, found: FoundSource, run: Run, known: Known | None, matches: Matches
) -> tuple[_Content, list[Added], list[dict[str, Any]]]:
    """Write images and labels of all cases into `staging`."""
    if known:
        _keep_files(known.folder, staging)
    added, replaced, problems = _convert(staging, request, found, run, known, matches)
    earlier = _renewed(known, found, matches, replaced) if known else ()
    problems = [*found.discovery.problems, *absence_notes(matches), *matches.problems, *problems]
    if known and not added and not replaced and earlier == known.cases:
        raise _Unchanged(known, problems)
    cases = tuple(sorted((*earlier, *(one.stored for one in added)), key=lambda one: one.case.case))
    if not cases:
        raise BadInput(nothing_usable(problems, _account(found, problems)))
    training_ml = volumes_of(cases, Split.TRAIN)
    with after_what_was_left_out(problems):
        folding = fold([one.case for one in cases], training_ml, request, known.folds if known else ())
    problems += [p for one in added for p in one.notes]
    problems += image_warnings(staging, cases, added, run.processes)
    problems += spelling_notes(found, added, known)
    problems += [note("folds", text) for text in folding.notes]
    problems = [*(lasting(known) if known else ()), *problems]
    changes = _changes(run.command, known, [one.stored.case.case for one in added], replaced)
    stored = problems if run.command == STEP or not known else [*left_out_by_source(known), *without_errors(problems)]
    files = _account(found, problems) or (known.files if known else {})
    choices = {**_choices(found, added), **(_known_choices(found, known, matches, replaced) if known else {})}
    return _Content(cases, folding, tuple(stored), tuple(problems), tuple(changes), files, choices), added, replaced


def _choices(found: FoundSource, added: Sequence[Added]) -> dict[str, tuple[str, str]]:
    """How sure the choice of each new case's image is, and why it was taken."""
    told = {one.where: (one.confidence, one.reasons) for one in found.discovery.proposals}
    cases = found.discovery.cases
    return {one.stored.case.case: told.get(cases[one.number].where, ("", "")) for one in added}


def _known_choices(
    found: FoundSource, known: Known, matches: Matches, replaced: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[str, str]]:
    """Why the images of known cases were taken, with what says that replaced references are the tumor."""
    proposals = {one.where: one for one in found.discovery.proposals}
    fresh = {entry["case"] for entry in replaced}
    choices = dict(known.choices)
    for number, case in matches.corrected.items():
        proposal = proposals.get(found.discovery.cases[number].where)
        if case in fresh and proposal:
            confidence, reason = known.choices.get(case, ("", ""))
            choices[case] = (confidence, with_tumor(reason, proposal.tumor))
    return choices


def _account(found: FoundSource, problems: Sequence[Problem]) -> dict[str, int]:
    """What became of each file of the source, the files of cases that were left out apart."""
    left_out = {problem.where for problem in problems if problem.severity is Severity.ERROR}
    return after_conversion(found.discovery.files, [one for one in found.discovery.cases if one.where in left_out])


def _keep_files(folder: Path, staging: Path) -> None:
    """Give the files of a data set a second name in `staging`, but for those that are written anew."""
    written = {MANIFEST_FILE, REPORT_FILE, PAGE_FILE, "dataset.json", "cases.csv"}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and str(relative) not in written:
            link_or_copy(path, staging / relative)


def _convert(
    staging: Path, request: Request, found: FoundSource, run: Run, known: Known | None, matches: Matches
) -> tuple[list[Added], list[dict[str, Any]], list[Problem]]:
    scratch = staging / ".scratch"
    scratch.mkdir()
    chosen = [*matches.new, *matches.corrected]
    added, refused, outcomes = add_cases(
        staging, scratch, found, chosen, matches.new,
        seed=request.seed, taken=known.taken() if known else None, processes=run.processes, progress=run.progress,
    )  # fmt: skip
    replaced, problems = replace_references(staging, known, found, matches.corrected, outcomes) if known else ([], [])
    for path in scratch.iterdir():
        path.unlink()
    scratch.rmdir()
    return added, replaced, [*refused, *problems]


def _renewed(
    known: Known, found: FoundSource, matches: Matches, replaced: Sequence[Mapping[str, Any]]
) -> tuple[StoredCase, ...]:
    """Known cases with the volumes of their new references, and with what the source now tells of them."""
    source_of = {case: found.discovery.cases[number] for number, case in matches.present.items()}
    fresh = {entry["case"]: entry for entry in replaced}
    cases = []
    for one in known.cases:
        name = one.case.case
        case = _with_details(one.case, source_of[name].details) if name in source_of else one.case
        if name in fresh:
            digests = (one.digests[0], fresh[name]["new_source_sha256"])
            one = replace(one, volume_ml=fresh[name]["volume_ml"], digests=digests)
        cases.append(replace(one, case=case))
    return tuple(cases)


def _with_details(case: Case, details: Details) -> Case:
    """`case` with those details that say something."""
    plain = vars(Details())
    return replace(case, **{name: value for name, value in vars(details).items() if value != plain[name]})


def _changes(
    command: str, known: Known | None, added: Sequence[str], replaced: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    if not known:
        return []
    entry = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "added": sorted(added),
        "replaced_references": [
            {key: entry[key] for key in ("case", "kept_as", "sha256", "source_sha256")} for entry in replaced
        ],
    }
    return [*known.changes, entry]


def _write_records(staging: Path, request: Request, content: _Content, parameters: Mapping[str, Any], run: Run) -> None:
    training = sum(one.split is Split.TRAIN for one in content.cases)
    write_dataset_files(staging, training=training, cases=[one.case for one in content.cases])
    report = report_of(
        request, content.cases, content.folds, content.problems, content.changes, content.files, content.choices
    )
    write_json(staging / REPORT_FILE, report)
    if run.page:
        write_text(staging / PAGE_FILE, run.page(report))
    inputs = {}
    for one in content.cases:
        inputs[f"{one.case.case} image"], inputs[f"{one.case.case} reference"] = one.digests
    differing = departures({"folds": parameters["folds"], "seed": parameters["seed"]})
    manifest = make_manifest(STEP, parameters=parameters, inputs=inputs, departures=differing)
    write_manifest(staging, {**manifest, "changes": list(content.changes)})


def _write_mapping(
    request: Request, found: FoundSource, added: Sequence[Added], known: Known | None, matches: Matches
) -> None:
    cases = found.discovery.cases
    names = {cases[one.number].where: (one.stored.case.case, one.stored.case.patient) for one in added}
    if not known:
        text = private_mapping.mapping_text(found.discovery, names)
        private_mapping.check_free(request.mapping, text)
    else:
        where = {case: cases[number].where for number, case in matches.present.items()}
        earlier = [
            {**row, "where": where.get(case, "")} for case, row in sorted(known.rows.items()) if case in known.by_name
        ]
        rest = tuple(case for number, case in enumerate(cases) if number not in matches.present)
        text = private_mapping.mapping_text(replace(found.discovery, cases=rest), names, earlier)
    private_mapping.write_pending(request.mapping, text)


@contextmanager
def _undone_on_failure(paths: Sequence[Path]) -> Iterator[None]:
    """Where the block raises, remove the files and the empty folders that it made at and above `paths`.

    Nothing is removed once the first of `paths`, the data set, has been put into its place.
    """
    missing = {p for path in paths for p in (path, *path.parents) if not p.exists()}
    before = _identity(paths[0])
    try:
        yield
    except BaseException:
        for path in sorted(missing, key=lambda p: len(p.parts), reverse=True) if _identity(paths[0]) == before else ():
            if path.is_file():
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        raise


def _identity(path: Path) -> int | None:
    return path.stat().st_ino if path.exists() else None
