"""The instants a service waits for: next_deadline, waits and due_now agree."""

from __future__ import annotations

import pytest
from hypothesis import given

from medic.core.deadline import Cause, due_now, has_wall_timer, late_deadline, next_deadline, waits
from medic.core.units import DAY_MS, HOUR_MS, MINUTE_MS, SkewMs
from tests import strategies
from tests.stories.simulation import BEGINNING, SimulatedMedic


def causes(service):
    return [wait.cause for wait in waits(service.service, service.medic.skew)]


def test_a_service_that_is_well_waits_for_lateness_only():
    web = SimulatedMedic().register()
    assert causes(web) == [Cause.LATE]
    assert not has_wall_timer(web.service)


def test_a_muted_service_waits_for_whatever_comes_first():
    web = SimulatedMedic().register(interval_ms=HOUR_MS)
    web.mute(30 * MINUTE_MS)
    assert causes(web) == [Cause.MUTE_END, Cause.LATE]
    assert web.deadline_in() == 30 * MINUTE_MS
    web.mute(2 * HOUR_MS)
    assert web.deadline_in() == HOUR_MS
    assert has_wall_timer(web.service)


def test_instants_of_wall_time_are_converted_with_the_skew():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=DAY_MS)
    web.mute(HOUR_MS)
    assert next_deadline(web.service, SkewMs(0)) == BEGINNING + HOUR_MS
    assert next_deadline(web.service, SkewMs(600)) == BEGINNING + HOUR_MS - 600


def test_a_late_service_waits_for_its_reminder_and_for_nothing_once_acknowledged():
    medic = SimulatedMedic()
    web = medic.register()
    medic.advance(MINUTE_MS)
    assert causes(web) == [Cause.REMINDER]
    assert late_deadline(web.service) is None
    web.acknowledge()
    assert web.next_deadline() is None


@pytest.mark.parametrize(("recovery_minutes", "expected"), [(1, Cause.RECOVERY), (5, Cause.RECOVERY), (6, Cause.LATE)])
def test_a_recovery_is_waited_for_only_if_the_signs_last_until_then(recovery_minutes, expected):
    medic = SimulatedMedic()
    web = medic.register(interval_ms=5 * MINUTE_MS, recovery_ms=recovery_minutes * MINUTE_MS, renotify_ms=0)
    web.beat("DOWN")
    web.beat()
    assert causes(web)[0] is expected
    assert web.deadline_in() == min(recovery_minutes, 5) * MINUTE_MS


def test_something_is_due_exactly_when_the_next_deadline_has_passed():
    medic = SimulatedMedic()
    web = medic.register()
    web.mute(30_000)
    for _ in range(3):
        deadline = web.next_deadline()
        medic.jump(deadline - medic.sighted - 1)
        assert due_now(web.service, medic.at, medic.sighted) is None
        medic.jump(1)
        assert due_now(web.service, medic.at, medic.sighted).instant == deadline
        web.expire()


@given(strategies.services(), strategies.instants, strategies.instants)
def test_the_short_ways_to_the_next_deadline_lead_where_all_the_waits_do(service, at, sighted):
    skew = SkewMs(at - sighted)
    found = waits(service, skew)
    assert next_deadline(service, skew) == min((wait.instant for wait in found), default=None)
    assert due_now(service, at, sighted) == next((wait for wait in found if wait.instant <= sighted), None)
