"""Removes days of heartbeats, so that nobody has to wait for it: neither who writes, nor who reads, nor pg_dump.

The problem (HARD-CASES H18). Deleting rows costs as much as writing them did, and leaves a table full of holes.
Dropping the day's partition costs nothing, but DROP wants the parent table for itself: it waits for the last reader,
pg_dump among them, and every COPY of the writer queues behind it.

The way. The partition is detached concurrently first, which keeps nobody from writing or reading, and what is dropped
then is a table by itself. Detaching has two halves. In the first the day leaves the parent for whoever comes from then
on. In the second it waits for those who saw it before; where one of them takes longer than a second (a pg_dump takes
an hour), that wait is given up and the day is left half detached, `is_leaving`: it takes no rows and shows none, and
is finished at the next attempt. So every wait of ours is at most a second, and so is everybody else's behind us.

A crash may come between any two of these steps. Before the first the table gets a comment that says whose doing this
is; by it a half detached day, or a table that is detached and not dropped, is known to be ours, and is finished by
whoever cleans up next, or by the writer if a heartbeat of that day arrives (`medic.ensure_heartbeat_day`). A table that
an operator detached, to keep the day elsewhere, has no such comment and is never touched.

DETACH CONCURRENTLY cannot be in a transaction, so no token is shown. None is needed: a day goes only if all of it is
counted, and old, and whoever else would remove it just now is kept out by the cleanup's lock.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

import trio

from medic.store.postgres.database import Database, LockedError, Row, Session
from medic.store.retention.counting import partition_of
from medic.store.retention.report import Day

LOCK_SECONDS: Final = 1
"""Longest wait for a lock: whoever comes after us for the same table waits as long as we do (HARD-CASES H18)."""

ATTEMPTS: Final = 6
PAUSE_SECONDS: Final = 5.0
"""Attempts at one day, and the pause between two: half a minute, which long queries take. A pg_dump takes longer, and
then the day goes an hour later."""

REMOVE_SECONDS: Final = 600.0
"""Longest statement: files of a hundred gigabytes are not gone at once. Locks are waited for no longer all the same."""

MARK: Final = "Medic removes this day."
"""The comment on a table that is about to go; migration 0008 knows it as well."""

_DAYS: Final = """
SELECT day, is_counted, is_leaving, heartbeats, bytes FROM medic.heartbeat_partitions ORDER BY day
"""
_REMOVED: Final = "SELECT day FROM medic.removed_days ORDER BY day"


async def days_of(database: Database) -> Sequence[Day]:
    """The days there are, oldest first."""

    def day_of(row: Row) -> Day:
        return Day(row["day"], row["is_counted"], row["is_leaving"], row["heartbeats"], row["bytes"])

    return [day_of(row) for row in await database.fetch(_DAYS, operation="list days")]


async def removed_days(database: Database) -> Sequence[dt.date]:
    """Days that were detached and are not dropped yet."""
    return [row["day"] for row in await database.fetch(_REMOVED, operation="list days")]


async def remove_day(session: Session, day: Day) -> bool:
    """Detach and drop a day; False where somebody held on to it through all attempts.

    Raises:
        DatabaseUnavailableError: PostgreSQL does not answer. What is half done is finished another time.
    """
    table, is_leaving = partition_of(day.day), day.is_leaving
    await session.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
    for attempt in range(ATTEMPTS):
        if attempt:
            await trio.sleep(PAUSE_SECONDS)
        try:
            if not is_leaving:
                await session.execute(f"COMMENT ON TABLE {table} IS '{MARK}'", operation="detach day")
                await _detach(session, f"{table} CONCURRENTLY")
            else:
                await _detach(session, f"{table} FINALIZE")
        except LockedError:
            is_leaving = await _is_leaving(session, day.day)
        else:
            return await drop_detached(session, day.day)
    return False


async def drop_detached(session: Session, day: dt.date) -> bool:
    """Drop the table of a day that was detached; False where somebody reads it still."""
    await session.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
    try:
        await session.execute("SELECT medic.drop_removed_day($1)", day, operation="drop day", seconds=REMOVE_SECONDS)
    except LockedError:
        return False
    return True


async def _detach(session: Session, partition: str) -> None:
    sql = f'ALTER TABLE medic."heartbeatEvents" DETACH PARTITION {partition}'
    await session.execute(sql, operation="detach day", seconds=REMOVE_SECONDS)


async def _is_leaving(session: Session, day: dt.date) -> bool:
    """Whether the first half of detaching was done before the wait was given up."""
    row = await session.fetchrow(
        "SELECT is_leaving FROM medic.heartbeat_partitions WHERE day = $1", day, operation="list days"
    )
    return row is not None and bool(row["is_leaving"])
