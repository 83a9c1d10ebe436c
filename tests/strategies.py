"""Hypothesis strategies for the values that cross between Medic's parts, within the bounds of CONTRACT 1."""

from __future__ import annotations

from hypothesis import strategies as st

from medic.core.blind import BlindSpan
from medic.core.effects import (
    AmendAlert,
    ChangeStatus,
    CloseAlert,
    CreditSigns,
    EndMute,
    NoteHeartbeat,
    Notify,
    OpenAlert,
    RecordBlindSpan,
    RecordHeartbeat,
    RemoveService,
    SetMute,
    SettleNotification,
    StoreService,
)
from medic.core.names import NAME_MAX
from medic.core.notification import Notification
from medic.core.policy import Defaults
from medic.core.ring import NO_SIGN, Ring
from medic.core.service import LONG_AGO, Alert, Deactivation, Mute, Service, ServiceRow
from medic.core.status import ClosedReason, Discount, HeartbeatStatus, NotificationKind, OpenedReason, Outcome, Status
from medic.core.units import INSTANT_MAX

ID_MAX = (1 << 53) - 1

ids = st.integers(1, ID_MAX)
instants = st.integers(0, INSTANT_MAX)
durations = st.integers(0, INSTANT_MAX)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=300)
names = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=NAME_MAX) | st.just("ß" * NAME_MAX)
teams = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=100)
priorities = st.sampled_from(("p1", "p2", "p3", "p4", "p5"))
words = st.sampled_from([kind.value for kind in HeartbeatStatus]) | st.text(
    st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=64
)


marks = st.just(0) | st.integers(0, (1 << 63) - 1)


def _optional(strategy):
    return st.none() | strategy


def _ring_of(signs):
    return Ring([sign for sign, _ in signs], [mark for _, mark in signs])


alerts = st.builds(
    Alert,
    alert_id=ids,
    reason=st.sampled_from(OpenedReason),
    opened_at=instants,
    opened_sighted=instants,
    late_since=instants,
    priority=priorities,
    team=teams,
    runbook=texts,
    reported=st.booleans(),
    told=st.booleans(),
    told_priority=priorities,
    acknowledged_at=_optional(instants),
    acknowledged_by=texts,
    flapping=st.booleans(),
    reminders=st.integers(0, 1 << 20),
    well_since=_optional(instants),
    notifications=st.integers(0, 1 << 20),
    reminded_ms=durations,
)
deactivations = st.builds(Deactivation, at=instants, by=texts)
mutes = st.builds(Mute, muted_at=instants, until=_optional(instants), reason=texts, muted_by=texts)
rows = st.builds(
    ServiceRow,
    service_id=ids,
    version=st.integers(1, 1 << 40),
    heartbeat_name=names,
    service_name=names,
    active=st.booleans(),
    interval_ms=st.integers(1_000, 366 * 86_400_000),
    grace_ms=st.integers(0, 366 * 86_400_000),
    threshold=st.integers(1, 1_000),
    recovery_ms=st.integers(0, 366 * 86_400_000),
    require_key=st.booleans(),
    renotify_ms=_optional(durations),
    team=teams,
    priority=priorities,
    runbook=texts,
    date_added=instants,
    date_modified=instants,
    changed_by=texts,
    shard=st.integers(0, 1 << 15),
)
notifications = st.builds(
    Notification,
    notification_id=texts,
    kind=st.sampled_from(NotificationKind),
    key=texts,
    at=instants,
    service_id=_optional(ids),
    alert_id=_optional(ids),
    heartbeat_name=names,
    service_name=names,
    team=teams,
    priority=priorities,
    runbook=texts,
    reason=_optional(st.sampled_from(OpenedReason)),
    late_since=_optional(instants),
    last_seen=_optional(instants),
    interval_ms=durations,
    threshold=st.integers(1, 1_000),
    flapping=st.booleans(),
    muted=st.booleans(),
    lasted_ms=_optional(durations),
    closed_reason=texts,
    by=texts,
    note=texts,
    text=texts,
    targets=st.lists(texts, max_size=4).map(tuple),
)
spans = st.builds(BlindSpan, begun_at=instants, ended_at=instants, sighted=instants, cause=texts)

_moments = {"at": instants, "sighted": instants}
_of_service = {"service_id": ids, **_moments}

heartbeats = st.builds(
    RecordHeartbeat,
    **_of_service,
    heartbeat_id=ids,
    kind=st.sampled_from(HeartbeatStatus),
    status=words,
    run_id=_optional(texts),
    said_at=_optional(instants),
    mark=marks,
    discount=_optional(st.sampled_from(Discount)),
)
notes = st.builds(NoteHeartbeat, **_of_service, kind=st.sampled_from(HeartbeatStatus), status=words, mark=marks)
rare_effects = st.one_of(
    st.builds(CreditSigns, **_of_service, since=instants, fresh_interval=st.booleans()),
    st.builds(
        ChangeStatus, **_of_service, previous=st.sampled_from(Status), status=st.sampled_from(Status), reason=texts
    ),
    st.builds(OpenAlert, **_of_service, alert=alerts),
    st.builds(AmendAlert, **_of_service, alert=alerts, change=texts, by=texts, note=texts),
    st.builds(
        CloseAlert,
        **_of_service,
        alert=alerts,
        reason=st.sampled_from(ClosedReason),
        cycle=st.integers(0, 1 << 31),
        by=texts,
        note=texts,
    ),
    st.builds(SetMute, **_of_service, mute=mutes),
    st.builds(EndMute, **_of_service, by=texts),
    st.builds(StoreService, **_of_service, row=rows),
    st.builds(RemoveService, **_of_service, by=texts),
    st.builds(Notify, **_moments, notification=notifications),
    st.builds(
        SettleNotification,
        **_moments,
        notification_id=texts,
        service_id=_optional(ids),
        target=texts,
        outcome=st.sampled_from(Outcome),
        attempts=st.integers(0, 1 << 20),
        detail=texts,
    ),
    st.builds(RecordBlindSpan, **_moments, span=spans),
)
effects = heartbeats | notes | rare_effects


@st.composite
def services(draw):
    """A service in any state, reachable or not."""
    row = draw(rows)
    service = Service(row, row.policy(Defaults()), registered=draw(instants))
    service.status = draw(st.sampled_from(Status))
    service.heard_kind = draw(_optional(st.sampled_from(HeartbeatStatus)))
    service.last_sign = draw(instants | st.just(NO_SIGN))
    service.ring = draw(
        _optional(st.lists(st.tuples(st.integers(-1, INSTANT_MAX), marks), min_size=2, max_size=20).map(_ring_of))
    )
    service.last_heartbeat_at = draw(instants)
    if service.heard:
        service.registered = LONG_AGO
    service.last_status = draw(words)
    service.gap_ms = draw(durations)
    service.heartbeats_total = draw(st.integers(0, ID_MAX))
    service.fresh_interval_given = draw(st.booleans())
    service.alert = draw(_optional(alerts))
    service.mute = draw(_optional(mutes))
    service.deactivated = draw(_optional(deactivations))
    service.openings = draw(st.lists(instants, max_size=5).map(tuple))
    service.position = draw(st.integers(0, ID_MAX))
    return service
