"""PagerDuty's Events API v2, as its published OpenAPI schema and its documented limits have it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import jsonschema

from tests.vendors.behaviour import Refuse
from tests.vendors.server import Answered, Arrival, VendorServer

ROUTING_KEY = "0123456789abcdef0123456789abcdef"
"""A key of the documented length, the one this server knows."""

SUMMARY_MAX = 1024
DEDUP_KEY_MAX = 255
EVENT_MAX_BYTES = 512 * 1024

_LINK = {
    "type": "object",
    "required": ["href"],
    "additionalProperties": False,
    "properties": {"href": {"type": "string", "pattern": "^https?://"}, "text": {"type": "string"}},
}
_PAYLOAD = {
    "type": "object",
    "required": ["summary", "severity", "source"],
    "additionalProperties": False,
    "properties": {
        "summary": {"type": "string", "minLength": 1, "maxLength": SUMMARY_MAX},
        "timestamp": {"type": "string"},
        "severity": {"enum": ["critical", "error", "warning", "info"]},
        "source": {"type": "string", "minLength": 1},
        "component": {"type": "string"},
        "group": {"type": "string"},
        "class": {"type": "string"},
        "custom_details": {"type": "object"},
    },
}
EVENT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["routing_key", "event_action"],
    "additionalProperties": False,
    "properties": {
        "routing_key": {"type": "string", "minLength": 32, "maxLength": 32},
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "minLength": 1, "maxLength": DEDUP_KEY_MAX},
        "payload": _PAYLOAD,
        "client": {"type": "string"},
        "client_url": {"type": "string", "pattern": "^https?://"},
        "links": {"type": "array", "items": _LINK},
        "images": {"type": "array", "items": {"type": "object", "required": ["src"]}},
    },
    "if": {"properties": {"event_action": {"const": "trigger"}}},
    "then": {"required": ["payload"]},
    "else": {"required": ["dedup_key"]},
}
_VALIDATOR = jsonschema.Draft202012Validator(EVENT_SCHEMA)


class PagerDutyServer(VendorServer):
    """Takes events under `ROUTING_KEY` and keeps the incidents they make.

    Attributes:
        open: Dedup keys of the incidents that are open now, with the last action on each.
        opened: Every dedup key that opened an incident, in order: twice in it means that somebody was paged twice.
    """

    path = "/v2/enqueue"

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(port=port)
        self.open: dict[str, str] = {}
        self.opened: list[str] = []

    def faults_of(self, arrival: Arrival) -> list[str]:
        """Schema, limits and headers."""
        faults = []
        if (arrival.method, arrival.path) != ("POST", self.path):
            faults.append(f"{arrival.method} {arrival.path} is no route of the Events API")
        if arrival.headers.get("content-type", "").partition(";")[0] != "application/json":
            faults.append("Content-Type is not application/json")
        if len(arrival.text.encode()) > EVENT_MAX_BYTES:
            faults.append("the event is larger than 512 KB")
        if arrival.document is None:
            return [*faults, "JSON parse error"]
        faults += [f"{error.json_path}: {error.message[:200]}" for error in _VALIDATOR.iter_errors(arrival.document)]
        return faults or self._timestamp_faults(arrival.document)

    def answer(self, arrival: Arrival) -> Answered:
        """202 and the dedup key, or 400 with every fault."""
        if not arrival.faults and arrival.document["routing_key"] != ROUTING_KEY:
            return Answered(
                400,
                {"status": "invalid event", "message": "Event object is invalid", "errors": ["Invalid routing key"]},
            )
        if arrival.faults:
            return Answered(
                400, {"status": "invalid event", "message": "Event object is invalid", "errors": arrival.faults}
            )
        arrival.taken = True
        key, action = arrival.document.get("dedup_key", f"made-{len(self.opened)}"), arrival.document["event_action"]
        if action == "trigger" and key not in self.open:
            self.opened.append(key)
        if action == "resolve":
            self.open.pop(key, None)
        elif action == "trigger" or key in self.open:
            self.open[key] = action
        return Answered(202, {"status": "success", "message": "Event processed", "dedup_key": key})

    def refusal(self, behaviour: Refuse) -> Answered:
        """As documented for 400, 429 and 5xx."""
        return Answered(
            behaviour.status,
            {"status": "invalid event", "message": behaviour.error or "told to refuse", "errors": ["told to refuse"]},
        )

    def snapshot(self) -> dict[str, Any]:
        """Arrivals and incidents."""
        return {**super().snapshot(), "open": self.open, "opened": self.opened}

    @staticmethod
    def _timestamp_faults(event: dict[str, Any]) -> list[str]:
        stamp = event.get("payload", {}).get("timestamp")
        if stamp is None:
            return []
        try:
            moment = datetime.fromisoformat(stamp)
        except ValueError:
            return [f"timestamp {stamp!r} is not ISO 8601"]
        return [] if moment.tzinfo else [f"timestamp {stamp!r} has no time zone"]
