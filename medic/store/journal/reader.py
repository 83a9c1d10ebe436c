"""Reads a journal that is being written: what is recent from memory, the rest from its files."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from medic.ports import Entry, Position, Records
from medic.store.journal.files import JournalFiles, entries_of
from medic.store.journal.recent import RecentRecords


class JournalReader:
    """Runs of records up to a position that is durable. The files are read in a thread, some 8 MiB at once.

    A run ends where a turn ends, even if that makes it longer than was asked for: whoever moves it elsewhere and is cut
    off behind it has left no turn half told.
    """

    def __init__(self, files: JournalFiles, recent: RecentRecords) -> None:
        self._files = files
        self._recent = recent
        self._reading = trio.CapacityLimiter(1)

    async def entries(self, position: Position, until: Position, *, most: int) -> Sequence[Entry]:
        """Some `most` records after `position` and not beyond `until`; those of the files are decoded in the thread.

        Raises:
            UnreadableRecordError: a whole frame holds what this release does not know.
        """
        recent = self._recent.read(position, until, most=most)
        if recent is not None:
            await trio.lowlevel.checkpoint()
            return entries_of(recent)
        return await trio.to_thread.run_sync(
            lambda: self._files.read(position, until, most=most), limiter=self._reading
        )

    async def records(self, position: Position, until: Position, *, most: int) -> Records:
        """The same, not decoded."""
        recent = self._recent.read(position, until, most=most)
        if recent is not None:
            await trio.lowlevel.checkpoint()
            return recent
        return await trio.to_thread.run_sync(
            lambda: self._files.read_records(position, until, most=most), limiter=self._reading
        )
