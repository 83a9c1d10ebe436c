"""Medic's own alert, as each vendor is told of it: what is said, and no link to an alert that cannot be looked up."""

from __future__ import annotations

import jsonschema

from medic.alerting.pagerduty import PagerDuty
from medic.alerting.webhook import WebhookNotifier
from medic.core.notification import SELF_KEY, Notification
from medic.core.status import NotificationKind
from medic.core.webhook import Webhook
from tests.fakes.alerting import StandingClock, slack_over
from tests.fakes.names import guard
from tests.vendors.pagerduty import EVENT_SCHEMA, ROUTING_KEY
from tests.vendors.slack import MESSAGE_SCHEMA
from tests.vendors.webhook import BODY_SCHEMA

BASE = "https://medic.example"
TEXT = "Medic takes no heartbeats since 2026-01-01T12:00:00.000Z: The disk is full."
RAISED = Notification(
    "9.0", NotificationKind.TRIGGER, SELF_KEY, at=1_767_268_800_000, alert_id=9, priority="p1", text=TEXT
)


def test_pagerduty_opens_one_critical_incident_under_its_key():
    pagerduty = PagerDuty(routing_key=ROUTING_KEY, events_url=BASE, base_url=BASE, clock=StandingClock())
    assert pagerduty.takes(RAISED)
    event = pagerduty.event(RAISED)
    jsonschema.validate(event, EVENT_SCHEMA)
    assert event["dedup_key"] == "medic-self"
    assert event["payload"]["summary"] == TEXT
    assert event["payload"]["severity"] == "critical"
    assert event["payload"]["custom_details"]["alert_url"] == ""


def test_slack_and_webhooks_say_it_without_a_link():
    clock = StandingClock()
    slack = slack_over(BASE, base_url=BASE, has_buttons=True)
    message = slack.message(RAISED)
    jsonschema.validate(message, MESSAGE_SCHEMA)
    assert TEXT in message["text"]
    assert "/alerts/" not in str(message)
    body = WebhookNotifier(Webhook(webhook_id=1, url=BASE), base_url=BASE, clock=clock, guard=guard()).body(RAISED)
    jsonschema.validate(body, BODY_SCHEMA)
    assert (body["alert_url"], body["summary"]) == ("", f"ALERT {TEXT}")
