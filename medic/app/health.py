"""What Medic knows of itself: `/health`, `/health/live`, `/health/ready`.

All of it is read from memory, from the statistics of the parts; no probe waits for anything, so that a probe cannot
make an overload worse. The texts are for anybody who may ask: they name no host, path, user or exception.

Alive is a question about progress (HARD-CASES H28). A loop that stands still answers no probe at all, so what is left
to find is a loop that turns while the wheel, the committer or the outbox has work and does none of it. `run` looks once
a second and counts looks, not seconds: in a process that was stopped or suspended for an hour nothing made progress,
and nothing is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import trio

from medic.access.endings import TOLD_DAYS
from medic.alerting.deadman import FAILURES_TOLD, DeadmanStatistics
from medic.alerting.statistics import TargetStatistics
from medic.core.blind import BlindSpan
from medic.core.notification import PAGERDUTY, SLACK, WEBHOOK_PREFIX
from medic.core.units import HOUR_MS, InstantMs, isoformat
from medic.errors import JournalRefusedError
from medic.metrics.parts import Parts
from medic.ports import Clock, ComponentHealth, HealthReport

HEALTHY: Final = "healthy"
DEGRADED: Final = "degraded"
UNHEALTHY: Final = "unhealthy"
CONFIGURED: Final = "configured"
NOT_CONFIGURED: Final = "not_configured"

LOOK_EVERY_SECONDS: Final = 1.0
STALLED_LOOKS: Final = 10
"""Looks in a row at a part that has work and does none: ten seconds, as HARD-CASES H28 has it."""

OVERDUE_SECONDS: Final = 1.0
"""A deadline undecided for less than this is a burst being worked off, not work left lying."""

BEHIND_SECONDS: Final = 60
"""The writer is degraded from here on: history that is a minute old is no longer what people expect to see."""

BLIND_SHOWN_MS: Final = HOUR_MS
"""How long after a span of blindness `/health` is degraded because of it."""

Facts = tuple[tuple[str, str | int | float | bool], ...]


@dataclass(frozen=True, slots=True)
class _Finding:
    """One component as it is now. `since` where the part itself knows it."""

    status: str
    facts: Facts = ()
    since: InstantMs | None = None


class _Progress:
    """Counts looks at a part that had work and did none of it."""

    def __init__(self) -> None:
        self._mark: tuple[int, ...] = ()
        self._looks = 0

    @property
    def is_stalled(self) -> bool:
        return self._looks >= STALLED_LOOKS

    def look(self, mark: tuple[int, ...], *, has_work: bool) -> None:
        """Take what the part has done so far: numbers of which one grows whenever it does anything."""
        self._looks = self._looks + 1 if has_work and mark == self._mark else 0
        self._mark = mark


class SystemHealth:
    """Implements `ports.Health` from the statistics of the parts.

    Args:
        parts: What to read.
        clock: Where instants come from.
        version: Medic's.
        database: `embedded` or `external`.
        journal_sync: `always` or `interval`.
        require_intake: `Journal.require_intake`: whether a heartbeat would be taken now.
        proven_at: When work was last seen to go through journal, wheel and outbox.
    """

    def __init__(
        self,
        *,
        parts: Parts,
        clock: Clock,
        version: str,
        database: str,
        journal_sync: str,
        require_intake: Callable[[], None],
        proven_at: Callable[[], InstantMs | None],
    ) -> None:
        self._parts = parts
        self._clock = clock
        self._version = version
        self._database_kind = database
        self._journal_sync = journal_sync
        self._require_intake = require_intake
        self._proven_at = proven_at
        self._since: dict[str, tuple[str, InstantMs]] = {}
        self._wheel_progress = _Progress()
        self._journal_progress = _Progress()
        self._outbox_progress = _Progress()
        self._writer_progress = _Progress()
        self._leaving = ""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the parts until cancelled: whether they make progress, and since when each is as it is."""
        task_status.started()
        while True:
            self._follow()
            self.report()
            await trio.sleep(LOOK_EVERY_SECONDS)

    def leave(self, why: str) -> None:
        """From now on Medic is not ready: it stops, and whoever routes requests should look elsewhere."""
        self._leaving = why

    def alive(self) -> str | None:
        """None while deadlines are decided, records committed and notifications handed on; else what has stalled."""
        stalled = [
            name
            for name, progress in (
                ("wheel", self._wheel_progress),
                ("journal", self._journal_progress),
                ("outbox", self._outbox_progress),
            )
            if progress.is_stalled
        ]
        return f"no progress for {STALLED_LOOKS} s: {', '.join(stalled)}" if stalled else None

    def ready(self) -> str | None:
        """None while heartbeats can be taken in durably, PostgreSQL down or not; else why not."""
        if self._leaving:
            return self._leaving
        try:
            self._require_intake()
        except JournalRefusedError as refused:
            return refused.message
        return None if self._parts.ids_ahead() else "The ids kept ahead are used up, and PostgreSQL gives no new ones."

    def proven_at(self) -> InstantMs | None:
        """When work was last seen to go through journal, wheel and outbox; None: not yet."""
        return self._proven_at()

    def report(self) -> HealthReport:
        """All components, and the worst of them."""
        at = self._clock.now()
        components = {name: self._component(name, finding, at) for name, finding in self._findings(at).items()}
        statuses = {component.status for component in components.values()}
        status = UNHEALTHY if UNHEALTHY in statuses else DEGRADED if DEGRADED in statuses else HEALTHY
        return HealthReport(status=status, at=at, version=self._version, components=components)

    def _component(self, name: str, finding: _Finding, at: InstantMs) -> ComponentHealth:
        status, since = self._since.get(name, ("", at))
        if status != finding.status:
            since = at
            self._since[name] = (finding.status, at)
        return ComponentHealth(finding.status, finding.since if finding.since is not None else since, finding.facts)

    def _follow(self) -> None:
        host, journal = self._parts.host(), self._parts.journal()
        outbox, writer = self._parts.outbox(), self._parts.writer()
        is_overdue = host.overdue_seconds >= OVERDUE_SECONDS and journal.refusing is None
        self._wheel_progress.look((host.slices,), has_work=is_overdue)
        committed = (journal.durable, journal.commits, journal.failures)
        self._journal_progress.look(committed, has_work=journal.newest > journal.durable)
        written = (writer.committed, writer.batches, writer.states)
        self._writer_progress.look(written, has_work=writer.backlog_bytes > 0 or writer.failing is not None)
        self._outbox_progress.look((outbox.handed_on, outbox.journal_retries), has_work=outbox.pending > 0)

    # --------------------------------------------------------------------------------------------------- components

    def _findings(self, at: InstantMs) -> dict[str, _Finding]:
        targets = {target.target: target for target in self._parts.alerting().targets}
        webhooks = [target for name, target in targets.items() if name.startswith(WEBHOOK_PREFIX)]
        found = {
            "database": self._database(),
            "leadership": self._leadership(),
            "redis": self._redis(),
            "journal": self._journal(),
            "writer": self._writer(),
            "wheel": self._wheel(),
            "actors": self._actors(),
            "pagerduty": _notifier(targets.get(PAGERDUTY)),
            "slack": _notifier(targets.get(SLACK)),
            "alerts": self._alerts(),
            "sight": self._sight(at),
            "keys": self._keys(),
            "cleanup": self._cleanup(),
        }
        if webhooks:
            found["webhooks"] = _webhooks(webhooks)
        deadman = self._parts.deadman()
        if deadman is not None:
            found["deadman"] = _deadman(deadman)
        return found

    def _database(self) -> _Finding:
        facts: Facts = (("kind", self._database_kind),)
        reachable = self._parts.database().reachable
        if reachable:
            return _Finding(HEALTHY, facts)
        reason = "PostgreSQL does not answer" if reachable is False else "PostgreSQL has not been asked yet"
        return _Finding(UNHEALTHY, (*facts, ("reason", reason)))

    def _redis(self) -> _Finding:
        redis = self._parts.redis()
        if redis is None:
            return _Finding(NOT_CONFIGURED)
        if redis.failing is not None:
            return _Finding(DEGRADED, (("reason", f"limits are counted in this process: {redis.failing}"),))
        if redis.refusing is not None:
            return _Finding(DEGRADED, (("reason", f"some limits are counted in this process: {redis.refusing}"),))
        return _Finding(HEALTHY)

    def _leadership(self) -> _Finding:
        leadership = self._parts.leadership()
        facts: Facts = (("role", "active"), ("token", leadership.token), ("active_since", isoformat(leadership.since)))
        if leadership.has_lock:
            return _Finding(HEALTHY, facts)
        reason = "its lock in PostgreSQL is lost: another Medic may take over"
        return _Finding(DEGRADED, (*facts, ("reason", reason)))

    def _journal(self) -> _Finding:
        journal = self._parts.journal()
        facts: Facts = (("sync", self._journal_sync), ("backlog_bytes", journal.pending_bytes))
        snapshot = self._parts.snapshot()
        facts = (*facts, ("segments", journal.segments), ("held_bytes", journal.held_bytes))
        facts = (*facts, ("limit_bytes", journal.bytes_max), ("reserved_bytes", journal.reserved_bytes))
        if snapshot.at is not None:
            age = max(0, self._clock.now() - snapshot.at) // 1000
            facts = (*facts, ("snapshot_age_seconds", age), ("snapshot_bytes", snapshot.size))
        if journal.damaged_bytes:
            facts = (*facts, ("damaged_bytes", journal.damaged_bytes))
        if journal.refusing is None and journal.refusing_intake is not None:
            return _Finding(UNHEALTHY, (*facts, ("reason", f"no heartbeats are taken: {journal.refusing_intake}")))
        if journal.refusing is not None:
            return _Finding(UNHEALTHY, (*facts, ("reason", journal.refusing)))
        if journal.damaged_bytes and not self._journal_progress.is_stalled:
            return _Finding(DEGRADED, (*facts, ("reason", "it was damaged; the records that were hit are lost")))
        if self._journal_progress.is_stalled:
            return _Finding(UNHEALTHY, (*facts, ("reason", "records are not being committed")))
        return _Finding(HEALTHY, facts)

    def _writer(self) -> _Finding:
        writer = self._parts.writer()
        facts: Facts = (("lag_seconds", round(writer.lag_seconds, 3)), ("backlog_bytes", writer.backlog_bytes))
        if writer.rejected:
            facts = (*facts, ("rejected", writer.rejected))
        # The writer's own words are for the log: they may quote PostgreSQL, or name a file.
        if self._writer_progress.is_stalled:
            return _Finding(UNHEALTHY, (*facts, ("reason", "records are not reaching PostgreSQL")))
        if writer.lag_seconds >= BEHIND_SECONDS:
            return _Finding(DEGRADED, (*facts, ("reason", f"more than {BEHIND_SECONDS} s behind")))
        return _Finding(HEALTHY, facts)

    def _wheel(self) -> _Finding:
        host = self._parts.host()
        facts: Facts = (("timers_armed", host.timers_armed), ("overdue_seconds", round(host.overdue_seconds, 3)))
        if self._wheel_progress.is_stalled:
            return _Finding(UNHEALTHY, (*facts, ("reason", "deadlines are due and are not being decided")))
        return _Finding(HEALTHY, facts)

    def _actors(self) -> _Finding:
        supervisor = self._parts.supervisor()
        facts: Facts = (("rebuilding", supervisor.waiting), ("crashes", supervisor.crashes))
        return _Finding(DEGRADED if supervisor.waiting else HEALTHY, facts)

    def _alerts(self) -> _Finding:
        alerting = self._parts.alerting()
        if alerting.withholds:
            reason = "MEDIC_NOTIFY is off: nobody is told"
            return _Finding(DEGRADED, (("untold", 0), ("withheld", alerting.withheld), ("reason", reason)))
        if not alerting.untold:
            return _Finding(HEALTHY, (("untold", 0),))
        facts: Facts = (("untold", len(alerting.untold)),)
        reasons = [f"{target.target}: {target.last_error}" for target in alerting.targets if target.last_error]
        nobody = "no notifier took them" if alerting.targets else "no notifier is configured"
        return _Finding(DEGRADED, (*facts, ("reason", "; ".join(reasons) or nobody)))

    def _keys(self) -> _Finding:
        keys = self._parts.keys()
        facts: Facts = (("working", keys.working),)
        if not keys.ending:
            return _Finding(HEALTHY, facts)
        reason = f"a key is about to expire: {keys.ending} within {max(TOLD_DAYS)} days"
        return _Finding(DEGRADED, (*facts, ("ending", keys.ending), ("reason", reason)))

    def _cleanup(self) -> _Finding:
        cleanup = self._parts.cleanup()
        last, following = cleanup.last_success_at, cleanup.next_at
        facts: Facts = () if last is None else (("last_success_at", isoformat(last)),)
        facts = facts if following is None else (*facts, ("next_at", isoformat(following)))
        if cleanup.failing is None:
            return _Finding(HEALTHY, facts)
        return _Finding(DEGRADED, (*facts, ("reason", "what is old was not all removed; the log says what stays")))

    def _sight(self, at: InstantMs) -> _Finding:
        spans = self._clock.blind.spans
        if not spans or at - spans[-1].ended_at >= BLIND_SHOWN_MS:
            return _Finding(HEALTHY)
        return _Finding(DEGRADED, self._blind_facts(spans[-1]), since=spans[-1].ended_at)

    def _blind_facts(self, span: BlindSpan) -> Facts:
        facts: Facts = (
            ("blind_from", isoformat(span.begun_at)),
            ("blind_to", isoformat(span.ended_at)),
            ("cause", span.cause),
        )
        newest = self._parts.sight().newest
        if newest is None or newest.span != span:
            return facts
        return (*facts, ("deadlines_moved", newest.moved), ("fresh_intervals", newest.fresh_intervals))


def _notifier(target: TargetStatistics | None) -> _Finding:
    if target is None:
        return _Finding(NOT_CONFIGURED)
    facts: Facts = (("pending", target.pending),)
    if target.failing_since is None:
        return _Finding(CONFIGURED, facts)
    return _Finding(DEGRADED, (*facts, ("reason", target.last_error)), since=target.failing_since)


def _deadman(deadman: DeadmanStatistics) -> _Finding:
    facts: Facts = (("withheld", deadman.withheld),)
    if deadman.last_success_at is not None:
        facts = (*facts, ("last_call", isoformat(deadman.last_success_at)))
    if deadman.stuck is not None:
        return _Finding(DEGRADED, (*facts, ("reason", f"not called while no progress is made: {deadman.stuck}")))
    if deadman.failures < FAILURES_TOLD:
        return _Finding(CONFIGURED, facts)
    reason = f"{deadman.failures} calls in a row failed: {deadman.last_error}"
    return _Finding(DEGRADED, (*facts, ("reason", reason)), since=deadman.failing_since)


def _webhooks(targets: list[TargetStatistics]) -> _Finding:
    failing = [target for target in targets if target.failing_since is not None]
    facts: Facts = (("configured", len(targets)), ("failing", len(failing)))
    if not failing:
        return _Finding(CONFIGURED, facts)
    reasons = "; ".join(f"{target.target}: {target.last_error}" for target in failing)
    since = min(target.failing_since for target in failing if target.failing_since is not None)
    return _Finding(DEGRADED, (*facts, ("reason", reasons)), since=since)
