"""The audit as it is read, newest first: in pages, or all of it in portions. What was answered before is in the answer.

No connection is kept between two portions: who reads slowly takes nobody's place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from medic.audit import COUNTED_MAX, AuditEntry, AuditPlace, AuditQuery
from medic.core.names import name_key
from medic.core.units import InstantMs, ServiceId
from medic.ports import Journal
from medic.store.postgres.database import Database, Row
from medic.store.postgres.time_limit import answered_within
from medic.store.tables.conditions import conditions
from medic.store.tables.history import OWN_WRITES_SECONDS, READ_SECONDS, Written

ENTRIES_AT_ONCE: Final = 500
"""Entries of one portion while all of them are read: some 1 MB at the longest rows."""

_COLUMNS: Final = (
    "a.audit_id, a.at, a.actor, a.key_id, a.address, a.request_id, a.label, a.action, a.service_id, a.subject,"
    " a.before, a.after, s.place, s.hash, (extract(epoch FROM a.at) * 1000000)::bigint AS at_us"
)
_NEWEST_FIRST: Final = "ORDER BY a.at DESC, a.audit_id DESC"


class PgAuditLog:
    """Implements `audit.AuditLog`.

    Args:
        database: Where it is.
        journal: Mutes, acknowledgements and the like are journaled first.
        written: The writer, who brings them there.
    """

    def __init__(self, database: Database, journal: Journal, written: Written) -> None:
        self._database = database
        self._journal = journal
        self._written = written

    async def page(self, query: AuditQuery) -> tuple[Sequence[AuditEntry], int]:
        """One page of entries, newest first, and how many match, up to `COUNTED_MAX`.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer.
        """
        where, chosen = _conditions(query)
        with answered_within(READ_SECONDS):
            await self._wait_written()
            records = await self._database.fetch(
                _joined(where, query.limit, query.offset),
                *chosen,
                operation="list audit",
            )
            counted = await self._database.fetchrow(
                f"SELECT count(*) AS entries FROM (SELECT FROM medic.audit_log a {where}"  # noqa: S608 - as above
                f" LIMIT {COUNTED_MAX}) AS counted",
                *chosen,
                operation="count audit",
            )
        return [_entry_of(record) for record in records], 0 if counted is None else counted["entries"]

    async def portion(
        self, query: AuditQuery, after: AuditPlace | None
    ) -> tuple[Sequence[AuditEntry], AuditPlace | None]:
        """Up to `ENTRIES_AT_ONCE` entries that match, from behind a place on; and the place of the last, or None.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer.
        """
        where, chosen = _conditions(query, after)
        with answered_within(READ_SECONDS):
            if after is None:
                await self._wait_written()
            records = await self._database.fetch(
                _joined(where, ENTRIES_AT_ONCE, 0),
                *chosen,
                operation="read audit",
            )
        last = records[-1] if len(records) == ENTRIES_AT_ONCE else None
        following = None if last is None else AuditPlace(last["at_us"], last["audit_id"])
        return [_entry_of(record) for record in records], following

    async def _wait_written(self) -> None:
        with trio.move_on_after(OWN_WRITES_SECONDS):
            await self._written.wait_committed(self._journal.newest)


def _joined(where: str, limit: int, offset: int) -> str:
    """The query for some entries with their seals, which are looked up for these and not for those passed over."""
    # Only names of columns, and numbers, are put in.
    chosen = f"SELECT * FROM medic.audit_log a {where} {_NEWEST_FIRST} LIMIT {limit} OFFSET {offset}"  # noqa: S608
    seals = "LEFT JOIN medic.audit_seals s USING (audit_id)"
    return f"SELECT {_COLUMNS} FROM ({chosen}) AS a {seals} {_NEWEST_FIRST}"  # noqa: S608


def _conditions(query: AuditQuery, after: AuditPlace | None = None) -> tuple[str, list[object]]:
    clause, chosen = conditions(
        (
            ("a.service_id = {}", query.service_id),
            ('lower(a.subject COLLATE "C") = {}::text COLLATE "C"', query.subject and name_key(query.subject)),
            ("a.action = {}", query.action),
            ("a.actor = {}", query.actor),
            ("a.at >= {}", query.since),
            ("a.at <= {}", query.until),
        )
    )
    if after is None:
        return clause, chosen
    at_us, audit_id = len(chosen) + 1, len(chosen) + 2
    instant = f"'epoch'::timestamptz + ${at_us}::bigint * interval '1 microsecond'"
    behind = f"(a.at, a.audit_id) < ({instant}, ${audit_id}::bigint)"
    return f"{clause} AND {behind}" if clause else f"WHERE {behind}", [*chosen, *after]


def _entry_of(record: Row) -> AuditEntry:
    service_id, sealed = record["service_id"], record["hash"]
    return AuditEntry(
        audit_id=record["audit_id"],
        at=InstantMs(record["at"]),
        actor=record["actor"],
        key_id=record["key_id"],
        address=record["address"],
        request_id=record["request_id"],
        label=record["label"],
        action=record["action"],
        service_id=None if service_id is None else ServiceId(service_id),
        subject=record["subject"],
        before=record["before"],
        after=record["after"],
        place=record["place"],
        hash=None if sealed is None else sealed.hex(),
    )
