"""What stands on the disk afterwards: permissions, folders, and files whose content is not what their name says."""

from __future__ import annotations

import gzip
import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from nnunet_spine.cases import Case, Fold, read_cases, read_splits
from nnunet_spine.errors import BadInput, NotWritable
from nnunet_spine.files import make_folder, replacing, staged_folder, write_csv, write_json, write_text
from nnunet_spine.grids import Geometry
from nnunet_spine.images import Volume, read_volume, write_volume

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def _open_umask():
    earlier = os.umask(0)
    yield
    os.umask(earlier)


@pytest.mark.usefixtures("_open_umask")
def test_others_may_read_what_is_written_and_nobody_else_may_write_it(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "x")
    write_json(tmp_path / "a.json", [])
    write_csv(tmp_path / "a.csv", ("a",), [])
    assert {mode(path) for path in tmp_path.iterdir()} == {0o644}
    with staged_folder(tmp_path / "folder"):
        pass
    assert mode(tmp_path / "folder") == 0o755


@pytest.mark.usefixtures("_open_umask")
@pytest.mark.parametrize("write", [lambda p, **k: write_json(p, [], **k), lambda p, **k: write_csv(p, ("a",), [], **k)])
def test_a_private_file_is_private(tmp_path: Path, write) -> None:
    write(tmp_path / "a", mode=0o600)
    assert mode(tmp_path / "a") == 0o600


def test_folders_are_made_with_their_parents(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b" / "c").is_dir()
    with replacing(tmp_path / "d" / "e" / "f.txt") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "d" / "e" / "f.txt").read_text() == "x"


def test_the_reason_of_the_system_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritable, match="Not a directory"):
        make_folder(tmp_path / "file" / "below")
    with pytest.raises(NotWritable, match=r"a\.txt: No such file or directory"), replacing(tmp_path / "a.txt"):
        pass
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root, to whom all is writable
    with pytest.raises(NotWritable, match="not writable"):
        make_folder(tmp_path)


def test_an_interruption_leaves_nothing_half_done(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), staged_folder(tmp_path / "out") as staging:
        (staging / "half").write_text("x")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("strength", ["0", "0.0", "inf", "-inf"])
def test_no_magnet_has_that_strength(tmp_path: Path, strength: str) -> None:
    (tmp_path / "cases.csv").write_text(f"case,patient,field_strength\na,P,{strength}\n")
    with pytest.raises(BadInput, match="tesla"):
        read_cases(tmp_path / "cases.csv")


def test_a_weak_magnet_is_a_magnet(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("case,patient,field_strength\na,P,0.55\n")
    assert read_cases(tmp_path / "cases.csv") == [Case("a", "P", field_strength=0.55)]


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize("value", ["abc", {"a": 1}, 3, None])
def test_a_text_is_no_list_of_cases(tmp_path: Path, part: str, value: object) -> None:
    (tmp_path / "s.json").write_text(json.dumps([{"train": ["x"], "val": ["y"], part: value}]))
    with pytest.raises(BadInput, match="not a list of folds"):
        read_splits(tmp_path / "s.json")


def test_a_fold_has_its_cases_sorted_and_as_text(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('[{"train": ["c", "b"], "val": [2, 1]}]')
    assert read_splits(tmp_path / "s.json") == [Fold(0, ("b", "c"), ("1", "2"))]


def test_a_nifti_that_was_never_compressed_is_read_under_a_gz_name(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    write_volume(tmp_path / "a.nii", Volume(array, Geometry((4, 3, 2), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0), IDENTITY)))
    (tmp_path / "plain.nii.gz").write_bytes((tmp_path / "a.nii").read_bytes())
    (tmp_path / "short.nii.gz").write_bytes((tmp_path / "a.nii").read_bytes()[:-10])
    np.testing.assert_array_equal(read_volume(tmp_path / "plain.nii.gz").array, array)
    with pytest.raises(BadInput, match=r"short\.nii\.gz breaks off early: 390 bytes unpacked, 400 expected"):
        read_volume(tmp_path / "short.nii.gz")


def test_compressed_formats_are_compressed(tmp_path: Path) -> None:
    volume = Volume(np.zeros((8, 64, 64), np.int16), Geometry((64, 64, 8), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0), IDENTITY))
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        write_volume(tmp_path / f"a{suffix}", volume)
        assert (tmp_path / f"a{suffix}").stat().st_size < 4096
    with gzip.open(tmp_path / "a.nii.gz") as stream:
        assert len(stream.read()) == 352 + 2 * 8 * 64 * 64


@pytest.mark.parametrize(("spacing_mm", "same"), [(1.00198, True), (1.00202, False)])
def test_the_last_voxel_center_decides_whether_grids_agree(spacing_mm: float, same: bool) -> None:
    # 51 voxels: the last center is 50 spacings away, and 50 x 1.98e-3 = 0.099 mm, 50 x 2.02e-3 = 0.101 mm.
    one = Geometry((51, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), IDENTITY)
    other = Geometry((51, 2, 2), (spacing_mm, 1.0, 1.0), (0.0, 0.0, 0.0), IDENTITY)
    assert one.same_grid(other) is same
