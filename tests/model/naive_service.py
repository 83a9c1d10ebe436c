"""The rules of CONTRACT 2 written down a second time, as simply as can be: keep everything, go through all of it again.

Nothing here is fast, bounded or shared with `medic.core` but the words for inputs. All signs of life are kept and
counted, all alerts, all that was told; `recompute` begins with the registration and takes every event in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from medic.core.blind import BlindSpan
from medic.core.events import (
    AcknowledgeRequested,
    DeadlineExpired,
    Event,
    HeartbeatReceived,
    MuteRequested,
    ResolveRequested,
    ServiceChanged,
    ServiceDeleted,
    TestRequested,
    UnmuteRequested,
)
from medic.core.policy import Defaults
from medic.core.service import ServiceRow

HOUR = 3_600_000


@dataclass
class NaiveAlert:
    alert_id: int
    reason: str
    opened_at: int
    opened_sighted: int
    priority: str
    reported: bool
    flapping: bool
    told_as: list[str] = field(default_factory=list)
    acknowledged: bool = False
    well_since: int | None = None
    reminded_until: int = 0
    closed: str | None = None


class Sign(NamedTuple):
    """A sign of life, and the heartbeat that it was where more than one is asked for."""

    at: int
    event: HeartbeatReceived | None = None


def is_same(one: HeartbeatReceived, other: HeartbeatReceived) -> bool:
    """Whether both are one heartbeat that was sent twice: the same run and status, or without a run the same key."""
    if one.run_id is None and other.run_id is None:
        return one.key is not None and one.key == other.key
    said_same = one.kind == other.kind and (one.kind != "OTHER" or one.status == other.status)
    return one.run_id == other.run_id and said_same


class NaiveService:
    """What is known of a service after some events, each of them taken in the most obvious way."""

    def __init__(self, row: ServiceRow, defaults: Defaults, sighted: int) -> None:
        self.row = row
        self.defaults = defaults
        self.registered = sighted
        self.signs: list[Sign] = [Sign(sighted)] * row.threshold
        self.heartbeats: list[HeartbeatReceived] = []
        self.discounted: list[HeartbeatReceived] = []
        self.gaps: list[int] = []
        self.said: str | None = None
        self.status = "new" if row.active else "inactive"
        self.alerts: list[NaiveAlert] = []
        self.told: list[tuple[str, int | None, str]] = []
        self.mute: tuple[int | None] | None = None
        self.excused = False
        self.deleted = False
        self.spans: Sequence[BlindSpan] = ()

    @classmethod
    def recompute(cls, row: ServiceRow, defaults: Defaults, sighted: int, events: Sequence[Event]) -> NaiveService:
        service = cls(row, defaults, sighted)
        for event in sorted(events, key=lambda event: event.sighted):
            service.take(event)
        return service

    # ---------------------------------------------------------------------------------------------------- questions

    @property
    def alert(self) -> NaiveAlert | None:
        open_alerts = [alert for alert in self.alerts if alert.closed is None]
        assert len(open_alerts) <= 1
        return open_alerts[0] if open_alerts else None

    @property
    def renotify(self) -> int:
        return self.defaults.renotify_ms if self.row.renotify_ms is None else self.row.renotify_ms

    def signs_after(self, instant: int) -> int:
        return sum(1 for sign in self.signs if sign.at > instant)

    def late_at(self) -> int | None:
        """The first instant at which fewer than `threshold` signs lie within interval and grace."""
        if self.status == "inactive" or (self.alert is not None and self.alert.well_since is None):
            return None
        patience = self.row.interval_ms + self.row.grace_ms
        late = min(
            instant
            for instant in (sign.at + patience for sign in self.signs)
            if self.signs_after(instant - patience) < self.row.threshold
        )
        if not self.heartbeats:
            late = max(late, self.registered + self.defaults.first_heartbeat_ms)
        return late

    def recovered_at(self) -> int | None:
        alert = self.alert
        if alert is None or alert.well_since is None:
            return None
        wait = self.row.recovery_ms
        if alert.flapping:
            wait = max(3 * self.row.interval_ms, 600_000, wait)
        recovered, late = alert.well_since + wait, self.late_at()
        return recovered if late is None or recovered <= late else None

    def remind_at(self) -> int | None:
        alert = self.alert
        if alert is None or self.status == "inactive" or self.mute is not None or not self.renotify:
            return None
        if not alert.told_as or alert.flapping or alert.acknowledged:
            return None
        number = 1
        while alert.opened_at + number * self.renotify <= alert.reminded_until:
            number += 1
        return alert.opened_at + number * self.renotify

    def unmute_at(self) -> int | None:
        return None if self.mute is None else self.mute[0]

    def next_instant(self, skew: int) -> int | None:
        walls = [self.remind_at(), self.unmute_at()]
        sighteds = [self.late_at(), self.recovered_at()]
        return min(
            [wall - skew for wall in walls if wall is not None] + [seen for seen in sighteds if seen is not None],
            default=None,
        )

    # ------------------------------------------------------------------------------------------------------- events

    def take(self, event: Event) -> None:
        if isinstance(event, HeartbeatReceived):
            self.heartbeat(event)
        elif isinstance(event, DeadlineExpired):
            self.spans = event.blind.spans
            self.expire(event)
        elif isinstance(event, ServiceChanged):
            self.change(event)
        elif isinstance(event, ServiceDeleted):
            if self.alert is not None:
                self.close(event, "deleted")
            self.deleted = True
        elif isinstance(event, MuteRequested):
            self.mute = (event.until,)
        elif isinstance(event, UnmuteRequested):
            if self.mute is not None:
                self.unmute(event)
        elif isinstance(event, AcknowledgeRequested):
            if self.alert is not None and not self.alert.acknowledged:
                self.alert.acknowledged = True
                if self.alert.told_as:
                    self.tell("acknowledge", self.alert)
        elif isinstance(event, ResolveRequested):
            if self.alert is not None:
                self.signs += [Sign(event.sighted)] * self.row.threshold
                self.status = "up" if self.heartbeats else "new"
                self.close(event, "by_hand")
        elif isinstance(event, TestRequested):
            self.told += [("test", None, self.row.priority), ("resolve", None, self.row.priority)]

    def heartbeat(self, event: HeartbeatReceived) -> None:
        if self.status == "inactive":
            return
        if self.says_nothing_of_now(event) or self.was_said_before(event):
            self.discounted.append(event)
            return
        if self.heartbeats and self.alert is None and not self.excused:
            before = self.heartbeats[-1]
            ran = before.kind == "STARTED" and event.kind in {"COMPLETED", "FAILED"}
            if not ran:
                self.gaps.append(max(0, event.at - before.at))
        self.heartbeats.append(event)
        if event.kind in {"DOWN", "FAILED"}:
            self.said = event.kind
            self.signs = []
            self.report(event)
            return
        is_started = event.kind == "STARTED"
        if not is_started:
            self.said = event.kind
        if not (is_started and self.alert is not None and self.alert.reported):
            self.signs.append(Sign(event.sighted, None if self.row.threshold == 1 else event))
            self.excused = False
        if len(self.heartbeats) == 1 and self.alert is None and self.late_at() <= event.sighted:
            self.signs += [Sign(event.sighted)] * self.row.threshold
        before_status = self.status
        if self.alert is None:
            if not (is_started and self.status in {"up", "degraded"}):
                self.status = self.living()
        else:
            self.look_whether_well(event, "recovered")
        self.tell_degraded(before_status)

    def says_nothing_of_now(self, event: HeartbeatReceived) -> bool:
        return event.said_at is not None and event.at > event.said_at + self.row.interval_ms + self.row.grace_ms

    def was_said_before(self, event: HeartbeatReceived) -> bool:
        """Whether one of the newest `threshold` signs, no older than the interval, was this very heartbeat."""
        if event.kind in {"DOWN", "FAILED"}:
            return False
        return any(
            sign.event is not None and sign.at > event.sighted - self.row.interval_ms and is_same(sign.event, event)
            for sign in self.newest_signs()
        )

    def newest_signs(self) -> list[Sign]:
        return sorted(self.signs, key=lambda sign: sign.at)[-self.row.threshold :]

    def report(self, event: HeartbeatReceived) -> None:
        alert = self.alert
        if alert is None:
            self.open(event, f"reported_{event.kind.lower()}", reported=True)
        else:
            alert.reported, alert.well_since, self.status = True, None, "down"

    def living(self) -> str:
        if not self.heartbeats:
            return "new"
        return "degraded" if self.said == "DEGRADED" else "up"

    def look_whether_well(self, event: Event, reason: str) -> None:
        alert = self.alert
        assert alert is not None
        if self.signs_after(event.sighted - self.row.interval_ms) < self.row.threshold:
            return
        if self.row.recovery_ms == 0 and not alert.flapping:
            self.status = self.living()
            self.close(event, reason)
        elif alert.well_since is None:
            alert.well_since = event.sighted

    def expire(self, event: DeadlineExpired) -> None:
        for _ in range(100):
            late, recovered = self.late_at(), self.recovered_at()
            unmute, remind = self.unmute_at(), self.remind_at()
            alert = self.alert
            before = self.status
            if alert is not None and recovered is not None and recovered <= event.sighted:
                self.status = self.living()
                self.close(event, "recovered")
                self.tell_degraded(before)
            elif unmute is not None and unmute <= event.at:
                self.unmute(event)
            elif late is not None and late <= event.sighted:
                self.silence(event)
            elif alert is not None and remind is not None and remind <= event.at:
                alert.reminded_until = max(event.at, alert.opened_at)
                self.tell("reminder", alert)
            else:
                return
        raise AssertionError("the naive service never rests")

    def silence(self, event: DeadlineExpired) -> None:
        if self.alert is not None:
            self.alert.well_since = None
            return
        span = self.lost_in()
        if span is not None and span.sighted + self.row.interval_ms + self.row.grace_ms > event.sighted:
            self.excused = True
            self.signs += [Sign(span.sighted)] * self.row.threshold
            return
        self.open(event, "late" if self.heartbeats else "never_heard", reported=False)

    def lost_in(self) -> BlindSpan | None:
        if not self.heartbeats or self.excused:
            return None
        last = self.heartbeats[-1].at
        expected = last + ((self.gaps[-1] if self.gaps else 0) or self.row.interval_ms)
        earliest, latest = max(last, expected - self.row.grace_ms), expected + self.row.grace_ms
        met = [span for span in self.spans if not (span.ended_at < earliest or span.begun_at > latest)]
        return met[-1] if met else None

    def change(self, event: ServiceChanged) -> None:
        old, new = self.row, event.row
        if new.version <= old.version:
            return
        promises = [(row.interval_ms, row.grace_ms, row.threshold) for row in (old, new)]
        is_changed = promises[0] != promises[1]
        renotify_before = self.renotify
        self.signs = self.newest_signs()
        if new.threshold == 1:
            self.signs = [Sign(sign.at) for sign in self.signs]
        self.row = new
        alert = self.alert
        if new.active and not old.active:
            self.signs += [Sign(event.sighted)] * new.threshold
            self.status = "up" if self.heartbeats else "new"
        elif not new.active:
            if alert is not None:
                self.status = "inactive"
                self.close(event, "deactivated")
            self.status = "inactive"
        else:
            if is_changed and not (alert is not None and alert.reported and alert.well_since is None):
                self.signs += [Sign(event.sighted)] * new.threshold
            if is_changed and alert is not None and not alert.reported:
                before = self.status
                self.look_whether_well(event, "policy_changed")
                self.tell_degraded(before, old.priority)
            if self.alert is not None:
                if self.renotify != renotify_before:
                    self.alert.reminded_until = max(event.at, self.alert.opened_at)
                self.escalate(self.alert)

    def escalate(self, alert: NaiveAlert) -> None:
        is_told = alert.told_as and self.mute is None and not alert.flapping
        if is_told and int(self.row.priority[1]) < min(int(priority[1]) for priority in alert.told_as):
            alert.told_as.append(self.row.priority)
            self.tell("escalation", alert)

    def unmute(self, event: Event) -> None:
        self.mute = None
        alert = self.alert
        self.told.append(("mute_ended", None, self.row.priority))
        if alert is not None and not (alert.flapping and alert.told_as):
            alert.reminded_until = max(event.at, alert.opened_at)
            alert.told_as += [alert.priority, self.row.priority]
            self.tell("trigger", alert)

    # ------------------------------------------------------------------------------------------------------- alerts

    def open(self, event: HeartbeatReceived | DeadlineExpired, reason: str, *, reported: bool) -> None:
        recent = [alert for alert in self.alerts if alert.opened_sighted > event.sighted - HOUR]
        alert = NaiveAlert(
            alert_id=event.event_id,
            reason=reason,
            opened_at=event.at,
            opened_sighted=event.sighted,
            priority=self.row.priority,
            reported=reported,
            flapping=self.defaults.flap_openings > 0 and len(recent) + 1 > self.defaults.flap_openings,
            reminded_until=event.at,
        )
        self.alerts.append(alert)
        self.status = "down" if reported else "late"
        if self.mute is None:
            alert.told_as.append(alert.priority)
            self.tell("trigger", alert)

    def close(self, event: Event, reason: str) -> None:
        alert = self.alert
        assert alert is not None
        alert.closed = reason
        if alert.told_as:
            self.tell("resolve", alert)

    def tell(self, kind: str, alert: NaiveAlert) -> None:
        self.told.append((kind, alert.alert_id, min(alert.told_as)))

    def tell_degraded(self, before: str, priority: str | None = None) -> None:
        if self.mute is not None:
            return
        if self.status == "degraded" != before:
            self.told.append(("degraded", None, priority or self.row.priority))
        elif before == "degraded" and self.status == "up":
            self.told.append(("degraded_over", None, self.row.priority))
