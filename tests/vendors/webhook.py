"""Somebody's webhook receiver: checks the shape that docs/topics/delivery.md promises to those who write one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any

import jsonschema

from tests.vendors.server import Answered, Arrival, VendorServer

KINDS = [
    "trigger",
    "reminder",
    "escalation",
    "acknowledge",
    "resolve",
    "degraded",
    "degraded_over",
    "untold",
    "test",
]
_INSTANT = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
_MAYBE_INSTANT = {"oneOf": [{"type": "null"}, _INSTANT]}
_MAYBE_ID = {"type": ["integer", "null"]}

BODY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "notification_id": {"type": "string", "minLength": 1},
        "kind": {"enum": KINDS},
        "at": _INSTANT,
        "summary": {"type": "string", "minLength": 1},
        "alert_id": _MAYBE_ID,
        "alert_name": {"type": "string"},
        "alert_url": {"type": "string"},
        "external_reference_id": {"type": "string", "minLength": 1},
        "service_id": _MAYBE_ID,
        "heartbeat_name": {"type": "string", "maxLength": 249},
        "service_name": {"type": "string", "maxLength": 249},
        "team": {"type": "string", "maxLength": 100},
        "priority": {"enum": ["p1", "p2", "p3", "p4", "p5"]},
        "runbook": {"type": "string"},
        "reason": {"enum": ["late", "never_heard", "reported_down", "reported_failed", None]},
        "late_since": _MAYBE_INSTANT,
        "last_seen": _MAYBE_INSTANT,
        "alert_interval": {"type": "number", "minimum": 0},
        "threshold": {"type": "integer", "minimum": 1},
        "flapping": {"type": "boolean"},
        "muted": {"type": "boolean"},
        "duration": {"type": ["number", "null"]},
        "closed_reason": {"type": "string"},
        "by": {"type": "string"},
        "note": {"type": "string"},
    },
}
BODY_SCHEMA["required"] = list(BODY_SCHEMA["properties"])
_VALIDATOR = jsonschema.Draft202012Validator(BODY_SCHEMA)

CLOCK_TOLERANCE_SECONDS = 300


def signature_of(secret: str, headers: Mapping[str, str], text: str) -> str:
    """What `webhook-signature` has to hold, by the Standard Webhooks specification and none of Medic's code."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers.get('webhook-id')}.{headers.get('webhook-timestamp')}.{text}"
    return "v1," + base64.b64encode(hmac.new(key, signed.encode(), hashlib.sha256).digest()).decode()


class WebhookReceiver(VendorServer):
    """Takes any notification of the documented shape, at any path; signed, where it was given the secret."""

    path = "/hook"
    secret = ""

    def faults_of(self, arrival: Arrival) -> list[str]:
        """Headers and body as documented."""
        faults = [] if arrival.method == "POST" else [f"{arrival.method} instead of POST"]
        if arrival.headers.get("content-type") != "application/json":
            faults.append("Content-Type is not application/json")
        stamp = arrival.headers.get("webhook-timestamp", "")
        if not stamp.isdecimal() or abs(int(stamp) - time.time()) > CLOCK_TOLERANCE_SECONDS:
            faults.append(f"webhook-timestamp {stamp!r} is not the time of this attempt in seconds")
        if self.secret and signature_of(self.secret, arrival.headers, arrival.text) not in self.signatures(arrival):
            faults.append("webhook-signature is not that of this request with the webhook's secret")
        if not isinstance(arrival.document, dict):
            return [*faults, "the body is no JSON object"]
        if arrival.headers.get("webhook-id") != arrival.document.get("notification_id"):
            faults.append("webhook-id is not the notification's id")
        return faults + [
            f"{error.json_path}: {error.message[:300]}" for error in _VALIDATOR.iter_errors(arrival.document)
        ]

    @staticmethod
    def signatures(arrival: Arrival) -> list[str]:
        """Those a request carries."""
        return arrival.headers.get("webhook-signature", "").split(" ")

    def answer(self, arrival: Arrival) -> Answered:
        """204, or 400 with the faults."""
        if arrival.faults:
            return Answered(400, {"errors": arrival.faults})
        arrival.taken = True
        return Answered(200, {"received": True})
