"""Where a study may write: nothing in any other folder is made, changed or removed."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nnunet_spine.errors import BadInput, NnunetSpineError
from nnunet_spine.files import write_json
from nnunet_spine.workflow.driver import run_study
from nnunet_spine.workflow.job import run_job
from nnunet_spine.workflow.step_state import begin
from nnunet_spine.workflow.study_file import read_study
from nnunet_spine.workflow.study_places import MARKER, check_places, check_source, prepare_output
from nnunet_spine.workflow.study_settings import StudySettings
from nnunet_spine.workflow.study_steps import fingerprint, source_digest, steps_of

MODELS = "models:\n  documented: {}\n"


def study_of(folder: Path, source: str = "export", output: str = "out", more: str = "") -> StudySettings:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "export").mkdir(exist_ok=True)
    (folder / "study.yaml").write_text(f"source: {source}\noutput: {output}\n{more}{MODELS}", encoding="utf-8")
    return read_study(folder / "study.yaml")


def everything(folder: Path) -> dict[str, tuple[int, bytes | str | None]]:
    """All that is below a folder, with its times and bytes."""
    found: dict[str, tuple[int, bytes | str | None]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path)] = (status.st_mtime_ns, content)
    return found


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """Somebody's folder, which is to stay as it is."""
    folder = tmp_path / "elsewhere"
    (folder / "models" / "documented").mkdir(parents=True)
    (folder / "models" / "documented" / "thesis.txt").write_text("years of work", encoding="ascii")
    (folder / "convert.log").write_text("mine\n", encoding="ascii")
    before = everything(folder)
    yield folder
    assert everything(folder) == before


def refused(study: StudySettings, said: str) -> None:
    """The check, a run and a job all refuse, with the same sentence."""
    for attempt in (
        lambda: check_places(study),
        lambda: run_study(study, "local", jobs=1, update=lambda _rows: None),
        lambda: run_job(study, steps_of(study)["convert"]),
    ):
        with pytest.raises(NnunetSpineError) as caught:
            attempt()
        assert said in str(caught.value)
        assert str(caught.value).startswith(f"{study.file}, line ")


def test_a_new_an_empty_and_an_own_output_are_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for output in ("../empty", "../new/er", "below"):
        study = study_of(tmp_path / "study", output=output)
        prepare_output(study)
        (study.output / "result").touch()
        prepare_output(study)  # marked by now
        assert (study.output / MARKER).is_file()


def test_what_an_earlier_version_wrote_is_known_by_its_records_and_states(tmp_path: Path) -> None:
    study = study_of(tmp_path / "study", output="../old")
    convert = steps_of(study)["convert"]
    write_json(convert.record(study), {"fingerprint": fingerprint(convert, study), "result": "cases"})
    prepare_output(study)
    other = study_of(tmp_path / "study", output="../failed")
    begin(convert.state(other))
    prepare_output(other)


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, elsewhere: Path) -> None:
    refused(study_of(tmp_path / "study", output="../elsewhere"), "holds files that no study made, and was left alone")
    # A folder of that name with a record that is none does not make it a study's.
    refused(study_of(tmp_path / "study", output="../elsewhere/models"), "holds files that no study made")


def test_a_root_is_new_or_nnunets(tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    refused(study_of(tmp_path / "study", more="root: ../elsewhere\n"), "line 3: root: ")
    refused(study_of(tmp_path / "study", more="root: /\n"), "is a folder of the system or your home folder")
    with pytest.raises(BadInput, match="elsewhere holds files that are not nnU-Net's .nnUNet_raw and nnUNet_prep"):
        check_places(study_of(tmp_path / "study", more="root: ../elsewhere\n"))
    for root in ("../new/er", "below", "~"):
        (tmp_path / "home" / "nnUNet_raw").mkdir(parents=True, exist_ok=True)
        check_places(study_of(tmp_path / "study", more=f"root: '{root}'\n"))


def test_a_link_as_output_counts_as_what_it_leads_to(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "link").symlink_to(elsewhere)
    refused(study_of(tmp_path / "study", output="link"), f"{elsewhere} holds files that no study made")
    (tmp_path / "scratch").mkdir()
    (tmp_path / "study" / "out").symlink_to(tmp_path / "scratch")
    prepare_output(study_of(tmp_path / "study"))
    assert (tmp_path / "study" / "out").is_symlink()
    assert (tmp_path / "scratch" / MARKER).is_file()


def test_the_system_and_the_home_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    for output in ("/", "'~'", "~/..", "../home/."):
        refused(study_of(tmp_path / "study", output=output), "is a folder of the system or your home folder")
    refused(study_of(tmp_path / "home", output="."), "is a folder of the system or your home folder")
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["export", "study.yaml"]
    check_places(study_of(tmp_path / "home", output="results"))


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    study = study_of(tmp_path, output="file")
    study.output.write_text("mine", encoding="ascii")
    refused(study, "file cannot be used: Not a directory")
    refused(study_of(tmp_path, output="file/below"), "file/below cannot be used: Not a directory")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(tmp_path / "socket"))
        refused(study_of(tmp_path, output="socket"), "socket cannot be used: Not a directory")
    assert (tmp_path / "file").read_text(encoding="ascii") == "mine"


CHECK = """
import os, sys
from pathlib import Path
from nnunet_spine.errors import BadInput
from nnunet_spine.workflow.step_state import begin
from nnunet_spine.workflow.study_file import read_study
from nnunet_spine.workflow.study_places import check_places
study = read_study(Path(sys.argv[1]))
os.geteuid() or os.setuid(65534)  # permissions do not bind root
try:
    check_places(study)
except BadInput as error:
    print(error)
"""


def test_an_output_that_cannot_be_written_is_refused() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's folders are closed to other users
        folder = Path(name).resolve()
        folder.chmod(0o755)
        (folder / "closed").mkdir(mode=0o555)
        for output, said in (("closed/out", "so that .* cannot be made. Name another"), ("closed", "Change its perm")):
            study = study_of(folder, output=output)
            command = [sys.executable, "-c", CHECK, str(study.file)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            assert re.search(f"output: {folder / 'closed'} cannot be written.*{said}", done.stdout), done.stdout


def test_output_and_root_lie_outside_the_source(tmp_path: Path) -> None:
    refused(study_of(tmp_path, output="export/out"), "output: it lies in the source, which is only read")
    refused(study_of(tmp_path, output="export"), "output: it lies in the source")
    refused(study_of(tmp_path, more="root: export/nnunet\n"), "line 3: root: it lies in the source")
    assert list((tmp_path / "export").iterdir()) == []


def test_the_source_lies_outside_what_the_study_writes(tmp_path: Path) -> None:
    (tmp_path / "out" / "models" / "x").mkdir(parents=True)
    with pytest.raises(BadInput, match="source: it lies in a folder that this study writes") as caught:
        check_places(study_of(tmp_path, source="out/models/x"))
    assert "models" not in str(caught.value)
    # A source beside these, in the output, is the demo's.
    (tmp_path / "out" / "export").mkdir()
    check_places(study_of(tmp_path, source="out/export"))


def test_an_output_among_nnunets_folders_is_refused(tmp_path: Path) -> None:
    study = study_of(tmp_path, output="data/nnUNet_raw/out", more="root: data\n")
    refused(study, "lies in one of nnU-Net's own folders")


PLACES = (
    ".snakemake",
    ".snakemake/metadata",
    "steps",
    "steps/convert.json",
    "steps/train",
    "steps/train/documented/0.json",
    "state",
    "state/convert.json",
    "state/convert.lock",
    "logs",
    "logs/convert.log",
    "logs/slurm/rule_train",
    "logs/snakemake.log",
    "models",
    "models/documented",
    "models/documented/Dataset058_IntraduralSpineTumor",
    "models/documented/Dataset058_IntraduralSpineTumor/nnUNetTrainerSpine__nnUNetSpinePlans__3d_fullres/fold_1",
    "earlier",
    "earlier/train/documented",
    "evaluation",
    "evaluation/documented",
    "comparison",
    "report",
)


@pytest.mark.parametrize("place", PLACES)
def test_a_link_in_the_output_is_refused(tmp_path: Path, elsewhere: Path, place: str) -> None:
    study = study_of(tmp_path / "study")
    path = study.output / place
    path.parent.mkdir(parents=True)
    path.symlink_to(elsewhere / ("convert.log" if path.suffix else ""))
    refused(study, f"{path} is a link, and a study writes only into its own output. Nothing was changed.")
    path.unlink()
    path.symlink_to(elsewhere / "missing")
    refused(study, f"{path} is a link")


@pytest.mark.parametrize("name", [".snakemake", "steps", "logs", "models"])
def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    study = study_of(tmp_path / "study")
    study.output.mkdir()
    (study.output / name).write_text("mine", encoding="ascii")
    refused(study, f"{study.output / name} is in the way of a folder of the study. Remove it.")
    assert (study.output / name).read_text(encoding="ascii") == "mine"


@pytest.mark.parametrize("name", [".run.lock", MARKER, "logs/snakemake.log", "logs/convert.log", "state/convert.json"])
def test_a_pipe_in_the_output_blocks_nothing(tmp_path: Path, name: str) -> None:
    study = study_of(tmp_path / "study")
    path = study.output / name
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    with pytest.raises(NnunetSpineError, match="a pipe"):
        if "convert" in name:
            end = run_job(study, steps_of(study)["convert"])
            raise BadInput(end.problem or "it went well")
        run_study(study, "local", jobs=1, update=lambda _rows: None)


def test_what_is_no_source_is_named_by_its_line_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "Mueller_Hans")
    for source, said in (
        ("Mueller_Hans", "it is a device, a pipe or a socket"),
        ("/dev/zero", "it is a device, a pipe or a socket"),
        ("Mueller_Hans/x", "it cannot be read: Not a directory"),
        ("Meier", "there is no such file or folder. Check the path"),
    ):
        with pytest.raises(BadInput, match=f"line 1: source: {said}") as caught:
            check_source(study_of(tmp_path, source=source))
        assert not any(word in str(caught.value) for word in ("Mueller", "zero", "Meier"))


def test_a_source_whose_accents_are_encoded_otherwise_is_explained(tmp_path: Path) -> None:
    (tmp_path / "Mu\u0308ller").mkdir()  # as macOS writes it: u and a combining diaeresis
    with pytest.raises(BadInput, match="one whose name looks the same has its accents encoded in another way"):
        check_source(study_of(tmp_path, source="M\u00fcller"))


def test_a_source_is_looked_at_whatever_it_holds(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    assert study.source is not None
    first = source_digest(study)
    (study.source / "dangling").symlink_to("../annex/object")
    (study.source / "circle").symlink_to("circle")
    os.mkfifo(study.source / "pipe")
    assert source_digest(study) == first  # none of these is a file
    (study.source / os.fsdecode(b"M\xfcller.dcm")).touch()
    assert source_digest(study) != first


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_changed_image_of_a_list_is_seen(tmp_path: Path, separator: str) -> None:
    (tmp_path / "a b.nii").write_bytes(b"1")
    (tmp_path / "cases.csv").write_text(separator.join(["P1", '"a b.nii"', "circle", "x" * 5000, "\0"]), "utf-8")
    (tmp_path / "circle").symlink_to("circle")
    study = study_of(tmp_path, source="cases.csv")
    first = source_digest(study)
    (tmp_path / "a b.nii").write_bytes(b"12")
    assert source_digest(study) != first
