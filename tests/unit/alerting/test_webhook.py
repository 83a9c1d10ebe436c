from __future__ import annotations

from dataclasses import replace

import jsonschema
import pytest

from medic.alerting.webhook import WebhookNotifier
from medic.core.status import NotificationKind
from medic.core.webhook import Webhook
from tests.fakes.alerting import StandingClock, follow, trigger
from tests.fakes.names import guard
from tests.vendors.webhook import BODY_SCHEMA

K = NotificationKind


def notifier(**fields) -> WebhookNotifier:
    webhook = Webhook(webhook_id=3, url="https://hooks.example/secret/path", **fields)
    return WebhookNotifier(webhook, base_url="https://medic.example/", clock=StandingClock(), guard=guard())


def test_the_body_has_the_documented_shape_for_every_kind_it_takes():
    hook = notifier()
    taken = [kind for kind in K if hook.takes(trigger(kind=kind))]
    assert set(K) - set(taken) == {K.MUTE_ENDED, K.BLIND, K.KEY_ENDS, K.ADOPTED}
    for kind in taken:
        jsonschema.validate(hook.body(trigger(kind=kind)), BODY_SCHEMA)


def test_the_body_says_what_is_told():
    over = follow(trigger(7), K.RESOLVE, 2, later_ms=540_500)
    assert notifier().body(over) == {
        "notification_id": "7.2",
        "kind": "resolve",
        "at": "2026-01-01T12:09:00.500Z",
        "summary": "RECOVERED service-7: it is well again, after 9 min",
        "alert_id": 7,
        "alert_name": "Medic - Heartbeat failure for service-7",
        "alert_url": "https://medic.example/alerts/7",
        "external_reference_id": "medic-service-7",
        "service_id": 1007,
        "heartbeat_name": "service-7",
        "service_name": "service-7-owner",
        "team": "ops",
        "priority": "p3",
        "runbook": "",
        "reason": "late",
        "late_since": "2026-01-01T12:00:00.000Z",
        "last_seen": "2026-01-01T11:48:00.000Z",
        "alert_interval": 5,
        "threshold": 1,
        "flapping": False,
        "muted": False,
        "duration": 540.5,
        "closed_reason": "recovered",
        "by": "",
        "note": "",
    }


def test_what_is_not_known_is_null():
    said = replace(
        trigger(), alert_id=None, service_id=None, last_seen=None, late_since=None, reason=None, heartbeat_name=""
    )
    body = notifier().body(said)
    jsonschema.validate(body, BODY_SCHEMA)
    assert (body["alert_id"], body["alert_url"], body["alert_name"], body["last_seen"]) == (None, "", "", None)


@pytest.mark.parametrize(("name", "is_taken"), [("Nightly-Backup", True), ("nightly-backup", True), ("other", False)])
def test_a_webhook_for_one_service_is_told_of_that_one(name, is_taken):
    hook = notifier(heartbeat_name="nightly-BACKUP")
    assert hook.takes(trigger(name=name)) is is_taken


def test_the_start_line_names_the_host_alone():
    assert notifier().describe() == "webhook 3 at hooks.example"
    assert notifier(heartbeat_name="x").describe() == "webhook 3 at hooks.example (only x)"
    assert notifier().target == "webhook:3"
