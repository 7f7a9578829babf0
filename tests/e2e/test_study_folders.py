"""A study works in any folder that a person can name, or `--dry-run` refuses it with the true reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "nnunet_spine"]

NAMES = (
    "studies (2026) [a] {a} {{b}} {wildcards.label}/50% #1: a; b & c | d > e < f",
    'it\'s "quoted" `touch pwned` $(touch pwned) $HOME ${HOME} !!/back\\slash \\n ~ * ? = , @ ^ +',
    "R\u00fcckenmark/Ru\u0308ckenmark/\u810a\u9ac4\u3000\u8179\u200d \U0001f9d1\u200d\U0001f52c \u202frechts",
    "-rf/--directory/ leading and trailing . /dot./con/config study=a.yaml --cores/<<: *a - [b] 'c': \"d\"",
    "x" * 255,
)
"""Folders in folders; each has a meaning to Snakemake, its formatter, YAML, a shell, or an option parser."""


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.lower().startswith("nnunet")}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2])}


def run(*arguments: str | bytes, cwd: Path | bytes) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=cwd, env=environment(), capture_output=True, text=True, check=False, timeout=300
    )


def study_in(folder: Path, output: str) -> None:
    """A study whose conversion ends quickly: its source is empty."""
    (folder / "export").mkdir(parents=True)
    text = f"source: export\noutput: {json.dumps(output, ensure_ascii=False)}\nmodels:\n  documented: {{}}\n"
    (folder / "study.yaml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_the_steps_run_whatever_the_folder_is_called(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    study_in(folder, name)
    planned = run("run", "study.yaml", "--dry-run", cwd=folder)
    assert planned.returncode == 0, planned.stderr
    done = run("run", f"{folder}/study.yaml", cwd=tmp_path)
    log = (folder / name / "logs" / "snakemake.log").read_text(encoding="utf-8", errors="replace")
    # Snakemake, its shell and the job did their part: the step itself says that it has nothing to convert.
    assert done.returncode == 1, f"{done.stdout}{done.stderr}{log}"
    assert done.stderr.startswith("error: convert failed: "), f"{done.stderr}{log}"
    assert "Traceback" not in log
    state = json.loads((folder / name / "state" / "convert.json").read_text(encoding="utf-8"))
    assert (state["state"], state["attempts"]) == ("failed", 1)
    found = sorted(path.name for path in (folder / name).iterdir() if not path.name.startswith(("nnUNet", "private")))
    assert found == [".nnunet_spine_study", ".run.lock", ".snakemake", "logs", "state"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(["export", name.partition("/")[0], "study.yaml"])
    assert not list(tmp_path.rglob("pwned"))


def test_a_folder_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/R\xfccken"))
    study_in(folder, "out")
    done = run("run", "study.yaml", "--dry-run", cwd=os.fsencode(folder))
    assert done.returncode == 2
    assert "output: a folder of the path has a name that is not UTF-8, and ITK opens no file there" in done.stderr
    # Elsewhere the output is fine, and nothing fails for the study file's own name.
    (folder / "study.yaml").write_text(
        f"source: export\noutput: {tmp_path / 'out'}\nmodels:\n  documented: {{}}\n", encoding="utf-8"
    )
    done = run("run", "study.yaml", cwd=os.fsencode(folder))
    assert done.stderr.startswith("error: convert failed: "), done.stderr


def test_a_line_break_in_a_folders_name_is_refused(tmp_path: Path) -> None:
    study_in(tmp_path / "a\nb", "out")
    done = run("run", "study.yaml", "--dry-run", cwd=tmp_path / "a\nb")
    assert done.returncode == 2
    assert "output: a folder of the path has the control character U+000A in its name. Rename it." in done.stderr


def test_a_folder_that_is_a_link_works_and_stays_a_link(tmp_path: Path) -> None:
    study_in(tmp_path / "real", "out")
    (tmp_path / "link").symlink_to("real")
    done = run("run", "link/study.yaml", cwd=tmp_path)
    assert done.stderr.startswith("error: convert failed: "), done.stderr
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "out" / "state" / "convert.json").is_file()


def test_code_in_the_output_is_not_run(tmp_path: Path) -> None:
    study_in(tmp_path, "out")
    (tmp_path / "out").mkdir()
    for name in ("yaml", "snakemake", "nnunet_spine", "sitecustomize", "pathlib"):
        (tmp_path / "out" / f"{name}.py").write_text(f"open('{tmp_path}/pwned', 'w')\n", encoding="utf-8")
    done = run("run", "study.yaml", cwd=tmp_path)
    assert done.stderr.startswith("error: convert failed: "), done.stderr
    assert not (tmp_path / "pwned").exists()


def test_the_snakefile_takes_the_study_from_a_variable(tmp_path: Path) -> None:
    folder = tmp_path / "it's {a} #1"
    study_in(folder, "out put")
    snakefile = run("info", "--snakefile", cwd=tmp_path).stdout.strip()
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-s",
        snakefile,
        "--directory",
        "out put",
        "--cores",
        "1",
        "--dry-run",
    ]
    variables = {**environment(), "NNUNET_SPINE_STUDY": str(folder / "study.yaml")}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "steps/report.json" in done.stderr + done.stdout
    other = subprocess.run(
        [*command[:6], "other", *command[7:]], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    assert other.returncode != 0
    assert f"Start it with --directory {folder / 'out put'}, the study's output." in other.stderr + other.stdout
    remote = tmp_path / "$(touch pwned)"
    study_in(remote, "out")
    variables["NNUNET_SPINE_STUDY"] = str(remote / "study.yaml")
    done = subprocess.run(
        [*command[:6], "out", *command[7:]], cwd=remote, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "which a shell or SLURM takes for something else" in done.stderr + done.stdout
