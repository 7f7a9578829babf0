"""The commands evaluate and compare, as a user types them."""

import argparse
import sys
from pathlib import Path

from nnunet_spine.cli import evaluate
from nnunet_spine.errors import NnunetSpineError

# The source deck's table as printed, but for the three figures that no set of cases can give: fold 3's overall SD
# (printed 0.24), the average's overall SD (0.27) and its sensitivity (66.5 %). In their places stand the figures of
# the 58 values by Python's `statistics`.
PRINTED = {
    "fold 0": ("15", "11/15 (73 %)", "0.35 ± 0.27", "0.47 ± 0.21"),
    "fold 1": ("15", "12/15 (80 %)", "0.42 ± 0.30", "0.52 ± 0.24"),
    "fold 2": ("15", "8/15 (53 %)", "0.18 ± 0.22", "0.33 ± 0.20"),
    "fold 3": ("13", "8/13 (62 %)", "0.36 ± 0.33", "0.58 ± 0.23"),
    "average": ("58", "67.1 %", "0.33 ± 0.28", "0.48 ± 0.22"),
}


def run(module, *argv: object) -> int:
    """Exit code of a sub-command, parsed and run as `nnunet-spine` does it."""
    parser = argparse.ArgumentParser()
    module.add_subparser(parser.add_subparsers())
    arguments = parser.parse_args([module.__name__.rpartition(".")[2], *map(str, argv)])
    try:
        return arguments.run(arguments)
    except NnunetSpineError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def run_evaluate(cohort, *more: object, predictions: Path | None = None, output: str = "out") -> int:
    arguments = ["--reference", cohort.reference, "--predictions", predictions or cohort.predictions]
    return run(evaluate, *arguments, "--splits", cohort.splits, "--output", cohort.root / output, *more)


def printed_rows(text: str) -> dict[str, tuple[str, ...]]:
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
        if len(cells) == 5:
            rows[cells[0]] = tuple(cells[1:])
    return rows


def test_evaluate_prints_the_source_decks_table(source_deck_cohort, capsys):
    assert run_evaluate(source_deck_cohort) == 0
    text = capsys.readouterr().out
    rows = printed_rows(text)
    assert {name: rows[name] for name in PRINTED} == PRINTED
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "39/58 (67 %)" in text
    assert "ddof 0" in text
