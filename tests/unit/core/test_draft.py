"""Drafts become rows, edits become the next version or nothing, policies are shared."""

from __future__ import annotations

import pytest

from medic.core.draft import PRIORITIES, ServiceDraft, ServiceEdit
from medic.core.notification import alert_key, alert_name
from medic.core.policy import Defaults, policy_of
from medic.core.units import HOUR_MS, MINUTE_MS, DurationMs, InstantMs, ServiceId

DRAFT = ServiceDraft("web", "shop", DurationMs(5 * MINUTE_MS))
ROW = DRAFT.row(ServiceId(7), InstantMs(1_000), "ada")


def test_a_draft_becomes_the_first_version():
    assert (ROW.service_id, ROW.version, ROW.shard) == (7, 1, 0)
    assert (ROW.heartbeat_name, ROW.service_name, ROW.interval_ms) == ("web", "shop", 300_000)
    assert (ROW.threshold, ROW.grace_ms, ROW.recovery_ms, ROW.renotify_ms) == (1, 0, 0, None)
    assert (ROW.team, ROW.priority, ROW.runbook, ROW.active) == ("site-reliability", "p3", "", True)
    assert (ROW.date_added, ROW.date_modified, ROW.changed_by) == (1_000, 1_000, "ada")


@pytest.mark.parametrize(
    ("edit", "column", "value"),
    [
        (ServiceEdit(team="payments"), "team", "payments"),
        (ServiceEdit(active=False), "active", False),
        (ServiceEdit(renotify_ms=DurationMs(0)), "renotify_ms", 0),
        (ServiceEdit(threshold=3), "threshold", 3),
        (ServiceEdit(runbook="https://x"), "runbook", "https://x"),
    ],
)
def test_an_edit_makes_the_next_version(edit, column, value):
    row = edit.apply(ROW, InstantMs(2_000), "grace")
    assert getattr(row, column) == value
    assert (row.version, row.date_added, row.date_modified, row.changed_by) == (2, 1_000, 2_000, "grace")


@pytest.mark.parametrize("edit", [ServiceEdit(), ServiceEdit(team=ROW.team), ServiceEdit(renotify_default=True)])
def test_an_edit_that_changes_nothing_gives_the_row_itself(edit):
    assert edit.apply(ROW, InstantMs(2_000), "grace") is ROW


def test_reminders_can_be_given_back_to_the_environment():
    own = ServiceEdit(renotify_ms=DurationMs(1)).apply(ROW, InstantMs(2), "ada")
    assert ServiceEdit(renotify_default=True).apply(own, InstantMs(3), "ada").renotify_ms is None


def test_services_with_the_same_promise_share_one_policy():
    other = ServiceDraft("db", "shop", DurationMs(5 * MINUTE_MS)).row(ServiceId(8), InstantMs(0), "")
    assert ROW.policy(Defaults()) is other.policy(Defaults())


def test_a_policy_has_every_default_resolved():
    assert ROW.policy(Defaults()).renotify_ms == HOUR_MS
    explicit = policy_of(DurationMs(1_000), DurationMs(500), 1, DurationMs(0), DurationMs(0), Defaults())
    assert (explicit.renotify_ms, explicit.patience_ms) == (0, 1_500)


@pytest.mark.parametrize(
    ("interval_ms", "recovery_ms", "well_ms"),
    [(MINUTE_MS, 0, 10 * MINUTE_MS), (HOUR_MS, 0, 3 * HOUR_MS), (MINUTE_MS, HOUR_MS, HOUR_MS)],
)
def test_how_long_a_flapping_service_has_to_be_well(interval_ms, recovery_ms, well_ms):
    policy = policy_of(DurationMs(interval_ms), DurationMs(0), 1, DurationMs(recovery_ms), None, Defaults())
    assert policy.flap_well_ms == well_ms


def test_priorities_sort_as_they_are_urgent():
    assert list(PRIORITIES) == sorted(PRIORITIES)


def test_vendors_know_an_alert_by_the_name_as_registered():
    assert alert_name("Web") == "Medic - Heartbeat failure for Web"
    assert alert_key("Web") == "medic-Web"
