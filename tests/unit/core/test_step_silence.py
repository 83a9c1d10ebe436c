"""Late: when, once, and how it ends (CONTRACT 2.1 to 2.5)."""

from __future__ import annotations

import pytest

from medic.core.deadline import late_deadline, missed_intervals
from medic.core.effects import ChangeStatus, CloseAlert, CreditSigns, Notify, OpenAlert, RecordHeartbeat
from medic.core.policy import Defaults
from medic.core.ring import NO_SIGN
from medic.core.status import ClosedReason, NotificationKind, OpenedReason, Status
from medic.core.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, DurationMs
from tests.stories.simulation import BEGINNING, SimulatedMedic


def kinds(effects):
    return [type(effect) for effect in effects]


def test_a_registered_service_is_new_and_waits_one_interval_and_its_grace():
    web = SimulatedMedic().register(interval_ms=MINUTE_MS, grace_ms=5 * SECOND_MS)
    assert web.status is Status.NEW
    assert web.deadline_in() == 65 * SECOND_MS


def test_the_first_heartbeat_makes_it_up():
    web = SimulatedMedic().register()
    assert kinds(web.beat()) == [RecordHeartbeat, ChangeStatus]
    assert web.status is Status.UP


def test_a_heartbeat_of_a_service_that_is_up_is_one_record():
    web = SimulatedMedic().register()
    web.beat()
    for status in ("UP", "COMPLETED", "STARTED", "anything else"):
        assert kinds(web.beat(status)) == [RecordHeartbeat]
    assert web.service.heartbeats_total == 5


def test_each_heartbeat_moves_the_deadline():
    medic = SimulatedMedic()
    web = medic.register()
    for _ in range(3):
        medic.advance(40 * SECOND_MS)
        web.beat()
        assert web.deadline_in() == MINUTE_MS
    assert web.told == []


def test_a_service_goes_late_at_its_deadline_and_not_a_millisecond_before():
    medic = SimulatedMedic()
    web = medic.register(grace_ms=5 * SECOND_MS)
    web.beat()
    medic.advance(65 * SECOND_MS - 1)
    assert web.status is Status.UP
    medic.advance(1)
    assert web.status is Status.LATE
    assert web.told == ["trigger"]


def test_transition_stands_before_the_alert_and_the_alert_before_what_is_told():
    medic = SimulatedMedic()
    web = medic.register()
    web.beat()
    medic.jump(MINUTE_MS)
    assert kinds(web.expire()) == [ChangeStatus, OpenAlert, Notify]
    assert kinds(web.beat()) == [RecordHeartbeat, ChangeStatus, CloseAlert, Notify]


def test_an_alert_has_the_id_of_the_event_that_opened_it_and_what_the_service_had_then():
    medic = SimulatedMedic()
    web = medic.register(priority="p1", team="payments", runbook="https://example.com/web")
    web.beat()
    medic.jump(MINUTE_MS + 250)
    _, opened, notify = web.expire()
    alert = opened.alert
    assert alert.alert_id == medic.draw_id() - 1
    assert (alert.priority, alert.team, alert.runbook) == ("p1", "payments", "https://example.com/web")
    assert (alert.opened_at, alert.late_since) == (medic.at, medic.at - 250)
    notification = notify.notification
    assert notification.notification_id == f"{alert.alert_id}.0"
    assert notification.key == "medic-web"
    assert (notification.reason, notification.last_seen) == (OpenedReason.LATE, BEGINNING)
    assert (notification.interval_ms, notification.threshold) == (MINUTE_MS, 1)


def test_a_silence_is_told_once_however_long_it_lasts():
    medic = SimulatedMedic()
    web = medic.register(renotify_ms=0)
    web.beat()
    medic.advance(30 * DAY_MS)
    assert web.told == ["trigger"]
    assert web.deadline_in() is None


def test_the_next_heartbeat_closes_the_alert_and_says_how_long_it_lasted():
    medic = SimulatedMedic()
    web = medic.register()
    web.beat()
    medic.advance(10 * MINUTE_MS)
    *_, closed, notify = web.beat()
    assert (closed.reason, closed.cycle) == (ClosedReason.RECOVERED, 10)
    assert web.status is Status.UP
    assert web.told == ["trigger", "resolve"]
    assert notify.notification.lasted_ms == 9 * MINUTE_MS
    assert notify.notification.closed_reason == "recovered"
    assert notify.notification.notification_id == f"{closed.alert.alert_id}.1"


@pytest.mark.parametrize("status", ["UP", "COMPLETED", "STARTED", "DEGRADED", "whatever", "up"])
def test_every_sign_of_life_ends_a_silence(status):
    medic = SimulatedMedic()
    web = medic.register()
    web.beat()
    medic.advance(2 * MINUTE_MS)
    web.beat(status)
    assert web.history == ["late", "recovered"]


def test_a_firing_for_a_deadline_that_has_moved_means_nothing():
    medic = SimulatedMedic()
    web = medic.register()
    web.beat()
    stale = web.next_deadline()
    medic.advance(30 * SECOND_MS)
    web.beat()
    medic.jump(30 * SECOND_MS)
    assert web.expire(stale) == ()


def test_a_heartbeat_that_is_read_before_the_deadline_is_decided_wins():
    medic = SimulatedMedic()
    web = medic.register()
    web.beat()
    medic.jump(MINUTE_MS + 5)
    web.beat()
    assert web.expire() == ()
    assert web.told == []


def test_missed_intervals_count_from_the_opening_on():
    medic = SimulatedMedic()
    web = medic.register(renotify_ms=0)
    web.beat()
    assert missed_intervals(web.service, medic.sighted) == 0
    medic.advance(MINUTE_MS)
    assert missed_intervals(web.service, medic.sighted) == 1
    medic.advance(2 * MINUTE_MS + 1)
    assert missed_intervals(web.service, medic.sighted) == 3


# ------------------------------------------------------------------------------------------------ never heard of


def test_a_service_never_heard_of_has_the_patience_of_the_environment():
    medic = SimulatedMedic(Defaults(first_heartbeat_ms=DurationMs(15 * MINUTE_MS)))
    web = medic.register()
    medic.advance(15 * MINUTE_MS - 1)
    assert web.status is Status.NEW
    medic.advance(1)
    assert web.history == ["never_heard"]
    assert web.status is Status.LATE


def test_its_interval_counts_where_that_is_longer():
    medic = SimulatedMedic(Defaults(first_heartbeat_ms=DurationMs(15 * MINUTE_MS)))
    assert medic.register(interval_ms=HOUR_MS).deadline_in() == HOUR_MS


def test_the_patience_ends_with_the_first_heartbeat():
    medic = SimulatedMedic(Defaults(first_heartbeat_ms=DurationMs(15 * MINUTE_MS)))
    web = medic.register()
    web.beat()
    assert web.deadline_in() == MINUTE_MS


def test_an_edit_does_not_begin_the_patience_anew():
    medic = SimulatedMedic(Defaults(first_heartbeat_ms=DurationMs(15 * MINUTE_MS)))
    web = medic.register()
    medic.advance(14 * MINUTE_MS)
    web.edit(interval_ms=DurationMs(2 * MINUTE_MS))
    assert web.deadline_in() == 2 * MINUTE_MS


def test_a_first_heartbeat_is_never_what_makes_a_service_late():
    """With a threshold the signs of registration are long past when the first real one comes: it counts for all."""
    medic = SimulatedMedic(Defaults(first_heartbeat_ms=DurationMs(15 * MINUTE_MS)))
    web = medic.register(threshold=3)
    medic.advance(10 * MINUTE_MS)
    assert CreditSigns in kinds(web.beat())
    assert web.deadline_in() == MINUTE_MS


def test_a_first_heartbeat_in_time_counts_as_one():
    medic = SimulatedMedic()
    web = medic.register(threshold=3)
    medic.advance(30 * SECOND_MS)
    assert CreditSigns not in kinds(web.beat())
    assert web.deadline_in() == 30 * SECOND_MS


# ------------------------------------------------------------------------------------------------------ threshold


def test_with_a_threshold_the_deadline_is_counted_from_the_kth_newest_sign():
    medic = SimulatedMedic()
    web = medic.register(threshold=3)
    for _ in range(6):
        medic.advance(10 * SECOND_MS)
        web.beat()
    assert web.deadline_in() == 40 * SECOND_MS
    medic.advance(40 * SECOND_MS)
    assert web.history == ["late"]


def test_with_a_threshold_a_service_that_still_beats_too_rarely_is_late():
    medic = SimulatedMedic()
    web = medic.register(threshold=3)
    for _ in range(3):
        web.beat()
        medic.advance(29 * SECOND_MS)
    assert web.status is Status.LATE


def test_recovery_takes_threshold_signs_within_one_interval():
    medic = SimulatedMedic()
    web = medic.register(threshold=3)
    web.beat()
    medic.advance(10 * MINUTE_MS)
    web.beat()
    medic.advance(40 * SECOND_MS)
    web.beat()
    medic.advance(20 * SECOND_MS)
    web.beat()
    assert web.status is Status.LATE, "the first of the three has just left the interval"
    medic.advance(20 * SECOND_MS)
    web.beat()
    assert web.history == ["late", "recovered"]


def test_a_sign_that_comes_too_late_to_keep_the_promise_is_one_sign():
    medic = SimulatedMedic()
    web = medic.register(threshold=3)
    for _ in range(3):
        web.beat("DEGRADED")
    medic.jump(100 * SECOND_MS)
    web.beat("DEGRADED")
    assert web.deadline_in() < 0
    web.expire()
    assert web.history == ["late"]


# ------------------------------------------------------------------------------------------------------- reported


@pytest.mark.parametrize(("word", "reason"), [("DOWN", "reported_down"), ("failed", "reported_failed")])
def test_a_report_opens_an_alert_at_once(word, reason):
    web = SimulatedMedic().register()
    web.beat()
    web.beat(word)
    assert web.history == [reason]
    assert web.status is Status.DOWN
    assert web.told == ["trigger"]
    assert web.service.alert.reported


def test_a_report_may_be_the_first_thing_heard_of_a_service():
    web = SimulatedMedic().register()
    web.beat("DOWN")
    assert web.status is Status.DOWN


def test_reports_that_repeat_only_count():
    web = SimulatedMedic().register()
    web.beat("DOWN")
    assert [kinds(web.beat("DOWN")), kinds(web.beat("FAILED"))] == [[RecordHeartbeat], [RecordHeartbeat]]
    assert web.service.heartbeats_total == 3


def test_a_report_clears_the_signs_before_it():
    web = SimulatedMedic().register(threshold=2)
    web.beat()
    web.beat("DOWN")
    assert web.service.last_sign == NO_SIGN
    assert list(web.service.ring) == [NO_SIGN, NO_SIGN]
    web.beat()
    assert web.status is Status.DOWN
    web.beat()
    assert web.status is Status.UP


def test_no_alert_for_silence_stands_on_top_of_a_report():
    medic = SimulatedMedic()
    web = medic.register(renotify_ms=0)
    web.beat("DOWN")
    medic.advance(DAY_MS)
    assert web.history == ["reported_down"]


@pytest.mark.parametrize("threshold", [1, 3])
def test_started_never_closes_an_alert_that_a_report_opened(threshold):
    web = SimulatedMedic().register(threshold=threshold)
    web.beat("FAILED")
    for _ in range(5):
        web.beat("STARTED")
    assert web.status is Status.DOWN
    assert web.service.last_sign == NO_SIGN
    for _ in range(threshold):
        web.beat("COMPLETED")
    assert web.status is Status.UP


@pytest.mark.parametrize("word", ["UP", "COMPLETED", "DEGRADED", "fine"])
def test_other_signs_close_it(word):
    web = SimulatedMedic().register()
    web.beat("DOWN")
    web.beat(word)
    assert web.history == ["reported_down", "recovered"]


def test_a_report_during_a_silence_amends_the_alert_that_stands():
    medic = SimulatedMedic()
    web = medic.register()
    web.beat()
    medic.advance(MINUTE_MS)
    web.beat("DOWN")
    assert web.history == ["late", "reported"]
    assert web.status is Status.DOWN
    assert web.service.alert.reason is OpenedReason.LATE
    assert web.told == ["trigger"]
    web.beat("STARTED")
    assert web.status is Status.DOWN


# ------------------------------------------------------------------------------------------------------- degraded


def test_degraded_is_alive_and_told_once_on_entering_and_on_leaving():
    medic = SimulatedMedic()
    web = medic.register()
    web.beat()
    for word in ("DEGRADED", "DEGRADED", "STARTED", "UP", "UP"):
        medic.advance(10 * SECOND_MS)
        web.beat(word)
    assert web.told == ["degraded", "degraded_over"]
    assert web.status is Status.UP


def test_started_says_nothing_of_how_the_service_is():
    web = SimulatedMedic().register()
    web.beat("DEGRADED")
    web.beat("STARTED")
    assert web.status is Status.DEGRADED


def test_a_degraded_service_that_falls_silent_is_late_and_nothing_extra_is_told():
    medic = SimulatedMedic()
    web = medic.register()
    web.beat("DEGRADED")
    medic.advance(MINUTE_MS)
    assert web.told == ["degraded", "trigger"]
    web.beat("UP")
    assert web.told == ["degraded", "trigger", "resolve"]


def test_a_service_that_comes_back_degraded_has_recovered_and_is_told_to_be_degraded():
    medic = SimulatedMedic()
    web = medic.register()
    web.beat()
    medic.advance(MINUTE_MS)
    web.beat("DEGRADED")
    assert web.told == ["trigger", "resolve", "degraded"]
    assert web.status is Status.DEGRADED
    assert web.notifications[-1].alert_id is None
    assert web.notifications[-1].kind is NotificationKind.DEGRADED


# ------------------------------------------------------------------------------------------------- recovery_seconds


def test_an_alert_waits_until_the_service_was_well_for_recovery_seconds():
    medic = SimulatedMedic()
    web = medic.register(recovery_ms=150 * SECOND_MS)
    web.beat()
    medic.advance(2 * MINUTE_MS)
    for _ in range(5):
        web.beat()
        assert web.status is Status.LATE
        medic.advance(30 * SECOND_MS - 1)
        medic.advance(1)
    assert web.history == ["late", "well", "recovered"]
    assert web.status is Status.UP


def test_the_signs_running_out_meanwhile_begins_it_anew():
    medic = SimulatedMedic()
    web = medic.register(recovery_ms=150 * SECOND_MS)
    web.beat()
    medic.advance(2 * MINUTE_MS)
    web.beat()
    medic.advance(2 * MINUTE_MS)
    assert web.history == ["late", "well", "unwell"]
    assert web.told == ["trigger"]
    assert late_deadline(web.service) is None


@pytest.mark.parametrize(
    ("opening", "history"), [("DOWN", ["reported_down", "well", "unwell"]), (None, ["late", "well", "reported"])]
)
def test_a_report_meanwhile_begins_it_anew(opening, history):
    medic = SimulatedMedic()
    web = medic.register(recovery_ms=HOUR_MS)
    web.beat()
    if opening:
        web.beat(opening)
    medic.advance(MINUTE_MS)
    web.beat()
    web.beat("DOWN")
    assert web.history == history
    assert web.service.alert.well_since is None


def test_a_recovery_that_is_found_late_happened_only_if_the_signs_lasted():
    medic = SimulatedMedic()
    web = medic.register(recovery_ms=50 * SECOND_MS)
    web.beat()
    medic.advance(2 * MINUTE_MS)
    web.beat()
    medic.jump(5 * MINUTE_MS)
    web.expire()
    assert web.history == ["late", "well", "recovered", "late"], "well for 50 s, silent again after 60"

    medic = SimulatedMedic()
    web = medic.register(recovery_ms=70 * SECOND_MS)
    web.beat()
    medic.advance(2 * MINUTE_MS)
    web.beat()
    medic.jump(5 * MINUTE_MS)
    web.expire()
    assert web.history == ["late", "well", "unwell"]


def test_a_service_that_said_degraded_while_its_alert_waited_is_degraded_afterwards():
    medic = SimulatedMedic()
    web = medic.register(recovery_ms=30 * SECOND_MS)
    web.beat("DOWN")
    web.beat("DEGRADED")
    medic.advance(30 * SECOND_MS)
    assert web.status is Status.DEGRADED
    assert web.told == ["trigger", "resolve", "degraded"]
