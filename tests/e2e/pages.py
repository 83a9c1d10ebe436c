"""What the vendors were told, in the words of the tests."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from tests.patience import PATIENCE_SECONDS
from tests.vendors import VendorProcess


def pages(vendors: VendorProcess, action: str) -> list[dict[str, Any]]:
    """The PagerDuty events of one action that were taken, in order."""
    return [event for event in vendors.taken("pagerduty") if event["document"]["event_action"] == action]


def wait_for_pages(
    vendors: VendorProcess, action: str, count: int, *, seconds: float = PATIENCE_SECONDS
) -> list[dict[str, Any]]:
    """The first `count` of them, or more; fails with what there is after `seconds`."""
    deadline = time.monotonic() + seconds
    while len(found := pages(vendors, action)) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} {action}: {vendors.arrivals('pagerduty')}"
        time.sleep(0.02)
    return found


def due_at(event: dict[str, Any]) -> float:
    """The instant of lateness a trigger states, in seconds of wall time."""
    return datetime.fromisoformat(event["document"]["payload"]["timestamp"]).timestamp()


def slack_said(vendors: VendorProcess, kind: str) -> list[str]:
    """The notification ids of the Slack messages of that kind taken so far, in order."""
    payloads = [message["document"]["metadata"]["event_payload"] for message in vendors.taken("slack")]
    return [payload["notification_id"] for payload in payloads if payload["kind"] == kind]


def slack_ids(vendors: VendorProcess) -> set[str]:
    """The notification ids of all Slack messages taken so far."""
    return {message["document"]["metadata"]["event_payload"]["notification_id"] for message in vendors.taken("slack")}
