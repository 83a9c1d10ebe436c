"""The instants a service waits for, and which of them have come.

An actor has one timer (HARD-CASES H6): the earliest of all its instants, `next_deadline`, asked anew after every step.
When it fires, `due_now` says what has come, with the same instants, so that the two cannot disagree: something is due
exactly when `next_deadline` has passed. Nothing here decides what to do about it; that is `medic.core.step`.

Late deadlines and recoveries live in sighted time; ends of mutes and reminders in wall time, because people named them.
"""

from __future__ import annotations

from enum import StrEnum

from medic.core.blind import BlindSpan
from medic.core.policy import Policy
from medic.core.ring import NO_SIGN
from medic.core.service import NEVER, Alert, Service
from medic.core.status import Status
from medic.core.units import DurationMs, InstantMs, SightedMs, SkewMs
from medic.core.value import value

_INACTIVE = Status.INACTIVE


class Cause(StrEnum):
    """What a service can wait for, in the order in which causes that are due together are taken."""

    UNTOLD = "untold"
    """An alert that is not muted and has no trigger: only a journal torn within a turn leaves one. Due at once."""
    RECOVERY = "recovery"
    """The service was well for as long as its alert has to wait."""
    MUTE_END = "mute_end"
    LATE = "late"
    """Too few signs of life; while an alert waits for recovery: unwell again."""
    REMINDER = "reminder"


_LATE = Cause.LATE


@value(frozen=True, slots=True)
class Wait:
    """One instant a service waits for, in sighted time, and why."""

    instant: SightedMs
    cause: Cause


def late_deadline(service: Service) -> SightedMs | None:
    """The instant at which silence will mean late: the k-th newest sign of life + interval + grace.

    None where nothing can become late: the service is inactive, or an alert is open already and the service not well.
    Never heard of, it has at least `Defaults.first_heartbeat_ms` from its registration.
    """
    alert = service.alert
    if service.status is _INACTIVE or (alert is not None and alert.well_since is None):
        return None
    ring = service.ring
    sign = service.last_sign if ring is None else ring[0]
    if sign == NO_SIGN:
        # A report cleared the signs and its alert is not there: only a journal torn within a turn leaves that.
        return service.registered
    policy = service.policy
    deadline = sign + policy.interval_ms + policy.grace_ms
    if service.last_heartbeat_at == NEVER:
        deadline = max(deadline, service.registered + policy.defaults.first_heartbeat_ms)
    return SightedMs(deadline)


def recovery_instant(service: Service) -> SightedMs | None:
    """The instant at which the open alert closes if the service stays well, or None if it is not waiting for that."""
    alert = service.alert
    if alert is None or alert.well_since is None:
        return None
    return SightedMs(alert.well_since + well_wait_ms(alert, service.policy))


def well_wait_ms(alert: Alert, policy: Policy) -> DurationMs:
    """How long a service with that promise has to be well before the alert closes."""
    return policy.flap_well_ms if alert.flapping else policy.recovery_ms


def mute_end(service: Service) -> InstantMs | None:
    """Wall time at which the mute ends by itself, or None."""
    return None if service.mute is None else service.mute.until


def reminder_instant(service: Service) -> InstantMs | None:
    """Wall time of the next reminder. None: nothing told, muted, acknowledged, flapping, or none wanted."""
    alert = service.alert
    renotify = service.policy.renotify_ms
    if alert is None or renotify == 0 or service.rare.mute is not None:
        return None
    if not alert.told or alert.flapping or alert.acknowledged_at is not None:
        return None
    return InstantMs(alert.opened_at + (alert.reminded_ms // renotify + 1) * renotify)


def owes_trigger(service: Service) -> bool:
    """Whether the open alert is to be told and no notification of it was ever decided."""
    alert = service.alert
    return alert is not None and alert.notifications == 0 and service.mute is None


def waits(service: Service, skew: SkewMs) -> tuple[Wait, ...]:
    """Everything the service waits for, in the order of `Cause`.

    A recovery is waited for only if the signs of life last until then: a service that is silent again before it was
    well for long enough does not recover, however late the timer fires.
    """
    alert = service.alert
    found: list[Wait] = []
    if alert is not None and owes_trigger(service):
        found.append(Wait(alert.opened_sighted, Cause.UNTOLD))
    late, recovery = late_deadline(service), recovery_instant(service)
    if recovery is not None and (late is None or recovery <= late):
        found.append(Wait(recovery, Cause.RECOVERY))
    until = mute_end(service)
    if until is not None:
        found.append(Wait(SightedMs(until - skew), Cause.MUTE_END))
    if late is not None:
        found.append(Wait(late, Cause.LATE))
    reminder = reminder_instant(service)
    if reminder is not None:
        found.append(Wait(SightedMs(reminder - skew), Cause.REMINDER))
    return tuple(found)


def next_deadline(service: Service, skew: SkewMs) -> SightedMs | None:
    """The earliest instant the service waits for, or None. Called after every step: some 0.3 µs while all is well.

    It is the earliest of `waits`, worked out without them for the two states that nearly all services are in.

    Args:
        service: The service.
        skew: Wall time minus sighted time now; converts the instants that people named.
    """
    if service.rare.mute is None:
        alert = service.alert
        if alert is None:
            return late_deadline(service)
        if alert.well_since is None and alert.notifications:
            # It was told and is not getting well: a reminder is all that can come.
            reminder = reminder_instant(service)
            return None if reminder is None else SightedMs(reminder - skew)
    return min((wait.instant for wait in waits(service, skew)), default=None)


def due_now(service: Service, at: InstantMs, sighted: SightedMs) -> Wait | None:
    """The first wait, in the order of `Cause`, whose instant has come; None while all of them lie ahead."""
    skew = SkewMs(at - sighted)
    next_instant = next_deadline(service, skew)
    if next_instant is None or next_instant > sighted:
        return None
    if service.alert is None and service.rare.mute is None:
        return Wait(next_instant, _LATE)  # it waits for nothing else
    return next((wait for wait in waits(service, skew) if wait.instant <= sighted), None)


def has_wall_timer(service: Service) -> bool:
    """Whether the service waits for an instant of wall time, so that a step of that clock has to arm it anew."""
    mute = service.rare.mute
    return (mute is not None and mute.until is not None) or reminder_instant(service) is not None


def missed_intervals(service: Service, sighted: SightedMs) -> int:
    """`alert_cycle`: intervals missed so far, 1 from the opening of the alert on; 0 while none is open."""
    alert = service.alert
    if alert is None:
        return 0
    return 1 + max(0, sighted - alert.opened_sighted) // service.policy.interval_ms


def expected_within(service: Service) -> tuple[InstantMs, InstantMs] | None:
    """Earliest and latest wall time at which the next heartbeat was to be expected; None if none ever came.

    The newest heartbeat + the last observed gap (the promised interval while there was no gap), give or take the grace,
    but never before that newest heartbeat.
    """
    if not service.heard:
        return None
    newest, grace = service.last_heartbeat_at, service.policy.grace_ms
    expected = newest + (service.gap_ms or service.policy.interval_ms)
    return InstantMs(max(newest, expected - grace)), InstantMs(expected + grace)


def was_due_in(service: Service, span: BlindSpan) -> bool:
    """Whether the service's next heartbeat was due within the span, so that it may have been sent and lost.

    Where this silence has not had its one fresh interval yet, the service gets one when its deadline comes.
    """
    if service.alert is not None or service.fresh_interval_given or service.status is _INACTIVE:
        return False
    window = expected_within(service)
    return window is not None and span.begun_at <= window[1] and span.ended_at >= window[0]
