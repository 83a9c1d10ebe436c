"""A database with days of heartbeats in it, and a cleanup of it: for the tests of retention."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import trio

from medic.core.units import DAY_MS, HOUR_MS, InstantMs
from medic.store.postgres.database import Database
from medic.store.retention.ages import Retention
from medic.store.retention.cleanup import Cleanup

TODAY = InstantMs(1_790_000_000_000 // DAY_MS * DAY_MS)
"""2026-09-21T00:00Z."""

NOW = InstantMs(TODAY + 7 * HOUR_MS)

COUNTS = (
    "SELECT service_id, (extract(epoch FROM hour) * 1000)::bigint AS hour, up, down, degraded, started, completed,"
    " failed, other FROM medic.heartbeat_hours ORDER BY 1, 2"
)
OUTAGES = (
    "SELECT service_id, (extract(epoch FROM hour) * 1000)::bigint AS hour, late_ms, reported_ms, outages"
    " FROM medic.heartbeat_hours ORDER BY 1, 2"
)


def day(number: int) -> dt.date:
    """The day so many before today."""
    return dt.datetime.fromtimestamp((TODAY - number * DAY_MS) / 1000, dt.UTC).date()


def instant(days_ago: int, hours: float = 12) -> InstantMs:
    """An hour of the day so many before today."""
    return InstantMs(round(TODAY - days_ago * DAY_MS + hours * HOUR_MS))


async def waiting_for_a_lock(database: Database) -> None:
    """Return once a session waits for one."""
    while not await database.fetch("SELECT FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 - PostgreSQL says when
        await trio.sleep(0.01)


class Cleaned:
    """One database, and what a test does to it."""

    def __init__(self, database: Database, retention: Retention | None = None) -> None:
        self.database = database
        self.now = NOW
        self.cleanup = Cleanup(database, retention or Retention(), lambda: self.now)
        self._ids = iter(range(1, 1 << 40))

    async def written_until(self, until: InstantMs) -> None:
        """Let the writer have passed an instant."""
        await self.database.execute(
            "INSERT INTO medic.journal_positions (journal_id, watermark_at) VALUES ('j', $1)"
            " ON CONFLICT (journal_id) DO UPDATE SET watermark_at = EXCLUDED.watermark_at, updated_at = now()",
            until,
        )

    async def beat(self, at: InstantMs, service_id: int = 1, status: str = "UP", times: int = 1) -> None:
        """Store heartbeats as the writer does."""
        date = dt.datetime.fromtimestamp(at / 1000, dt.UTC).date()
        await self.database.execute("SELECT medic.ensure_heartbeat_day($1)", date)
        rows = [(next(self._ids), at, status, service_id) for _ in range(times)]
        async with self.database.transaction() as transaction:
            await transaction.copy_records("heartbeatEvents", ("heartbeat_id", "time", "status", "service_id"), rows)

    async def alert(
        self, opened: InstantMs, closed: InstantMs | None, service_id: int = 1, reason: str = "late", name: str = "x"
    ) -> int:
        """Store an alert as the writer does; its id."""
        alert_id = next(self._ids)
        await self.database.execute(
            "INSERT INTO medic.alerts (alert_id, alert_name, service_id, heartbeat_name, service_name, team, priority,"
            " reason, created_date, closed_date, active) VALUES ($1, 'x', $2, $6, 'x', 'x', 'p1', $3, $4,"
            " $5::timestamptz, ($5::timestamptz IS NULL)::int)",
            alert_id,
            service_id,
            reason,
            opened,
            closed,
            name,
        )
        return alert_id

    async def rows(self, sql: str, *args: object) -> Sequence[tuple[object, ...]]:
        return [tuple(row) for row in await self.database.fetch(sql, *args)]

    async def days(self) -> list[dt.date]:
        return [
            row["day"] for row in await self.database.fetch("SELECT day FROM medic.heartbeat_partitions ORDER BY 1")
        ]

    async def counted(self, service_id: int = 1) -> int:
        """All heartbeats of a service that are counted."""
        [(hours,)] = await self.rows(
            "SELECT coalesce(sum(up + down + degraded + started + completed + failed + other), 0)"
            " FROM medic.heartbeat_hours WHERE service_id = $1",
            service_id,
        )
        return int(str(hours))
