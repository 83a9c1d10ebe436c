"""Turns what the parts say of themselves into metric families, at each scrape and not before.

A part counts with plain integers; Prometheus' own counters would cost each of them a lock and a label look-up on the
hot path, and would be a second truth beside `statistics()`.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from medic.actors.host import LATENESS_BOUNDS_SECONDS
from medic.alerting.statistics import FAILURE, SUCCESS, TargetStatistics
from medic.core.notification import PAGERDUTY, SLACK
from medic.core.status import Discount, HeartbeatStatus, Outcome, Status
from medic.metrics import catalogue
from medic.metrics.catalogue import Spec
from medic.metrics.distribution import Reading
from medic.metrics.parts import Parts
from medic.ports import Health
from medic.store.journal.statistics import COMMIT_BOUNDS_SECONDS

Labels = TypeVar("Labels", bound=tuple[str, ...])

HEALTH_VALUES: Final = {"healthy": 1.0, "configured": 1.0, "degraded": 0.5, "unhealthy": 0.0}
"""`medic_health_status`; what is not configured has no series, so that `== 0` means trouble."""


class MedicCollector(Collector):
    """A prometheus_client collector over the parts.

    Args:
        parts: What to read.
        health: Where `medic_health_status` comes from.
        version: Medic's.
        services_max: Services that `/metrics` lists.
    """

    def __init__(self, *, parts: Parts, health: Health, version: str, services_max: int) -> None:
        self._parts = parts
        self._health = health
        self._version = version
        self._services_max = services_max

    def describe(self) -> Iterator[Metric]:
        """The families without series: registering the collector reads no part."""
        for spec in catalogue.ALL:
            yield from _family(spec, {})

    def collect(self) -> Iterator[Metric]:
        """All families as they are now."""
        yield from self._services()
        yield from self._outbox()
        yield from self._requests()
        yield from self._actors()
        yield from self._alerting()
        yield from self._journal()
        yield from self._snapshot()
        yield from self._writer()
        yield from self._loop()
        yield from self._database()
        yield from self._cleanup()
        yield from self._redis()
        yield from self._leadership()
        yield from self._keys()
        yield from self._watched()
        yield from self._medic()

    def _services(self) -> Iterator[Metric]:
        directory = self._parts.directory()
        inactive = directory.by_status.get(Status.INACTIVE, 0)
        yield from _single(catalogue.REGISTERED_SERVICES, directory.services)
        yield from _single(catalogue.ACTIVE_SERVICES, directory.services - inactive)
        yield from _single(catalogue.SERVICES_MUTED, directory.muted)
        yield from _family(catalogue.SERVICES, {(status,): count for status, count in directory.by_status.items()})
        yield from _single(catalogue.ALERTS_ACTIVE, directory.alerts_active)
        yield from _single(catalogue.ALERTS_ACTIVE_MUTED, directory.alerts_active_muted)
        yield from _single(catalogue.ACTORS, directory.services)
        yield from _single(catalogue.METRICS_LEFT_OUT, max(0, directory.services - self._services_max))

    def _outbox(self) -> Iterator[Metric]:
        outbox = self._parts.outbox()
        yield from _by_word(catalogue.HEARTBEATS, {kind: outbox.heartbeats.get(kind, 0) for kind in HeartbeatStatus})
        yield from _by_word(catalogue.HEARTBEATS_DISCOUNTED, {why: outbox.discounted.get(why, 0) for why in Discount})
        yield from _family(catalogue.ALERTS, outbox.alerts_opened)
        yield from _single(catalogue.ALERTS_RESOLVED, outbox.alerts_closed)
        yield from _single(catalogue.FRESH_INTERVALS, outbox.fresh_intervals)
        yield from _single(catalogue.OUTBOX_PENDING, outbox.pending)
        yield from _single(catalogue.OUTBOX_RETRIES, outbox.journal_retries)

    def _requests(self) -> Iterator[Metric]:
        requests = self._parts.requests()
        yield from _histogram(catalogue.REQUEST_DURATION, requests.durations)
        yield from _family(
            catalogue.REQUESTS,
            {(method, route, str(status)): count for (method, route, status), count in requests.requests.items()},
        )
        yield from _by_word(catalogue.HEARTBEATS_REFUSED, requests.heartbeats_refused)
        yield from _by_word(catalogue.AUTH_FAILURES, requests.auth_failures)

    def _actors(self) -> Iterator[Metric]:
        host, supervisor = self._parts.host(), self._parts.supervisor()
        yield from _single(catalogue.ACTOR_TURNS, host.turns)
        yield from _single(catalogue.ACTOR_CRASHES, supervisor.crashes)
        yield from _single(catalogue.ACTOR_RESTARTS, supervisor.rebuilds)
        yield from _single(catalogue.ACTORS_REBUILDING, supervisor.waiting)
        yield from _single(catalogue.WHEEL_TIMERS, host.timers_armed)
        yield from _single(catalogue.WHEEL_FIRED, host.fired)
        yield from _single(catalogue.WHEEL_OVERDUE, host.overdue_seconds)
        lateness = Reading(LATENESS_BOUNDS_SECONDS, host.lateness_counts, host.lateness_seconds_total)
        yield from _histogram(catalogue.WHEEL_LATENESS, {(): lateness})

    def _alerting(self) -> Iterator[Metric]:
        alerting = self._parts.alerting()
        requests = {target.target: target.requests for target in alerting.targets}
        yield from _family(
            catalogue.PAGERDUTY_REQUESTS,
            {(count.action, count.status): count.count for count in requests.get(PAGERDUTY, ())},
        )
        slack: Counter[str] = Counter()
        for count in requests.get(SLACK, ()):
            slack[count.status] += count.count
        yield from _by_word(catalogue.SLACK_REQUESTS, slack)
        yield from _single(catalogue.ALERTS_UNTOLD, len(alerting.untold))
        yield from _single(catalogue.NOTIFICATIONS_UNSETTLED, alerting.unsettled)
        targets = {target.target: target for target in alerting.targets}
        yield from _by_word(catalogue.NOTIFICATIONS_PENDING, {name: each.pending for name, each in targets.items()})
        yield from _family(
            catalogue.NOTIFICATIONS,
            {(name, outcome): count for name, each in targets.items() for outcome, count in _settled(each)},
        )
        yield from _by_word(catalogue.NOTIFIER_RETRIES, {name: each.retries for name, each in targets.items()})
        yield from _by_word(
            catalogue.NOTIFIER_FAILING,
            {name: float(each.failing_since is not None) for name, each in targets.items()},
        )
        yield from _by_word(catalogue.NOTIFIER_CRASHES, {name: each.crashes for name, each in targets.items()})

    def _snapshot(self) -> Iterator[Metric]:
        snapshot = self._parts.snapshot()
        yield from _single(catalogue.SNAPSHOTS, snapshot.written)
        yield from _single(catalogue.SNAPSHOT_FAILURES, snapshot.failures)
        if snapshot.at is not None:
            yield from _single(catalogue.SNAPSHOT_TIME, snapshot.at / 1000)
        yield from _single(catalogue.SNAPSHOT_BYTES, snapshot.size)
        yield from _single(catalogue.SNAPSHOT_SERVICES, snapshot.services)
        yield from _single(catalogue.SNAPSHOT_SECONDS, snapshot.seconds)

    def _journal(self) -> Iterator[Metric]:
        journal = self._parts.journal()
        yield from _single(catalogue.JOURNAL_RECORDS, journal.records)
        yield from _single(catalogue.JOURNAL_BYTES, journal.bytes)
        yield from _single(catalogue.JOURNAL_BACKLOG, journal.pending_bytes)
        commits = Reading(COMMIT_BOUNDS_SECONDS, journal.commit_counts, journal.commit_seconds_total)
        yield from _histogram(catalogue.JOURNAL_COMMIT, {(): commits})
        yield from _single(catalogue.JOURNAL_REFUSING, float(journal.refusing is not None))
        yield from _single(catalogue.JOURNAL_FAILURES, journal.failures)
        yield from _single(catalogue.JOURNAL_DAMAGED, journal.damaged_bytes)
        yield from _single(catalogue.JOURNAL_SEGMENTS, journal.segments)
        yield from _single(catalogue.JOURNAL_HELD, journal.held_bytes)
        yield from _single(catalogue.JOURNAL_LIMIT, journal.bytes_max)
        yield from _single(catalogue.JOURNAL_RESERVED, journal.reserved_bytes)
        yield from _single(catalogue.JOURNAL_REFUSING_INTAKE, float(journal.refusing_intake is not None))
        yield from _single(catalogue.IDS_AHEAD, self._parts.ids_ahead())
        disk = self._parts.disk()
        if disk is not None:
            yield from _single(catalogue.DISK_SIZE, disk.size_bytes)
            yield from _single(catalogue.DISK_FREE, disk.free_bytes)

    def _writer(self) -> Iterator[Metric]:
        writer = self._parts.writer()
        yield from _single(catalogue.WRITER_BATCHES, writer.batches)
        yield from _single(catalogue.WRITER_ROWS, writer.rows)
        yield from _single(catalogue.WRITER_STATES, writer.states)
        yield from _single(catalogue.WRITER_STATES_DUE, writer.states_due)
        yield from _single(catalogue.WRITER_LAG, writer.lag_seconds)
        yield from _single(catalogue.WRITER_BACKLOG, writer.backlog_bytes)
        yield from _single(catalogue.WRITER_REJECTED, writer.rejected)
        yield from _single(catalogue.WRITER_SUPERSEDED, writer.superseded)
        yield from _single(catalogue.WRITER_FAILING, float(writer.failing is not None))

    def _loop(self) -> Iterator[Metric]:
        stall, sight = self._parts.stall(), self._parts.sight()
        yield from _histogram(catalogue.LOOP_STALL, {("other",): stall.other, ("gc",): stall.gc})
        yield from _single(catalogue.LOOP_STALL_LONGEST, stall.longest_seconds)
        generations = [str(generation) for generation in range(len(stall.collections))]
        yield from _by_word(catalogue.COLLECTIONS, dict(zip(generations, stall.collections, strict=True)))
        yield from _by_word(catalogue.COLLECTION_SECONDS, dict(zip(generations, stall.collection_seconds, strict=True)))
        yield from _single(catalogue.BLIND_SPANS, sight.spans)
        yield from _single(catalogue.BLIND_SECONDS, sight.seconds_total)

    def _database(self) -> Iterator[Metric]:
        database = self._parts.database()
        operations = {(operation,): reading for operation, reading in self._parts.operations().items()}
        yield from _histogram(catalogue.DATABASE_DURATION, operations)
        yield from _single(catalogue.DATABASE_ERRORS, database.connection_errors)
        idle = database.connections_open - database.connections_busy
        yield from _by_word(catalogue.DATABASE_CONNECTIONS, {"busy": database.connections_busy, "idle": idle})

    def _cleanup(self) -> Iterator[Metric]:
        cleanup = self._parts.cleanup()
        if cleanup.last_success_at is not None:
            yield from _single(catalogue.CLEANUP_SUCCESS, cleanup.last_success_at / 1000)
        yield from _single(catalogue.CLEANUP_FAILING, float(cleanup.failing is not None))
        yield from _single(catalogue.CLEANUP_FAILURES, cleanup.failures)
        if cleanup.seconds is not None:
            yield from _single(catalogue.CLEANUP_SECONDS, cleanup.seconds)

    def _redis(self) -> Iterator[Metric]:
        redis = self._parts.redis()
        if redis is not None:
            yield from _single(catalogue.REDIS_UP, float(redis.failing is None))
            yield from _single(catalogue.REDIS_FAILURES, redis.failures)
            yield from _single(catalogue.REDIS_REFUSED, redis.refused)
            yield from _single(catalogue.REDIS_CONNECTIONS, redis.connections)

    def _leadership(self) -> Iterator[Metric]:
        leadership = self._parts.leadership()
        yield from _single(catalogue.ACTIVE_TOKEN, leadership.token)
        yield from _single(catalogue.ACTIVE_LOCK_HELD, float(leadership.has_lock))
        yield from _single(catalogue.ACTIVE_LOCKS_LOST, leadership.locks_lost)

    def _keys(self) -> Iterator[Metric]:
        keys = self._parts.keys()
        yield from _single(catalogue.KEYS, keys.working)
        yield from _single(catalogue.KEYS_ENDING, keys.ending)

    def _watched(self) -> Iterator[Metric]:
        proven_at = self._health.proven_at()
        if proven_at is not None:
            yield from _single(catalogue.PROGRESS_PROVEN, proven_at / 1000)
        deadman = self._parts.deadman()
        if deadman is None:
            return
        calls = {SUCCESS: deadman.succeeded, FAILURE: deadman.failed, "withheld": deadman.withheld}
        yield from _by_word(catalogue.DEADMAN_CALLS, calls)
        if deadman.last_success_at is not None:
            yield from _single(catalogue.DEADMAN_LAST_SUCCESS, deadman.last_success_at / 1000)

    def _medic(self) -> Iterator[Metric]:
        components = self._health.report().components
        yield from _by_word(
            catalogue.HEALTH_STATUS,
            {name: HEALTH_VALUES[part.status] for name, part in components.items() if part.status in HEALTH_VALUES},
        )
        yield from _family(catalogue.BUILD, {(self._version, platform.python_version()): 1.0})


def _settled(target: TargetStatistics) -> tuple[tuple[str, int], ...]:
    return (
        (Outcome.DELIVERED, target.delivered),
        (Outcome.REFUSED, target.refused),
        (Outcome.GIVEN_UP, target.given_up),
        (Outcome.DROPPED, target.dropped),
        (Outcome.WITHHELD, target.withheld),
    )


def _single(spec: Spec, value: float) -> Iterator[Metric]:
    yield from _family(spec, {(): value})


def _by_word(spec: Spec, values: Mapping[str, float]) -> Iterator[Metric]:
    yield from _family(spec, {(word,): value for word, value in values.items()})


def _family(spec: Spec, values: Mapping[Labels, float]) -> Iterator[Metric]:
    family: CounterMetricFamily | GaugeMetricFamily
    if spec.kind == "counter":
        family = CounterMetricFamily(spec.name, spec.summary, labels=spec.labels)
    elif spec.kind == "gauge":
        family = GaugeMetricFamily(spec.name, spec.summary, labels=spec.labels)
    else:
        yield from _histogram(spec, {})
        return
    for labels, value in values.items():
        family.add_metric(labels, value)
    yield family


def _histogram(spec: Spec, readings: Mapping[Labels, Reading]) -> Iterator[Metric]:
    family = HistogramMetricFamily(spec.name, spec.summary, labels=spec.labels)
    for labels, reading in readings.items():
        family.add_metric(labels, buckets=reading.buckets(), sum_value=reading.total)
    yield family
