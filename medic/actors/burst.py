"""Keeps the garbage collector out of a burst of deadlines, and tells who gives way to one when it is over.

A hundred thousand alerts that open in one second are most of a million new objects, and none of them is garbage. The
collector does not know that: it looks through them again and again, the last times through all of them at once, which
stalls the loop for longer than a slice. What a burst makes is alerts and what is told of them; neither is ever part of
a cycle, so counting references frees them, and the collector need never see them (HARD-CASES H8).
"""

from __future__ import annotations

import gc
from typing import Final

import trio

BURST_FIRINGS: Final = 2_000
"""Deadlines in a row from which on they are a burst: 15 000 objects, a millisecond or two of collecting."""


class Burst:
    """One run of deadlines that were due together; `end` comes in any case."""

    __slots__ = ("_ended", "_fired", "_is_paused", "_was_enabled")

    def __init__(self) -> None:
        self._fired = 0
        self._is_paused = False
        self._was_enabled = False
        self._ended = trio.Event()

    @property
    def is_long(self) -> bool:
        """Whether so many are due together that nothing is to be collected; who collects by hand asks this."""
        return self._is_paused

    async def wait_end(self) -> None:
        """Return once all of them are decided."""
        await self._ended.wait()

    def add(self, fired: int) -> None:
        """Count deadlines that were decided; beyond `BURST_FIRINGS` nothing is collected until the end."""
        self._fired += fired
        if self._fired > BURST_FIRINGS and not self._is_paused:
            self._is_paused, self._was_enabled = True, gc.isenabled()
            gc.disable()

    def end(self) -> None:
        """Collect again, but never what was made meanwhile. Freezing costs nothing, however much that is."""
        if self._is_paused:
            self._is_paused = False
            gc.freeze()
            if self._was_enabled:
                gc.enable()
        self._ended.set()
