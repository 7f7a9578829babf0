"""Time and memory of `nnunet-spine convert`, beside dcm2niix and dicom2nifti, on one export.

Usage: convert.py WORK [--cases 58] [--side 0] [--slices 16] [--only-wanted] [--runs 3] [--tools convert dcm2niix ...]

Makes the export below WORK once (phantoms with all their series; --side 512 in the size of a clinical image), then runs
the tools in turn, `--runs` times, and prints a Markdown table of medians. Tools: `convert`; `dcm2niix` on the whole
export (-z y); `wanted`, dcm2niix on the folders of the wanted series alone, one after the other; `dicom2nifti` on the
whole export. They do not the same: only `convert` chooses a series, reads the reference, checks, and writes a data set.

What the columns are, `measuring.Cost` tells.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from convert_exports import Size, wanted_series, write_export
from measuring import BESIDE, Cost, Runs, cost_of

DICOM2NIFTI = "dicom2nifti==2.6.2"


def command_of(tool: str, export: Path, output: Path) -> list[str]:
    """What runs a tool on an export."""
    if tool == "convert":
        return [sys.executable, "-m", "nnunet_spine", "convert", str(export), "--root", str(output)]
    if tool == "dcm2niix":
        return [str(BESIDE / "dcm2niix"), "-z", "y", "-o", str(output), str(export)]
    if tool == "wanted":
        quoted = [f"'{BESIDE}/dcm2niix' -z y -o '{output}' '{series}'" for series in wanted_series(export)]
        return ["sh", "-c", "\n".join(quoted)]
    return [str(_dicom2nifti(export.parent)), str(export), str(output)]


def _dicom2nifti(folder: Path) -> Path:
    """Its command, in an environment of its own below a folder, made once: its decoders must not become ours."""
    environment = folder / "dicom2nifti_environment"
    command = environment / "bin" / "dicom2nifti"
    if not command.is_file():
        venv.create(environment, with_pip=True, clear=True)
        subprocess.run([environment / "bin" / "pip", "install", "--quiet", DICOM2NIFTI], check=True)
    return command


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--cases", type=int, default=58)
    parser.add_argument("--side", type=int, default=0)
    parser.add_argument("--slices", type=int, default=16)
    parser.add_argument("--only-wanted", action="store_true")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tools", nargs="+", default=["convert", "dcm2niix", "wanted", "dicom2nifti"])
    given = parser.parse_args()
    size = Size(given.cases, given.side, given.slices, given.only_wanted)
    wanted = "wanted" if size.only_wanted else "all"
    export = given.work / f"export_{size.cases}_{size.side}_{size.slices}_{wanted}"
    write_export(export, size)
    files = [path for path in export.rglob("*") if path.is_file()]
    print(f"{size.cases} cases, {len(files)} files, {sum(p.stat().st_size for p in files) / 1e6:.0f} MB", flush=True)
    costs: dict[str, list[Cost]] = {tool: [] for tool in given.tools}
    for _ in range(given.runs):
        for tool in given.tools:
            output = given.work / f"output_{tool}"
            shutil.rmtree(output, ignore_errors=True)
            output.mkdir(parents=True)
            costs[tool].append(cost_of(command_of(tool, export, output), codes="01"))
            print(tool, costs[tool][-1], file=sys.stderr, flush=True)
    print_table(costs, size.cases)


def print_table(costs: dict[str, list[Cost]], cases: int) -> None:
    """Medians, and ratios of `convert` to each tool."""
    medians = {tool: Runs(tuple(runs)).median for tool, runs in costs.items()}
    ours = medians.get("convert")
    print("| tool | wall, s | CPU, s | CPU per case, s | memory, MiB | convert / this: wall | CPU | memory |")
    print("|---|---|---|---|---|---|---|---|")
    for tool, cost in medians.items():
        ratios = [f"{getattr(ours, name) / getattr(cost, name):.2f}" if ours else "" for name in vars(cost)]
        shown = f"{cost.seconds:.1f} | {cost.cpu_seconds:.1f} | {cost.cpu_seconds / cases:.3f} | {cost.peak_mib:.0f}"
        print(f"| {tool} | {shown} | {' | '.join(ratios)} |")


if __name__ == "__main__":
    main()
