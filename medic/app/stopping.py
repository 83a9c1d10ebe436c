"""SIGTERM and Ctrl-C, from the opening of the stores to the end: one receiver, and what they do at each stage.

    stage         the first signal                                                   the second
    opening       closes what was opened; SIGTERM: status 0, Ctrl-C: interrupted     ends the process as it stands
    standing by   closes what was opened; status 0                                   the same
    serving       begins the drain; status 0 at its end                              the same

What is before the opening stands in `medic.app.sigterm`.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import assert_never

import trio

from medic.app import sigterm


class Stage(Enum):
    """How far a Medic has come."""

    OPENING = auto()
    STANDING_BY = auto()
    SERVING = auto()


class Stopping:
    """Hears the signals. Made by `open_stopping`; whoever reaches another stage says so.

    Attributes:
        leaving: Set by the first signal while Medic serves: the drain begins.
        opened: Around all that a signal before Medic serves has to close.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        self.leaving = trio.Event()
        self.opened = trio.CancelScope()
        self._announce = announce
        self._stage = Stage.OPENING
        self._asked = False

    def enter(self, stage: Stage) -> None:
        """Medic is that far now."""
        self._stage = stage

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Obey signals until cancelled.

        Raises:
            KeyboardInterrupt: Ctrl-C before Medic served, or a second signal.
        """
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            if sigterm.has_come():
                self._obey(signal.SIGTERM)
            async for number in signals:
                self._obey(signal.Signals(number))

    def _obey(self, order: signal.Signals) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        match self._stage:
            case Stage.OPENING:
                if order is signal.SIGINT:
                    raise KeyboardInterrupt
                self._announce("Medic stops. It had not begun to watch.")
                self.opened.cancel()
            case Stage.STANDING_BY:
                self._announce("Medic stops. It stood by: nothing was being watched here.")
                self.opened.cancel()
            case Stage.SERVING:
                self._announce(
                    "Medic is stopping: it answers what was begun and writes what it has. Ctrl-C again: at once."
                )
                self.leaving.set()
            case _:
                assert_never(self._stage)


@asynccontextmanager
async def open_stopping(announce: Callable[[str], None]) -> AsyncIterator[Stopping]:
    """A `Stopping` for the block. A signal before Medic serves ends the block, without an exception.

    Args:
        announce: Takes the lines for whoever started Medic.
    """
    async with trio.open_nursery() as nursery:
        stopping = Stopping(announce)
        with stopping.opened:
            await nursery.start(stopping.run)
            yield stopping
        nursery.cancel_scope.cancel()
