"""`nnunet-spine convert`: a source of images and references to a raw data set with folds."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nnunet_spine.cli.console import format_table, print_json, print_paragraph, progress_bar, stop_cleanly
from nnunet_spine.cli.options import add_json, add_root, path_of, workspace_of
from nnunet_spine.protocol import PROTOCOL

if TYPE_CHECKING:
    from nnunet_spine.dataset_conversion.case_proposals import Line
    from nnunet_spine.dataset_conversion.conversion import Conversion
    from nnunet_spine.dataset_conversion.problems import Problem
    from nnunet_spine.dataset_conversion.reference_selection import Selection

DEFAULT_DATASET = 58
DEFAULT_NAME = "IntraduralSpineTumor"
DEFAULT_FRACTION = 0.5
TABLE_WIDTH = 80


def add_subparser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "convert",
        help="turn DICOM, NIfTI, NRRD or MHA into a raw data set with folds",
        description="Turn a DICOM export, a BIDS data set, or the images and references that a cases.csv lists, into "
        "nnU-Net's raw data set with pseudonyms, folds and a manifest. The patients' identities go into one private "
        "file. A data set that is there grows: known cases stay as they are, new ones are added, changed references "
        "replace the earlier ones.",
    )
    parser.add_argument(
        "source", type=path_of, metavar="SOURCE", help="folder of a DICOM export or a BIDS data set, or a cases.csv"
    )
    parser.add_argument(
        "--dataset", type=int, default=DEFAULT_DATASET, metavar="N", help="number (default: %(default)s)"
    )
    parser.add_argument("--name", default=DEFAULT_NAME, help="name of the data set (default: %(default)s)")
    parser.add_argument("--folds", type=int, default=PROTOCOL.folds, metavar="K", help="folds (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=PROTOCOL.seed, help="of case numbers and folds (default: %(default)s)"
    )
    add_root(parser)
    parser.add_argument("--mapping", type=path_of, metavar="FILE", help="where the private mapping goes")
    add_tumor(parser)
    parser.add_argument(
        "--fraction",
        type=float,
        default=DEFAULT_FRACTION,
        metavar="F",
        help="a voxel of a fractional DICOM SEG is tumor from this share of its maximum on (default: %(default)s)",
    )
    parser.add_argument("--allow-partial", action="store_true", help="exit 0 although studies or rows were left out")
    parser.add_argument("--dry-run", action="store_true", help="show what was found and why, and write nothing")
    parser.add_argument(
        "--write-cases",
        type=path_of,
        metavar="FILE",
        help="write what was found as a private cases.csv to correct, no more",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def add_tumor(parser: argparse.ArgumentParser) -> None:
    """Add the options on what is tumor in a reference."""
    parser.add_argument(
        "--tumor-label",
        action="append",
        default=[],
        metavar="TEXT",
        help="tumor is what has this in its label, description, type or name (DICOM SEG, RTSTRUCT, .seg.nrrd, BIDS); "
        "may be repeated",
    )
    parser.add_argument(
        "--segment",
        action="append",
        type=int,
        default=[],
        metavar="N",
        help="tumor is the segment, region or mask value of this number; may be repeated",
    )


def run(arguments: argparse.Namespace) -> int:
    """Convert and print what came of it, or what was found."""
    if arguments.dry_run or arguments.write_cases:
        return _look(arguments)
    from nnunet_spine.dataset_conversion.convert import convert
    from nnunet_spine.nnunet.environment import allocated_cpus
    from nnunet_spine.reporting.conversion_page import conversion_page

    stop_cleanly()
    workspace = workspace_of(arguments)
    with progress_bar("convert", visible=not arguments.json) as progress:
        conversion = convert(
            arguments.source,
            dataset=arguments.dataset,
            name=arguments.name,
            raw=workspace.raw,
            preprocessed=workspace.preprocessed,
            results=workspace.results,
            folds=arguments.folds,
            seed=arguments.seed,
            mapping=arguments.mapping,
            selection=_selection(arguments),
            processes=allocated_cpus(),
            progress=progress,
            page=conversion_page,
        )
    if arguments.json:
        print_json(conversion_as_dict(conversion))
    else:
        print_conversion(conversion, arguments.dataset)
    return 1 if conversion.left_out and not arguments.allow_partial else 0


def _selection(arguments: argparse.Namespace) -> Selection:
    from nnunet_spine.dataset_conversion.reference_selection import Selection

    return Selection(tuple(arguments.tumor_label), tuple(arguments.segment), arguments.fraction)


def _look(arguments: argparse.Namespace) -> int:
    """Show what the source holds; the only file that this may write is the list of cases."""
    from nnunet_spine.dataset_conversion.case_proposals import preview, table_of, write_proposals
    from nnunet_spine.dataset_conversion.problems import Severity
    from nnunet_spine.dataset_conversion.source_kinds import discover
    from nnunet_spine.nnunet.environment import allocated_cpus

    selection = _selection(arguments)
    with progress_bar("look", visible=not arguments.json) as progress:
        discovery = discover(arguments.source, selection=selection, processes=allocated_cpus(), progress=progress)
    lines, problems = table_of(discovery), preview(discovery, selection)
    if arguments.write_cases and not arguments.dry_run:
        workspace = workspace_of(arguments)
        write_proposals(
            arguments.write_cases, discovery, shared=[workspace.raw, workspace.preprocessed, workspace.results]
        )
    if arguments.json:
        found = [vars(line) for line in lines]
        print_json({"found": found, "files": discovery.files, "problems": [problem.as_dict() for problem in problems]})
    else:
        _print_found(lines, problems, discovery.files)
        if arguments.write_cases and not arguments.dry_run:
            print(f"List of cases: {arguments.write_cases} (private; it names the patients)")
            print_paragraph(f"Next: correct it, then nnunet-spine convert {arguments.write_cases}")
    left_out = any(problem.severity is Severity.ERROR for problem in problems)
    return 1 if left_out and not arguments.allow_partial else 0


def _print_found(lines: Sequence[Line], problems: Sequence[Problem], files: dict[str, int]) -> None:
    """The table, its reasons wrapped to 80 columns, and the problems below it."""
    from nnunet_spine.dataset_conversion.file_account import in_words

    header = f"{'found':<12} {'patient':<12} {'use':<4} {'sure':<7} "
    print(f"{header}reason\n{'-' * TABLE_WIDTH}")
    for line in lines:
        row = f"{line.where:<12} {line.patient:<12} {line.use:<4} {line.confidence:<7} "
        print(textwrap.fill(line.reason, TABLE_WIDTH, initial_indent=row, subsequent_indent=" " * len(header)))
    print()
    for problem in problems:
        print_paragraph(f"{problem.severity}: {problem.describe()}")
    if files:
        print_paragraph(in_words(files))


def conversion_as_dict(conversion: Conversion) -> dict[str, Any]:
    """What came of a conversion, for `--json`."""
    return {
        "dataset": str(conversion.folder),
        "splits": str(conversion.splits),
        "mapping": str(conversion.mapping),
        "already_converted": conversion.already_converted,
        "added": list(conversion.added),
        "corrected": list(conversion.corrected),
        "absent": list(conversion.absent),
        "outdated": list(conversion.outdated),
        "cases": len(conversion.cases),
        "patients": conversion.patients,
        "fold_sizes": [len(fold.test) for fold in conversion.folding.folds],
        "left_out": conversion.left_out,
        "problems": [problem.as_dict() for problem in conversion.problems],
    }


def print_conversion(conversion: Conversion, dataset: int) -> None:
    """Print what came of a conversion, and what comes next."""
    size = f"{len(conversion.cases)} cases of {conversion.patients} patients"
    print(f"{conversion.folder.name}: {size}{_state(conversion)}\n")
    folds = conversion.folding.folds
    strata = sorted(set(conversion.folding.strata.values()))
    rows = [
        [stratum, *[str(sum(conversion.folding.strata.get(case) == stratum for case in f.test)) for f in folds]]
        for stratum in strata
    ]
    rows.append(["test cases", *[str(len(fold.test)) for fold in folds]])
    print(format_table(["compartment, lesion size", *[f"fold {fold.number}" for fold in folds]], rows))
    print()
    for problem in conversion.problems:
        print(f"{problem.severity}: {problem.describe()}")
    if conversion.left_out:
        print(f"{conversion.left_out} left out; the others were converted.")
    for sentence in conversion.outdated:
        print(f"outdated: {sentence}")
    print(f"Data set:        {conversion.folder}")
    page = conversion.folder / "conversion_report.html"
    if page.is_file():
        print(f"Report:          {page}")
    print(f"Folds:           {conversion.splits}")
    print(f"Private mapping: {conversion.mapping} (keep it apart; it names the patients)")
    print(f"Next:            nnunet-spine plan {dataset}")


def _state(conversion: Conversion) -> str:
    if conversion.already_converted:
        return " (already converted, left alone)"
    changes = [f"{len(conversion.added)} added"] if conversion.added else []
    changes += [f"{len(conversion.corrected)} references replaced"] if conversion.corrected else []
    return f" ({', '.join(changes)})" if changes else ""
