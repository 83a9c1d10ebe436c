"""What a command says on stdout while it runs, and the streams at its end.

Whoever started Medic may have stopped reading, and the disk that its output goes to may be full. That is no reason to
watch nobody, nor to leave out a drain: such a line is lost, and nothing else comes of it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Final

from medic.alerting.outlet import Outlet

READER_SECONDS: Final = 0.02
"""How long the loop waits for a reader who is merely slow."""


def announce(line: str) -> None:
    """Say it on stdout at once: somebody may be reading through a pipe."""
    with contextlib.suppress(OSError):
        print(line, flush=True)


def announce_nowait(line: str) -> None:
    """The same for whoever must not wait: Medic while it serves. A reader who stands still misses the line."""
    with contextlib.suppress(OSError):
        Outlet(sys.stdout).write(f"{line}\n", seconds=READER_SECONDS)


def let_go_of_streams() -> None:
    """What stdout and stderr could not take goes nowhere: Python tries once more at its end, and ends with 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
