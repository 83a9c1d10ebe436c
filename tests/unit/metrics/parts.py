"""Parts whose statistics are values of a test's choice, every number another one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from medic.access.endings import KeyStatistics
from medic.actors.directory import DirectoryStatistics
from medic.actors.host import LATENESS_BOUNDS_SECONDS, HostStatistics
from medic.actors.outbox import OutboxStatistics
from medic.actors.sight import SightStatistics
from medic.actors.supervisor import SupervisorStatistics
from medic.alerting.deadman import DeadmanStatistics
from medic.alerting.statistics import AlertingStatistics, RequestCount, TargetStatistics
from medic.core.blind import SIGHTED_ALWAYS
from medic.core.draft import ServiceDraft
from medic.core.names import name_key
from medic.core.policy import Defaults
from medic.core.service import Service
from medic.core.status import Discount, HeartbeatStatus, Status
from medic.core.units import DurationMs, InstantMs, ServiceId, SightedMs, SkewMs
from medic.metrics.operations import OperationMeter
from medic.metrics.parts import Parts
from medic.metrics.requests import RequestMeter
from medic.metrics.stall import LoopStall
from medic.ports import ComponentHealth, HealthReport
from medic.store.disk import DiskStatistics
from medic.store.journal.statistics import COMMIT_BOUNDS_SECONDS, JournalStatistics
from medic.store.postgres.database import DatabaseStatistics
from medic.store.postgres.leadership import LeadershipStatistics
from medic.store.redis.client import RedisStatistics
from medic.store.retention.report import CleanupStatistics
from medic.store.snapshot.keeper import SnapshotStatistics
from medic.store.tables.writer import WriterStatistics

NOW = InstantMs(1_767_225_600_000)

HOST = HostStatistics(
    timers_armed=11,
    fired=12,
    lateness_counts=(7, 5, *(0,) * (len(LATENESS_BOUNDS_SECONDS) - 1)),
    lateness_seconds_total=0.125,
    turns=13,
    slices=14,
    overdue_seconds=0.5,
)
DIRECTORY = DirectoryStatistics(
    services=21,
    by_status={**dict.fromkeys(Status, 0), Status.UP: 17, Status.INACTIVE: 4},
    muted=3,
    alerts_active=2,
    alerts_active_muted=1,
)
OUTBOX = OutboxStatistics(
    heartbeats={HeartbeatStatus.UP: 31, HeartbeatStatus.OTHER: 32},
    discounted={Discount.REPEATED: 30},
    alerts_opened={("p1", 'team "a"\\b'): 33},
    alerts_closed=34,
    fresh_intervals=35,
    pending=36,
    handed_on=37,
    journal_retries=38,
)
SUPERVISOR = SupervisorStatistics(crashes=41, rebuilds=42, waiting=43)
SIGHT = SightStatistics(spans=51, seconds_total=52.5, newest=None)
JOURNAL = JournalStatistics(
    newest=600,
    durable=590,
    records=61,
    bytes=62,
    commits=9,
    commit_counts=(4, 5, *(0,) * (len(COMMIT_BOUNDS_SECONDS) - 1)),
    commit_seconds_total=0.25,
    commit_seconds_max=0.1,
    commit_seconds_last=0.05,
    pending_bytes=63,
    refusing=None,
    refusing_since=None,
    failures=64,
    committing_since=None,
    segments=2,
    held_bytes=90_000_000,
    bytes_max=8 << 30,
    reserved_bytes=64 << 20,
    refusing_intake=None,
    damaged_bytes=65,
)
SNAPSHOT = SnapshotStatistics(
    written=3,
    failures=1,
    at=1_790_000_000_000,
    size=150_000,
    services=1_000,
    seconds=0.25,
    covered=400,
)
WRITER = WriterStatistics(
    committed=580,
    backlog_bytes=91,
    lag_seconds=1.5,
    batches=92,
    rows=93,
    states=94,
    states_due=95,
    rejected=96,
    superseded=97,
    failing=None,
    progress_at=0.0,
)
DATABASE = DatabaseStatistics(
    connections_open=5, connections_busy=2, connections_max=8, connection_errors=71, reachable=True
)
LEADERSHIP = LeadershipStatistics(token=73, since=NOW, has_lock=True, locks_lost=74)


def target(name: str, **fields: object) -> TargetStatistics:
    """A target at which nothing happened, but for what is given."""
    nothing = {
        "description": name,
        "pending": 0,
        "in_flight": 0,
        "attempts": 0,
        "retries": 0,
        "delivered": 0,
        "refused": 0,
        "given_up": 0,
        "dropped": 0,
        "throttled": 0,
        "crashes": 0,
        "paused": False,
        "out": False,
        "failing_since": None,
        "last_error": "",
        "requests": (),
    }
    return TargetStatistics(target=name, **{**nothing, **fields})


ALERTING = AlertingStatistics(
    targets=(
        target(
            "pagerduty",
            pending=81,
            retries=82,
            delivered=83,
            refused=84,
            requests=(RequestCount("trigger", "success", 85), RequestCount("resolve", "failure", 86)),
        ),
        target(
            "slack",
            failing_since=NOW,
            requests=(RequestCount("trigger", "success", 87), RequestCount("resolve", "success", 88)),
        ),
    ),
    untold=(1, 2),
    unsettled=89,
)


KEYS = KeyStatistics(working=90, ending=91)
CLEANUP = CleanupStatistics(
    last_success_at=NOW, next_at=InstantMs(NOW + 86_400_000), failing=None, failures=98, seconds=0.75
)


class Bench:
    """A `Parts` and what it reads; replace an attribute and the next reading shows it."""

    def __init__(self) -> None:
        self.host = HOST
        self.directory = DIRECTORY
        self.outbox = OUTBOX
        self.supervisor = SUPERVISOR
        self.sight = SIGHT
        self.journal = JOURNAL
        self.ids_ahead = 66
        self.disk: DiskStatistics | None = DiskStatistics(size_bytes=68, free_bytes=67)
        self.snapshot = SNAPSHOT
        self.writer = WRITER
        self.database = DATABASE
        self.leadership = LEADERSHIP
        self.alerting = ALERTING
        self.keys = KEYS
        self.cleanup = CLEANUP
        self.redis: RedisStatistics | None = None
        self.deadman: DeadmanStatistics | None = None
        self.meter = RequestMeter()
        self.operations = OperationMeter()
        self.stall = LoopStall()
        self.parts = Parts(
            host=lambda: self.host,
            directory=lambda: self.directory,
            outbox=lambda: self.outbox,
            supervisor=lambda: self.supervisor,
            sight=lambda: self.sight,
            requests=self.meter.statistics,
            stall=self.stall.statistics,
            operations=self.operations.statistics,
            journal=lambda: self.journal,
            ids_ahead=lambda: self.ids_ahead,
            disk=lambda: self.disk,
            snapshot=lambda: self.snapshot,
            writer=lambda: self.writer,
            database=lambda: self.database,
            leadership=lambda: self.leadership,
            alerting=lambda: self.alerting,
            keys=lambda: self.keys,
            redis=lambda: self.redis,
            deadman=lambda: self.deadman,
            cleanup=lambda: self.cleanup,
        )


@dataclass
class FixedHealth:
    """A health that says what it was told."""

    components: dict[str, str] = field(default_factory=dict)
    proven: InstantMs | None = None

    def report(self) -> HealthReport:
        parts = {name: ComponentHealth(status, NOW) for name, status in self.components.items()}
        return HealthReport("healthy", NOW, "1.2.3", parts)

    def alive(self) -> str | None:
        return None

    def ready(self) -> str | None:
        return None

    def proven_at(self) -> InstantMs | None:
        return self.proven


class FixedClock:
    """Stands still; wall time is 5 s ahead of sighted time."""

    skew = SkewMs(5_000)
    blind = SIGHTED_ALWAYS

    def now(self) -> InstantMs:
        return NOW

    def sighted(self) -> SightedMs:
        return SightedMs(NOW - 5_000)


class ListRoster:
    """Services in order of their names, and how many of them were looked at."""

    key_rules = 0

    def __init__(self, services: Iterable[Service] = ()) -> None:
        self.all = sorted(services, key=lambda service: name_key(service.row.heartbeat_name))

    def __len__(self) -> int:
        return len(self.all)

    def services(self, after: str = "") -> Iterable[Service]:
        return (service for service in self.all if name_key(service.row.heartbeat_name) > after)


def service(number: int, name: str, *, status: Status = Status.UP, heard: bool = True, **fields: object) -> Service:
    """A service with an interval of a minute whose last sign of life was ten seconds ago."""
    wanted = {"service_name": "owner", "interval_ms": DurationMs(60_000), **fields}
    row = ServiceDraft(heartbeat_name=name, **wanted).row(ServiceId(number), NOW, "test")
    made = Service(row, row.policy(Defaults(first_heartbeat_ms=DurationMs(0))), registered=SightedMs(NOW - 15_000))
    made.status = status
    if heard:
        made.last_heartbeat_at = InstantMs(NOW - 10_000)
        made.heartbeats_total = 100 + number
    return made
