"""Counts what is about to be removed: heartbeats and outages of each service, by the hour, later by the day.

The problem. Availability over a year has to be answerable when heartbeats are kept for a month. So before a day goes,
its heartbeats are counted by service, hour and word. Counting is easy; counting each heartbeat exactly once is not:
some come late, into hours that are counted already. An overtaken journal brings its tail days after it was heard
(`medic.store.takeover`), a wall clock was put back, somebody inserts by SQL. And whoever removes rows by hand, as the
runbook says, must not lose their counts: so nothing is ever counted anew.

The way. A day is counted once, when it is over and the writer has passed it, in one transaction that keeps others from
writing to that day's partition, and to no other. The same transaction puts a trigger on the partition, which adds what
comes late from then on. So a heartbeat is in the counts by one of the two, and a day that is counted is recognised by
the very thing that keeps its counts right: no second record could disagree with it. A day that was dropped and is made
anew by a late arrival is a new table without the trigger, which is counted in its turn; counts only ever add.

Nobody writes to a day that is over, so nobody waits: not the writer, whose rows go to today's partition, not intake,
which never waits for PostgreSQL, and no reader. A day costs PostgreSQL one pass over its rows and one row for each
service and hour; it is done an hour at a time, so that the groups of a hundred thousand services fit into memory.

Outages are counted from alerts, day by day, up to a mark (`outages_until` in `medic.cleanup`) that moves in the same
transaction. A day that is over changes nothing any more: an alert that is open at midnight was open until then.

Sparse. An hour has a row only if the service was heard of, or was down, in it. At a hundred thousand services that are
heard of all the time this is 876 million rows a year, 115 GB with their indexes. So hours are folded into days after
`MEDIC_HOURS_RETENTION_DAYS`: 36 million rows a year.

Numbers, and what was rejected, are in docs/decisions/0024-retention.md.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

import trio

from medic.core.units import DAY_MS, HOUR_MS, InstantMs
from medic.store.postgres.database import Database
from medic.store.retention.ages import day_begins
from medic.store.retention.report import CountedDay

COUNT_SECONDS: Final = 3_600.0
"""Longest single statement: an hour of a day, or a day's folding. The largest measured took a thousandth of it."""

LOCK_SECONDS: Final = 5
"""Longest wait for the day's lock. Nobody stands behind us: who writes to a day that is over is rare, and an autovacuum
of it gives way after a second."""

HOURS_A_DAY: Final = 24
GROUPS_MEMORY: Final = "64MB"
"""For the groups of one hour: some 300 000 services. Beyond that PostgreSQL goes on by way of the disk."""

_EPOCH: Final = "'epoch'::timestamptz"

_WORDS: Final = ("up", "down", "degraded", "started", "completed", "failed")
_COUNTS: Final = (*_WORDS, "other")
_SUMS: Final = (*_COUNTS, "late_ms", "reported_ms", "outages")


def _adding(columns: tuple[str, ...]) -> str:
    return ", ".join(f"{column} = stored.{column} + EXCLUDED.{column}" for column in columns)


def _count_of(column: str) -> str:
    if column == "other":
        words = ", ".join(f"'{word.upper()}'" for word in _WORDS)
        return f"coalesce(sum(heartbeats) FILTER (WHERE word NOT IN ({words})), 0)::int"
    return f"coalesce(sum(heartbeats) FILTER (WHERE word = '{column.upper()}'), 0)::int"


def partition_of(day: dt.date) -> str:
    """The table of a day, quoted for SQL."""
    return f'medic."heartbeatEvents_{day:%Y%m%d}"'


def _count_hour(day: dt.date) -> str:
    """Grouped by the word as it was sent first: few of them, so that their letters are looked at once a group."""
    return f"""
    INSERT INTO medic.heartbeat_hours AS stored (service_id, hour, {", ".join(_COUNTS)})
    SELECT service_id, $1::timestamptz, {", ".join(map(_count_of, _COUNTS))}
    FROM (SELECT service_id, upper(status COLLATE "C") AS word, heartbeats
          FROM (SELECT service_id, status, count(*) AS heartbeats
                FROM {partition_of(day)}
                WHERE "time" >= $1::timestamptz AND "time" < $2::timestamptz
                GROUP BY service_id, status) AS said) AS heard
    GROUP BY service_id
    ON CONFLICT (service_id, hour) DO UPDATE SET {_adding(_COUNTS)}
    """  # noqa: S608 - names of columns, and of a day


# An alert of no length is an outage all the same. It counts from when Medic knew of it: a deadline of before midnight
# that is decided after it would else reach into a day that is counted already. Alerts of one service that lie on top of
# each other, as the earlier system's races left them, are down time once: each counts from the end of those before it,
# as `medic.core.availability.reckon` has it.
_COUNT_OUTAGES: Final = f"""
INSERT INTO medic.heartbeat_hours AS stored (service_id, hour, late_ms, reported_ms, outages)
SELECT service_id, hour, coalesce(sum(lasted) FILTER (WHERE NOT is_reported), 0)::int,
       coalesce(sum(lasted) FILTER (WHERE is_reported), 0)::int, count(*) FILTER (WHERE is_opened)
FROM (SELECT a.service_id, h.hour, a.reason LIKE 'reported%' AS is_reported,
             a.created_date >= h.hour AND a.created_date < h.hour + interval '1 hour' AS is_opened,
             greatest(0, round(1000 * extract(epoch FROM least(coalesce(a.closed_date, $2), h.hour + interval '1 hour')
                                                         - greatest(a.counts_from, h.hour)))) AS lasted
      FROM (SELECT *, greatest(created_date, max(coalesce(closed_date, $2)) OVER before_it) AS counts_from
            FROM medic.alerts
            WHERE created_date < $2 AND (closed_date IS NULL OR closed_date >= $1)
            WINDOW before_it AS (PARTITION BY service_id ORDER BY created_date, alert_id
                                 ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) AS a
      CROSS JOIN LATERAL generate_series(
          date_bin('1 hour', greatest(a.created_date, $1::timestamptz), {_EPOCH}),
          least(greatest(coalesce(a.closed_date, $2::timestamptz), a.created_date), $2::timestamptz - interval '1 us'),
          interval '1 hour') AS h (hour)) AS outages
WHERE lasted > 0 OR is_opened
GROUP BY service_id, hour
ON CONFLICT (service_id, hour) DO UPDATE SET {_adding(("late_ms", "reported_ms", "outages"))}
"""  # noqa: S608 - constants

_OUTAGES_UNTIL: Final = """
SELECT coalesce(c.outages_until, (SELECT min(created_date) FROM medic.alerts)) AS until
FROM medic.cleanup c FOR UPDATE OF c
"""
_MOVE_OUTAGES: Final = "UPDATE medic.cleanup SET outages_until = $1"

_FOLD: Final = f"""
WITH old AS (DELETE FROM medic.heartbeat_hours WHERE hour < $1 RETURNING *)
INSERT INTO medic.heartbeat_days AS stored (service_id, day, {", ".join(_SUMS)})
SELECT service_id, (hour AT TIME ZONE 'UTC')::date AS day, {", ".join(f"sum({column})" for column in _SUMS)}
FROM old GROUP BY 1, 2
ON CONFLICT (service_id, day) DO UPDATE SET {_adding(_SUMS)}
"""  # noqa: S608 - constants


async def count_day(database: Database, day: dt.date) -> CountedDay:
    """Count a day that is over, and let what comes late be counted as it comes.

    Raises:
        LockedError: somebody writes to it just now; nothing was counted.
        DatabaseUnavailableError: PostgreSQL does not answer; nothing was counted.
    """
    begun, hours = trio.current_time(), 0
    begins = (day - dt.date(1970, 1, 1)).days * DAY_MS
    async with database.transaction() as transaction:
        await transaction.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'; SET LOCAL work_mem = '{GROUPS_MEMORY}'")
        await transaction.execute(f"LOCK TABLE ONLY {partition_of(day)} IN SHARE ROW EXCLUSIVE MODE")
        for hour in range(HOURS_A_DAY):
            since = InstantMs(begins + hour * HOUR_MS)
            until = InstantMs(since + HOUR_MS)
            tag = await transaction.execute(
                _count_hour(day), since, until, operation="count heartbeats", seconds=COUNT_SECONDS
            )
            hours += rows_of(tag)
        await transaction.execute(
            f"CREATE TRIGGER count_late_heartbeat AFTER INSERT ON {partition_of(day)} FOR EACH ROW"
            " EXECUTE FUNCTION medic.count_late_heartbeat()"
        )
    return CountedDay(day, hours, trio.current_time() - begun)


async def count_outages(database: Database, until: InstantMs) -> InstantMs:
    """Count what alerts say of the days before the midnight `until`; up to which midnight that is done now.

    Args:
        database: Where.
        until: Every alert that was open before it is written.
    """
    while True:
        async with database.transaction() as transaction:
            row = await transaction.fetchrow(_OUTAGES_UNTIL, operation="count outages")
            known = None if row is None else row["until"]
            since = until if known is None else day_begins(InstantMs(known))
            following = InstantMs(min(since + DAY_MS, until))
            if since < until:
                await transaction.execute(
                    _COUNT_OUTAGES, since, following, operation="count outages", seconds=COUNT_SECONDS
                )
            await transaction.execute(_MOVE_OUTAGES, max(since, following), operation="count outages")
        if following >= until:
            return InstantMs(max(since, following))


async def fold_hours(database: Database, before: InstantMs) -> int:
    """Fold the hours before a midnight into days; how many rows of days that wrote."""
    async with database.transaction() as transaction:
        tag = await transaction.execute(_FOLD, before, operation="fold hours", seconds=COUNT_SECONDS)
    return rows_of(tag)


def rows_of(tag: str) -> int:
    """How many rows a command's tag speaks of: `INSERT 0 12`, `DELETE 3`."""
    return int(tag.rpartition(" ")[2])
