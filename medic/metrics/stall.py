"""How long the loop kept everybody waiting: a histogram of its turns, with garbage collection named as their cause.

A turn of the loop is what lies between two looks at the sockets. Whoever became ready meanwhile, a heartbeat
included, waited for its end, so the length of a turn is the stall that Medic promises to keep under 50 ms. trio tells
where a turn begins and ends; a task that sleeps and looks how late it woke would see the same, but less exactly, and
would wake an idle Medic a hundred times a second (two calls a turn cost half a microsecond, and an idle loop has none).

A turn in which collections took at least half of the time is counted under the cause `gc` (HARD-CASES H8): a full
collection over a million actors is 0.27 s, and the remedy for it is another than for a slow piece of our own code.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import trio

from medic.metrics.distribution import Distribution, Reading

STALL_BOUNDS_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""50 ms is the promise; the bounds around it tell by how much it is kept or missed."""

GENERATIONS: Final = 3
"""CPython's young, middle and full collections."""


@dataclass(frozen=True, slots=True)
class StallStatistics:
    """Turns of the loop since the process began.

    Attributes:
        other: Turns not dominated by garbage collection.
        gc: Turns at least half of which was garbage collection.
        longest_seconds: The longest turn of all.
        collections: Collections by generation.
        collection_seconds: Time spent in them, by generation.
    """

    other: Reading
    gc: Reading
    longest_seconds: float
    collections: tuple[int, ...]
    collection_seconds: tuple[float, ...]


class LoopStall(trio.abc.Instrument):
    """Measures the turns of the loop that runs it."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._other = Distribution(STALL_BOUNDS_SECONDS)
        self._gc = Distribution(STALL_BOUNDS_SECONDS)
        self._longest = 0.0
        self._turn_began: float | None = None
        self._collection_began = now()
        self._collected = 0.0
        self._collected_before = 0.0
        self._collections = [0] * GENERATIONS
        self._collection_seconds = [0.0] * GENERATIONS

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Measure until cancelled."""
        gc.callbacks.append(self.note_collection)
        trio.lowlevel.add_instrument(self)
        try:
            task_status.started()
            await trio.sleep_forever()
        finally:
            trio.lowlevel.remove_instrument(self)
            gc.callbacks.remove(self.note_collection)

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's signature
        """A turn begins."""
        self._turn_began = self._now()
        self._collected_before = self._collected

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's signature
        """The turn ends."""
        if self._turn_began is None:
            return
        seconds = self._now() - self._turn_began
        by_gc = self._collected > self._collected_before and (self._collected - self._collected_before) * 2 >= seconds
        (self._gc if by_gc else self._other).observe(seconds)
        self._longest = max(self._longest, seconds)

    def note_collection(self, phase: str, details: dict[str, int]) -> None:
        """Follow one garbage collection, in whatever thread it runs: every thread waits for it."""
        if phase == "start":
            self._collection_began = self._now()
            return
        seconds = self._now() - self._collection_began
        generation = min(details["generation"], GENERATIONS - 1)
        self._collected += seconds
        self._collections[generation] += 1
        self._collection_seconds[generation] += seconds

    def statistics(self) -> StallStatistics:
        """What was measured so far."""
        return StallStatistics(
            other=self._other.reading(),
            gc=self._gc.reading(),
            longest_seconds=self._longest,
            collections=tuple(self._collections),
            collection_seconds=tuple(self._collection_seconds),
        )
