"""What operators' changes mean for a service: activation, promises, priorities, deletion (CONTRACT 2.1, 2.11)."""

from __future__ import annotations

import pytest

from medic.core.effects import AmendAlert, ChangeStatus, CloseAlert, CreditSigns, Notify, RemoveService, StoreService
from medic.core.events import ServiceChanged
from medic.core.ring import NO_SIGN
from medic.core.status import ClosedReason, NotificationKind, Status
from medic.core.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, DurationMs
from tests.stories.simulation import SimulatedMedic


def kinds(effects):
    return [type(effect) for effect in effects]


def test_a_version_that_is_not_newer_changes_nothing():
    web = SimulatedMedic().register()
    medic = web.medic
    old = web.service.row
    web.edit(team="payments")
    assert web.take(ServiceChanged(medic.at, medic.sighted, medic.draw_id(), old)) == ()
    assert web.take(ServiceChanged(medic.at, medic.sighted, medic.draw_id(), web.service.row)) == ()
    assert web.service.row.team == "payments"


@pytest.mark.parametrize(
    "columns", [{"team": "payments"}, {"priority": "p1"}, {"runbook": "https://x"}, {"service_name": "x"}]
)
def test_columns_that_promise_nothing_move_no_deadline(columns):
    medic = SimulatedMedic()
    web = medic.register()
    web.beat()
    medic.advance(30 * SECOND_MS)
    assert kinds(web.edit(**columns)) == [StoreService]
    assert web.deadline_in() == 30 * SECOND_MS


@pytest.mark.parametrize(
    ("columns", "deadline_in"),
    [
        ({"interval_ms": DurationMs(10 * SECOND_MS)}, 10 * SECOND_MS),
        ({"interval_ms": DurationMs(HOUR_MS)}, HOUR_MS),
        ({"grace_ms": DurationMs(5 * SECOND_MS)}, 65 * SECOND_MS),
        ({"threshold": 3}, MINUTE_MS),
    ],
)
def test_no_edit_pages_by_itself(columns, deadline_in):
    medic = SimulatedMedic()
    web = medic.register()
    web.beat()
    medic.advance(59 * SECOND_MS)
    assert kinds(web.edit(**columns)) == [CreditSigns, StoreService]
    assert web.deadline_in() == deadline_in
    assert not medic.is_anything_due()


def test_a_threshold_may_rise_and_fall():
    medic = SimulatedMedic()
    web = medic.register(threshold=2)
    for threshold in (5, 3, 1, 4, 2):
        medic.advance(10 * SECOND_MS)
        web.beat()
        web.edit(threshold=threshold)
        assert web.deadline_in() == MINUTE_MS
        assert (len(web.service.ring) if web.service.ring else 1) == threshold


def test_a_changed_promise_closes_an_alert_for_silence():
    medic = SimulatedMedic()
    web = medic.register()
    web.beat()
    medic.advance(2 * MINUTE_MS)
    effects = web.edit(interval_ms=DurationMs(HOUR_MS))
    assert kinds(effects) == [CreditSigns, ChangeStatus, CloseAlert, Notify, StoreService]
    assert web.history == ["late", "policy_changed"]
    assert web.told == ["trigger", "resolve"]
    assert web.status is Status.UP
    assert web.deadline_in() == HOUR_MS


def test_a_changed_promise_makes_a_service_never_heard_of_new_again():
    medic = SimulatedMedic()
    web = medic.register()
    medic.advance(2 * MINUTE_MS)
    web.edit(interval_ms=DurationMs(HOUR_MS))
    assert web.status is Status.NEW
    assert web.history == ["never_heard", "policy_changed"]


def test_a_changed_promise_lets_the_alert_wait_where_recovery_has_to_be_waited_for():
    medic = SimulatedMedic()
    web = medic.register()
    web.beat()
    medic.advance(2 * MINUTE_MS)
    web.edit(grace_ms=DurationMs(MINUTE_MS), recovery_ms=DurationMs(30 * SECOND_MS))
    assert web.history == ["late", "well"]
    medic.advance(30 * SECOND_MS)
    assert web.history == ["late", "well", "recovered"]


def test_a_degraded_service_is_degraded_after_such_an_edit_and_told_to_be():
    medic = SimulatedMedic()
    web = medic.register()
    web.beat("DEGRADED")
    medic.advance(MINUTE_MS)
    web.edit(interval_ms=DurationMs(HOUR_MS))
    assert web.told == ["degraded", "trigger", "resolve", "degraded"]


@pytest.mark.parametrize(
    "columns", [{"interval_ms": DurationMs(HOUR_MS)}, {"threshold": 2}, {"grace_ms": DurationMs(1)}]
)
def test_a_reported_failure_stands_whatever_is_edited(columns):
    web = SimulatedMedic().register(threshold=3)
    web.beat("DOWN")
    assert kinds(web.edit(**columns)) == [StoreService]
    assert web.status is Status.DOWN
    assert web.service.last_sign == NO_SIGN
    for _ in range(web.service.policy.threshold):
        assert web.status is Status.DOWN
        web.beat()
    assert web.status is Status.UP


def test_signs_since_a_report_stay_counted_when_the_threshold_changes():
    web = SimulatedMedic().register(threshold=3)
    web.beat("DOWN")
    web.beat()
    web.beat()
    web.edit(threshold=4)
    web.beat()
    assert web.status is Status.DOWN
    web.beat()
    assert web.status is Status.UP


def test_a_reported_service_that_is_well_and_waits_is_credited_like_any_other():
    medic = SimulatedMedic()
    web = medic.register(recovery_ms=2 * MINUTE_MS)
    web.beat("DOWN")
    web.beat()
    medic.advance(50 * SECOND_MS)
    web.edit(interval_ms=DurationMs(3 * MINUTE_MS))
    medic.advance(70 * SECOND_MS)
    assert web.history == ["reported_down", "well", "recovered"]


def test_signs_that_were_too_far_apart_do_not_stand_for_missing_ones():
    medic = SimulatedMedic()
    web = medic.register(threshold=2)
    web.beat("DOWN")
    web.beat()
    medic.advance(2 * MINUTE_MS)
    web.beat()
    assert web.status is Status.DOWN
    web.edit(threshold=4, interval_ms=DurationMs(HOUR_MS))
    web.beat()
    assert web.status is Status.DOWN, "three signs since the report, four are promised"
    web.beat()
    assert web.status is Status.UP


def test_an_edit_never_closes_a_reported_alert_itself():
    medic = SimulatedMedic()
    web = medic.register(recovery_ms=HOUR_MS)
    web.beat("DOWN")
    web.beat()
    web.edit(recovery_ms=DurationMs(0), interval_ms=DurationMs(HOUR_MS))
    assert web.history == ["reported_down", "well"]
    medic.advance(0)
    assert web.history == ["reported_down", "well", "recovered"]


# ------------------------------------------------------------------------------------------------- active or not


def test_deactivation_closes_the_alert_and_resolves_it_where_it_was_told():
    medic = SimulatedMedic()
    web = medic.register()
    web.beat()
    medic.advance(MINUTE_MS)
    assert kinds(web.edit(active=False)) == [ChangeStatus, CloseAlert, Notify, StoreService]
    assert web.history == ["late", "deactivated"]
    assert web.told == ["trigger", "resolve"]
    assert web.status is Status.INACTIVE
    assert web.deadline_in() is None


def test_deactivation_of_a_service_that_is_well_tells_nobody():
    web = SimulatedMedic().register()
    web.beat("DEGRADED")
    web.edit(active=False)
    assert web.told == ["degraded"]


def test_an_inactive_service_takes_no_heartbeat_and_is_never_late():
    medic = SimulatedMedic()
    web = medic.register(active=False)
    assert web.status is Status.INACTIVE
    assert web.beat() == ()
    assert web.expire() == ()
    web.edit(interval_ms=DurationMs(SECOND_MS))
    web.edit(threshold=3)
    medic.advance(DAY_MS)
    assert web.history == []


@pytest.mark.parametrize(("heard", "status"), [(True, Status.UP), (False, Status.NEW)])
def test_activation_begins_a_fresh_deadline(heard, status):
    medic = SimulatedMedic()
    web = medic.register(threshold=2)
    if heard:
        web.beat("DOWN")
    web.edit(active=False)
    medic.advance(DAY_MS)
    effects = web.edit(active=True, threshold=3)
    assert kinds(effects) == [CreditSigns, ChangeStatus, StoreService]
    assert web.status is status
    assert web.deadline_in() == MINUTE_MS
    medic.advance(MINUTE_MS)
    assert web.history[-1] == ("late" if heard else "never_heard")


# ------------------------------------------------------------------------------------------------------- priority


def test_an_open_alert_keeps_the_priority_and_team_it_opened_with():
    medic = SimulatedMedic()
    web = medic.register(priority="p2", team="payments", runbook="https://a")
    web.beat("DOWN")
    web.edit(priority="p4", team="billing", runbook="https://b")
    medic.advance(HOUR_MS)
    reminder = web.notifications[-1]
    assert (reminder.kind, reminder.priority) == (NotificationKind.REMINDER, "p2")
    assert (reminder.team, reminder.runbook) == ("payments", "https://a")


def test_a_more_urgent_priority_is_told_again_at_once_and_once():
    web = SimulatedMedic().register(priority="p3")
    web.beat("DOWN")
    assert kinds(web.edit(priority="p1")) == [AmendAlert, Notify, StoreService]
    assert web.notifications[-1].kind is NotificationKind.ESCALATION
    assert web.notifications[-1].priority == "p1"
    web.edit(priority="p3")
    web.edit(priority="p1")
    assert web.told == ["trigger", "escalation"]
    web.beat()
    assert web.notifications[-1].priority == "p1"


@pytest.mark.parametrize("told_before", [True, False])
def test_a_priority_that_rose_while_muted_is_told_at_the_end_of_the_mute(told_before):
    web = SimulatedMedic().register(priority="p3")
    if told_before:
        web.beat("DOWN")
    web.mute(None)
    web.beat("DOWN")
    web.edit(priority="p1")
    assert "escalation" not in web.told
    web.unmute()
    assert web.told[-2:] == ["mute_ended", "trigger"]
    assert web.notifications[-1].priority == "p1"
    assert web.service.alert.priority == "p3"


def test_at_the_end_of_a_mute_the_more_urgent_of_both_is_told():
    web = SimulatedMedic().register(priority="p1")
    web.mute(None)
    web.beat("DOWN")
    web.edit(priority="p5")
    web.unmute()
    assert web.notifications[-1].priority == "p1"


def test_an_edit_that_ends_the_alert_escalates_nothing():
    medic = SimulatedMedic()
    web = medic.register(priority="p3")
    web.beat()
    medic.advance(MINUTE_MS)
    web.edit(priority="p1", interval_ms=DurationMs(HOUR_MS))
    assert web.told == ["trigger", "resolve"]


def test_a_flapping_alert_is_not_escalated():
    web = SimulatedMedic().register(priority="p3")
    for _ in range(4):
        web.beat("DOWN")
        web.resolve()
    web.beat("DOWN")
    web.edit(priority="p1")
    assert web.told[-1] == "trigger"


# ------------------------------------------------------------------------------------------------------- deletion


def test_deletion_closes_the_alert_and_resolves_it_where_it_was_told():
    web = SimulatedMedic().register()
    web.beat("DOWN")
    effects = web.delete()
    assert kinds(effects) == [CloseAlert, Notify, RemoveService]
    assert effects[0].reason is ClosedReason.DELETED
    assert web.told == ["trigger", "resolve"]


def test_deletion_of_a_muted_alert_tells_nobody():
    web = SimulatedMedic().register()
    web.mute(None)
    web.beat("DOWN")
    assert kinds(web.delete()) == [CloseAlert, RemoveService]


def test_deletion_of_a_service_that_is_well_is_one_record():
    assert kinds(SimulatedMedic().register().delete()) == [RemoveService]
