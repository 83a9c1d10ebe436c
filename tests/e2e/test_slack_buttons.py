"""Buttons under an alert in Slack, pressed by a Slack of the test's own at the real process."""

from __future__ import annotations

import time
from typing import Any

from tests.e2e.process import Answer, MedicProcess
from tests.patience import PATIENCE_SECONDS
from tests.vendors import VendorProcess
from tests.vendors.slack import SIGNING_SECRET, buttons_of, pressed, slack_headers

PATH = "/v2/slack/interactions"


def press(medic: MedicProcess, message: dict[str, Any], label: str, *, secret: str = SIGNING_SECRET) -> Answer:
    body = pressed(message, label)
    return medic.request("POST", PATH, body, **slack_headers(body, secret=secret))


def told(vendors: VendorProcess, method: str, count: int, *, containing: str = "") -> list[dict[str, Any]]:
    """What Slack was told by one method, once it was told so often."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        taken = [arrival["document"] for arrival in vendors.taken("slack") if arrival["path"].endswith(method)]
        found = [document for document in taken if containing in document["text"]]
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, vendors.arrivals("slack")
        time.sleep(0.02)


def test_an_alert_is_acknowledged_and_muted_from_slack(vendors: VendorProcess, medic: MedicProcess) -> None:
    assert "no buttons in Slack" in medic.output()
    assert medic.request("POST", PATH, b"payload=", **slack_headers(b"payload=")).status == 401
    assert medic.stop() == 0
    medic.environment |= {"SLACK_SIGNING_SECRET": SIGNING_SECRET}
    medic.start()
    assert "no buttons in Slack" not in medic.output().rpartition("listens on")[2]
    assert SIGNING_SECRET not in medic.output()

    medic.register("nightly", seconds=600)
    medic.beat("nightly", "DOWN")
    [message] = told(vendors, "chat.postMessage", 1, containing="ALERT nightly")
    assert list(buttons_of(message)) == ["Acknowledge", "Mute 1 h", "Mute 24 h"]
    assert press(medic, message, "Mute 24 h", secret="somebody else's").status == 401
    assert medic.results("/service/nightly")[0]["muted"] == 0

    answer = press(medic, message, "Acknowledge")
    assert (answer.status, answer.body) == (200, b"")
    [alert] = medic.results("/alerts?active=1")
    assert alert["acknowledged_by"] == "slack:ada (U0123456789)"
    assert told(vendors, "chat.update", 1)[0]["text"].startswith("Acknowledged by @ada at ")
    assert press(medic, message, "Mute 24 h").status == 200
    [service] = medic.results("/service/nightly")
    assert (service["muted"], service["muted_by"]) == (1, "slack:ada (U0123456789)")
    assert told(vendors, "chat.update", 2)[1]["text"].startswith("Muted for 24 h by @ada at ")

    medic.beat("nightly", "UP")
    assert press(medic, message, "Mute 1 h").status == 200
    [whisper] = told(vendors, "chat.postEphemeral", 1)
    assert whisper["text"] == "This alert is over: nothing was changed."
    assert 'medic_auth_failures_total{reason="slack_signature"} 1' in medic.get("/metrics").body.decode()
