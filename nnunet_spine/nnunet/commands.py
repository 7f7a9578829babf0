"""Running nnU-Net's own commands with this package registered."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from nnunet_spine.errors import BadInput, WorkFailed
from nnunet_spine.nnunet.environment import Workspace

_PREFIX = "nnUNetv2_"


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
        Where there is no such command.
    WorkFailed
        Where it ends with a message instead of a code.
    """
    commands = nnunet_commands()
    if name not in commands:
        raise BadInput(f"There is no nnU-Net command {name[:60]!r}. There are: {', '.join(sorted(commands))}.")
    workspace.apply()
    from nnunet_spine.nnunet.registration import register

    register()
    earlier = sys.argv
    sys.argv = [name, *arguments]
    try:
        return int(commands[name].load()() or 0)
    except SystemExit as end:
        if isinstance(end.code, str):
            raise WorkFailed(f"{name}: {end.code}") from end
        return int(end.code or 0)
    finally:
        sys.argv = earlier
