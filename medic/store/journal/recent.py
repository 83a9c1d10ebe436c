"""The newest entries of a journal, kept in memory so that a writer that keeps up never reads a file."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from medic.core.effects import Effect
from medic.ports import Entry, Position

RECENT_ENTRIES_MAX: Final = 32_768
"""Three seconds of intake at the promised peak, some 10 MB; a writer further behind reads from the files."""


class RecentEntries:
    """Entries in the order of their positions, the oldest forgotten beyond twice `most`."""

    def __init__(self, start: int, *, most: int = RECENT_ENTRIES_MAX) -> None:
        self._start = start
        self._most = most
        self._ends: list[int] = []
        self._effects: list[Effect] = []

    def add(self, end: int, effect: Effect) -> None:
        """Keep the entry whose position is `end`. Costs some 100 ns, forgetting included."""
        self._ends.append(end)
        self._effects.append(effect)
        if len(self._ends) > 2 * self._most:
            self._start = self._ends[self._most - 1]
            del self._ends[: self._most]
            del self._effects[: self._most]

    def read(self, position: int, until: int, *, most: int) -> list[Entry] | None:
        """Up to `most` entries after `position` and not beyond `until`; None where some of them are forgotten."""
        if position < self._start:
            return None
        first = bisect_right(self._ends, position)
        last = min(first + most, bisect_right(self._ends, until))
        return [
            Entry(Position(end), effect)
            for end, effect in zip(self._ends[first:last], self._effects[first:last], strict=True)
        ]
