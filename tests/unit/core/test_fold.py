"""What folding a record does where the step tests do not look: any record, in any state."""

from __future__ import annotations

import sys

import pytest

from medic.core.effects import AmendAlert, CloseAlert, CreditSigns, Notify, OpenAlert, RecordHeartbeat
from medic.core.fold import fold
from medic.core.ring import NO_SIGN, Ring, ring_bytes, ring_of
from medic.core.service import NOTHING_RARE, Mute, Rare
from medic.core.status import HeartbeatStatus
from medic.core.turn import Turn
from medic.core.units import EventId, InstantMs, ServiceId, SightedMs
from tests.stories.simulation import BEGINNING, SimulatedMedic, state_of


def heartbeat(at, *, status="UP", kind=HeartbeatStatus.UP):
    return RecordHeartbeat(ServiceId(1), InstantMs(at), SightedMs(at), EventId(7), kind, status)


def test_a_sign_from_before_the_newest_one_does_no_harm():
    web = SimulatedMedic().register(threshold=3).service
    fold(web, heartbeat(BEGINNING + 500))
    fold(web, heartbeat(BEGINNING + 100))
    assert web.last_sign == BEGINNING + 500
    assert list(web.ring) == sorted(web.ring)


def test_a_credit_moves_no_sign_back():
    web = SimulatedMedic().register(threshold=3).service
    fold(web, heartbeat(BEGINNING + 500))
    fold(web, CreditSigns(ServiceId(1), BEGINNING, BEGINNING, SightedMs(BEGINNING + 200), fresh_interval=True))
    assert list(web.ring) == [BEGINNING + 200, BEGINNING + 200, BEGINNING + 500]
    assert web.last_sign == BEGINNING + 500
    assert web.fresh_interval_given


def test_the_usual_status_words_are_one_object_for_all_services():
    web = SimulatedMedic().register().service
    word = "UP!"[:2]
    fold(web, heartbeat(BEGINNING, status=word))
    assert web.last_status is not word
    assert web.last_status == word
    unusual = "step-1!"[:6]
    fold(web, heartbeat(BEGINNING, status=unusual, kind=HeartbeatStatus.OTHER))
    assert web.last_status is unusual


def test_notifications_of_other_alerts_are_not_counted():
    medic = SimulatedMedic()
    web = medic.register()
    web.beat("DOWN")
    other = medic.register("other")
    other.beat("DOWN")
    notify = other.effects[-1]
    assert isinstance(notify, Notify)
    before = state_of(web.service)
    fold(web.service, notify)
    assert state_of(web.service) == before


def test_amending_and_closing_are_believed_whatever_they_meet():
    medic = SimulatedMedic()
    web = medic.register()
    web.beat("DOWN")
    opened = next(effect for effect in web.effects if isinstance(effect, OpenAlert))
    fresh = medic.register("fresh").service
    fold(fresh, AmendAlert(ServiceId(2), medic.at, medic.sighted, opened.alert, "told"))
    assert fresh.alert == opened.alert
    closed = CloseAlert(ServiceId(2), medic.at, medic.sighted, opened.alert, "recovered", 1)
    fold(fresh, closed)
    fold(fresh, closed)
    assert fresh.alert is None


@pytest.mark.parametrize("threshold", [2, 3, 10, 1000])
def test_a_ring_costs_what_is_said(threshold):
    ring = ring_of(NO_SIGN, threshold)
    assert isinstance(ring, Ring)
    assert len(ring) == threshold
    unmarked = sys.getsizeof(ring)
    ring.push(SightedMs(0), 7)
    assert unmarked < ring_bytes(threshold)
    # What an array keeps ready for its next elements comes on top: a sixteenth.
    assert sys.getsizeof(ring) + sys.getsizeof(ring.marks) <= ring_bytes(threshold) * 17 / 16 + 128


def test_a_threshold_of_one_needs_no_ring():
    assert (ring_of(NO_SIGN, 1), ring_bytes(1)) == (None, 0)


def test_the_kth_sign_is_the_oldest_of_the_ring():
    web = SimulatedMedic().register(threshold=2).service
    fold(web, heartbeat(BEGINNING + 5))
    assert (web.kth_sign, web.last_sign) == (BEGINNING, BEGINNING + 5)


def test_a_service_is_176_bytes_and_whatever_few_have_costs_others_nothing():
    web = SimulatedMedic().register().service
    assert sys.getsizeof(web) == 176
    assert not hasattr(web, "__dict__")
    assert web.rare is SimulatedMedic().register().service.rare is NOTHING_RARE


def test_what_few_services_have_is_let_go_of_when_the_last_of_it_ends():
    web = SimulatedMedic().register().service
    muted = Mute(muted_at=BEGINNING, until=None)
    web.openings, web.mute = (SightedMs(BEGINNING),), muted
    web.hold("a mailbox")
    assert web.rare == Rare(muted, (SightedMs(BEGINNING),), None, "a mailbox")
    web.openings, web.mute = (), None
    assert web.rare.mailbox == "a mailbox"
    web.hold(None)
    assert web.rare is NOTHING_RARE


def test_a_turn_without_an_alert_has_none_to_give():
    service = SimulatedMedic().register().service
    turn = Turn(service, BEGINNING, SightedMs(BEGINNING))
    with pytest.raises(LookupError, match="no open alert"):
        _ = turn.alert
