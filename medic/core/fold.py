"""Applies effects to a service: the only code that changes one.

`step` folds each effect in the moment it decides it, and recovery folds the same effects as it reads them from the
journal, so that a service that was recovered cannot differ from one that lived on (HARD-CASES H12). For that to hold,
nothing here decides: a record is believed, whatever the state it meets. And because a crash may cut a journal anywhere,
also between two records of one turn, the state after any prefix is one from which no page is forgotten; where that
needs more than the obvious, a comment says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from medic.core.effects import (
    AmendAlert,
    ChangeStatus,
    CloseAlert,
    CreditSigns,
    EndMute,
    NoteHeartbeat,
    Notify,
    OpenAlert,
    RecordHeartbeat,
    RemoveService,
    ServiceEffect,
    SetMute,
    StoreService,
)
from medic.core.heartbeat_words import kind_of, shared_word
from medic.core.policy import FLAP_WINDOW_MS, Defaults
from medic.core.ring import NO_MARK, NO_SIGN, Ring, ring_of
from medic.core.service import LONG_AGO, NEVER, Alert, Service, ServiceRow, deactivation_of, is_reported_down
from medic.core.status import HeartbeatStatus, Status
from medic.core.units import DurationMs, InstantMs, SightedMs

# Looking a member up on its enum costs more than comparing it; a heartbeat compares five.
_DOWN = HeartbeatStatus.DOWN
_FAILED = HeartbeatStatus.FAILED
_STARTED = HeartbeatStatus.STARTED
_COMPLETED = HeartbeatStatus.COMPLETED
_UP = Status.UP

_NO_GAP = DurationMs(0)

WaitsUs = Callable[[Service, InstantMs, SightedMs], int]
"""How many microseconds no heartbeat of that service is stored; 0: this one is, and was counted."""


def waits_never(_service: Service, _at: InstantMs, _sighted: SightedMs) -> int:
    """There is no limit."""
    return 0


def service_from(effect: StoreService, defaults: Defaults) -> Service:
    """The service that a registration's record makes. Registration counts as `threshold` signs of life."""
    return Service(effect.row, effect.row.policy(defaults), registered=effect.sighted)


def fold(service: Service, effect: ServiceEffect) -> None:
    """Change `service` to what the effect says. Total; costs under a microsecond for a heartbeat."""
    match effect:
        case RecordHeartbeat():
            _record_heartbeat(service, effect)
        # What a burst is made of is asked for first.
        case ChangeStatus():
            service.status = effect.status
        case OpenAlert():
            service.alert = effect.alert
            service.openings = _openings(service, effect.sighted)
        case Notify():
            _count_notification(service, effect)
        case CreditSigns():
            _credit_signs(service, effect)
        case AmendAlert():
            service.alert = effect.alert
        case CloseAlert():
            service.alert = None
        case NoteHeartbeat():
            fold_heartbeat(service, effect.at, effect.sighted, effect.kind, effect.status, effect.mark)
        case SetMute():
            service.mute = effect.mute
        case EndMute():
            service.mute = None
        case StoreService():
            _store_row(service, effect.row)
        case RemoveService():
            pass  # whoever holds the service lets go of it
        case _:
            assert_never(effect)


def _record_heartbeat(service: Service, effect: RecordHeartbeat) -> None:
    if effect.discount is not None:
        service.heartbeats_total += 1
        return
    fold_heartbeat(service, effect.at, effect.sighted, effect.kind, effect.status, effect.mark)


def fold_heartbeat(
    service: Service, at: InstantMs, sighted: SightedMs, kind: HeartbeatStatus, status: str, mark: int = NO_MARK
) -> None:
    """What `fold` does with a `RecordHeartbeat` that says so, for who has no need of the record itself."""
    previous = service.last_heartbeat_at
    if previous == NEVER:
        service.registered = LONG_AGO
    elif service.alert is None and not service.fresh_interval_given and not _ends_run(service, kind):
        # The wall clock may have been stepped back.
        service.gap_ms = DurationMs(max(0, at - previous))
    service.last_heartbeat_at = at
    service.last_status = shared_word(status)
    service.heartbeats_total += 1
    if kind is _DOWN or kind is _FAILED:
        service.heard_kind = kind
        service.last_sign = NO_SIGN
        service.ring = ring_of(NO_SIGN, service.policy.threshold)
        return
    if kind is not _STARTED:
        service.heard_kind = kind
    elif service.alert is not None and service.alert.reported:
        return
    sign = max(sighted, service.last_sign)
    service.last_sign = sign
    service.fresh_interval_given = False
    if service.ring is not None:
        service.ring.push(sign, mark)


def fold_plain_heartbeat(
    service: Service, at: InstantMs, sighted: SightedMs, kind: HeartbeatStatus, waits_us: WaitsUs = waits_never
) -> bool:
    """Fold a heartbeat of one of the `PLAIN_KINDS` if its record is all that follows; False: nothing was changed.

    The bulk's way: `only_recorded` and `fold_heartbeat` in one call, for a service of the most usual shape alone (up,
    heard of, threshold 1, no alert, no mute). Of such a service the next deadline only ever becomes later by this, so
    its timer may stay where it is (HARD-CASES H5). Any other service takes the ordinary way, and so does a heartbeat
    that comes soon after another and that has to wait. That is asked last: what need not wait is folded.
    """
    previous = service.last_heartbeat_at
    if (
        service.status is not _UP
        or service.alert is not None
        or service.ring is not None
        or service.rare.mute is not None
        or previous == NEVER
        or (at - previous < service.policy.unhurried_ms and waits_us(service, at, sighted))
    ):
        return False
    if not service.fresh_interval_given and (kind is not _COMPLETED or not _ends_run(service, kind)):
        # The wall clock may have been stepped back.
        service.gap_ms = DurationMs(at - previous) if at > previous else _NO_GAP
    service.last_heartbeat_at = at
    service.last_status = shared_word(kind)
    service.heartbeats_total += 1
    if kind is not _STARTED:
        service.heard_kind = kind
    if sighted > service.last_sign:  # noqa: PLR1730 - a call of `max` costs four times as much
        service.last_sign = sighted
    service.fresh_interval_given = False
    return True


def _ends_run(service: Service, kind: HeartbeatStatus) -> bool:
    return (kind is _COMPLETED or kind is _FAILED) and kind_of(service.last_status) is _STARTED


def _credit_signs(service: Service, effect: CreditSigns) -> None:
    service.last_sign = max(service.last_sign, effect.since)
    if service.ring is not None:
        service.ring = service.ring.credited(effect.since)
    if effect.fresh_interval:
        service.fresh_interval_given = True


def _store_row(service: Service, row: ServiceRow) -> None:
    policy = row.policy(service.policy.defaults)
    if policy.threshold != service.policy.threshold:
        service.ring = _resized_ring(service, policy.threshold)
    if row.active or service.row.active:
        service.deactivated = deactivation_of(row)
    service.row = row
    service.policy = policy


def _resized_ring(service: Service, threshold: int) -> Ring | None:
    """The newest signs; where there are fewer than a higher threshold wants, the oldest stands for the missing ones."""
    if threshold == 1:
        return None
    signs: list[int] = [service.last_sign] if service.ring is None else service.ring.tolist()
    kept = signs[-threshold:]
    missing = threshold - len(kept)
    # While a reported failure stands, signs are counted since the report, and there were none but those.
    oldest = NO_SIGN if is_reported_down(service) else kept[0]
    marks = [] if service.ring is None or service.ring.marks is None else service.ring.marks.tolist()
    return Ring([oldest] * missing + kept, [NO_MARK] * (threshold - len(marks)) + marks[-threshold:])


def _openings(service: Service, opened: SightedMs) -> tuple[SightedMs, ...]:
    """The openings of the last hour with this one; only as many as can matter, however often a service opens."""
    most = service.policy.defaults.flap_openings
    if most == 0:
        return ()
    before = service.rare.openings
    recent = [one for one in before if one > opened - FLAP_WINDOW_MS] if before else ()
    return (*recent, opened)[-most - 1 :]


def _count_notification(service: Service, effect: Notify) -> None:
    alert: Alert | None = service.alert
    if alert is not None and effect.notification.alert_id == alert.alert_id:
        service.alert = alert.with_notification()
