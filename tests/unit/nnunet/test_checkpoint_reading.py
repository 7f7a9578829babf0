"""Checkpoints: what nnU-Net's hold is read, whatever would run is refused, and nothing of it is run."""

from __future__ import annotations

import collections
import io
import os
import pickle
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.nnunet.checkpoint_reading import (
    DamagedCheckpoint,
    UntrustedCheckpoint,
    check_archive,
    handing_over,
    loading_as_data,
    read_checkpoint_file,
)
from nnunet_spine.nnunet.trained_model import _mirroring_axes


def content() -> dict[str, Any]:
    """What nnU-Net's trainers and this package's write, small."""
    weight = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
    optimizer = torch.optim.SGD([weight], 0.01, momentum=0.99, nesterov=True)
    weight.sum().backward()
    optimizer.step()
    return {
        "network_weights": collections.OrderedDict(weight=weight.detach()),
        "optimizer_state": optimizer.state_dict(),
        "grad_scaler_state": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 3},
        "logging": {
            "mean_fg_dice": [np.float32(0.25), np.float64(0.5)],
            "dice_per_class_or_region": [[np.float32(0.25)], np.array([0.5, 0.75])],
            "train_losses": [np.float32(-0.5), float("nan")],
            "epoch_start_timestamps": [1700000000.25],
        },
        "_best_ema": np.float64(0.25),
        "current_epoch": 2,
        "init_args": {
            "plans": {"plans_name": "nnUNetPlans", "configurations": {"3d_fullres": {"spacing": [3.0, 1.0, 1.0]}}},
            "configuration": "3d_fullres",
            "fold": 0,
            "dataset_json": {"labels": {"background": 0}},
            "unpack_dataset": True,
            "device": torch.device("cuda", 0),
        },
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
        "nnunet_spine_random_states": {
            "python": (3, tuple(range(2**32 - 20, 2**32)), None),
            "numpy": np.random.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": [],
        },
    }


def write(folder: Path, name: str = "checkpoint_final.pth", **changes: Any) -> Path:
    path = folder / name
    torch.save({**content(), **changes}, path)
    return path


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    else:
        assert one == other or (one != one and other != other)


def test_a_checkpoint_is_read_as_torch_reads_it_with_all_rights(tmp_path: Path) -> None:
    path = write(tmp_path)
    full = torch.load(path, weights_only=False)
    for mapped in (False, True):
        assert_same(read_checkpoint_file(path, mapped=mapped), full)
    assert_same(read_checkpoint_file(path, trusted=True), full)


def with_pickle(path: Path, change: Callable[[bytes], bytes]) -> Path:
    """Rewrite the pickle inside a checkpoint."""
    with zipfile.ZipFile(path) as archive:
        parts = {part.filename: archive.read(part) for part in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, change(data) if name.endswith("data.pkl") else data)
    return path


def test_a_checkpoint_that_was_written_with_numpy_1_is_read(tmp_path: Path) -> None:
    path = write(tmp_path)
    full = torch.load(path, weights_only=False)
    seen = []

    def older(data: bytes) -> bytes:
        seen.append(data.count(b"cnumpy._core.multiarray\n"))
        return data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")

    assert_same(read_checkpoint_file(with_pickle(path, older)), full)
    assert seen[0] > 0


def test_what_old_checkpoints_lack_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint_final.pth"
    old = content()
    del old["inference_allowed_mirroring_axes"], old["nnunet_spine_random_states"]
    torch.save(old, path)
    assert read_checkpoint_file(path)["trainer_name"] == "nnUNetTrainer"


class Runs:
    """Pickles to a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def attacks(marker: Path) -> dict[str, Any]:
    command = f"touch {marker}"
    return {
        "system": Runs(os.system, command),
        "popen": Runs(subprocess.Popen, ["touch", str(marker)]),
        "eval": Runs(eval, f"open({str(marker)!r}, 'w')"),
        "exec": Runs(exec, f"open({str(marker)!r}, 'w')"),
        "open": Runs(open, str(marker), "w"),
        "remove a folder": Runs(shutil.rmtree, str(marker.parent / "precious")),
        "in a key": {Runs(os.system, command): 1},
        "in an array of objects": np.array([Runs(os.system, command)], dtype=object),
        "another pickle": Runs(pickle.loads, pickle.dumps(Runs(os.system, command))),
        "import": Runs(__import__, "antigravity"),
        "a class of nobody's": Runs(collections.UserDict, {}),
        "torch's own loader": Runs(torch.load, str(marker)),
        "an extension": Runs(torch.hub.load, "a/b", "c"),
    }


@pytest.mark.parametrize("name", list(attacks(Path("/x"))))
def test_nothing_in_a_checkpoint_is_run(tmp_path: Path, name: str) -> None:
    marker, precious = tmp_path / "marker", tmp_path / "precious"
    precious.mkdir()
    path = tmp_path / "checkpoint_final.pth"
    torch.save({**content(), "logging": {"losses": attacks(marker)[name]}}, path)
    for mapped in (False, True):
        with pytest.raises(
            UntrustedCheckpoint, match=r"more than numbers and text.*--trust-model or set NNUNET_SPINE_TRUST"
        ):
            read_checkpoint_file(path, mapped=mapped)
    assert not marker.exists()
    assert precious.is_dir()


def test_the_message_names_what_a_checkpoint_asks_for(tmp_path: Path) -> None:
    path = write(tmp_path, logging=Runs(os.system, "true"))
    with pytest.raises(UntrustedCheckpoint, match=r"numbers and text \((posix|nt)\.system\)\."):
        read_checkpoint_file(path)


def test_a_trusted_checkpoint_is_read_in_full(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = write(tmp_path, logging=Runs(os.system, f"touch {marker}"))
    assert read_checkpoint_file(path, trusted=True)["current_epoch"] == 2
    assert marker.exists()


@pytest.mark.parametrize("protocol", [0, 1, 3, 4, 5])
def test_other_protocols_of_pickle_do_not_get_around_it(tmp_path: Path, protocol: int) -> None:
    marker, path = tmp_path / "marker", write(tmp_path)
    hostile = pickle.dumps({"network_weights": {}, "x": Runs(os.system, f"touch {marker}")}, protocol)
    with pytest.raises(BadInput):
        read_checkpoint_file(with_pickle(path, lambda _: hostile))
    assert not marker.exists()


def test_torchs_older_formats_and_bare_pickles_are_no_checkpoints(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    legacy, bare = tmp_path / "legacy.pth", tmp_path / "bare.pth"
    hostile = {**content(), "x": Runs(os.system, f"touch {marker}")}
    torch.save(hostile, legacy, _use_new_zipfile_serialization=False)
    bare.write_bytes(pickle.dumps(Runs(os.system, f"touch {marker}")))
    for path in (legacy, bare):
        with pytest.raises(DamagedCheckpoint):
            read_checkpoint_file(path)
    assert not marker.exists()


def test_a_program_of_torchscript_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint_final.pth"
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), str(path))
    with pytest.raises(UntrustedCheckpoint, match="more than numbers and text"):
        read_checkpoint_file(path)


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.7, 0.999])
def test_a_checkpoint_that_was_cut_off(tmp_path: Path, part: float) -> None:
    path = write(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(DamagedCheckpoint, match="is empty" if not part else "is damaged, or no checkpoint"):
        read_checkpoint_file(path)


def test_a_checkpoint_with_a_flipped_bit(tmp_path: Path) -> None:
    path = write(tmp_path)
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(content()["network_weights"]["weight"].numpy().tobytes()) + 8] ^= 1
    path.write_bytes(damaged)
    assert torch.load(path, weights_only=False)  # torch does not notice
    with pytest.raises(DamagedCheckpoint, match="is damaged"):
        check_archive(path)


def test_an_archive_that_would_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint_final.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("archive/data/0", "w") as part:
        for _ in range(64):
            part.write(bytes(2**20))
    assert path.stat().st_size < 2**18
    with pytest.raises(DamagedCheckpoint, match=r"would unpack to 67108864\. It is no checkpoint of nnU-Net"):
        check_archive(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(NotFound, match="There is no checkpoint"):
            check_archive(path)


@pytest.mark.usefixtures("bound_by_permissions")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.chmod(0)
    with pytest.raises(DamagedCheckpoint, match="cannot be read: Permission denied"):
        check_archive(path)


@pytest.mark.parametrize(
    "change",
    [
        {"network_weights": [1]},
        {"network_weights": None},
        {"init_args": None},
        {"init_args": {}},
        {"init_args": {"configuration": 3}},
        {"trainer_name": "os.system"},
        {"trainer_name": 3.5},
        {"trainer_name": "../trainer"},
        {"inference_allowed_mirroring_axes": (7,)},
        {"inference_allowed_mirroring_axes": ([0],)},
        {"inference_allowed_mirroring_axes": (True,)},
        {"inference_allowed_mirroring_axes": "xyz"},
    ],
    ids=str,
)
def test_content_that_nnunet_does_not_write(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(DamagedCheckpoint, match="no checkpoint of nnU-Net"):
        read_checkpoint_file(write(tmp_path, **change))


@pytest.mark.parametrize("whole", [[1, 2], torch.zeros(3), "text", None], ids=str)
def test_whatever_else_torch_saves(tmp_path: Path, whole: Any) -> None:
    torch.save(whole, tmp_path / "checkpoint_final.pth")
    with pytest.raises(DamagedCheckpoint, match="no checkpoint of nnU-Net"):
        read_checkpoint_file(tmp_path / "checkpoint_final.pth")


def test_nnunets_own_loading_is_guarded_in_the_block_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker, load = tmp_path / "marker", torch.load
    good, bad = write(tmp_path, "good.pth"), write(tmp_path, "bad.pth", x=Runs(os.system, f"touch {marker}"))
    with loading_as_data():
        assert_same(
            torch.load(good, map_location=torch.device("cpu"), weights_only=False), load(good, weights_only=False)
        )
        assert_same(torch.load(io.BytesIO(good.read_bytes()), weights_only=False), load(good, weights_only=False))
        assert_same(read_checkpoint_file(good), load(good, weights_only=False))
        for source in (bad, str(bad), io.BytesIO(bad.read_bytes())):
            with pytest.raises(UntrustedCheckpoint):
                torch.load(source, weights_only=False)
    assert not marker.exists()
    assert torch.load is load
    monkeypatch.setenv("NNUNET_SPINE_TRUST_MODEL", "1")
    with loading_as_data():
        torch.load(bad, weights_only=False)
    assert marker.exists()


def test_what_was_read_is_handed_over(tmp_path: Path) -> None:
    load, given = torch.load, {"a": 1}
    with loading_as_data(), handing_over(given):
        assert torch.load("no file", map_location="cpu", weights_only=False) is given
    assert torch.load is load


@pytest.mark.parametrize(("saved", "expected"), [((), None), ([], None), (None, None), ((0, 2), (0, 2)), ([1], (1,))])
def test_no_mirroring_axes_mean_that_nothing_is_mirrored(tmp_path: Path, saved: Any, expected: Any) -> None:
    path = write(tmp_path, inference_allowed_mirroring_axes=saved)
    assert _mirroring_axes(path, read_checkpoint_file(path), 3) == expected


def test_mirroring_axes_are_those_of_the_patch(tmp_path: Path) -> None:
    assert _mirroring_axes(tmp_path, {"inference_allowed_mirroring_axes": (0, 1)}, 2) == (0, 1)
    with pytest.raises(BadInput, match=r"along the axes 0, 2; expected different axes of the patch.*from 0 to 1"):
        _mirroring_axes(tmp_path, {"inference_allowed_mirroring_axes": (0, 2)}, 2)
    with pytest.raises(BadInput, match=r"along the axes 0, 1, 0; expected different axes of the patch.*from 0 to 2"):
        _mirroring_axes(tmp_path, {"inference_allowed_mirroring_axes": (0, 1, 0)}, 3)
