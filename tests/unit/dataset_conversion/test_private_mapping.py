from __future__ import annotations

import csv
import io
import stat
import subprocess
from pathlib import Path

import pytest

from nnunet_spine.dataset_conversion.patient_key import patient_key
from nnunet_spine.dataset_conversion.private_mapping import (
    check_free,
    check_place,
    default_path,
    mapping_text,
    pending,
    publish,
    read_mapping,
    settle,
    write_pending,
)
from nnunet_spine.dataset_conversion.sources import Details, Discovery, Identity, SourceCase
from nnunet_spine.errors import BadInput, NotWritable


@pytest.fixture
def work_tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / ".gitignore").write_text("/private/\n")
    return folder


def test_a_place_that_git_would_take_up_is_refused(work_tree: Path) -> None:
    with pytest.raises(BadInput, match="git work tree"):
        check_place(work_tree / "new" / "folder" / "m.csv", [])


def test_an_ignored_place_in_a_work_tree_is_fine(work_tree: Path) -> None:
    check_place(work_tree / "private" / "m.csv", [])


def test_without_git_the_place_is_not_checked(work_tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    check_place(work_tree / "m.csv", [])


def test_a_place_inside_the_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="meant to be shared"):
        check_place(tmp_path / "raw" / "Dataset001_A" / "m.csv", [tmp_path / "raw" / "Dataset001_A"])


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a folder"):
        check_place(tmp_path, [])


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    path = default_path(tmp_path / "data" / "nnUNet_raw", "Dataset001_A")
    assert path == tmp_path / "data" / "private" / "Dataset001_A_mapping.csv"
    write_pending(path, "secret\n")
    assert stat.S_IMODE(pending(path).stat().st_mode) == 0o600
    publish(path)
    assert not pending(path).exists()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_another_mapping_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("older\n")
    with pytest.raises(NotWritable, match="another conversion"):
        check_free(path, "newer\n")
    check_free(path, "older\n")


@pytest.mark.parametrize(("cases", "published"), [(["spine_001"], True), (["spine_002"], False), ([], False)])
def test_what_waits_is_published_where_its_cases_are_there(tmp_path: Path, cases: list[str], published: bool) -> None:
    path = tmp_path / "m.csv"
    case = SourceCase("row 2", (Path("i"),), Path("r"), Details(), Identity("ID 7"))
    write_pending(path, mapping_text(Discovery((case,)), {"row 2": ("spine_001", "P001")}))
    settle(path, cases)
    assert path.exists() == published
    assert not pending(path).exists()


def test_hostile_identifiers_stay_on_their_row_and_come_back(tmp_path: Path) -> None:
    hostile = ["../../etc/x", 'a\nb,c"d', "\x00\x1b[2J", "é" * 300, "\udc80", "=1+1"]
    cases = tuple(
        SourceCase(f"row {n}", (Path("i"),), Path("r"), Details(), Identity(text)) for n, text in enumerate(hostile)
    )
    path = tmp_path / "m.csv"
    write_pending(path, mapping_text(Discovery(cases), {case.where: (f"c{n}", "P") for n, case in enumerate(cases)}))
    publish(path)
    rows = read_mapping(path)
    assert [patient_key(row["patient_id"]) for row in rows.values()] == [case.patient_key for case in cases]
    assert rows["c1"]["patient_id"] == 'a b,c"d'


def test_it_lists_what_was_used_left_out_and_ignored() -> None:
    case = SourceCase("study 2", (Path("i"),), Path("r"), Details(), Identity("ID, 7", "1.2", "1.2.3", "a/i", "a/r"))
    discovery = Discovery((case,), (), {"study 1": Identity("ID 8", "1.9", "1.9.1", "b/i")}, ("notes.txt",))
    rows = list(csv.DictReader(io.StringIO(mapping_text(discovery, {"study 2": ("spine_001", "P001")}))))
    assert [(r["case"], r["patient"], r["where"], r["patient_id"], r["image"]) for r in rows] == [
        ("spine_001", "P001", "study 2", "ID, 7", "a/i"),
        ("", "", "study 1", "ID 8", "b/i"),
        ("", "", "ignored", "", "notes.txt"),
    ]
