"""The service machine: what an event means for one service, decided in plain code.

`step(service, event)` returns the effects of the event and has already folded each of them into `service`; the caller
only carries them out. It asks nobody anything: every event brings its instant on both time lines, so the same events
give the same effects, in a test, in a replay and in production.

The rules are those of CONTRACT 2. What they come down to here:

* Signs of life. UP, DEGRADED, COMPLETED, STARTED and words without a meaning are signs. DOWN and FAILED are none and
  clear those before; while such a report stands, STARTED is none either, so that a job that failed and is started again
  is not taken for well. Only the k newest signs are ever asked for, so only they are kept.
* Not every heartbeat counts. What was sent long ago, and what was sent twice where several signs are asked for, is
  stored and counted, and is nothing else: `medic.core.discount` says which.
* One alert. Silence opens one, a report opens one; whatever comes while it is open amends it. So a step opens at most
  one alert, and only a `DeadlineExpired` or a failure report does: its event id becomes the alert's.
* An alert closes when the k-th newest sign lies within the last interval, and then either at once or after a wait
  (`recovery_seconds`, or the longer one of a service that flaps). During the wait the signs may run out again, or a
  report may come: then it is unwell, and all begins anew.
* Telling is apart from knowing. A mute changes nothing about alerts, deadlines and history, only whether somebody is
  told. What was told is also told to be over, muted or not; what was not, is not.
* Edits page nobody. A changed promise counts as k signs at that instant, and that record stands first in its turn.

Deadlines. The wheel's firing is only a hint to look (it may come late, or for a deadline that has moved since):
`_deadline_expired` asks `due_now` until nothing is due. Order within one firing: recovery before the end of a mute, so
that a service that got well in the same instant is not paged for; the end of a mute before lateness, before reminders.

Blind time. Sighted time stands still while Medic is blind, so deadlines need no mending. One thing does: a heartbeat
sent and lost meanwhile (HARD-CASES H3). When silence is found, `_fresh_interval` looks whether the next heartbeat was
to be expected within a blind span; if so the service gets one interval from there, once a silence. A crash loop cannot
keep Medic quiet: each silence has one fresh interval, and only a real sign of life ends a silence.

The workload is 10 000 heartbeats a second of services that are well. They leave by the first branch: one record is
made, folded and returned, and nothing that lasts is allocated.

Rejected: a table of functions by (status, event). The status says too little (an alert may be reported, waiting, muted,
acknowledged, flapping), and what it would say twelve times over is said once here. The table exists all the same, made
from this code by running it: docs/reference/service-states.md. Rejected as well: to return effects and let the caller
fold them; every function here would have to reason about a state that does not exist yet.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, assert_never

from medic.core.author import Author
from medic.core.blind import BlindSpan
from medic.core.deadline import Cause, due_now, expected_within, late_deadline, well_wait_ms
from medic.core.discount import discount_of, kept_said_at, mark_of
from medic.core.effects import (
    CreditSigns,
    EndMute,
    NoteHeartbeat,
    RecordHeartbeat,
    RemoveService,
    ServiceEffect,
    SetMute,
    StoreService,
)
from medic.core.events import (
    AcknowledgeRequested,
    DeadlineExpired,
    Event,
    HeartbeatLimited,
    HeartbeatReceived,
    MuteRequested,
    NobodyTold,
    ResolveRequested,
    ServiceChanged,
    ServiceDeleted,
    TestRequested,
    UnmuteRequested,
)
from medic.core.fold import fold, service_from
from medic.core.policy import Defaults, Policy
from medic.core.ring import NO_SIGN
from medic.core.service import Alert, Mute, Service, ServiceRow, is_reported_down
from medic.core.status import REPORTS_FAILURE, ClosedReason, HeartbeatStatus, NotificationKind, OpenedReason, Status
from medic.core.turn import Turn
from medic.core.units import DurationMs, EventId, InstantMs, SightedMs

# Looking a member up on its enum costs more than comparing it; every heartbeat compares five.
_UP: Final = Status.UP
_INACTIVE: Final = Status.INACTIVE
_SAYS_DEGRADED: Final = HeartbeatStatus.DEGRADED
_SAYS_DOWN: Final = HeartbeatStatus.DOWN
_SAYS_FAILED: Final = HeartbeatStatus.FAILED


def register(
    row: ServiceRow, defaults: Defaults, *, at: InstantMs, sighted: SightedMs
) -> tuple[Service, tuple[ServiceEffect, ...]]:
    """The service that a committed row makes, and the effects of its registration."""
    stored = StoreService(row.service_id, at, sighted, row)
    return service_from(stored, defaults), (stored,)


def step(service: Service, event: Event) -> tuple[ServiceEffect, ...]:
    """The effects of the event, in order, already folded into `service`.

    Total: an event that means nothing for this service (a heartbeat of an inactive one, a stale deadline or version,
    the end of a mute that is not there) has no effects.
    """
    match event:
        case HeartbeatReceived():
            return _heartbeat_received(service, event)
        case DeadlineExpired():
            return _deadline_expired(service, event)
        case ServiceChanged():
            return _service_changed(service, event)
        case ServiceDeleted():
            return _service_deleted(service, event)
        case MuteRequested():
            return _mute_requested(service, event)
        case UnmuteRequested():
            return _unmute_requested(service, event)
        case AcknowledgeRequested():
            return _acknowledge_requested(service, event)
        case ResolveRequested():
            return _resolve_requested(service, event)
        case NobodyTold():
            return _nobody_told(service, event)
        case TestRequested():
            return _test_requested(service, event)
        case _:
            assert_never(event)


# ---------------------------------------------------------------------------------------------------------- heartbeats


def only_recorded(service: Service, kind: HeartbeatStatus) -> bool:
    """Whether all that follows from a heartbeat of that kind is its record: a service that is up says that it is.

    Whoever takes thousands of these a second need make neither event nor effect of them: `fold_heartbeat` and a record
    are the whole turn. This is the same question that `step` asks first.
    """
    return (
        service.status is _UP
        and service.alert is None
        and kind is not _SAYS_DEGRADED
        and kind is not _SAYS_DOWN
        and kind is not _SAYS_FAILED
    )


def _heartbeat_received(service: Service, event: HeartbeatReceived) -> tuple[ServiceEffect, ...]:
    if service.status is _INACTIVE:
        return ()
    if isinstance(event, HeartbeatLimited):
        return _heartbeat_limited(service, event)
    record = _record_of(service, event)
    if record.discount is not None:
        fold(service, record)
        return (record,)
    return _heard(service, event, record)


def _heartbeat_limited(service: Service, event: HeartbeatLimited) -> tuple[ServiceEffect, ...]:
    """A heartbeat over a limit means all that it would mean, and is noted only where it means anything.

    So a flood is no way to fill the journal: what says the same as the heartbeat before it in the same millisecond
    leaves no record, which is a thousand a second and service, each of them as short as that of a heartbeat.
    """
    mark = mark_of(service, event)
    if discount_of(service, event, mark) is not None or _says_the_same(service, event):
        return ()
    note = NoteHeartbeat(service.row.service_id, event.at, event.sighted, event.kind, event.status, mark)
    return _heard(service, event, note)


def _says_the_same(service: Service, event: HeartbeatLimited) -> bool:
    """Whether the newest heartbeat said this already, in this very millisecond, where one sign is all that counts."""
    return (
        service.ring is None
        and event.at == service.last_heartbeat_at
        and event.status == service.last_status
        and (event.sighted <= service.last_sign or event.kind in REPORTS_FAILURE)
    )


def _heard(
    service: Service, event: HeartbeatReceived, record: RecordHeartbeat | NoteHeartbeat
) -> tuple[ServiceEffect, ...]:
    """The effects of a heartbeat that counts, its record first."""
    kind = event.kind
    if only_recorded(service, kind):
        fold(service, record)
        return (record,)
    reports_failure = kind is _SAYS_DOWN or kind is _SAYS_FAILED
    turn = Turn(service, event.at, event.sighted)
    is_first = not service.heard
    turn.emit(record)
    if reports_failure:
        _reported(turn, event)
    else:
        _alive(turn, event, is_first=is_first)
    return turn.effects()


def _record_of(service: Service, event: HeartbeatReceived) -> RecordHeartbeat:
    """The heartbeat as it is kept, and whether it counts."""
    mark = mark_of(service, event)
    return RecordHeartbeat(
        service.row.service_id,
        event.at,
        event.sighted,
        event.event_id,
        event.kind,
        event.status,
        event.run_id,
        kept_said_at(event.said_at, event.at),
        mark,
        discount_of(service, event, mark),
    )


def _reported(turn: Turn, event: HeartbeatReceived) -> None:
    """The service itself says that it is down."""
    alert = turn.service.alert
    reason = _reported_reason(event.kind)
    if alert is None:
        turn.open_alert(event.event_id, reason, event.at, reported=True)
    elif not alert.reported:
        turn.change_status(Status.DOWN, reason)
        turn.amend_alert(replace(alert, reported=True, well_since=None), "reported")
    elif alert.well_since is not None:
        turn.amend_alert(replace(alert, well_since=None), "unwell")


def _alive(turn: Turn, event: HeartbeatReceived, *, is_first: bool) -> None:
    """A sign of life of a service that was not simply up."""
    service = turn.service
    if is_first and _is_past(late_deadline(service), event.sighted):
        # Until now it had the longer patience of a service never heard of. What that covered is not held against it.
        turn.credit_signs()
    before = service.status
    if service.alert is None:
        turn.change_status(_living_status(service), "heartbeat")
    else:
        _recover(turn, service.alert, ClosedReason.RECOVERED, service.policy)
    _tell_degraded(turn, before, event.event_id)


def _recover(turn: Turn, alert: Alert, reason: ClosedReason, policy: Policy) -> None:
    """Close the open alert, or let it wait, if there were `threshold` signs of life within the last interval."""
    if turn.service.kth_sign + policy.interval_ms <= turn.sighted:
        return
    if well_wait_ms(alert, policy) == 0:
        _close(turn, alert, reason)
    elif alert.well_since is None:
        turn.amend_alert(replace(alert, well_since=turn.sighted), "well")


def _close(turn: Turn, alert: Alert, reason: ClosedReason) -> None:
    turn.change_status(_living_status(turn.service), reason)
    turn.close_alert(alert, reason)


def _living_status(service: Service) -> Status:
    """The status of a service without an alert, from what it last said of itself."""
    if not service.heard:
        return Status.NEW
    return Status.DEGRADED if service.heard_kind is _SAYS_DEGRADED else Status.UP


def _tell_degraded(turn: Turn, before: Status, event_id: EventId) -> None:
    service = turn.service
    after = service.status
    if service.mute is not None or after is before:
        return
    if after is Status.DEGRADED:
        turn.tell_apart(NotificationKind.DEGRADED, f"{event_id}.d")
    elif before is Status.DEGRADED and after is Status.UP:
        turn.tell_apart(NotificationKind.DEGRADED_OVER, f"{event_id}.o")


# ----------------------------------------------------------------------------------------------------------- deadlines


def _deadline_expired(service: Service, event: DeadlineExpired) -> tuple[ServiceEffect, ...]:
    turn = Turn(service, event.at, event.sighted)
    while (wait := due_now(service, event.at, event.sighted)) is not None:
        match wait.cause:
            # What a burst is made of is asked for first.
            case Cause.LATE:
                _silent(turn, event, wait.instant)
            case Cause.UNTOLD:
                turn.amend_alert(_told(turn.alert, turn), "told")
                turn.tell(NotificationKind.TRIGGER, turn.alert)
            case Cause.RECOVERY:
                before = service.status
                _close(turn, turn.alert, ClosedReason.RECOVERED)
                _tell_degraded(turn, before, event.event_id)
            case Cause.MUTE_END:
                _end_mute(turn, event.event_id, None)
            case Cause.REMINDER:
                _remind(turn, turn.alert)
            case _:
                assert_never(wait.cause)
    return turn.effects()


def _silent(turn: Turn, event: DeadlineExpired, deadline: SightedMs) -> None:
    """The signs of life no longer keep the promise."""
    service = turn.service
    if service.alert is not None:
        turn.amend_alert(replace(service.alert, well_since=None), "unwell")
        return
    span = _fresh_interval(service, event)
    if span is not None:
        turn.emit(CreditSigns(turn.service_id, event.at, event.sighted, span.sighted, fresh_interval=True))
        return
    if service.kth_sign == NO_SIGN and service.heard_kind is not None:
        # The alert that the report opened did not reach the journal.
        reason = _reported_reason(service.heard_kind)
        turn.open_alert(event.event_id, reason, service.last_heartbeat_at, reported=True)
        return
    late_since = InstantMs(event.at - (event.sighted - deadline))
    reason = OpenedReason.LATE if service.heard else OpenedReason.NEVER_HEARD
    turn.open_alert(event.event_id, reason, late_since, reported=False)


def _fresh_interval(service: Service, event: DeadlineExpired) -> BlindSpan | None:
    """The blind span in which the missing heartbeat may have been lost, where a fresh interval is owed for it."""
    if not event.blind.spans or service.fresh_interval_given:
        return None
    window = expected_within(service)
    if window is None:
        return None
    span = event.blind.span_over(*window)
    if span is None or span.sighted + service.policy.patience_ms <= event.sighted:
        return None
    return span


def _remind(turn: Turn, alert: Alert) -> None:
    turn.amend_alert(_reminded(alert, turn.at, turn.service.policy), "reminded")
    turn.tell(NotificationKind.REMINDER, turn.alert)


def _reminded(alert: Alert, at: InstantMs, policy: Policy) -> Alert:
    """The alert with every reminder settled whose instant has passed: what was missed is not made up."""
    passed = DurationMs(max(0, at - alert.opened_at))
    return replace(alert, reminders=passed // policy.renotify_ms if policy.renotify_ms else 0, reminded_ms=passed)


def _told(alert: Alert, turn: Turn) -> Alert:
    """The alert as it is once it is told now: with the most urgent priority it has or had."""
    service = turn.service
    priorities = (alert.told_priority or alert.priority, alert.priority, service.row.priority)
    return replace(_reminded(alert, turn.at, service.policy), told=True, told_priority=min(priorities))


# ---------------------------------------------------------------------------------------------------------- operators


def _service_changed(service: Service, event: ServiceChanged) -> tuple[ServiceEffect, ...]:
    """Take the new row, and what it means, which stands before it.

    The row carries the version. A journal that ends before it knows the old version, and the change is taken again.
    """
    row = event.row
    if row.version <= service.row.version:
        return ()
    turn = Turn(service, event.at, event.sighted)
    alert = service.alert
    if not row.active:
        turn.change_status(Status.INACTIVE, "deactivated")
        if alert is not None:
            turn.close_alert(alert, ClosedReason.DEACTIVATED)
    elif not service.row.active:
        turn.credit_signs()
        turn.change_status(Status.UP if service.heard else Status.NEW, "activated")
    else:
        _edited(turn, event)
    turn.emit(StoreService(turn.service_id, event.at, event.sighted, row))
    return turn.effects()


def _edited(turn: Turn, event: ServiceChanged) -> None:
    """What an edit of an active service means for its signs and its alert.

    A changed promise counts as kept at this instant, so that it pages nobody, and an alert for silence may be over. One
    that stays open may have to be repeated at other times, or be more urgent.
    """
    service = turn.service
    before = service.status
    old, new = service.policy, event.row.policy(service.policy.defaults)
    is_changed = (old.interval_ms, old.grace_ms, old.threshold) != (new.interval_ms, new.grace_ms, new.threshold)
    if is_changed and not is_reported_down(service):
        turn.credit_signs()
        if service.alert is not None and not service.alert.reported:
            _recover(turn, service.alert, ClosedReason.POLICY_CHANGED, new)
            _tell_degraded(turn, before, event.event_id)
    if service.alert is not None and old.renotify_ms != new.renotify_ms:
        turn.amend_alert(_reminded(service.alert, event.at, new), "rescheduled")
    alert = service.alert
    # p1 to p5 sort as they are urgent.
    urgent = event.row.priority
    if alert is None or not alert.told or alert.flapping or service.mute is not None or urgent >= alert.told_priority:
        return
    turn.amend_alert(replace(alert, told_priority=urgent), "escalated")
    turn.tell(NotificationKind.ESCALATION, turn.alert)


def _service_deleted(service: Service, event: ServiceDeleted) -> tuple[ServiceEffect, ...]:
    turn = Turn(service, event.at, event.sighted)
    if service.alert is not None:
        turn.close_alert(service.alert, ClosedReason.DELETED, event.by)
    turn.emit(RemoveService(turn.service_id, event.at, event.sighted, event.by.name))
    return turn.effects()


def _mute_requested(service: Service, event: MuteRequested) -> tuple[ServiceEffect, ...]:
    turn = Turn(service, event.at, event.sighted)
    mute = Mute(muted_at=event.at, until=event.until, reason=event.reason, muted_by=event.by.name)
    turn.emit(SetMute(turn.service_id, event.at, event.sighted, mute, event.by))
    return turn.effects()


def _unmute_requested(service: Service, event: UnmuteRequested) -> tuple[ServiceEffect, ...]:
    turn = Turn(service, event.at, event.sighted)
    if service.mute is not None:
        _end_mute(turn, event.event_id, event.by)
    return turn.effects()


def _end_mute(turn: Turn, event_id: EventId, author: Author | None) -> None:
    """The mute is over, by somebody's order or (None) because its time was up.

    That is said once, and what is still down is told as an alert now, what is still degraded as degraded. Otherwise the
    end of it would be the first that anybody hears.
    """
    by = "" if author is None else author.name
    turn.emit(EndMute(turn.service_id, turn.at, turn.sighted, by, author))
    alert = turn.service.alert
    # A flapping alert says so once, and nothing more until it is over.
    is_told_now = alert is not None and not (alert.flapping and alert.told)
    if alert is not None and is_told_now:
        turn.amend_alert(_told(alert, turn), "told")
    turn.tell_apart(NotificationKind.MUTE_ENDED, f"{event_id}.m", by=by)
    if turn.service.status is Status.DEGRADED:
        turn.tell_apart(NotificationKind.DEGRADED, f"{event_id}.d")
    if is_told_now:
        turn.tell(NotificationKind.TRIGGER, turn.alert)


def _acknowledge_requested(service: Service, event: AcknowledgeRequested) -> tuple[ServiceEffect, ...]:
    alert = service.alert
    if alert is None or alert.acknowledged_at is not None:
        return ()
    turn = Turn(service, event.at, event.sighted)
    acknowledged = replace(alert, acknowledged_at=event.at, acknowledged_by=event.by.name)
    turn.amend_alert(acknowledged, "acknowledged", event.by, event.note)
    if acknowledged.told:
        turn.tell(NotificationKind.ACKNOWLEDGE, acknowledged, event.by.name, event.note)
    return turn.effects()


def _resolve_requested(service: Service, event: ResolveRequested) -> tuple[ServiceEffect, ...]:
    alert = service.alert
    if alert is None:
        return ()
    turn = Turn(service, event.at, event.sighted)
    turn.credit_signs()
    turn.change_status(Status.UP if service.heard else Status.NEW, ClosedReason.BY_HAND)
    turn.close_alert(alert, ClosedReason.BY_HAND, event.by, event.note)
    return turn.effects()


def _nobody_told(service: Service, event: NobodyTold) -> tuple[ServiceEffect, ...]:
    """What was told and reached nobody is told again, as an alert: a reminder says less than whoever hears it needs."""
    alert = service.alert
    if alert is None or not alert.told or service.mute is not None:
        return ()
    turn = Turn(service, event.at, event.sighted)
    turn.tell(NotificationKind.TRIGGER, alert)
    return turn.effects()


def _test_requested(service: Service, event: TestRequested) -> tuple[ServiceEffect, ...]:
    turn = Turn(service, event.at, event.sighted)
    turn.tell_test(event.event_id, event.by.name)
    return turn.effects()


def _reported_reason(kind: HeartbeatStatus) -> OpenedReason:
    return OpenedReason.REPORTED_FAILED if kind is _SAYS_FAILED else OpenedReason.REPORTED_DOWN


def _is_past(deadline: SightedMs | None, now: SightedMs) -> bool:
    return deadline is not None and deadline <= now
