"""SIGTERM before there is anything to drain: from the command's first line until Medic listens for it.

A process manager often stops what it has only just started: a rollout that is undone, a machine that goes down again.
By default that is a death by signal, which looks like a crash. As process 1 of a container it is not even that: the
kernel leaves out signals for which process 1 has no handler, and the container is killed once its grace is over. The
imports of a start alone take a second. So:

    from                      to                            SIGTERM
    the command's first line  trio runs                     ends the process, with status 0: nothing was begun
    trio runs                 `medic.app.stopping` listens  is remembered, and obeyed as soon as that does
    that listens              the end                       is that module's

While trio runs no handler may raise, because it might do so in the midst of trio's own loop.

Imports nothing that takes time, for it is there before everything else. What it remembers belongs to the process, as
the handlers themselves do.
"""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType
from typing import Final, Never

STOPPED: Final = b"Medic stops. It had not begun to start.\n"

_came = False


def end_at_once() -> None:
    """From now on SIGTERM ends the process with status 0. For the time before trio runs."""
    signal.signal(signal.SIGTERM, _end)


def remember() -> None:
    """From now on SIGTERM is remembered, and nothing else comes of it. To be called right before trio runs."""
    signal.signal(signal.SIGTERM, _remember)


def has_come() -> bool:
    """Whether there was one since `remember`."""
    return _came


def _end(_signal: int, _frame: FrameType | None) -> Never:
    with contextlib.suppress(OSError):
        os.write(1, STOPPED)
    # An exception could be lost: whatever is being imported may catch it, and one in a finalizer is only printed.
    os._exit(0)


def _remember(_signal: int, _frame: FrameType | None) -> None:
    global _came  # noqa: PLW0603 - a process has one SIGTERM
    _came = True
