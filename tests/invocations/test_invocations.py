"""Hostile invocations of every sub-command; see run.py, which also runs more, and one again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

INPUTS = int(os.environ.get("NNUNET_SPINE_INVOCATIONS", "500"))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by Linux's /proc")
def test_no_invocation_does_harm() -> None:
    command = [sys.executable, str(Path(__file__).with_name("run.py")), "--inputs", str(INPUTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
    assert f"{INPUTS} inputs in " in done.stdout
