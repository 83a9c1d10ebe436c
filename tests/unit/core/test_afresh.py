"""What a service is owed when Medic goes on from a backup: a chance to be heard of before anybody is told anything."""

from __future__ import annotations

from medic.core.afresh import begin_afresh
from medic.core.deadline import late_deadline, next_deadline, reminder_instant
from medic.core.ring import NO_SIGN
from medic.core.status import Status
from medic.core.units import DAY_MS, HOUR_MS, MINUTE_MS
from tests.stories.simulation import SimulatedMedic


def afresh(medic, service):
    """The service after a restore at this moment of the simulation."""
    for one in (service.service, service.twin):
        begin_afresh(one, at=medic.at, sighted=medic.sighted)
    return service


def test_a_deadline_starts_anew_whatever_the_rhythm_was():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=HOUR_MS, grace_ms=MINUTE_MS)
    for _ in range(3):
        web.beat()
        medic.advance(10 * MINUTE_MS)
    medic.advance(45 * MINUTE_MS)
    afresh(medic, web)
    assert web.deadline_in() == HOUR_MS + MINUTE_MS
    assert web.service.fresh_interval_given
    assert web.told == []


def test_a_threshold_is_met_by_the_restore():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=HOUR_MS, threshold=3)
    medic.advance(59 * MINUTE_MS)
    assert afresh(medic, web).deadline_in() == HOUR_MS


def test_an_open_alert_stays_open_and_is_not_reminded_of_before_the_service_could_be_heard_of():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=2 * HOUR_MS, renotify_ms=HOUR_MS)
    web.beat()
    medic.advance(2 * HOUR_MS + MINUTE_MS)
    assert web.told == ["trigger"]
    medic.advance(58 * MINUTE_MS)
    alert = web.service.alert
    afresh(medic, web)
    assert web.service.alert.alert_id == alert.alert_id
    assert late_deadline(web.service) is None
    assert reminder_instant(web.service) >= medic.at + 2 * HOUR_MS
    web.beat()
    assert web.told == ["trigger", "resolve"]


def test_signs_do_not_close_a_report_that_stands():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=HOUR_MS, threshold=2)
    web.beat("DOWN")
    afresh(medic, web)
    assert web.service.kth_sign == NO_SIGN
    web.beat()
    assert web.service.alert is not None


def test_an_alert_that_waits_to_recover_goes_on_waiting():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=HOUR_MS, recovery_ms=30 * MINUTE_MS)
    web.beat("DOWN")
    web.beat()
    medic.advance(10 * MINUTE_MS)
    afresh(medic, web)
    assert web.deadline_in() == 20 * MINUTE_MS
    assert late_deadline(web.service) == medic.sighted + HOUR_MS


def test_a_mute_that_is_over_by_the_clock_does_not_page_at_once():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=HOUR_MS)
    web.mute(2 * HOUR_MS)
    medic.advance(HOUR_MS + MINUTE_MS)
    assert web.service.alert is not None
    medic.step_wall(DAY_MS)
    afresh(medic, web)
    assert web.service.mute.until == medic.at + HOUR_MS
    assert next_deadline(web.service, medic.skew) == medic.sighted + HOUR_MS


def test_a_mute_that_lasts_stays_as_it_is():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=HOUR_MS)
    web.mute(9 * HOUR_MS)
    medic.advance(HOUR_MS + MINUTE_MS)
    mute = web.service.mute
    assert afresh(medic, web).service.mute == mute


def test_an_inactive_service_is_owed_nothing():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=HOUR_MS)
    web.edit(active=False)
    sign = web.service.last_sign
    medic.advance(DAY_MS)
    afresh(medic, web)
    assert web.service.status is Status.INACTIVE
    assert web.service.last_sign == sign
