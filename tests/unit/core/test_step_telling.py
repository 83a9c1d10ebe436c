"""Who is told what, and who is not: mutes, reminders, flapping, acknowledgements, tests (CONTRACT 2.6 to 2.8)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medic.core.deadline import has_wall_timer
from medic.core.effects import AmendAlert, EndMute, Notify, SetMute
from medic.core.events import NobodyTold
from medic.core.fold import fold
from medic.core.policy import Defaults
from medic.core.status import ClosedReason, NotificationKind, Status
from medic.core.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, DurationMs, InstantMs
from tests.stories.simulation import PROMPT, SimulatedMedic


def late_service(**columns):
    """A service whose alert has just opened, and its Medic."""
    medic = SimulatedMedic(columns.pop("defaults", PROMPT))
    web = medic.register(**columns)
    web.beat()
    medic.advance(web.deadline_in())
    assert web.status is Status.LATE
    return medic, web


# ----------------------------------------------------------------------------------------------------------- muting


def test_an_alert_opens_while_muted_and_nobody_is_told():
    medic = SimulatedMedic()
    web = medic.register()
    web.mute(HOUR_MS)
    medic.advance(2 * MINUTE_MS)
    assert web.history == ["never_heard"]
    assert web.told == []
    assert not web.service.alert.told


def test_what_opens_and_closes_within_a_mute_is_never_told():
    medic = SimulatedMedic()
    web = medic.register(priority="p1")
    web.beat()
    web.mute(HOUR_MS)
    medic.advance(2 * MINUTE_MS)
    web.beat("DOWN")
    web.beat()
    web.beat("DEGRADED")
    web.beat()
    web.unmute()
    assert web.told == ["mute_ended"]


def test_at_the_end_of_a_mute_what_is_still_down_is_told_as_an_alert():
    medic = SimulatedMedic()
    web = medic.register()
    web.mute(HOUR_MS)
    medic.advance(HOUR_MS)
    assert web.told == ["mute_ended", "trigger"]
    assert web.service.mute is None
    ended, trigger = web.notifications
    assert (ended.alert_id, ended.by) == (None, "")
    assert ended.notification_id.endswith(".m")
    assert trigger.notification_id == f"{web.service.alert.alert_id}.0"
    web.beat()
    assert web.told[-1] == "resolve"


def test_what_is_still_degraded_at_the_end_of_a_mute_is_told_then_so_that_its_end_is_not_the_first_anybody_hears():
    medic = SimulatedMedic()
    web = medic.register()
    web.beat()
    web.mute(HOUR_MS)
    web.beat("DEGRADED")
    assert web.told == []
    web.unmute()
    assert web.told == ["mute_ended", "degraded"]
    ended, degraded = web.notifications
    assert ended.notification_id.removesuffix(".m") == degraded.notification_id.removesuffix(".d")
    web.beat()
    assert web.told == ["mute_ended", "degraded", "degraded_over"]


def test_an_alert_told_before_the_mute_is_told_again_after_it():
    medic, web = late_service()
    web.mute(HOUR_MS)
    medic.advance(HOUR_MS)
    assert web.told == ["trigger", "mute_ended", "trigger"]


def test_a_mute_without_end_lasts_until_it_is_ended_by_hand():
    medic = SimulatedMedic()
    web = medic.register()
    web.mute(None)
    assert not has_wall_timer(web.service)
    medic.advance(400 * DAY_MS)
    assert web.told == []
    effects = web.unmute()
    assert [type(effect) for effect in effects] == [EndMute, AmendAlert, Notify, Notify]
    assert effects[0].by == "ada"
    assert web.told == ["mute_ended", "trigger"]


def test_muting_again_begins_anew():
    medic = SimulatedMedic()
    web = medic.register()
    web.beat()
    web.mute(HOUR_MS)
    medic.advance(30 * MINUTE_MS)
    [effect] = web.mute(HOUR_MS, reason="still at it")
    assert isinstance(effect, SetMute)
    medic.advance(31 * MINUTE_MS)
    assert web.service.mute.reason == "still at it"
    medic.advance(29 * MINUTE_MS)
    assert web.service.mute is None


def test_a_mute_survives_recovery_and_deactivation():
    medic = SimulatedMedic()
    web = medic.register()
    web.mute(DAY_MS)
    medic.advance(2 * MINUTE_MS)
    web.beat()
    assert web.service.mute is not None
    web.edit(active=False)
    assert web.service.mute is not None
    medic.advance(DAY_MS)
    assert web.told == ["mute_ended"]


def test_the_end_is_told_wherever_the_beginning_was_muted_or_not():
    _, web = late_service()
    web.mute(HOUR_MS)
    web.beat()
    assert web.told == ["trigger", "resolve"]
    assert web.notifications[-1].muted


def test_what_reached_nobody_is_told_again_as_an_alert():
    medic, web = late_service()
    first = web.notifications[-1]
    web.take(NobodyTold(medic.at, medic.sighted))
    assert web.told == ["trigger", "trigger"]
    again = web.notifications[-1]
    assert again.key == first.key
    assert again.notification_id != first.notification_id


def test_what_was_never_told_does_not_reach_anybody_by_asking():
    medic, web = late_service()
    told = len(web.told)
    web.mute(HOUR_MS)
    web.take(NobodyTold(medic.at, medic.sighted))
    web.unmute()
    web.beat()
    web.take(NobodyTold(medic.at, medic.sighted))
    assert web.told[told:] == ["mute_ended", "trigger", "resolve"]


def test_unmuting_what_is_not_muted_has_no_effect():
    web = SimulatedMedic().register()
    assert web.unmute() == ()


def test_the_wall_clock_alone_ends_a_mute():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=30 * DAY_MS)
    web.mute(HOUR_MS)
    medic.go_blind(2 * HOUR_MS)
    assert web.deadline_in() <= 0, "a mute whose end passed meanwhile ends at once"
    medic.advance(0)
    assert web.service.mute is None


def test_a_wall_clock_set_back_keeps_the_mute():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=30 * DAY_MS)
    web.mute(HOUR_MS)
    medic.jump(HOUR_MS)
    medic.step_wall(-10 * MINUTE_MS)
    assert web.expire() == ()
    assert web.deadline_in() == 10 * MINUTE_MS


def test_unmuted_and_recovered_in_one_instant_recovers_first():
    medic = SimulatedMedic()
    web = medic.register(recovery_ms=30 * SECOND_MS)
    web.beat()
    web.mute(2 * MINUTE_MS + 30 * SECOND_MS)
    medic.advance(2 * MINUTE_MS)
    web.beat()
    medic.advance(30 * SECOND_MS)
    assert web.history == ["late", "well", "recovered"]
    assert web.told == ["mute_ended"]


# -------------------------------------------------------------------------------------------------------- reminders


def test_reminders_come_every_renotify_minutes():
    medic, web = late_service(renotify_ms=10 * MINUTE_MS)
    medic.advance(35 * MINUTE_MS)
    assert web.told == ["trigger", "reminder", "reminder", "reminder"]
    assert web.service.alert.reminders == 3
    assert [notification.notification_id.split(".")[1] for notification in web.notifications] == ["0", "1", "2", "3"]


def test_no_reminders_where_none_are_wanted():
    medic, web = late_service(renotify_ms=0)
    assert not has_wall_timer(web.service)
    medic.advance(10 * DAY_MS)
    assert web.told == ["trigger"]


def test_missed_reminders_are_not_made_up():
    medic, web = late_service(renotify_ms=10 * MINUTE_MS)
    medic.go_blind(55 * MINUTE_MS)
    medic.advance(0)
    assert web.told == ["trigger", "reminder"]
    assert web.service.alert.reminders == 5
    assert web.deadline_in() == 5 * MINUTE_MS


def test_an_acknowledged_alert_is_not_repeated():
    medic, web = late_service(renotify_ms=10 * MINUTE_MS)
    amended, notify = web.acknowledge(by="grace", note="disk swap")
    assert (amended.change, amended.by, amended.note) == ("acknowledged", "grace", "disk swap")
    assert (notify.notification.by, notify.notification.note) == ("grace", "disk swap")
    assert web.service.alert.acknowledged_by == "grace"
    medic.advance(DAY_MS)
    assert web.told == ["trigger", "acknowledge"]
    assert web.acknowledge(by="ada") == ()


def test_acknowledging_what_nobody_was_told_tells_nobody():
    web = SimulatedMedic().register()
    web.mute(None)
    web.beat("DOWN")
    assert [type(effect) for effect in web.acknowledge()] == [AmendAlert]


def test_acknowledging_and_resolving_without_an_alert_have_no_effect():
    web = SimulatedMedic().register()
    assert (web.acknowledge(), web.resolve()) == ((), ())


def test_no_reminders_while_muted_and_those_of_that_time_are_not_made_up():
    medic, web = late_service(renotify_ms=10 * MINUTE_MS)
    web.mute(35 * MINUTE_MS)
    medic.advance(35 * MINUTE_MS)
    assert web.told == ["trigger", "mute_ended", "trigger"]
    medic.advance(5 * MINUTE_MS)
    assert web.told[3:] == ["reminder"]


def test_a_changed_renotify_applies_from_then_on():
    medic, web = late_service(renotify_ms=HOUR_MS)
    medic.advance(25 * MINUTE_MS)
    web.edit(renotify_ms=DurationMs(10 * MINUTE_MS))
    assert web.told == ["trigger"]
    medic.advance(5 * MINUTE_MS)
    assert web.told == ["trigger", "reminder"]
    web.edit(renotify_ms=DurationMs(0))
    assert web.service.alert.reminders == 0
    medic.advance(DAY_MS)
    assert web.told == ["trigger", "reminder"]


def test_another_default_for_renotify_after_a_restart_delays_no_reminder():
    medic, web = late_service(defaults=replace(PROMPT, renotify_ms=DurationMs(10 * MINUTE_MS)))
    medic.advance(2 * HOUR_MS)
    web.service.policy = web.service.row.policy(replace(PROMPT, renotify_ms=DurationMs(45 * MINUTE_MS)))
    assert web.deadline_in() == 15 * MINUTE_MS


# --------------------------------------------------------------------------------------------------------- flapping


def flap(medic, web, times):
    for _ in range(times):
        web.beat("DOWN")
        medic.advance(MINUTE_MS // 2)
        web.beat()
        medic.advance(MINUTE_MS // 2)


def test_the_fourth_opening_within_an_hour_is_flapping_and_told_as_such():
    medic = SimulatedMedic()
    web = medic.register(renotify_ms=10 * MINUTE_MS)
    flap(medic, web, 3)
    assert web.told == ["trigger", "resolve"] * 3
    web.beat("DOWN")
    assert web.service.alert.flapping
    assert web.notifications[-1].flapping
    assert web.told == ["trigger", "resolve"] * 3 + ["trigger"]


def test_a_flapping_alert_is_quiet_until_the_service_was_well_for_ten_minutes():
    medic = SimulatedMedic()
    web = medic.register(renotify_ms=5 * MINUTE_MS)
    flap(medic, web, 8)
    assert len(web.told) == 7
    for _ in range(19):  # the last of its ups was half a minute ago
        assert web.status is Status.DOWN
        web.beat()
        medic.advance(30 * SECOND_MS)
    assert web.status is Status.UP
    assert web.told == ["trigger", "resolve"] * 4
    assert web.history[-2:] == ["well", "recovered"]


def test_three_intervals_count_where_they_are_longer():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=HOUR_MS)
    flap(medic, web, 4)
    for _ in range(4):
        web.beat()
        medic.advance(50 * MINUTE_MS)
    assert web.status is Status.UP
    assert web.service.policy.flap_well_ms == 3 * HOUR_MS


def test_openings_further_apart_are_not_flapping():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=DAY_MS)
    for _ in range(10):
        web.beat("DOWN")
        web.beat()
        medic.advance(20 * MINUTE_MS)
    assert web.told == ["trigger", "resolve"] * 10
    assert len(web.service.openings) == 3


@pytest.mark.parametrize(("openings", "flapping_from"), [(1, 2), (5, 6), (0, None)])
def test_how_many_openings_are_too_many_is_a_setting(openings, flapping_from):
    medic = SimulatedMedic(replace(PROMPT, flap_openings=openings))
    web = medic.register()
    for opening in range(1, 9):
        web.beat("DOWN")
        if opening == flapping_from:
            assert web.service.alert.flapping
            return
        assert not web.service.alert.flapping
        web.beat()
    assert web.service.openings == ()


def test_a_service_that_opens_without_end_keeps_only_the_openings_that_count():
    medic = SimulatedMedic()
    web = medic.register()
    for _ in range(50):
        web.beat("DOWN")
        web.resolve()
    assert len(web.service.openings) == Defaults().flap_openings + 1


def test_a_flapping_alert_says_nothing_more_at_the_end_of_a_mute_but_once_if_untold():
    medic = SimulatedMedic()
    web = medic.register()
    flap(medic, web, 3)
    web.beat("DOWN")
    web.mute(MINUTE_MS)
    medic.advance(MINUTE_MS)
    assert web.told[-2:] == ["trigger", "mute_ended"]

    web = SimulatedMedic().register()
    medic = web.medic
    web.mute(10 * MINUTE_MS)
    flap(medic, web, 3)
    web.beat("DOWN")
    web.unmute()
    assert web.told == ["mute_ended", "trigger"]
    assert web.notifications[-1].flapping


# --------------------------------------------------------------------------------------------------------- the rest


def test_a_test_is_marked_has_a_key_of_its_own_and_is_resolved_after():
    web = SimulatedMedic().register(priority="p1")
    web.send_test()
    test, over = web.notifications
    assert (test.kind, over.kind) == (NotificationKind.TEST, NotificationKind.RESOLVE)
    assert test.key == over.key == f"medic-test-{web.medic.draw_id() - 1}"
    assert (test.alert_id, over.alert_id) == (None, None)
    assert test.notification_id != over.notification_id
    assert "TEST" in test.text
    assert "ada" in test.text
    assert "TEST" in over.text
    assert web.status is Status.NEW


def test_a_test_that_nobody_is_named_for_names_nobody():
    web = SimulatedMedic().register()
    web.send_test()
    unnamed = replace(web.notifications[0], by="")
    assert unnamed.by == ""
    assert "asked for by ada" in web.notifications[0].text


def test_a_trigger_that_the_journal_lost_is_told_at_the_next_start():
    """A crash may cut the journal between an alert and its notification."""
    _, web = late_service()
    medic = SimulatedMedic()
    again = medic.register()
    for effect in web.effects[1:-1]:
        fold(again.service, effect)
        fold(again.twin, effect)
    assert again.service.alert == replace(web.service.alert, notifications=0)
    medic.jump(2 * MINUTE_MS)
    assert again.deadline_in() < 0
    *_, notify = again.expire()
    assert notify.notification.kind is NotificationKind.TRIGGER
    assert again.expire() == ()


def test_an_alert_whose_end_the_journal_lost_ends_with_the_next_sign_of_life():
    medic, web = late_service()
    up = web.beat()[1]
    again = medic.register("again")
    for effect in (*web.effects[1:-4], up):
        fold(again.service, effect)
        fold(again.twin, effect)
    assert again.status is Status.UP
    assert again.service.alert is not None
    again.beat()
    assert again.history == ["recovered"]


def test_an_alert_that_the_journal_lost_after_a_report_is_opened_at_the_next_start():
    medic = SimulatedMedic()
    web = medic.register()
    [heartbeat, *_] = web.beat("FAILED")
    again = medic.register("again")
    for folded in (again.service, again.twin):
        fold(folded, heartbeat)
    assert again.deadline_in() <= 0
    medic.jump(MINUTE_MS)
    again.expire()
    assert again.history == ["reported_failed"]
    assert again.status is Status.DOWN
    assert again.service.alert.late_since == heartbeat.at


def test_an_alert_closed_by_hand_says_who_and_what_they_said():
    medic, web = late_service()
    medic.advance(MINUTE_MS)
    *_, closed, notify = web.resolve(by="grace", note="replaced")
    assert (closed.reason, closed.by, closed.note) == (ClosedReason.BY_HAND, "grace", "replaced")
    assert (notify.notification.by, notify.notification.note) == ("grace", "replaced")
    assert web.status is Status.UP
    assert web.deadline_in() == MINUTE_MS
    assert InstantMs(notify.notification.at) == medic.at


def test_resolving_by_hand_what_was_never_heard_of_makes_it_new():
    medic = SimulatedMedic()
    web = medic.register()
    medic.advance(MINUTE_MS)
    web.resolve()
    assert web.status is Status.NEW
    medic.advance(MINUTE_MS)
    assert web.history == ["never_heard", "by_hand", "never_heard"]
