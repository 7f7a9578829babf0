"""Running nnU-Net's own commands with this package registered, checkpoints being read as data."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from nnunet_spine.errors import BadInput, NnunetSpineError, WorkFailed
from nnunet_spine.nnunet.environment import Workspace

_PREFIX = "nnUNetv2_"
LONGEST_REASON = 500


def nnunet_commands() -> dict[str, EntryPoint]:
    """nnU-Net's installed commands by name."""
    return {entry.name: entry for entry in entry_points(group="console_scripts") if entry.name.startswith(_PREFIX)}


def run_command(name: str, arguments: Sequence[str], workspace: Workspace) -> int:
    """Run an nnU-Net command in this process and return its exit code.

    Parameters
    ----------
    name
        Such as nnUNetv2_train.
    arguments
        Its own arguments.
    workspace
        nnU-Net's folders.

    Raises
    ------
    BadInput
        If there is no such command.
    WorkFailed
        If it ends with a message instead of a code, or with an error of nnU-Net's.
    """
    commands = nnunet_commands()
    if name not in commands:
        raise BadInput(f"There is no nnU-Net command {name[:60]!r}. There are: {', '.join(sorted(commands))}.")
    workspace.apply()
    from nnunet_spine.nnunet.checkpoint_reading import loading_as_data
    from nnunet_spine.nnunet.registration import register

    register()
    if name == "nnUNetv2_train":
        _guard_processes()
    earlier = sys.argv
    sys.argv = [name, *arguments]
    try:
        with loading_as_data():
            return int(commands[name].load()() or 0)
    except SystemExit as end:
        if isinstance(end.code, str):
            raise WorkFailed(f"{name}: {end.code}") from end
        return int(end.code or 0)
    except NnunetSpineError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:LONGEST_REASON] or "it gives no reason"
        raise WorkFailed(f"{name} failed: {reason}") from error
    finally:
        sys.argv = earlier


def _guard_processes() -> None:
    """Let the processes of `nnUNetv2_train -num_gpus N` read checkpoints as data, too."""
    from nnunetv2.run import run_training

    run_training.run_ddp = train_in_process


def train_in_process(*arguments: Any) -> None:
    """What each of these processes runs: nnU-Net's own function, of which a new process knows."""
    from nnunetv2.run.run_training import run_ddp

    from nnunet_spine.nnunet.checkpoint_reading import loading_as_data

    with loading_as_data():
        run_ddp(*arguments)
