"""Says where the loop stands still, while it stands still: the one thing the loop cannot say itself.

A thread of its own looks every quarter of a second whether the loop gave a sign of life; after a second without one
it writes the stacks of all threads to the log, once a stall. It changes nothing and ends nothing: restarting is for
whoever asks `GET /health/live`.

It is humble about itself. If the thread itself was kept waiting, the whole process was (SIGSTOP, a suspended machine, a
core too few), and the loop's silence says nothing about our code. What it cannot see is a C extension that holds the
interpreter's lock: then the thread waits as well.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final

import structlog
import trio

_log = structlog.get_logger(__name__)

STALL_SECONDS: Final = 1.0
"""A loop that stands still for so long is a fault: a hundred times the stall that is ordinary."""

LOOK_EVERY_SECONDS: Final = 0.25
"""How often the loop gives its sign and the thread looks for it."""

HUMBLE_SECONDS: Final = 0.5
"""A thread that woke so much later than it asked for does not blame the loop."""

END_SECONDS: Final = 2.0
"""How long the end of `run` waits for the thread. It is a daemon: a process ends without it as well."""


class Watchdog:
    """Watches the loop that runs it from a thread.

    Args:
        report: Takes the seconds of silence so far and the stacks of all threads as text; by default it logs them.
        now: Seconds that never run backwards; must be true in a thread, so not trio's clock.
    """

    def __init__(
        self, report: Callable[[float, str], None] | None = None, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._report = report if report is not None else _log_stall
        self._now = now
        self._seen_at = now()
        self._ended = threading.Event()
        self._stalls = 0

    @property
    def stalls(self) -> int:
        """Stalls reported since the process began."""
        return self._stalls

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Give the loop's sign of life and keep the thread, until cancelled."""
        self._seen_at = self._now()
        thread = threading.Thread(target=self._watch, name="medic-watchdog", daemon=True)
        thread.start()
        try:
            task_status.started()
            while True:
                await trio.sleep(LOOK_EVERY_SECONDS)
                self._seen_at = self._now()
        finally:
            self._ended.set()
            thread.join(END_SECONDS)

    def _watch(self) -> None:
        reported_at = None
        asleep_at = self._now()
        while not self._ended.wait(LOOK_EVERY_SECONDS):
            now, seen_at = self._now(), self._seen_at
            was_kept_waiting = now - asleep_at >= LOOK_EVERY_SECONDS + HUMBLE_SECONDS
            asleep_at = now
            if was_kept_waiting:
                self._seen_at = max(self._seen_at, now)
            elif now - seen_at >= STALL_SECONDS and reported_at != seen_at:
                reported_at = seen_at
                self._stalls += 1
                self._report(now - seen_at, stacks())


def stacks() -> str:
    """What every thread is doing now, the main one first."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    main = threading.main_thread().ident
    frames = sorted(sys._current_frames().items(), key=lambda item: item[0] != main)  # noqa: SLF001 - the only way there is
    return "\n".join(
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}" for ident, frame in frames
    )


def _log_stall(seconds: float, text: str) -> None:
    _log.error("the loop stands still", seconds=round(seconds, 2), stacks=text)
