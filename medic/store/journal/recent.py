"""The newest records of a journal, kept in memory so that a writer that keeps up never reads a file."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from medic.core.effects import Effect
from medic.ports import Position, Records

RECENT_RECORDS_MAX: Final = 32_768
"""Three seconds of intake at the promised peak, some 5 MB; a writer further behind reads from the files."""


class RecentRecords:
    """Records in the order of their positions, the oldest forgotten beyond twice `most`.

    Of a plain heartbeat the record itself is kept, of which no garbage collection takes notice and from which a row can
    be made; of all else the effect, because that is what its reader wants.
    """

    def __init__(self, start: int, *, most: int = RECENT_RECORDS_MAX) -> None:
        self._start = start
        self._most = most
        self._ends: list[Position] = []
        self._records: list[bytes | Effect] = []
        # Behind which records more of their turn follows: of few, for nearly every turn is one record.
        self._within: set[Position] = set()

    def add(self, end: Position, record: bytes | Effect) -> None:
        """Keep the record whose position is `end`, a turn of its own. Costs some 100 ns, forgetting included."""
        self._ends.append(end)
        self._records.append(record)
        if len(self._ends) > 2 * self._most:
            self._forget()

    def add_turn(self, ends: Sequence[Position], records: Sequence[Effect]) -> None:
        """Keep the records of one turn; each has its position in `ends`."""
        self._within.update(ends[:-1])
        self._ends += ends
        self._records += records
        if len(self._ends) > 2 * self._most:
            self._forget()

    def add_many(self, ends: Sequence[Position], records: Sequence[bytes]) -> None:
        """Keep many in one go, each a turn of its own; each has its position in `ends`."""
        self._ends += ends
        self._records += records
        if len(self._ends) > 2 * self._most:
            self._forget()

    def _forget(self) -> None:
        """Forget the oldest, so many that the next time is `most` records away."""
        gone = len(self._ends) - self._most
        self._start = self._ends[gone - 1]
        del self._ends[:gone]
        del self._records[:gone]
        self._within = {end for end in self._within if end > self._start}

    def begin_at(self, position: int) -> None:
        """Forget all of them: the journal goes on behind `position`."""
        self._start = position
        self._ends, self._records, self._within = [], [], set()

    def read(self, position: int, until: int, *, most: int) -> Records | None:
        """Up to `most` records after `position` and not beyond `until`, and the rest of the last one's turn.

        `until` is where a turn ends. None where some of them are forgotten.
        """
        if position < self._start:
            return None
        first = bisect_right(self._ends, position)
        last = min(first + most, bisect_right(self._ends, until))
        while first < last and self._ends[last - 1] in self._within:
            last += 1
        return Records(self._ends[first:last], self._records[first:last])
