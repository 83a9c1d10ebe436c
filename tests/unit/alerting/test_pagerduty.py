from __future__ import annotations

from dataclasses import replace

import jsonschema
import pytest

from medic.alerting.pagerduty import DEDUP_KEY_MAX, SUMMARY_MAX, PagerDuty, dedup_key, event_action, severity
from medic.core.names import NAME_MAX
from medic.core.notification import alert_key
from medic.core.status import NotificationKind, OpenedReason
from tests.fakes.alerting import StandingClock, follow, trigger
from tests.vendors.pagerduty import EVENT_SCHEMA, ROUTING_KEY

K = NotificationKind


@pytest.fixture
def pagerduty():
    return PagerDuty(
        routing_key=ROUTING_KEY,
        events_url="https://events.pagerduty.com/v2/enqueue",
        base_url="https://medic.example/",
        clock=StandingClock(),
    )


def test_a_trigger_has_exactly_the_promised_fields(pagerduty):
    claim = replace(trigger(42, name="nightly-backup", priority="p2"), runbook="https://wiki.example/backup")
    assert pagerduty.event(claim) == {
        "routing_key": ROUTING_KEY,
        "event_action": "trigger",
        "dedup_key": "medic-nightly-backup",
        "payload": {
            "summary": "Medic - Heartbeat failure for nightly-backup: no heartbeat for 12 min",
            "timestamp": "2026-01-01T12:00:00.000Z",
            "severity": "error",
            "source": "medic",
            "component": "nightly-backup",
            "group": "ops",
            "class": "heartbeat_failure",
            "custom_details": {
                "service_name": "nightly-backup-owner",
                "heartbeat_name": "nightly-backup",
                "team": "ops",
                "priority": "p2",
                "last_seen": "2026-01-01T11:48:00.000Z",
                "reason": "late",
                "threshold": 1,
                "alert_interval": 5,
                "alert_id": 42,
                "alert_url": "https://medic.example/alerts/42",
            },
        },
        "client": "Medic Heartbeat Monitor",
        "client_url": "https://medic.example",
        "links": [
            {"href": "https://wiki.example/backup", "text": "Runbook"},
            {"href": "https://medic.example/alerts/42", "text": "Alert in Medic (p2, respond within 1 hour)"},
        ],
    }


@pytest.mark.parametrize(("kind", "action"), [(K.RESOLVE, "resolve"), (K.ACKNOWLEDGE, "acknowledge")])
def test_an_update_has_the_key_and_nothing_more(pagerduty, kind, action):
    assert pagerduty.event(follow(trigger(), kind)) == {
        "routing_key": ROUTING_KEY,
        "event_action": action,
        "dedup_key": "medic-service-1",
    }


@pytest.mark.parametrize("kind", [K.TRIGGER, K.REMINDER, K.ESCALATION, K.UNTOLD, K.TEST])
def test_what_says_that_something_is_wrong_is_a_trigger_under_the_same_key(pagerduty, kind):
    said = replace(trigger(kind=kind), text="slack refused this alert" if kind is K.UNTOLD else "")
    event = pagerduty.event(said)
    assert (event["event_action"], event["dedup_key"]) == ("trigger", "medic-service-1")
    assert event_action(kind) == "trigger"
    jsonschema.validate(event, EVENT_SCHEMA)


def test_a_test_is_marked(pagerduty):
    said = replace(trigger(kind=K.TEST), text="asked for by ada")
    assert pagerduty.event(said)["payload"]["summary"].startswith("TEST - Medic - Heartbeat failure for service-1")


@pytest.mark.parametrize(
    ("priority", "reason", "expected"),
    [
        ("p1", OpenedReason.LATE, "critical"),
        ("p2", OpenedReason.REPORTED_DOWN, "error"),
        ("p3", OpenedReason.LATE, "warning"),
        ("p4", OpenedReason.LATE, "info"),
        ("p5", OpenedReason.LATE, "info"),
        ("p9", OpenedReason.LATE, "warning"),
        ("p1", OpenedReason.NEVER_HEARD, "warning"),
        ("p2", OpenedReason.NEVER_HEARD, "warning"),
        ("p5", OpenedReason.NEVER_HEARD, "info"),
    ],
)
def test_severity_follows_priority_and_never_heard_is_at_most_a_warning(priority, reason, expected):
    assert severity(replace(trigger(priority=priority), reason=reason)) == expected


@pytest.mark.parametrize(
    ("priority", "response"),
    [
        ("p1", "within 15 minutes"),
        ("p2", "within 1 hour"),
        ("p3", "within 4 hours"),
        ("p4", "on the next business day"),
        ("p5", "on the next business day"),
    ],
)
def test_a_page_says_when_somebody_answers_it(pagerduty, priority, response):
    links = pagerduty.event(trigger(priority=priority))["links"]
    assert links[-1]["text"] == f"Alert in Medic ({priority}, respond {response})"


@pytest.mark.parametrize("letter", ["x", "ü", "監", "🚀"])
def test_the_longest_name_fits_everywhere(pagerduty, letter):
    event = pagerduty.event(trigger(name=letter * NAME_MAX))
    assert len(event["dedup_key"]) == DEDUP_KEY_MAX
    assert event["dedup_key"] == alert_key(letter * NAME_MAX)
    assert len(event["payload"]["summary"]) <= SUMMARY_MAX
    jsonschema.validate(event, EVENT_SCHEMA)


def test_a_longer_key_is_cut_and_stays_distinct():
    keys = {dedup_key("k" * 300 + str(number)) for number in range(50)}
    assert len(keys) == 50
    assert {len(key) for key in keys} == {DEDUP_KEY_MAX}


def test_a_long_text_is_cut_to_the_limit_of_a_summary(pagerduty):
    said = replace(trigger(kind=K.UNTOLD), text="z" * 5_000)
    assert len(pagerduty.event(said)["payload"]["summary"]) == SUMMARY_MAX


def test_what_is_not_known_is_null_and_what_is_not_there_is_left_out(pagerduty):
    said = replace(trigger(), last_seen=None, late_since=None, reason=None, alert_id=None)
    event = pagerduty.event(said)
    details = event["payload"]["custom_details"]
    assert (details["last_seen"], details["reason"], details["alert_id"]) == (None, None, None)
    assert details["alert_url"] == ""
    assert "links" not in event


def test_news_that_is_no_alert_is_not_for_pagerduty(pagerduty):
    taken = {kind for kind in K if pagerduty.takes(trigger(kind=kind))}
    assert {K.DEGRADED, K.DEGRADED_OVER, K.MUTE_ENDED, K.BLIND}.isdisjoint(taken)
    assert taken == {K.TRIGGER, K.REMINDER, K.ESCALATION, K.ACKNOWLEDGE, K.RESOLVE, K.UNTOLD, K.TEST}


def test_the_start_line_names_no_secret():
    usual = PagerDuty(
        routing_key=ROUTING_KEY,
        events_url="https://events.pagerduty.com/v2/enqueue",
        base_url="x",
        clock=StandingClock(),
    )
    other = PagerDuty(
        routing_key=ROUTING_KEY,
        events_url="https://events.eu.pagerduty.com/v2/enqueue",
        base_url="x",
        clock=StandingClock(),
    )
    assert usual.describe() == "PagerDuty"
    assert other.describe() == "PagerDuty at events.eu.pagerduty.com"
