"""The cleanup: counts what is over, removes what is old, and says when it last did all of that.

The order. Days are counted before they go, outages before their alerts do; each step looks at what is there and not at
what an earlier run did, so a run that was killed anywhere is simply followed by the next one.

One at a time, by an advisory lock: the daily run of the active Medic, and `medic cleanup` from a terminal beside it.

How far. Nothing is counted or removed beyond the writer's watermark, the instant up to which PostgreSQL has everything
that came. Where PostgreSQL was away for days, the days that the journal still holds are not over for us; and a clock
that is wrong by a year in the process that cleans up removes nothing the writer has not passed. The watermark of that
journal counts that was written last: an old directory that nobody uses any more must not keep all days for ever, nor
let them go because its clock was wrong once; what it may bring one day, late, is counted as it comes (`counting`).

What it cannot do now, because somebody holds on to a table, is left, said, and done by the next run: in an hour.

Never touched: the days from the watermark on, today's among them, and days to come, which a wall clock that was wrong
may have made; open alerts and what is still to be told; partitions and tables that an operator made or detached.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog

from medic.core.units import InstantMs, to_datetime
from medic.errors import MedicError
from medic.store.postgres.database import Database, LockedError, Session
from medic.store.retention.ages import Retention, day_begins, kept_from
from medic.store.retention.counting import count_day, count_outages, fold_hours
from medic.store.retention.expired import count_expired, remove_expired
from medic.store.retention.removing import days_of, drop_detached, remove_day, removed_days
from medic.store.retention.report import Plan, Report

_log = structlog.get_logger(__name__)

# 1296385097 is "MEDI" in ASCII, the first key of all of Medic's advisory locks.
_LOCK: Final = "SELECT pg_try_advisory_lock(1296385097, 3) AS taken"
_UNLOCK: Final = "SELECT pg_advisory_unlock(1296385097, 3)"
_WRITTEN_UNTIL: Final = """
SELECT watermark_at AS until FROM medic.journal_positions
WHERE watermark_at IS NOT NULL ORDER BY updated_at DESC LIMIT 1
"""
_SUCCEEDED: Final = "UPDATE medic.cleanup SET last_success_at = now()"
_LAST_SUCCESS: Final = "SELECT last_success_at FROM medic.cleanup"


class CleanupBusyError(MedicError):
    """Another cleanup of this database is under way."""

    def __init__(self) -> None:
        self.message = "another cleanup of this database is under way"
        super().__init__(self.message)


class Cleanup:
    """Cleans one database up.

    Args:
        database: Which, its schema in place.
        retention: How long what is kept.
        now: The wall clock.
    """

    def __init__(self, database: Database, retention: Retention, now: Callable[[], InstantMs]) -> None:
        self._database = database
        self._retention = retention
        self._now = now

    async def run(self) -> Report:
        """Do all that is due.

        Raises:
            CleanupBusyError: another one does just now.
            DatabaseUnavailableError: PostgreSQL does not answer. What was done so far stays done.
        """
        async with self._alone() as session:
            report = Report()
            written = await self.written_until()
            if written is not None:
                until = min(written, self._now())
                await self._count(until, report)
                await self._remove_days(session, until, report)
                await self._remove_rows(until, report)
            if not report.left:
                await self._database.execute(_SUCCEEDED, operation="note cleanup")
            return report

    async def plan(self) -> Plan:
        """What `run` would do now.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer.
        """
        written, now = await self.written_until(), self._now()
        days = await days_of(self._database)
        until = InstantMs(0) if written is None else min(written, now)
        old = [day for day in days if self._is_old(day.day, now)]
        return Plan(
            written_until=written,
            to_count=[day for day in days if not day.is_counted and not day.is_leaving and _is_over(day.day, until)],
            to_remove=[day for day in old if self._is_old(day.day, until)],
            waiting=[day for day in old if not self._is_old(day.day, until)],
            rows=await count_expired(self._database, self._retention, until),
        )

    async def written_until(self) -> InstantMs | None:
        """The instant up to which PostgreSQL has everything that came; None: no Medic ever wrote to it."""
        row = await self._database.fetchrow(_WRITTEN_UNTIL, operation="read watermark")
        return None if row is None else row["until"]

    async def last_success_at(self) -> InstantMs | None:
        """When a cleanup last did all that was due, this one's or another's; None: never yet."""
        row = await self._database.fetchrow(_LAST_SUCCESS, operation="read cleanup")
        return None if row is None else row["last_success_at"]

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[Session]:
        """A session that holds the cleanup's lock."""
        session = await self._database.open_session()
        try:
            row = await session.fetchrow(_LOCK, operation="lock cleanup")
            if row is None or not row["taken"]:
                raise CleanupBusyError
            yield session
            # The server would notice by itself that the session is over, a moment later.
            await session.execute(_UNLOCK, operation="lock cleanup")
        finally:
            session.end()

    async def _count(self, until: InstantMs, report: Report) -> None:
        for day in await days_of(self._database):
            if day.is_counted or day.is_leaving or not _is_over(day.day, until):
                continue
            try:
                counted = await count_day(self._database, day.day)
            except LockedError:
                report.left.append(f"{day.day} is not counted: somebody writes to it")
                continue
            report.counted.append(counted)
            _log.info("a day was counted", day=str(day.day), hours=counted.hours, seconds=round(counted.seconds, 3))
        await count_outages(self._database, day_begins(until))

    async def _remove_days(self, session: Session, until: InstantMs, report: Report) -> None:
        for gone in await removed_days(self._database):
            if not await drop_detached(session, gone):
                report.left.append(f"{gone} is not dropped: somebody reads it")
        # PostgreSQL detaches one at a time: what was begun is finished first.
        for day in sorted(await days_of(self._database), key=lambda day: (not day.is_leaving, day.day)):
            if not day.is_leaving and not (day.is_counted and self._is_old(day.day, until)):
                continue
            if not await remove_day(session, day):
                # Whoever holds on to this one, a pg_dump, mostly holds on to all of them.
                report.left.append(f"{day.day} and what is after it is not removed: somebody reads it")
                return
            report.removed_days.append(day.day)
            _log.info("a day was removed", day=str(day.day), heartbeats=day.heartbeats, bytes=day.size)

    async def _remove_rows(self, until: InstantMs, report: Report) -> None:
        before = kept_from(self._retention.hours, until)
        if before is not None:
            report.folded = await fold_hours(self._database, before)
        report.removed |= await remove_expired(self._database, self._retention, until)

    def _is_old(self, day: dt.date, now: InstantMs) -> bool:
        kept = kept_from(self._retention.heartbeats, now)
        return kept is not None and _is_over(day, kept)


def _is_over(day: dt.date, by: InstantMs) -> bool:
    """Whether all of a day is before an instant."""
    return day < to_datetime(day_begins(by)).date()
