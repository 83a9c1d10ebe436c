"""The short way of a plain heartbeat and the long one: the same service and the same record, for any service."""

from __future__ import annotations

from copy import copy

from hypothesis import given
from hypothesis import strategies as st

from medic.core.deadline import next_deadline
from medic.core.events import HeartbeatReceived
from medic.core.fold import fold_heartbeat, fold_plain_heartbeat
from medic.core.heartbeat_words import PLAIN_KINDS, kind_of, plain_kind
from medic.core.status import HeartbeatStatus, Status
from medic.core.step import only_recorded, step
from medic.core.units import SkewMs
from medic.store.codec import encode, encode_plain_heartbeat, encode_plain_heartbeats, pack_state
from tests import strategies


def twin_of(service):
    twin = copy(service)
    twin.ring = copy(service.ring)
    return twin


@st.composite
def well_services(draw):
    """Services as most of them are, so that the short way is taken often enough."""
    service = draw(strategies.services())
    service.status = draw(st.sampled_from([Status.UP, Status.UP, Status.DEGRADED, Status.NEW]))
    service.alert = draw(st.none() | strategies.alerts)
    return service


@given(
    well_services(),
    strategies.instants,
    strategies.instants,
    strategies.ids,
    st.sampled_from(["UP", "STARTED", "FAILED"]),
)
def test_a_heartbeat_that_is_only_recorded_is_folded_and_written_as_step_does_it(service, at, sighted, drawn, status):
    kind = kind_of(status)
    is_short = only_recorded(service, kind)
    twin = twin_of(service)
    effects = step(service, HeartbeatReceived(at, sighted, drawn, kind, status))
    if not is_short:
        return
    fold_heartbeat(twin, at, sighted, kind, kind)
    assert pack_state(twin) == pack_state(service)
    assert type(twin.last_status) is str
    records = [encode(effect) for effect in effects]
    assert records == [encode_plain_heartbeat(service.row.service_id, at, sighted, drawn, kind)]


@given(strategies.words)
def test_a_plain_word_means_what_any_word_means_and_that_all_is_well(status):
    kind = plain_kind(status)
    if kind is not None:
        assert kind is kind_of(status)
        assert status == kind.value
        assert kind in {HeartbeatStatus.UP, HeartbeatStatus.STARTED, HeartbeatStatus.COMPLETED}


@given(
    well_services(),
    strategies.instants,
    strategies.instants,
    strategies.ids,
    st.sampled_from(PLAIN_KINDS),
    st.integers(-(10**6), 10**6).map(SkewMs),
)
def test_a_plain_heartbeat_folded_in_one_call_is_what_step_makes_of_it(service, at, sighted, drawn, kind, skew):
    twin, before = twin_of(service), pack_state(service)
    deadline = next_deadline(service, skew)
    if not fold_plain_heartbeat(service, at, sighted, kind):
        assert pack_state(service) == before
        return
    assert only_recorded(twin, kind)
    effects = step(twin, HeartbeatReceived(at, sighted, drawn, kind, kind.value))
    assert pack_state(twin) == pack_state(service)
    assert type(service.last_status) is str
    assert [encode(effect) for effect in effects] == encode_plain_heartbeats(
        [service.row.service_id], at, sighted, [drawn], [kind]
    )
    # Nobody tells the wheel.
    assert next_deadline(service, skew) >= deadline


@given(well_services(), strategies.instants, strategies.instants)
def test_the_most_usual_service_is_folded_in_one_call(service, at, sighted):
    service.status, service.alert, service.mute, service.ring = Status.UP, None, None, None
    heard = service.heard
    assert fold_plain_heartbeat(service, at, sighted, HeartbeatStatus.UP) is heard
