"""The vendors themselves: a lenient stand-in would let a fault of Medic's pass."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE_SECONDS
from tests.vendors import (
    Hang,
    PagerDutyServer,
    Refuse,
    Reset,
    SlackServer,
    VendorProcess,
    WebhookReceiver,
)
from tests.vendors.pagerduty import ROUTING_KEY
from tests.vendors.slack import CHANNEL, TOKEN


def post(
    url: str, document: Any, *, timeout: float = PATIENCE_SECONDS, **headers: str
) -> tuple[int, dict[str, str], Any]:
    request = urllib.request.Request(url, data=json.dumps(document).encode(), method="POST")
    for name, value in {"Content-Type": "application/json", **headers}.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, dict(answer.headers), json.loads(answer.read())
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, dict(refusal.headers), json.loads(refusal.read())


def event(action: str = "trigger", key: str = "medic-x", **changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = {"routing_key": ROUTING_KEY, "event_action": action, "dedup_key": key}
    if action == "trigger":
        document["payload"] = {"summary": "late", "severity": "error", "source": "medic"}
    return {**document, **changes}


def message(**changes: Any) -> dict[str, Any]:
    return {"channel": CHANNEL, "text": "x is late", "mrkdwn": False, **changes}


SLACK_HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content_Type": "application/json; charset=utf-8"}


def test_pagerduty_keeps_incidents_by_key():
    with PagerDutyServer() as pagerduty:
        assert post(pagerduty.url, event())[0] == 202
        assert post(pagerduty.url, event())[0] == 202
        assert post(pagerduty.url, event("acknowledge"))[0] == 202
        assert pagerduty.open == {"medic-x": "acknowledge"}
        assert post(pagerduty.url, event("resolve"))[0] == 202
        assert pagerduty.open == {}
        assert pagerduty.opened == ["medic-x"]
        assert pagerduty.faults() == []
        assert [arrival.status for arrival in pagerduty.taken] == [202] * 4


@pytest.mark.parametrize(
    "document",
    [
        event(routing_key="short"),
        event("resolve", key=""),
        event(key="k" * 256),
        event(unknown=1),
        event(payload={"summary": "s" * 1025, "severity": "error", "source": "medic"}),
        event(payload={"summary": "s", "severity": "fatal", "source": "medic"}),
        event(payload={"summary": "s", "severity": "error", "source": "medic", "timestamp": "yesterday"}),
        event(payload={"summary": "s", "severity": "error", "source": "medic", "timestamp": "2026-01-01T00:00:00"}),
        event(links=[{"text": "no address"}]),
        [],
    ],
)
def test_pagerduty_refuses_what_its_schema_does_not_allow(document):
    with PagerDutyServer() as pagerduty:
        status, _, answer = post(pagerduty.url, document)
        assert status == 400
        assert answer["errors"] == pagerduty.faults() != []
        assert pagerduty.taken == []


def test_pagerduty_knows_one_routing_key():
    with PagerDutyServer() as pagerduty:
        assert post(pagerduty.url, event(routing_key="f" * 32))[0] == 400
        assert pagerduty.taken == []


def test_slack_posts_a_message():
    with SlackServer() as slack:
        blocks = [
            {"type": "section", "text": {"type": "plain_text", "text": "a &lt;!channel&gt; *x*", "emoji": False}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": "<https://x.example/a|Runbook>"}]},
        ]
        status, _, answer = post(f"{slack.url}/chat.postMessage", message(blocks=blocks), **SLACK_HEADERS)
        assert (status, answer["ok"]) == (200, True)
        assert slack.messages == ["x is late"]
        assert slack.faults() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "a <!channel> b"},
        {"text": "fish & chips"},
        {"text": "*bold*", "mrkdwn": True},
        {"blocks": [{"type": "divider"}] * 51},
        {"blocks": [{"type": "section", "text": {"type": "plain_text", "text": "x" * 3001}}]},
        {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "`x`"}}]},
        {"blocks": [{"type": "section", "text": {"type": "plain_text", "text": "<https://x.example|y>"}}]},
        {"metadata": {"event_type": "Medic Alert", "event_payload": {}}},
        {"surprise": 1},
    ],
)
def test_slack_refuses_what_its_documentation_does_not_allow(changes):
    with SlackServer() as slack:
        _, _, answer = post(f"{slack.url}/chat.postMessage", message(**changes), **SLACK_HEADERS)
        assert answer == {"ok": False, "error": "invalid_arguments"}
        assert slack.faults() != []


def test_slack_names_a_wrong_token_and_a_wrong_channel():
    with SlackServer() as slack:
        url = f"{slack.url}/chat.postMessage"
        wrong = {**SLACK_HEADERS, "Authorization": "Bearer xoxb-other"}
        assert post(url, message(), **wrong)[2]["error"] == "invalid_auth"
        assert post(url, message(channel="C0"), **SLACK_HEADERS)[2]["error"] == "channel_not_found"


def test_behaviours_apply_to_matching_requests_so_many_times():
    with PagerDutyServer() as pagerduty:
        pagerduty.behave(Refuse(429, retry_after="7"), times=2, containing="medic-y")
        assert post(pagerduty.url, event(key="medic-x"))[0] == 202
        status, headers, _ = post(pagerduty.url, event(key="medic-y"))
        assert (status, headers["Retry-After"]) == (429, "7")
        assert post(pagerduty.url, event(key="medic-y"))[0] == 429
        assert post(pagerduty.url, event(key="medic-y"))[0] == 202
        pagerduty.behave(Refuse(500))
        assert post(pagerduty.url, event())[0] == 500


def test_a_limit_answers_429_beyond_it():
    with PagerDutyServer() as pagerduty:
        pagerduty.now = lambda: 7.0  # all of it within one second
        pagerduty.limit(2)
        assert [post(pagerduty.url, event(key=f"medic-{n}"))[0] for n in range(4)] == [202, 202, 429, 429]


def test_reset_hang_and_closed_port_are_what_they_say():
    with PagerDutyServer() as pagerduty:
        pagerduty.behave(Reset(taken=True), times=1)
        with pytest.raises(OSError, match=r"reset|Remote end closed"):
            post(pagerduty.url, event())
        assert len(pagerduty.taken) == 1
        pagerduty.behave(Hang(), times=1)
        with pytest.raises(TimeoutError):
            post(pagerduty.url, event(), timeout=0.1)
        assert pagerduty.arrivals[-1].status is None
        pagerduty.refuse_connections()
        with pytest.raises(urllib.error.URLError, match="refused"):
            post(pagerduty.url, event())
        pagerduty.accept_connections()
        assert post(pagerduty.url, event())[0] == 202


def test_webhook_receiver_checks_headers_and_body():
    with WebhookReceiver() as receiver:
        assert post(receiver.url, {"kind": "trigger"})[0] == 400
        assert any("webhook-timestamp" in fault for fault in receiver.faults())


def test_vendors_in_a_process_of_their_own(tmp_path: Path):
    with VendorProcess(tmp_path) as vendors:
        url = vendors.environment["PAGERDUTY_EVENTS_URL"]
        vendors.behave("pagerduty", Refuse(503), times=1)
        assert post(url, event())[0] == 503
        assert post(url, event())[0] == 202
        (arrival,) = vendors.wait_for("pagerduty", 1)
        assert arrival["document"]["dedup_key"] == "medic-x"
        assert vendors.snapshot("pagerduty")["opened"] == ["medic-x"]
        assert vendors.faults() == []
        vendors.order("pagerduty", "refuse_connections")
        with pytest.raises(urllib.error.URLError):
            post(url, event())
