"""A database, a journal and a writer between them, and effects to write: for the writer's tests."""

from __future__ import annotations

from contextlib import asynccontextmanager

import trio

from medic.core.blind import SIGHTED_ALWAYS
from medic.core.effects import (
    CloseAlert,
    Notify,
    OpenAlert,
    RecordHeartbeat,
)
from medic.core.notification import Notification
from medic.core.policy import Defaults
from medic.core.service import Alert, Service, ServiceRow
from medic.core.status import ClosedReason, HeartbeatStatus, NotificationKind, OpenedReason
from medic.store.journal.memory_journal import MemoryJournal
from medic.store.postgres.database import Database
from medic.store.tables.writer import Writer
from tests.patience import PATIENCE_SECONDS

NOW = 1_790_000_000_000
MINUTE = 60_000
DAY = 86_400_000


class StillClock:
    """A clock that stands where a test puts it. Sighted time is five seconds behind."""

    blind = SIGHTED_ALWAYS
    skew = 5_000

    def __init__(self) -> None:
        self.at = NOW

    def now(self):
        return self.at

    def sighted(self):
        return self.at - self.skew


def row(service_id: int, name: str = "", version: int = 1) -> ServiceRow:
    return ServiceRow(
        service_id=service_id,
        version=version,
        heartbeat_name=name or f"näme-{service_id}",
        service_name=f"label-{service_id}",
        active=True,
        interval_ms=5 * MINUTE,
        grace_ms=0,
        threshold=1,
        recovery_ms=0,
        renotify_ms=None,
        team="platform",
        priority="p2",
        runbook="https://example.org/run",
        date_added=NOW,
        date_modified=NOW,
    )


def alert(alert_id: int, **changes) -> Alert:
    values = {
        "alert_id": alert_id,
        "reason": OpenedReason.LATE,
        "opened_at": NOW,
        "opened_sighted": NOW - 5_000,
        "late_since": NOW - 10,
        "priority": "p2",
        "team": "platform",
        "runbook": "https://example.org/run",
        "told": True,
        "told_priority": "p2",
    }
    return Alert(**(values | changes))


def heartbeat(number: int, service_id: int = 1, *, at: int = NOW, run_id: str | None = None) -> RecordHeartbeat:
    return RecordHeartbeat(
        service_id=service_id,
        at=at,
        sighted=at - 5_000,
        heartbeat_id=number,
        kind=HeartbeatStatus.OTHER,
        status="läuft",
        run_id=run_id,
        said_at=at - 1,
    )


def opened(service_id: int, alert_id: int, at: int = NOW) -> OpenAlert:
    return OpenAlert(service_id=service_id, at=at, sighted=at, alert=alert(alert_id, opened_at=at))


def closed(service_id: int, alert_id: int, at: int = NOW + 60_000, **changes) -> CloseAlert:
    values = {"reason": ClosedReason.RECOVERED, "cycle": 3} | changes
    return CloseAlert(service_id=service_id, at=at, sighted=at, alert=alert(alert_id), **values)


def notify(notification_id: str, *targets: str, service_id: int = 1) -> Notify:
    notification = Notification(
        notification_id=notification_id,
        kind=NotificationKind.TRIGGER,
        key="medic-x",
        at=NOW,
        service_id=service_id,
        alert_id=100,
        targets=targets,
    )
    return Notify(at=NOW, sighted=NOW, notification=notification)


class World:
    """A database, a journal in memory, and a writer between them."""

    def __init__(self, database: Database, tmp_path) -> None:
        self.database = database
        self.journal = MemoryJournal()
        self.clock = StillClock()
        self.services: dict[int, Service] = {}
        self.rejected = tmp_path / "rejected"
        self.writer = self.another_writer()

    def another_writer(self, **changes) -> Writer:
        values = {
            "database": self.database,
            "journal": self.journal,
            "clock": self.clock,
            "state_of": self.services.get,
            "rejected": self.rejected,
        }
        return Writer(**(values | changes))

    async def register(self, service_id: int) -> Service:
        await self.database.execute(
            "INSERT INTO medic.services (service_id, heartbeat_name, service_name, alert_interval, team, priority)"
            " VALUES ($1, $2, $3, 5, 'platform', 'p2')",
            service_id,
            row(service_id).heartbeat_name,
            row(service_id).service_name,
        )
        service = Service(row(service_id), row(service_id).policy(Defaults()), registered=NOW)
        self.services[service_id] = service
        return service

    @asynccontextmanager
    async def writing(self, writer: Writer | None = None):
        async with trio.open_nursery() as nursery:
            await nursery.start((writer or self.writer).run)
            yield
            nursery.cancel_scope.cancel()

    async def write(self, *effects, writer: Writer | None = None) -> None:
        """Journal the effects, and return once PostgreSQL has them."""
        for effect in effects:
            self.journal.append_nowait(effect)
        writing = writer or self.writer
        async with self.writing(writing):
            with trio.fail_after(PATIENCE_SECONDS):
                await writing.finish()

    async def rows(self, sql: str, *args):
        return [tuple(record) for record in await self.database.fetch(sql, *args)]


HEARTBEATS = (
    'SELECT heartbeat_id, time, status, service_id, run_id, said_at FROM "heartbeatEvents" ORDER BY heartbeat_id'
)
