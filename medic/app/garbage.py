"""Collects garbage when nobody waits for it (HARD-CASES H8).

CPython collects when enough objects were made, which is in the middle of a burst, and a full collection looks at every
object there is: 0.9 s with a million services. Nearly all of Medic's garbage is freed by counting references; what is
left are cycles of tasks, tracebacks and connections that ended. So automatic collection is off, and this part does it:

* Young objects are collected while the loop is about to sleep, if there are enough of them to be worth a look. A loop
  that never sleeps is not spared for ever: past `YOUNG_MAX` it is done all the same, a few milliseconds at a time, and
  what survives is frozen: it came to stay, a storm of alerts say, and looking at all of it at once took 200 ms. Only
  in a burst of deadlines nothing is done: what is made there is frozen at its end (`medic/actors/burst.py`).
* What has come to stay is frozen: it is not looked at again by any collection. Services are frozen as they are loaded,
  and again after each `REGISTRATIONS` of them, so that those not frozen yet are never many.
* Once in a while everything that is not frozen is looked at, also while the loop is idle.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Callable
from typing import Final

import trio

IDLE_SECONDS: Final = 0.002
"""A loop that will sleep at least this long is idle: a young collection takes less."""

YOUNG: Final = 10_000
"""New objects that are worth a look: under a millisecond."""

YOUNG_MAX: Final = 100_000
"""New objects that are looked at although the loop is busy: some 5 ms, at the promised peak every few seconds."""

MIDDLE_EVERY: Final = 10
FULL_EVERY: Final = 100
"""Every tenth collection looks at what survived the last ones, every hundredth at everything that is not frozen."""

REGISTRATIONS: Final = 10_000
"""Services that have come since the last freezing, before there is another. Freezing costs nothing."""


def return_freed_memory() -> None:
    """Let the system have what was freed while services were loaded: tables that grew, and were left for larger ones.

    The C library keeps such memory for the next allocation of its size, which may never come.
    """
    with contextlib.suppress(OSError, AttributeError):  # not every C library can
        ctypes.CDLL(None).malloc_trim(0)


class Garbage(trio.abc.Instrument):
    """Takes garbage collection over from CPython.

    Args:
        services: How many services there are now.
        in_burst: Whether very many deadlines are being decided.
    """

    def __init__(self, services: Callable[[], int], in_burst: Callable[[], bool] = lambda: False) -> None:
        self._services = services
        self._in_burst = in_burst
        self._collections = 0
        self._frozen_at = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Collect garbage in idle time until cancelled; then CPython does it again."""
        gc.disable()
        self._frozen_at = self._services()
        trio.lowlevel.add_instrument(self)
        try:
            task_status.started()
            await trio.sleep_forever()
        finally:
            trio.lowlevel.remove_instrument(self)
            gc.enable()

    def before_io_wait(self, timeout: float) -> None:
        """The loop has nothing to do for `timeout` seconds, or will only look at its sockets."""
        young = gc.get_count()[0]
        if young >= (YOUNG if timeout >= IDLE_SECONDS else YOUNG_MAX) and not self._in_burst():
            self._collect(idle=timeout >= IDLE_SECONDS)

    def _collect(self, *, idle: bool) -> None:
        self._collections += 1
        if idle and self._collections % FULL_EVERY == 0:
            gc.collect()
        elif idle:
            gc.collect(1 if self._collections % MIDDLE_EVERY == 0 else 0)
        else:
            gc.collect(0)
            gc.freeze()
        if abs(self._services() - self._frozen_at) >= REGISTRATIONS:
            self._frozen_at = self._services()
            gc.collect(1)
            gc.freeze()
