"""Brings what people change in `services` by SQL to the actors, without ever reading the whole table (HARD-CASES H20).

Triggers leave at most one note a changed service in `service_changes`, and notify. Medic's own sessions leave none.
This part reads the notes and nothing else: at once when it is notified, else every `WORKER_INTERVAL_SECONDS`, which
is also when a lost connection is found.

A note is deleted in the transaction that reads it, and that commits only after the actors have taken the change and the
journal has it. A crash in between leaves the note; taking a row twice is harmless, its version is not newer then. Notes
that another session is just writing are skipped, so an operator's statement never waits for Medic longer than one slice
takes, and never dies of a deadlock with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import structlog
import trio

from medic.core.author import BY_SQL, Author
from medic.core.names import name_fault
from medic.core.policy import Defaults
from medic.core.service import Mute, ServiceRow
from medic.core.units import InstantMs, ServiceId
from medic.errors import DatabaseUnavailableError, OverloadedError, RefusedError
from medic.store.postgres.database import FOREVER, Database, Row, StatementRefusedError
from medic.store.tables.services import ROW_COLUMNS, row_of

_log = structlog.get_logger(__name__)

NOTES_AT_ONCE: Final = 200
"""Notes of one transaction: the locks on them are held for some 100 ms."""

_CHANNEL: Final = "medic_services"

_TAKE: Final = """
WITH taken AS (
    DELETE FROM medic.service_changes WHERE service_id IN (
        SELECT service_id FROM medic.service_changes ORDER BY change_id LIMIT $1 FOR UPDATE SKIP LOCKED)
    RETURNING service_id, change_id, mute_changed, resolved)
SELECT service_id, mute_changed, resolved FROM taken ORDER BY change_id
"""

# A statement of its own, with a younger view than the one that took the notes: a row is never older than its note.
_ROWS: Final = (
    f"SELECT {ROW_COLUMNS}, muted, date_muted, mute_until, mute_reason, muted_by"  # noqa: S608 - constants
    " FROM medic.services WHERE service_id = ANY ($1::bigint[])"
)


class Follower(Protocol):
    """Takes changes that are committed already. Each raises `OverloadedError` where it cannot be journaled now."""

    async def take_row(self, row: ServiceRow) -> None:
        """Follow an inserted or updated row."""
        ...

    async def take_deletion(self, service_id: ServiceId, *, by: Author) -> None:
        """Follow a deleted row."""
        ...

    async def take_mute(self, service_id: ServiceId, mute: Mute | None) -> None:
        """Follow a mute that was set or ended in the row."""
        ...

    async def take_resolution(self, service_id: ServiceId, *, by: Author) -> None:
        """Follow a `down` that was set to 0."""
        ...


@dataclass(frozen=True, slots=True)
class ChangeLogStatistics:
    """How many notes were followed since the process began."""

    followed: int


class ChangeLog:
    """Reads the notes and tells the follower.

    Args:
        database: Where the notes are.
        follower: Who takes the changes.
        defaults: For mutes that name no end: they last `auto_unmute_ms`, as by HTTP. 'infinity' is for ever.
        interval_seconds: `WORKER_INTERVAL_SECONDS`.
    """

    def __init__(self, database: Database, follower: Follower, *, defaults: Defaults, interval_seconds: float) -> None:
        self._database = database
        self._follower = follower
        self._defaults = defaults
        self._interval_seconds = interval_seconds
        self._followed = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow changes until cancelled. PostgreSQL may be away; then its notes wait there."""
        task_status.started()
        while True:
            try:
                await self._follow_while_listening()
            except DatabaseUnavailableError:
                await trio.sleep(self._interval_seconds)
            except StatementRefusedError as error:
                _log.error("changes by SQL cannot be read", reason=error.message)
                await trio.sleep(self._interval_seconds)

    async def follow_notes(self) -> int:
        """Follow the notes that are there; how many there were."""
        before = self._followed
        while await self._follow_slice() == NOTES_AT_ONCE:
            pass
        return self._followed - before

    def statistics(self) -> ChangeLogStatistics:
        """Counters for metrics."""
        return ChangeLogStatistics(self._followed)

    async def _follow_while_listening(self) -> None:
        async with self._database.listening(_CHANNEL) as listener:
            while True:
                try:
                    await self.follow_notes()
                except OverloadedError as error:
                    _log.warning("changes by SQL wait for the journal", reason=error.message)
                    await trio.sleep(error.retry_after_seconds)
                    continue
                with trio.move_on_after(self._interval_seconds):
                    await listener.wait()

    async def _follow_slice(self) -> int:
        async with self._database.transaction() as transaction:
            notes = await transaction.fetch(_TAKE, NOTES_AT_ONCE, operation="changes by sql")
            changed = [note["service_id"] for note in notes]
            rows = await transaction.fetch(_ROWS, changed, operation="changed services") if notes else []
            found = {row["service_id"]: row for row in rows}
            for note in notes:
                try:
                    await self._follow(note, found.get(note["service_id"]))
                except RefusedError as error:
                    # Deleted or resolved by somebody else meanwhile: there is nothing left to follow.
                    _log.info("a change by SQL came too late", service_id=note["service_id"], reason=error.message)
        self._followed += len(notes)
        return len(notes)

    async def _follow(self, note: Row, record: Row | None) -> None:
        service_id = ServiceId(note["service_id"])
        if record is None:
            await self._follower.take_deletion(service_id, by=BY_SQL)
            return
        row = row_of(record)
        fault = name_fault(row.heartbeat_name)
        if fault is not None:
            # No heartbeat could ever carry this name, so to watch it would be to page for it for ever.
            _log.error("a service inserted by SQL is not watched", service_id=service_id, reason=f"its name {fault}")
            return
        await self._follower.take_row(row)
        if note["mute_changed"]:
            await self._follower.take_mute(service_id, self._mute_of(record))
        if note["resolved"]:
            await self._follower.take_resolution(service_id, by=Author(row.changed_by) if row.changed_by else BY_SQL)

    def _mute_of(self, note: Row) -> Mute | None:
        if note["muted"] == 0:
            return None
        muted_at = InstantMs(note["date_modified"] if note["date_muted"] is None else note["date_muted"])
        return Mute(
            muted_at, self._mute_end(muted_at, note["mute_until"]), note["mute_reason"], note["muted_by"] or BY_SQL.name
        )

    def _mute_end(self, muted_at: InstantMs, until: InstantMs | None) -> InstantMs | None:
        if until is None:
            lasts = self._defaults.auto_unmute_ms
            return InstantMs(muted_at + lasts) if lasts else None
        return None if until == FOREVER else until
