"""The parts that metrics and health read: one callable each, so that neither holds on to a part or can change it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from medic.access.endings import KeyStatistics
from medic.actors.directory import DirectoryStatistics
from medic.actors.host import HostStatistics
from medic.actors.outbox import OutboxStatistics
from medic.actors.sight import SightStatistics
from medic.actors.supervisor import SupervisorStatistics
from medic.alerting.deadman import DeadmanStatistics
from medic.alerting.statistics import AlertingStatistics
from medic.metrics.distribution import Reading
from medic.metrics.requests import RequestStatistics
from medic.metrics.stall import StallStatistics
from medic.store.disk import DiskStatistics
from medic.store.journal.statistics import JournalStatistics
from medic.store.postgres.database import DatabaseStatistics
from medic.store.postgres.leadership import LeadershipStatistics
from medic.store.redis.client import RedisStatistics
from medic.store.retention.report import CleanupStatistics
from medic.store.snapshot.keeper import SnapshotStatistics
from medic.store.tables.writer import WriterStatistics


@dataclass(frozen=True, slots=True)
class Parts:
    """`statistics` of every part. Each costs microseconds and waits for nothing."""

    host: Callable[[], HostStatistics]
    directory: Callable[[], DirectoryStatistics]
    outbox: Callable[[], OutboxStatistics]
    supervisor: Callable[[], SupervisorStatistics]
    sight: Callable[[], SightStatistics]
    requests: Callable[[], RequestStatistics]
    stall: Callable[[], StallStatistics]
    operations: Callable[[], dict[str, Reading]]
    journal: Callable[[], JournalStatistics]
    snapshot: Callable[[], SnapshotStatistics]
    ids_ahead: Callable[[], int]
    disk: Callable[[], DiskStatistics | None]
    writer: Callable[[], WriterStatistics]
    database: Callable[[], DatabaseStatistics]
    leadership: Callable[[], LeadershipStatistics]
    alerting: Callable[[], AlertingStatistics]
    keys: Callable[[], KeyStatistics]
    redis: Callable[[], RedisStatistics | None]
    deadman: Callable[[], DeadmanStatistics | None]
    cleanup: Callable[[], CleanupStatistics]
