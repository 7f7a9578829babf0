"""Signals by which a cluster ends a job: the first one stops the work at once, or right after what must not be torn."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from nnunet_spine.errors import NnunetSpineError

STOPPED_EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits.h: nothing is wrong, run again."""

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Stopped(NnunetSpineError, SystemExit):
    """A signal asked for an end; what is complete is kept, and the same command goes on from there.

    It is a SystemExit too, so that nnU-Net's own commands end with `STOPPED_EXIT_CODE` and without a traceback.
    """

    exit_code = STOPPED_EXIT_CODE

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = STOPPED_EXIT_CODE


class StopSignals:
    """What the signals of `SIGNALS` do while `listening`.

    Only the first one acts: a scheduler may send several, and another one while files are being closed would tear them.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._held = 0
        self._listening = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Raise `Stopped` in the block when a signal comes; blocks may be nested. Only the main thread can listen."""
        if self._listening or threading.current_thread() is not threading.main_thread():
            yield
            return
        earlier: dict[signal.Signals, Any] = {}
        self._listening += 1
        try:
            for number in SIGNALS:
                earlier[number] = signal.signal(number, self._handle)
            yield
        except Exception as error:
            # What fails because a signal ended its helpers was stopped too.
            if self.received and not isinstance(error, Stopped):
                raise self._stopped() from error
            raise
        finally:
            self._listening -= 1
            for number, handler in earlier.items():
                signal.signal(number, handler)
            if not self._listening:
                self.received = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the block finish before a signal acts."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if self.received and not self._held:
            raise self._stopped()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.received:
            return
        self.received = signal.Signals(number)
        if not self._held:
            raise self._stopped()

    def _stopped(self) -> Stopped:
        name = self.received.name if self.received else "a signal"
        return Stopped(f"Stopped by {name}. Run the same command again: it goes on from what is complete.")


STOP = StopSignals()
"""Signals belong to the process, and so there is one of these."""
