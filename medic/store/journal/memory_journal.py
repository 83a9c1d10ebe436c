"""A journal in memory: all is durable at once. For tests, which may say otherwise, and for a watcher without a disk."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import trio

from medic.core.effects import Effect, RecordHeartbeat
from medic.core.status import HeartbeatStatus
from medic.core.units import EventId, InstantMs, ServiceId, SightedMs
from medic.errors import JournalRefusedError
from medic.ports import Entry, Position, Records, WhenDurable
from medic.store.codec import encode
from medic.store.journal.commit import run_call
from medic.store.journal.frames import FRAME_HEAD_BYTES


class MemoryJournal:
    """Implements `ports.Journal`. Its positions are the same as a file's, for it encodes what it keeps."""

    def __init__(self, *, shard: int = 0, journal_id: str = "0" * 32) -> None:
        self.shard = shard
        self.journal_id = journal_id
        self._newest = Position(0)
        self._durable = Position(0)
        self._held = False
        self._refusal: str | None = None
        self._entries: list[Entry] = []
        self._within: set[Position] = set()
        self.intake_refusal: str | None = None
        self._moved = trio.Event()
        self._calls: list[tuple[Position, WhenDurable]] = []

    @property
    def oldest(self) -> Position:
        """It forgets nothing."""
        return Position(0)

    @property
    def unreadable(self) -> Sequence[tuple[Position, Position]]:
        """None of it."""
        return ()

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
        return self.append_turn_nowait((effect,))

    def append_turn_nowait(self, effects: Sequence[Effect]) -> Position:
        """Keep the effects of one turn.

        Raises:
            JournalRefusedError: `refuse` was called.
        """
        self.require_room()
        for effect in effects:
            self._newest = Position(self._newest + FRAME_HEAD_BYTES + len(encode(effect)))
            self._entries.append(Entry(self._newest, effect))
            self._within.add(self._newest)
        self._within.discard(self._newest)
        if not self._held:
            self._move(self._newest)
        return self._newest

    def append_heartbeat_nowait(
        self,
        service_id: ServiceId,
        at: InstantMs,
        sighted: SightedMs,
        heartbeat_id: EventId,
        kind: HeartbeatStatus,
    ) -> Position:
        """Keep the `RecordHeartbeat` that says so.

        Raises:
            JournalRefusedError: `refuse` was called.
        """
        return self.append_nowait(RecordHeartbeat(service_id, at, sighted, heartbeat_id, kind, kind.value))

    def append_heartbeats_nowait(
        self,
        services: Sequence[ServiceId],
        at: InstantMs,
        sighted: SightedMs,
        heartbeat_ids: Sequence[EventId],
        kinds: Sequence[HeartbeatStatus],
    ) -> Sequence[Position]:
        """Keep a `RecordHeartbeat` for each.

        Raises:
            JournalRefusedError: `refuse` was called.
        """
        return [
            self.append_heartbeat_nowait(service_id, at, sighted, heartbeat_id, kind)
            for service_id, heartbeat_id, kind in zip(services, heartbeat_ids, kinds, strict=True)
        ]

    async def wait_durable(self, position: Position) -> None:
        """Return once `durable >= position`.

        Raises:
            JournalRefusedError: `refuse` was called, now or before.
        """
        await trio.lowlevel.checkpoint()
        while self._durable < position:
            self.require_room()
            await self._moved.wait()

    def call_when_durable(self, position: Position, call: WhenDurable) -> None:
        """As `wait_durable`, without a task that waits."""
        self._calls.append((position, call))
        self._run_calls()

    async def wait_newer(self, position: Position) -> None:
        """Return once `durable > position`."""
        await trio.lowlevel.checkpoint()
        while self._durable <= position:
            await self._moved.wait()

    async def read_after(self, position: Position, *, most: int) -> Sequence[Entry]:
        """Some `most` durable records after `position`, in order, whole turns."""
        await trio.lowlevel.checkpoint()
        first = bisect_right(self._entries, position, key=_position_of)
        last = min(first + most, bisect_right(self._entries, self._durable, key=_position_of))
        while first < last and self._entries[last - 1].position in self._within:
            last += 1
        return self._entries[first:last]

    async def read_records_after(self, position: Position, *, most: int) -> Records:
        """The same, encoded."""
        entries = await self.read_after(position, most=most)
        return Records([entry.position for entry in entries], [encode(entry.effect) for entry in entries])

    def hold(self) -> None:
        """From now on nothing becomes durable until `release`."""
        self._held = True

    def release(self) -> None:
        """Everything is durable again."""
        self._held = False
        self._move(self._newest)

    def release_to(self, position: Position) -> None:
        """Everything up to there, which is where a turn ends, is durable; what follows is held still."""
        self._move(position)

    def refuse(self, reason: str = "The journal cannot be written at the moment.") -> None:
        """From now on nothing is taken, and who waits is told so, until `take_again`."""
        self._refusal = reason
        self._wake()

    def take_again(self) -> None:
        """Take records again."""
        self._refusal = None

    def effects(self) -> list[Effect]:
        """Everything appended so far, durable or not."""
        return [entry.effect for entry in self._entries]

    def _move(self, position: Position) -> None:
        self._durable = position
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = trio.Event()
        self._run_calls()

    def _run_calls(self) -> None:
        """Run the calls of which the end is known: durable, or refused."""
        waiting, self._calls = self._calls, []
        for position, call in waiting:
            if position <= self._durable:
                run_call(call, None)
            elif self._refusal is not None:
                run_call(call, JournalRefusedError(self._refusal))
            else:
                self._calls.append((position, call))


def _position_of(entry: Entry) -> Position:
    return entry.position
