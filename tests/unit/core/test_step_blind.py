"""Medic's own outage is nobody else's (CONTRACT 2.12, HARD-CASES H1 to H3)."""

from __future__ import annotations

import pytest

from medic.core.blind import BLIND_LOG_SPANS_MAX, SIGHTED_ALWAYS, BlindLog, BlindSpan
from medic.core.deadline import expected_within, was_due_in
from medic.core.effects import CreditSigns
from medic.core.status import Status
from medic.core.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, DurationMs, InstantMs, SightedMs
from tests.stories.simulation import BEGINNING, SimulatedMedic


def daily_job(medic, **columns):
    """A job that beats each night at the same time, heard of for three nights; it is a minute after the last."""
    job = medic.register("job", interval_ms=25 * HOUR_MS, renotify_ms=0, **columns)
    for _ in range(3):
        job.beat("COMPLETED")
        medic.advance(DAY_MS)
    job.beat("COMPLETED")
    medic.advance(MINUTE_MS)
    return job


def fresh_intervals(service):
    return [effect for effect in service.effects if isinstance(effect, CreditSigns) and effect.fresh_interval]


def test_a_deadline_moves_by_the_blind_time():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=HOUR_MS)
    web.beat()
    medic.advance(30 * MINUTE_MS)
    medic.go_blind(8 * HOUR_MS)
    assert web.deadline_in() == 30 * MINUTE_MS - 1
    assert not medic.is_anything_due()


def lose_the_next(medic, job):
    """Be blind for an hour when the next heartbeat comes; it is a minute after the one that follows."""
    medic.advance(DAY_MS - 30 * MINUTE_MS)
    span = medic.go_blind(HOUR_MS)
    medic.advance(DAY_MS - 31 * MINUTE_MS)
    return span


def test_a_daily_heartbeat_lost_in_an_outage_gives_one_fresh_interval():
    medic = SimulatedMedic()
    job = daily_job(medic)
    span = lose_the_next(medic, job)
    assert [effect.since for effect in fresh_intervals(job)] == [span.sighted]
    assert job.status is Status.UP
    job.beat("COMPLETED")
    medic.advance(DAY_MS)
    assert job.told == []


def test_the_fresh_interval_is_one_a_silence():
    medic = SimulatedMedic()
    job = daily_job(medic)
    lose_the_next(medic, job)
    medic.advance(2 * DAY_MS)
    assert len(fresh_intervals(job)) == 1
    assert job.history == ["late"]


def test_a_real_sign_of_life_earns_the_next_one():
    """And the silence with the lost heartbeat in it is not taken for the job's rhythm."""
    medic = SimulatedMedic()
    job = daily_job(medic)
    for lost in (1, 2, 3):
        lose_the_next(medic, job)
        assert len(fresh_intervals(job)) == lost
        job.beat("COMPLETED")
        assert job.service.gap_ms == DAY_MS
        medic.advance(MINUTE_MS)
    assert job.told == []


def test_a_silence_that_was_told_is_not_the_services_rhythm():
    medic = SimulatedMedic()
    job = daily_job(medic)
    medic.advance(3 * DAY_MS)
    job.beat("COMPLETED")
    assert job.service.gap_ms == DAY_MS


def test_a_crash_loop_over_a_dead_service_does_not_keep_medic_quiet():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=MINUTE_MS)
    medic.advance(30 * SECOND_MS)
    web.beat()
    died = medic.at
    while not web.told:
        medic.go_blind(5 * SECOND_MS)
        medic.advance(30 * SECOND_MS)
        assert medic.at < died + 4 * MINUTE_MS
    assert web.told == ["trigger"]
    assert len(fresh_intervals(web)) <= 1


def test_a_heartbeat_that_was_not_due_in_the_outage_excuses_nothing():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=10 * MINUTE_MS)
    for _ in range(3):
        web.beat()
        medic.advance(MINUTE_MS)
    medic.advance(4 * MINUTE_MS)
    medic.go_blind(2 * MINUTE_MS)
    medic.advance(10 * MINUTE_MS)
    assert web.history == ["late"]
    assert fresh_intervals(web) == []


def test_a_fresh_interval_that_would_be_over_already_is_none():
    medic = SimulatedMedic()
    job = daily_job(medic)
    medic.advance(DAY_MS - 2 * MINUTE_MS)
    medic.go_blind(10 * MINUTE_MS)
    medic.jump(3 * DAY_MS)
    job.expire()
    assert job.history == ["late"]


def test_a_fresh_interval_that_ends_in_this_very_instant_is_none():
    medic = SimulatedMedic()
    web = medic.register()
    web.beat()
    medic.advance(50 * SECOND_MS)
    span = medic.go_blind(HOUR_MS)
    medic.jump(span.sighted + MINUTE_MS - medic.sighted)
    web.expire()
    assert fresh_intervals(web) == []
    assert web.history == ["late"]


def test_another_outage_gives_no_second_one_even_if_an_edit_made_it_count():
    medic = SimulatedMedic()
    job = daily_job(medic)
    medic.advance(DAY_MS - 30 * MINUTE_MS)
    medic.go_blind(HOUR_MS)
    medic.advance(2 * HOUR_MS)
    assert len(fresh_intervals(job)) == 1
    job.edit(grace_ms=DurationMs(10 * HOUR_MS))
    medic.advance(2 * HOUR_MS)
    medic.go_blind(MINUTE_MS)
    medic.advance(2 * DAY_MS)
    assert len(fresh_intervals(job)) == 1
    assert job.history == ["late"]


def test_a_service_never_heard_of_has_no_expected_heartbeat():
    medic = SimulatedMedic()
    web = medic.register()
    assert expected_within(web.service) is None
    medic.advance(50 * SECOND_MS)
    medic.go_blind(HOUR_MS)
    medic.advance(10 * SECOND_MS)
    assert web.history == ["never_heard"]


def test_a_reported_failure_and_a_mute_are_untouched_by_blind_time():
    medic = SimulatedMedic()
    web = medic.register(renotify_ms=0)
    web.beat("DOWN")
    web.mute(DAY_MS)
    medic.go_blind(HOUR_MS)
    medic.advance(HOUR_MS)
    assert web.status is Status.DOWN
    assert web.service.mute is not None


def test_what_arrives_after_the_outage_is_later_than_it():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=MINUTE_MS)
    span = medic.go_blind(HOUR_MS)
    web.beat()
    assert web.service.last_sign > span.sighted


# ------------------------------------------------------------------------------------------- what was to be expected


def test_the_next_heartbeat_is_expected_after_the_last_gap_give_or_take_the_grace():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=HOUR_MS, grace_ms=MINUTE_MS)
    web.beat()
    assert expected_within(web.service) == (BEGINNING + 59 * MINUTE_MS, BEGINNING + 61 * MINUTE_MS)
    medic.advance(10 * MINUTE_MS)
    web.beat()
    assert expected_within(web.service) == (medic.at + 9 * MINUTE_MS, medic.at + 11 * MINUTE_MS)


def test_it_is_never_expected_before_the_last_one():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=MINUTE_MS, grace_ms=HOUR_MS)
    medic.go_blind(HOUR_MS)
    web.beat()
    assert expected_within(web.service)[0] == medic.at
    medic.advance(MINUTE_MS + HOUR_MS)
    assert web.status in {Status.UP, Status.LATE}


def test_how_long_a_run_takes_is_no_gap():
    """A job says STARTED each night at two and COMPLETED ten minutes later."""
    medic = SimulatedMedic()
    job = medic.register("job", interval_ms=DAY_MS)
    for night in range(3):
        job.beat("STARTED")
        medic.advance(10 * MINUTE_MS)
        job.beat("COMPLETED" if night else "FAILED")
        medic.advance(DAY_MS - 10 * MINUTE_MS)
    assert job.service.gap_ms == DAY_MS - 10 * MINUTE_MS
    assert expected_within(job.service) == (medic.at, medic.at)


def test_a_wall_clock_set_back_makes_no_negative_gap():
    medic = SimulatedMedic()
    web = medic.register()
    web.beat()
    medic.step_wall(-HOUR_MS)
    web.beat()
    assert web.service.gap_ms == 0
    assert web.deadline_in() == MINUTE_MS


@pytest.mark.parametrize(
    ("from_minute", "to_minute", "is_due"),
    [(0, 58, False), (0, 59, True), (60, 60, True), (61, 90, True), (62, 90, False)],
)
def test_whom_a_blind_span_concerns(from_minute, to_minute, is_due):
    medic = SimulatedMedic()
    web = medic.register(interval_ms=HOUR_MS, grace_ms=MINUTE_MS)
    web.beat()
    span = BlindSpan(
        InstantMs(BEGINNING + from_minute * MINUTE_MS),
        InstantMs(BEGINNING + to_minute * MINUTE_MS),
        medic.sighted,
        "down",
    )
    assert was_due_in(web.service, span) is is_due


def test_a_blind_span_concerns_no_service_that_is_down_inactive_or_was_excused_already():
    medic = SimulatedMedic()
    web = medic.register()
    web.beat()
    everything = BlindSpan(InstantMs(0), InstantMs(BEGINNING * 2), SightedMs(0), "down")
    assert was_due_in(web.service, everything)
    web.service.fresh_interval_given = web.twin.fresh_interval_given = True
    assert not was_due_in(web.service, everything)
    web.beat()
    assert was_due_in(web.service, everything)
    web.beat("DOWN")
    assert not was_due_in(web.service, everything)
    web.edit(active=False)
    assert not was_due_in(web.service, everything)
    assert not was_due_in(medic.register("never").service, everything)


# ---------------------------------------------------------------------------------------------------- the blind log


def spans(*minutes):
    return [BlindSpan(InstantMs(begin), InstantMs(end), SightedMs(begin), "down") for begin, end in minutes]


@pytest.mark.parametrize(
    ("earliest", "latest", "found"),
    [(0, 9, None), (0, 10, 10), (20, 20, 10), (21, 29, None), (15, 35, 30), (40, 99, 30), (41, 99, None), (0, 99, 30)],
)
def test_the_newest_span_that_shares_an_instant_is_found(earliest, latest, found):
    log = BlindLog(tuple(spans((10, 20), (30, 40))))
    span = log.span_over(InstantMs(earliest), InstantMs(latest))
    assert (None if span is None else span.begun_at) == found


def test_the_log_forgets_the_oldest_spans():
    log = SIGHTED_ALWAYS
    for span in spans(*((begin, begin + 1) for begin in range(BLIND_LOG_SPANS_MAX + 5))):
        log = log.with_span(span)
    assert len(log.spans) == BLIND_LOG_SPANS_MAX
    assert log.spans[0].begun_at == 5


def test_a_span_has_a_length_that_is_never_negative():
    assert spans((10, 25))[0].duration_ms == 15
    assert spans((25, 10))[0].duration_ms == 0
