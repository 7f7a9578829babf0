"""The command `nnunet-spine correct-bias`, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from nnunet_spine.cli.main import main

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha")
SHAPE = (14, 112, 96)
REAL = Path(__file__).parents[3] / "shared" / "data" / "mri"


def true_field() -> np.ndarray:
    x = np.linspace(-1, 1, SHAPE[2])
    return np.broadcast_to(np.exp(0.5 * x), SHAPE)


@lru_cache
def signal() -> np.ndarray:
    """Blobs of three tissues, in air."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(4).normal(size=SHAPE), (1.5, 6, 6))
    tissues = np.select([smooth < np.quantile(smooth, 0.3), smooth < np.quantile(smooth, 0.7)], [40.0, 90.0], 160.0)
    tissues[:, :, :16] = 0
    return tissues


def measured(field: np.ndarray | float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 3, (2, *SHAPE))
    return np.hypot(signal() * field + noise[0], noise[1]).astype(np.float32)


def write(path: Path, array: np.ndarray, *, oblique: bool = True) -> Path:
    image = sitk.GetImageFromArray(array)
    if array.ndim == 3:
        image.SetSpacing((1.1, 0.9, 4.3))
        image.SetOrigin((-12.3, 45.6, 7.89))
        if oblique:
            rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
            image.SetDirection(rotation.ravel().tolist())
    sitk.WriteImage(image, str(path))
    return path


def read(path: Path) -> tuple[np.ndarray, tuple]:
    image = sitk.ReadImage(str(path))
    return sitk.GetArrayFromImage(image), (image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


def run(*arguments: object) -> int:
    return main(["correct-bias", *map(str, arguments)])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_volume_is_corrected_on_its_own_grid(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = write(Path(f"case{suffix}"), measured(true_field()))
    out = Path("out")
    assert run(source, "--output", out, "--field") == 0
    assert files(out) == sorted([f"case{suffix}", f"case_field{suffix}"])
    (original, grid), (corrected, corrected_grid), (field, field_grid) = map(
        read, (source, out / f"case{suffix}", out / f"case_field{suffix}")
    )
    assert grid == corrected_grid == field_grid
    assert corrected.dtype == field.dtype == np.float32
    np.testing.assert_allclose(corrected * field, original, rtol=1e-6)
    inside = signal() > 0
    ratio = field[inside] / true_field()[inside]
    assert ratio.std() / ratio.mean() < 0.03
    printed = capsys.readouterr()
    assert printed.err == ""
    row = printed.out.splitlines()[2].split()
    assert row[0] == f"case{suffix}"
    low, high = np.percentile(true_field()[inside], (5, 95))
    assert float(row[1].removeprefix("x")) == pytest.approx(high / low, rel=0.12)
    assert (row[2], row[5]) == (">0.99", "converged")
    assert max(map(len, printed.out.splitlines())) <= 80


@pytest.mark.parametrize("spacing", [(4.0, 1.0, 1.0), (1.0, 1.0, 1.0)])
def test_the_order_of_axes_does_not_matter(tmp_path: Path, spacing: tuple[float, ...]) -> None:
    array = measured(true_field())
    for name, axes in (("zyx", (0, 1, 2)), ("xzy", (2, 0, 1)), ("yxz", (1, 2, 0))):
        image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(axes)))
        image.SetSpacing([spacing[a] for a in reversed(axes)])
        sitk.WriteImage(image, str(tmp_path / f"{name}.mha"))
        assert run(tmp_path / f"{name}.mha", "--output", tmp_path / "out") == 0
    first = read(tmp_path / "out" / "zyx.mha")[0]
    assert not np.array_equal(first, array)
    for name, back in (("xzy", (1, 2, 0)), ("yxz", (2, 0, 1))):
        np.testing.assert_allclose(read(tmp_path / "out" / f"{name}.mha")[0].transpose(back), first, rtol=2e-3)


def test_without_a_field_the_image_comes_back_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "flat.nrrd", measured())
    assert run(source, "--output", tmp_path / "out") == 0
    np.testing.assert_array_equal(read(tmp_path / "out" / "flat.nrrd")[0], measured())
    printed = capsys.readouterr()
    assert printed.out.splitlines()[2].split()[1] == "none"
    assert printed.err.startswith("warning: flat.nrrd: ")
    assert "the image is unchanged" in printed.err


def test_json_is_all_that_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, flat = write(tmp_path / "a.mha", measured(true_field())), write(tmp_path / "b.mha", np.ones((8, 8, 8)))
    assert run(source, flat, "--output", tmp_path / "out", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["method"], content["gamma"]) == ("van_leemput", 1.0)
    first, second = content["images"]
    assert first["written"] == [str(tmp_path / "out" / "a.mha")]
    assert first["findings"]["confidence"] > 0.99
    assert first["findings"]["advice"] == []
    assert second["findings"]["advice"][0]["concern"] == "constant"
    assert (second["findings"]["stop"], second["error"]) == ("constant image", None)


def test_n4_says_that_it_knows_no_confidence_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = [write(tmp_path / f"{n}.mha", measured(true_field())) for n in "ab"]
    assert run(*sources, "--output", tmp_path / "out", "--method", "n4", "--field") == 0
    corrected, field = (read(tmp_path / "out" / name)[0] for name in ("a.mha", "a_field.mha"))
    np.testing.assert_allclose(corrected * field, measured(true_field()), rtol=1e-6)
    printed = capsys.readouterr()
    assert printed.err.count("N4 does not tell whether there is a field") == 1
    assert printed.out.splitlines()[3].split()[2:] == ["-"] * 4


def test_none_copies(tmp_path: Path) -> None:
    source = write(tmp_path / "a.nii.gz", measured(true_field()))
    assert run(source, "--output", tmp_path / "out", "--method", "none", "--field") == 0
    np.testing.assert_array_equal(read(tmp_path / "out" / "a.nii.gz")[0], measured(true_field()))
    np.testing.assert_array_equal(read(tmp_path / "out" / "a_field.nii.gz")[0], 1)


def test_gamma_comes_first_and_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    array = measured(true_field())
    source = write(tmp_path / "a.mha", array)
    assert run(source, "--output", tmp_path / "out", "--field", "--gamma", "0.7") == 0
    low, span = array.min(), np.ptp(array)
    by_hand = ((array - low) / span) ** 0.7 * span + low
    corrected, field = (read(tmp_path / "out" / name)[0] for name in ("a.mha", "a_field.mha"))
    np.testing.assert_allclose(corrected * field, by_hand, rtol=1e-4)
    inside = signal() > 0
    slope = np.polyfit(np.log(true_field()[inside]), np.log(field[inside]), 1)[0]
    assert slope == pytest.approx(0.7, abs=0.05)
    printed = " ".join(capsys.readouterr().out.split())
    assert "Gamma 0.7 came first" in printed
    assert "0.7 times the true field" in printed


@pytest.mark.parametrize(("kind", "suffix"), [(np.int16, ".nii.gz"), (np.uint8, ".mha"), (np.uint16, ".nrrd")])
def test_integers_at_their_extremes(
    tmp_path: Path, kind: type, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    array, limits = measured(true_field()), np.iinfo(kind)
    scaled = np.round((array - array.min()) / np.ptp(array) * (float(limits.max) - limits.min) + limits.min)
    source = write(tmp_path / f"a{suffix}", scaled.astype(kind))
    assert run(source, "--output", tmp_path / "out", "--field") == 0
    corrected, field = (read(tmp_path / "out" / f"{name}{suffix}")[0] for name in ("a", "a_field"))
    zero = float(limits.min)
    np.testing.assert_allclose((corrected.astype(float) - zero) * field + zero, scaled, atol=0.02)
    ratio = (field / true_field())[signal() > 0]
    assert ratio.std() / ratio.mean() < 0.05
    errors = capsys.readouterr().err
    assert ("-32768, was taken for no signal" in errors) is (limits.min < 0)


def broken(folder: Path, name: str) -> Path:
    """A file that cannot be corrected."""
    array, path = measured(true_field()), folder / name
    kind = name.partition(".")[0]
    if kind in {"nan", "infinite", "thin", "slice", "huge"}:
        return write(path, broken_array(array, kind))
    if kind == "4d":
        nibabel.Nifti1Image(np.stack([array.T] * 3, -1), np.eye(4)).to_filename(path)
    elif kind == "spacing":
        image = nibabel.Nifti1Image(array.T, None)
        image.header["pixdim"][1:4] = (1, 0, 4)
        image.to_filename(path)
    elif kind == "cut":
        whole = write(folder / f"whole{name[3:]}", array).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind in ODD:
        ODD[kind](path)
    return path


ODD: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("hello"),
    "nifti2": lambda path: nibabel.Nifti2Image(measured().T, np.eye(4)).to_filename(path),
    "pipe": os.mkfifo,
    "dangling": lambda path: path.symlink_to(path.with_name("annex")),
    "not\udcffutf8": lambda path: path.write_bytes(write(path.with_name("utf8.mha"), measured()).read_bytes()),
}


def broken_array(array: np.ndarray, kind: str) -> np.ndarray:
    if kind == "thin":
        return array[:2]
    if kind == "slice":
        return array[0]
    if kind == "huge":
        array[5:9, 50:54, 20:24] = array.max()  # brightest where the field is weakest
        return array / array.max() * np.float32(3.4e38)
    array[3, 4, 5] = {"nan": np.nan, "infinite": np.inf}[kind]
    return array


BROKEN = {
    "nan.mha": "1 voxels that are not finite",
    "nan.nii": "1 voxels that are not finite",
    "nan.nii.gz": "1 voxels that are not finite",
    "nan.nrrd": "1 voxels that are not finite",
    "infinite.nii.gz": "1 voxels that are not finite",
    "nifti2.nii.gz": "is NIfTI-2, which ITK does not read",
    "pipe.nii.gz": "is a pipe; expected a volume file",
    "dangling.mha": "is a link to a file that is missing",
    "not\udcffutf8.mha": "has a name, or a folder, that is not UTF-8",
    "infinite.mha": "1 voxels that are not finite",
    "thin.mha": "at least 4 voxels",
    "slice.mha": "has 2 dimensions",
    "4d.nii.gz": "has 4 dimensions",
    "spacing.nii": "spacing of 1 x 0 x 4 mm (x, y, z); expected numbers above 0",
    "huge.mha": "near the end of float32",
    "cut.nii.gz": "damaged",
    "cut.mha": "damaged",
    "cut.nrrd": "damaged",
    "text.nii": "cannot be read as a volume",
    "missing.mha": "There is no file",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_cannot_be_corrected_is_named_and_the_others_are_done(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, good = broken(tmp_path, kind), write(tmp_path / "good.mha", measured(true_field()))
    assert run(bad, "--output", tmp_path / "alone") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert BROKEN[kind] in error
    assert bad.name.replace("\udcff", "\\udcff") in error
    assert len(error.strip().splitlines()) == 1
    assert files(tmp_path / "alone") == []
    assert run(bad, good, "--output", tmp_path / "both", "--report", tmp_path / "page.html") == 1
    printed = capsys.readouterr()
    assert printed.err == error
    assert "good.mha" in printed.out
    assert files(tmp_path / "both") == ["good.mha"]
    assert "Not corrected: " in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.full((8, 8, 8), 7, np.int16), "all voxels are equal"),
        (np.zeros((8, 8, 8), np.uint8), "all voxels are equal"),
        (np.random.default_rng(0).random((4, 4, 4)).astype(np.float32), "fewer than 100 samples of tissue"),
        (np.hypot(*np.random.default_rng(0).normal(size=(2, *SHAPE))).astype(np.float32), "the image is unchanged"),
    ],
    ids=["constant", "zeros", "tiny", "air"],
)
def test_what_holds_no_field_comes_back_and_is_said(
    tmp_path: Path, array: np.ndarray, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "a.mha", array)
    assert run(source, "--output", tmp_path / "out") == 0
    np.testing.assert_array_equal(read(tmp_path / "out" / "a.mha")[0], array.astype(np.float32))
    assert said in capsys.readouterr().err


def test_again_keeps_what_is_there_and_another_method_does_not_replace_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for suffix in SUFFIXES:
        source, out = write(tmp_path / f"a{suffix}", measured(true_field())), tmp_path / "out"
        assert run(source, "--output", out) == 0
        before = (out / f"a{suffix}").read_bytes()
        assert run(source, "--output", out, "--field") == 0
        assert "there already 1" in capsys.readouterr().out
        assert run(source, "--output", out, "--field", "--method", "none") == 2
        assert "already exists and holds something else" in capsys.readouterr().err
        assert (out / f"a{suffix}").read_bytes() == before


def test_where_one_file_is_in_the_way_none_is_written(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mha", measured(true_field()))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a_field.mha").write_text("mine")
    assert run(source, "--output", tmp_path / "out", "--field") == 2
    assert files(tmp_path / "out") == ["a_field.mha"]
    assert (tmp_path / "out" / "a_field.mha").read_text() == "mine"


def test_bad_usage_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "a.mha", measured(true_field()))
    field = write(tmp_path / "a_field.mha", measured())
    (tmp_path / "other").mkdir()
    same_name = write(tmp_path / "other" / "a.mha", measured())
    (tmp_path / "link").symlink_to(tmp_path)
    before = {path: path.read_bytes() for path in (source, field, same_name)}
    out = tmp_path / "out"
    for arguments, words in (
        ([source, "--output", tmp_path], "would overwrite the input"),
        ([source, "--output", tmp_path / "link"], "would overwrite the input"),
        ([source, same_name, "--output", out], "Two outputs would both be"),
        ([source, field, "--output", out, "--field"], "Two outputs would both be"),
        ([source], "no place to write to"),
        ([source, "--report", tmp_path / "p.html", "--field"], "no place to write to"),
        ([source, "--output", out, "--gamma", "0"], "above 0"),
        ([source, "--output", out, "--report", field], "ends in .html"),
        ([source, "--output", "/proc/nnunet_spine"], "/proc/nnunet_spine"),
        ([tmp_path / "notes.txt", "--output", out], "no file"),
    ):
        assert run(*arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert words in error
    assert {path: path.read_bytes() for path in before} == before
    assert files(out) == []
    assert not (tmp_path / "p.html").exists()


PLACES: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a link": lambda path: path.symlink_to("mine.txt"),
    "a link to a device": lambda path: path.symlink_to("/dev/null"),
    "a dangling link": lambda path: path.symlink_to("nothing"),
    "a loop": lambda path: path.symlink_to(path.name),
}


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("name", ["a.mha", "a_field.mha", "page.html"])
def test_what_is_no_file_is_never_replaced(
    tmp_path: Path, kind: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = write(tmp_path / "a.mha", measured(true_field())), tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    PLACES[kind](out / name)
    before = {path.name: path.lstat().st_ino for path in out.iterdir()}
    assert run(source, "--output", out, "--field", "--report", out / "page.html") == 2
    error = capsys.readouterr().err
    assert f"{out / name} is a " in error
    assert "expected a regular file or nothing" in error
    assert {path.name: path.lstat().st_ino for path in out.iterdir() if path.name != "page.html"} == {
        known: inode for known, inode in before.items() if known != "page.html"
    }
    assert (out / "page.html").lstat().st_ino == before["page.html"] if name == "page.html" else True
    assert (out / "mine.txt").read_text() == "mine"
    assert not (out / "nothing").exists()


def test_a_page_replaces_a_page_and_no_other_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, page = write(tmp_path / "a.mha", measured(true_field())), tmp_path / "page.html"
    for _ in range(2):
        assert run(source, "--report", page) == 0
    capsys.readouterr()
    page.write_text("<html><title>My thesis</title></html>")
    assert run(source, "--report", page) == 2
    assert f"{page} is there and is no page of `nnunet-spine correct-bias`" in capsys.readouterr().err
    assert page.read_text() == "<html><title>My thesis</title></html>"
    assert files(tmp_path) == ["a.mha", "page.html"]


@pytest.mark.parametrize(
    "name",
    ["Größe", "{braces}", "#hash", "a: b", "it's", 'double"quote', "new\nline", "a*b[c]", "-rf", "%s $(x)", ".a"],
)
def test_a_volume_of_any_name_is_corrected_under_it(tmp_path: Path, name: str) -> None:
    folder = tmp_path / f"folder {name}"
    folder.mkdir()
    for suffix in (".nii.gz", ".nrrd"):
        source = write(folder / f"{name}{suffix}", np.full((8, 8, 8), 7, np.int16))
        assert run(source, "--output", folder / "out", "--field", "--report", folder / f"{name}.html") == 0
        assert {f"{name}{suffix}", f"{name}_field{suffix}"} <= set(files(folder / "out"))
    assert not list(folder.rglob(".*partial*"))


def test_a_page_alone_writes_no_volume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "spine_001_0000.nii.gz", measured(true_field()))
    assert run(source, "--report", tmp_path / "page.html", "--gamma", "0.7") == 0
    assert files(tmp_path) == ["page.html", "spine_001_0000.nii.gz"]
    assert "After gamma 0.7" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"pictures: {tmp_path / 'page.html'}" in capsys.readouterr().out


def test_the_command_itself_keeps_its_streams_apart(tmp_path: Path) -> None:
    sources = [write(tmp_path / f"{n}.nii.gz", measured(true_field())) for n in "ab"]
    command = [sys.executable, "-m", "nnunet_spine", "correct-bias", *map(str, sources), "--output"]
    done = subprocess.run([*command, str(tmp_path / "out")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "correcting: 2/2 (b.nii.gz)"
    assert "\x1b" not in done.stdout


def test_correcting_imports_no_torch(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mha", measured(true_field()))
    code = (
        "import sys; from nnunet_spine.cli.main import main;"
        f"main(['correct-bias', {str(source)!r}, '--output', {str(tmp_path / 'out')!r}]);"
        "print(sorted({'torch', 'nnunetv2', 'monai'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.shared
@pytest.mark.skipif(not REAL.is_dir(), reason="the real volumes are not beside the project")
@pytest.mark.parametrize("name", ["sct_t1w", "sct_t2w", "t2_lumbar", "axial_mts"])
def test_real_volumes(tmp_path: Path, name: str) -> None:
    source = REAL / f"{name}.nii.gz"
    assert run(source, "--output", tmp_path, "--field") == 0
    (original, grid), (corrected, corrected_grid), (field, _) = map(
        read, (source, tmp_path / f"{name}.nii.gz", tmp_path / f"{name}_field.nii.gz")
    )
    assert grid == corrected_grid
    np.testing.assert_allclose(corrected * field, original, rtol=1e-6)
    theirs, ours = (nibabel.load(path).affine for path in (source, tmp_path / f"{name}.nii.gz"))
    np.testing.assert_array_equal(ours, theirs)
