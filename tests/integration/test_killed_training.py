"""Training that is killed, stopped, locked out, or runs out of room: it goes on, and ends as if nothing had been.

NNUNET_SPINE_SOAK=1 kills 30 times instead of 6, 10 of them while a checkpoint is written, and tries more signals and
kinds of damage (`make soak`).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from training_processes import (
    assert_same_result,
    environment,
    fold_folder,
    run,
    started,
    train_arguments,
    wait_until,
    weights,
)

from nnunet_spine.training.epoch_log import PROGRESS_FILE, read_epochs, read_events

SOAK = bool(os.environ.get("NNUNET_SPINE_SOAK"))
KILLS, INSIDE_WRITING = (30, 10) if SOAK else (6, 2)
EPOCHS = 36 if SOAK else 9


def finished(folder: Path) -> int:
    epochs = read_epochs(folder, last=1)
    return epochs[-1].epoch if epochs else 0


def is_writing(folder: Path) -> bool:
    return any(folder.glob(".*.partial.checkpoint_latest.pth"))


@pytest.fixture(scope="module")
def undisturbed(tiny, tmp_path_factory) -> Path:
    results = tmp_path_factory.mktemp("undisturbed")
    done = run(train_arguments(EPOCHS), **environment(tiny, results))
    assert done.returncode == 0, done.stderr
    return fold_folder(results)


def kill_once(process: subprocess.Popen[str], folder: Path, *, inside: bool, wait: float) -> bool:
    """Kill a training after it has finished one more epoch; whether it was writing a checkpoint."""
    before = finished(folder)
    wait_until(lambda: finished(folder) > before, process)
    if inside:
        wait_until(lambda: is_writing(folder), process, pause=0)
    else:
        time.sleep(wait)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return is_writing(folder)


def test_killed_at_random_instants_it_ends_as_if_undisturbed(tiny, undisturbed: Path, tmp_path: Path) -> None:
    generator = random.Random(0)
    inside = [True] * INSIDE_WRITING + [False] * (KILLS - INSIDE_WRITING)
    generator.shuffle(inside)
    folder = fold_folder(tmp_path)
    seconds = [epoch.seconds for epoch in read_epochs(undisturbed)]
    writing, lost = 0, []
    for during_writing in inside:
        wait = generator.uniform(0, sorted(seconds)[len(seconds) // 2])
        with started(train_arguments(EPOCHS), environment(tiny, tmp_path)) as process:
            writing += kill_once(process, folder, inside=during_writing, wait=wait)
        had = finished(folder)
        done = read_events(folder)[-1]
        assert done.event == "started"
        lost.append(had)
    completed = run(train_arguments(EPOCHS), **environment(tiny, tmp_path))
    assert completed.returncode == 0, completed.stderr
    # What each start went on from is never less than what had been finished before it.
    resumed = [event.epoch for event in read_events(folder) if event.event == "started"][1:]
    assert len(resumed) == KILLS
    assert all(now >= before for now, before in zip(resumed, lost, strict=True))
    written = [json.loads(line) for line in (folder / PROGRESS_FILE).read_text().splitlines() if '"epoch"' in line]
    repeated = sum("event" not in line for line in written) - EPOCHS
    print(f"{KILLS} kills, {writing} while a checkpoint was written, {repeated} finished epochs done again")
    assert writing >= INSIDE_WRITING
    assert repeated == 0
    assert [epoch.epoch for epoch in read_epochs(folder)] == list(range(1, EPOCHS + 1))
    assert_same_result(undisturbed, folder)
    assert not [path.name for path in folder.iterdir() if "partial" in path.name or path.name == "fold.lock"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1] if SOAK else [signal.SIGTERM])
def test_a_signal_ends_it_at_once_and_it_goes_on(tiny, undisturbed: Path, tmp_path: Path, number: int) -> None:
    folder = fold_folder(tmp_path)
    with started(train_arguments(EPOCHS), environment(tiny, tmp_path)) as process:
        wait_until(lambda: finished(folder) >= 2, process)
        sent = time.monotonic()
        os.kill(process.pid, number)
        os.kill(process.pid, signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert f"Stopped by {signal.Signals(number).name}. Run the same command again" in errors
    assert "Traceback" not in errors
    assert time.monotonic() - sent < 20
    last = read_events(folder)[-1]
    assert (last.event, last.reason) == ("stopped", signal.Signals(number).name)
    assert not (folder / "fold.lock").exists()
    done = run(train_arguments(EPOCHS), **environment(tiny, tmp_path))
    assert done.returncode == 0, done.stderr
    assert_same_result(undisturbed, folder)


def test_nnunets_own_command_stops_and_goes_on_too(tiny, undisturbed: Path, tmp_path: Path) -> None:
    from nnunet_spine.nnunet.environment import Workspace

    folder = fold_folder(tmp_path)
    own = Workspace(tiny.workspace.raw, tiny.workspace.preprocessed, tmp_path).variables()
    variables = {**own, **environment(tiny, tmp_path), "NNUNET_SPINE_EPOCHS": str(EPOCHS)}
    program = str(Path(train_arguments(1)[0]).with_name("nnUNetv2_train"))
    command = [program, "58", "3d_fullres", "0", "-tr", "nnUNetTrainerSpine", "-p", "nnUNetSpinePlans"]
    command += ["--c", "-device", "cpu"]
    with started(command, variables) as process:
        wait_until(lambda: finished(folder) >= 2, process)
        os.kill(process.pid, signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert "Traceback" not in errors
    assert "stopped by SIGTERM after" in next(iter(sorted(folder.glob("training_log*")))).read_text()
    done = run(train_arguments(EPOCHS), **environment(tiny, tmp_path))
    assert done.returncode == 0, done.stderr
    assert [epoch.epoch for epoch in read_epochs(folder)] == list(range(1, EPOCHS + 1))


@pytest.fixture(scope="module")
def halfway(tiny, tmp_path_factory) -> Path:
    """Results of a training that was stopped after three epochs or more."""
    results = tmp_path_factory.mktemp("halfway")
    with started(train_arguments(EPOCHS), environment(tiny, results)) as process:
        wait_until(lambda: finished(fold_folder(results)) >= 3, process)
        os.kill(process.pid, signal.SIGTERM)
        process.communicate(timeout=60)
    return results


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_bits(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(255 - value for value in content[middle : middle + 64])
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip_bits] if SOAK else [flip_bits])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tiny, undisturbed: Path, halfway: Path, tmp_path: Path, damage
) -> None:
    shutil.copytree(halfway, tmp_path / "results")
    folder = fold_folder(tmp_path / "results")
    had = finished(folder)
    damage(folder / "checkpoint_latest.pth")
    done = run(train_arguments(EPOCHS), **environment(tiny, tmp_path / "results"))
    assert done.returncode == 0, done.stderr
    assert f"checkpoint_latest.pth is damaged; going on after epoch {had - 1}" in done.stderr
    assert_same_result(undisturbed, folder)


def test_without_a_sound_checkpoint_it_says_so(tiny, halfway: Path, tmp_path: Path) -> None:
    shutil.copytree(halfway, tmp_path / "results")
    folder = fold_folder(tmp_path / "results")
    for path in folder.glob("checkpoint_*.pth"):
        truncate(path)
    done = run(train_arguments(EPOCHS), **environment(tiny, tmp_path / "results"))
    assert done.returncode == 1
    assert "checkpoint_latest.pth, checkpoint_previous.pth, checkpoint_best.pth" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_process_on_a_fold_is_refused(tiny, tmp_path: Path) -> None:
    folder = fold_folder(tmp_path)
    with started(train_arguments(200), environment(tiny, tmp_path)) as process:
        wait_until(lambda: finished(folder) >= 1, process)
        second = run(train_arguments(200), **environment(tiny, tmp_path))
        assert process.poll() is None
    assert second.returncode == 1
    assert f"is being trained by process {process.pid} on" in second.stderr
    assert "Traceback" not in second.stderr


def forge_lock(folder: Path, *, age_seconds: float) -> Path:
    """A lock of a process on another host, as old as given."""
    folder.mkdir(parents=True, exist_ok=True)
    holder = {"host": "elsewhere", "pid": 1, "place": "x", "started": "1", "job": "", "token": "a" * 32}
    path = folder / "fold.lock"
    path.write_text(json.dumps(holder), encoding="utf-8")
    os.utime(path, (time.time() - age_seconds, time.time() - age_seconds))
    return path


def test_the_lock_of_a_dead_host_is_taken_over(tiny, tmp_path: Path) -> None:
    folder = fold_folder(tmp_path)
    forge_lock(folder, age_seconds=90)
    done = run(train_arguments(1), **environment(tiny, tmp_path))
    assert done.returncode == 0, done.stderr
    assert not list(folder.glob("*fold.lock*"))


def test_the_lock_of_a_living_host_is_respected(tiny, tmp_path: Path) -> None:
    lock = forge_lock(fold_folder(tmp_path), age_seconds=20)
    done = run(train_arguments(1), **environment(tiny, tmp_path))
    assert done.returncode == 1
    assert "process 1 on elsewhere" in done.stderr
    assert lock.exists()


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of its own, of 400 MB, that a test can fill or make read-only; needs root."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", place], check=False)
    if mounted.returncode != 0:
        pytest.skip("no right to mount a file system here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(place: Path) -> Path:
    """Fill a file system to its last byte."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 10, 1):
            try:
                while True:
                    stream.write(b"\0" * size)
            except OSError:
                continue
    return ballast


def test_a_full_disk_leaves_the_earlier_checkpoint(tiny, undisturbed: Path, small_disk: Path) -> None:
    folder = fold_folder(small_disk / "results")
    with started(train_arguments(EPOCHS), environment(tiny, small_disk / "results")) as process:
        wait_until(lambda: finished(folder) >= 2, process)
        ballast = fill(small_disk)
        _, errors = process.communicate(timeout=120)
    had = finished(folder)
    assert process.returncode != 0
    assert "No space left on device" in errors
    assert "Traceback" not in errors
    assert not list(folder.glob(".*partial.checkpoint*"))
    assert weights(folder, "checkpoint_latest.pth")
    ballast.unlink()
    done = run(train_arguments(EPOCHS), **environment(tiny, small_disk / "results"))
    assert done.returncode == 0, done.stderr
    assert read_events(folder)[-2].epoch >= had
    assert_same_result(undisturbed, folder)


def test_a_read_only_results_folder_is_refused_at_once(tiny, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = run(train_arguments(EPOCHS), **environment(tiny, small_disk / "results"))
    assert done.returncode == 2
    assert "Read-only file system" in done.stderr
    assert "Traceback" not in done.stderr


def test_event_files_hold_each_epoch_once(tiny, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = fold_folder(tmp_path)
    with started(train_arguments(4, "--tensorboard"), environment(tiny, tmp_path)) as process:
        wait_until(lambda: finished(folder) >= 2, process)
        os.killpg(process.pid, signal.SIGKILL)
    done = run(train_arguments(4, "--tensorboard"), **environment(tiny, tmp_path))
    assert done.returncode == 0, done.stderr
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    logged = {event.step: event.value for event in events.Scalars("loss/training")}
    assert [event.step for event in events.Scalars("loss/training")] == [1, 2, 3, 4]
    assert logged == pytest.approx({epoch.epoch: epoch.train_loss for epoch in read_epochs(folder)})
