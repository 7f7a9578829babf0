from __future__ import annotations

import os
from pathlib import Path

import pytest

from nnunet_spine import files
from nnunet_spine.files import exchange, link_or_copy, remove_abandoned, remove_partial, replacing_folder, staged_folder


def folder_with(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "a.txt").write_text(text)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("in_one_step", [True, False])
def test_two_folders_change_places(tmp_path: Path, in_one_step: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not in_one_step:
        monkeypatch.setattr(files, "_exchanged", lambda one, other: False)
    one, other = folder_with(tmp_path / "one", "1"), folder_with(tmp_path / "other", "2")
    exchange(one, other)
    assert ((one / "a.txt").read_text(), (other / "a.txt").read_text()) == ("2", "1")
    assert names(tmp_path) == ["one", "other"]


def test_a_folder_is_replaced_whole_or_not(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "data", "old")
    with pytest.raises(KeyboardInterrupt), replacing_folder(folder) as staging:
        (staging / "b.txt").write_text("half")
        raise KeyboardInterrupt
    assert names(folder) == ["a.txt"]
    with replacing_folder(folder) as staging:
        (staging / "b.txt").write_text("new")
    assert names(folder) == ["b.txt"]
    assert names(tmp_path) == ["data"]


def test_a_folder_that_was_moved_away_comes_back(tmp_path: Path) -> None:
    folder_with(tmp_path / ".data.moved", "old")
    folder_with(tmp_path / ".data.partial.xyz", "half")
    folder_with(tmp_path / ".other.partial.xyz", "another's")
    remove_abandoned(tmp_path / "data")
    assert names(tmp_path) == [".other.partial.xyz", "data"]


def test_a_folder_at_work_is_not_abandoned(tmp_path: Path) -> None:
    with replacing_folder(folder_with(tmp_path / "data", "old")) as staging:
        remove_abandoned(tmp_path / "data")
        assert staging.is_dir()


def test_partial_files_of_one_name_are_removed(tmp_path: Path) -> None:
    for name in (".17.partial.m[1].csv", ".17.partial.m1.csv", "m[1].csv"):
        (tmp_path / name).write_text("x")
    remove_partial(tmp_path / "m[1].csv")
    assert names(tmp_path) == [".17.partial.m1.csv", "m[1].csv"]


def test_a_file_is_linked_or_copied_with_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "a.txt"
    source.write_text("a")
    os.utime(source, (1e9, 1e9))
    link_or_copy(source, tmp_path / "x" / "b.txt")
    assert source.stat().st_nlink == 2

    def refuse(self: Path, target: Path) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    link_or_copy(source, tmp_path / "c.txt")
    assert (source.stat().st_nlink, (tmp_path / "c.txt").stat().st_mtime) == (2, 1e9)
    assert (tmp_path / "c.txt").read_text() == "a"


@pytest.mark.parametrize("replace", [staged_folder, replacing_folder])
def test_a_folder_that_is_a_link_stays_the_link(tmp_path: Path, replace) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "data").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk" / "data")
    with replace(tmp_path / "data") as staging:
        (staging / "a.txt").write_text("new")
    assert (tmp_path / "data").is_symlink()
    assert (tmp_path / "disk" / "data" / "a.txt").read_text() == "new"
    assert names(tmp_path / "disk") == ["data"]


def test_an_earlier_folder_without_permissions_is_removed_and_its_parent_stays_as_it_is(tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    (parent / "data" / "closed").mkdir(parents=True)
    (parent / "data" / "closed" / "x").write_text("x")
    parent.chmod(0o750)
    (parent / "data" / "closed").chmod(0)
    (parent / "data").chmod(0o500)
    with replacing_folder(parent / "data") as staging:
        (staging / "y").write_text("y")
    assert [path.name for path in parent.rglob("*")] == ["data", "y"]
    assert parent.stat().st_mode & 0o777 == 0o750
    with replacing_folder(parent / "data"):
        pass
    assert parent.stat().st_mode & 0o777 == 0o750
