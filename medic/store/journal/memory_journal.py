"""A journal in memory, for tests: everything is durable at once, unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from medic.core.effects import Effect
from medic.errors import JournalRefusedError
from medic.ports import Entry, Position
from medic.store.codec import encode
from medic.store.journal.frames import FRAME_HEAD_BYTES
from medic.store.journal.recent import RecentEntries

_ALL: Final = 1 << 40


class MemoryJournal:
    """Implements `ports.Journal`. Its positions are the same as a file's, for it encodes what it keeps."""

    def __init__(self, *, shard: int = 0, journal_id: str = "0" * 32) -> None:
        self.shard = shard
        self.journal_id = journal_id
        self._newest = Position(0)
        self._durable = Position(0)
        self._held = False
        self._refusal: str | None = None
        self.intake_refusal: str | None = None
        self._entries = RecentEntries(0, most=_ALL)
        self._moved = trio.Event()

    @property
    def oldest(self) -> Position:
        """It forgets nothing."""
        return Position(0)

    @property
    def newest(self) -> Position:
        """The last position assigned."""
        return self._newest

    @property
    def durable(self) -> Position:
        """How far a test has let records become durable: all of them unless `hold` was called."""
        return self._durable

    def require_room(self) -> None:
        """Return unless `refuse` was called.

        Raises:
            JournalRefusedError: it was.
        """
        if self._refusal is not None:
            raise JournalRefusedError(self._refusal)

    def require_intake(self) -> None:
        """Return unless `refuse` was called, or `intake_refusal` was set.

        Raises:
            JournalRefusedError: it was.
        """
        self.require_room()
        if self.intake_refusal is not None:
            raise JournalRefusedError(self.intake_refusal)

    def append_nowait(self, effect: Effect) -> Position:
        """Keep the effect.

        Raises:
            JournalRefusedError: `refuse` was called.
        """
        self.require_room()
        self._newest = Position(self._newest + FRAME_HEAD_BYTES + len(encode(effect)))
        self._entries.add(self._newest, effect)
        if not self._held:
            self._move(self._newest)
        return self._newest

    async def wait_durable(self, position: Position) -> None:
        """Return once `durable >= position`.

        Raises:
            JournalRefusedError: `refuse` was called, now or before.
        """
        await trio.lowlevel.checkpoint()
        while self._durable < position:
            self.require_room()
            await self._moved.wait()

    async def wait_newer(self, position: Position) -> None:
        """Return once `durable > position`."""
        await trio.lowlevel.checkpoint()
        while self._durable <= position:
            await self._moved.wait()

    async def read_after(self, position: Position, *, most: int) -> Sequence[Entry]:
        """Up to `most` durable records after `position`, in order."""
        await trio.lowlevel.checkpoint()
        return self._entries.read(position, self._durable, most=most) or ()

    def hold(self) -> None:
        """From now on nothing becomes durable until `release`."""
        self._held = True

    def release(self) -> None:
        """Everything is durable again."""
        self._held = False
        self._move(self._newest)

    def refuse(self, reason: str = "The journal cannot be written at the moment.") -> None:
        """From now on nothing is taken, and who waits is told so, until `take_again`."""
        self._refusal = reason
        self._wake()

    def take_again(self) -> None:
        """Take records again."""
        self._refusal = None

    def effects(self) -> list[Effect]:
        """Everything appended so far, durable or not."""
        return [entry.effect for entry in self._entries.read(0, self._newest, most=_ALL) or ()]

    def _move(self, position: Position) -> None:
        self._durable = position
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = trio.Event()
