from __future__ import annotations

from dataclasses import replace

import jsonschema
import pytest

from medic.alerting.attempt import Refused, Retry, Throttled
from medic.alerting.slack_api import API_URL, SlackApi
from medic.alerting.slack_look import SECTION_MAX, escaped
from medic.core.names import NAME_MAX
from medic.core.status import NotificationKind
from medic.core.units import DurationMs
from tests.fakes.alerting import StandingClock, follow, slack_over, trigger
from tests.vendors.slack import CHANNEL, MESSAGE_SCHEMA, TOKEN, SlackServer

K = NotificationKind
RULES = SlackServer._markup


@pytest.fixture
def slack():
    return slack_over("https://slack.com/api", has_buttons=True)


def shown(message) -> str:
    """Every text of a message, one after the other."""
    parts = [message["text"]]
    for block in message["blocks"]:
        if block["type"] != "actions":
            shown = (block.get("text"), *block.get("fields", []), *block.get("elements", []))
            parts += [text["text"] for text in shown if text]
    return "\n".join(parts)


def test_an_alert_says_what_where_since_when_and_whose(slack):
    claim = replace(trigger(42, name="nightly-backup", priority="p2"), runbook="https://wiki.example/b?a=1&b=2")
    message = slack.message(claim)
    text = shown(message)
    assert message["channel"] == CHANNEL
    assert message["text"] == "🔴 ALERT nightly-backup: no heartbeat for 12 min"
    for said in (
        "Since: 2026-01-01 06:00:00 CST",
        "Last heartbeat: 2026-01-01 05:48:00 CST",
        "Reason: no heartbeat for 12 min",
        "Service: nightly-backup-owner",
        "Team: ops",
        "Priority: p2, respond within 1 hour",
        "Alert: 42",
        "<https://wiki.example/b?a=1&amp;b=2|Runbook>",
        "<https://medic.example/alerts/42|Alert in Medic>",
    ):
        assert said in text
    assert message["metadata"] == {
        "event_type": "medic_notification",
        "event_payload": {"notification_id": "42.0", "kind": "trigger", "alert_id": 42},
    }


def test_a_recovery_says_how_long_it_lasted(slack):
    over = follow(trigger(), K.RESOLVE, later_ms=9 * 60_000)
    message = slack.message(over)
    assert message["text"] == "🟢 RECOVERED service-1: it is well again, after 9 min"
    assert "Lasted: 9 min" in shown(message)


@pytest.mark.parametrize("kind", list(K))
@pytest.mark.parametrize(
    "name",
    [
        "<!channel>",
        "*bold* _it_ ~x~ `code`",
        "<https://evil.example|click>",
        "a & b > c",
        "@here #general",
        "&" * NAME_MAX,
        "<" * NAME_MAX,
        "監" * NAME_MAX,
        ":rotating_light:",
    ],
)
def test_nothing_in_a_name_is_interpreted_and_every_limit_is_kept(slack, kind, name):
    said = replace(
        trigger(kind=kind, name=name), service_name=name, team=name[:100], by=name, note=name * 20, runbook=""
    )
    message = slack.message(said)
    jsonschema.validate(message, MESSAGE_SCHEMA)
    assert RULES(message) == []
    if name in {"<!channel>", "a & b > c"}:
        assert escaped(name) in message["text"]


@pytest.mark.parametrize(
    "runbook", ["https://x.example/a|b>c<d e", "https://x.example/*_`~", "https://x.example/" + "y" * 5_000]
)
def test_a_runbook_cannot_leave_its_link(slack, runbook):
    message = slack.message(replace(trigger(), runbook=runbook))
    jsonschema.validate(message, MESSAGE_SCHEMA)
    assert RULES(message) == []


def test_a_long_text_is_cut_between_entities(slack):
    message = slack.message(replace(trigger(kind=K.BLIND), text="&" * 10_000))
    assert SECTION_MAX - 10 <= len(message["text"]) <= SECTION_MAX
    assert RULES(message) == []


def test_news_without_a_service_has_no_empty_fields(slack):
    said = replace(
        trigger(kind=K.BLIND),
        text="Medic was blind",
        heartbeat_name="",
        service_name="",
        team="",
        reason=None,
        late_since=None,
        last_seen=None,
        alert_id=None,
        lasted_ms=DurationMs(0),
    )
    assert "Priority" not in shown(slack.message(said))
    only = slack.message(replace(said, lasted_ms=None))
    assert len(only["blocks"]) == 1
    jsonschema.validate(only, MESSAGE_SCHEMA)


@pytest.mark.parametrize(
    ("error", "attempt"),
    [
        ("ratelimited", Throttled("answered ratelimited", 7.0)),
        ("rate_limited", Throttled("answered rate_limited", 7.0)),
        ("internal_error", Retry("answered internal_error", maybe_taken=True, retry_after=7.0)),
        ("fatal_error", Retry("answered fatal_error", maybe_taken=True, retry_after=7.0)),
        ("service_unavailable", Retry("answered service_unavailable", maybe_taken=False, retry_after=7.0)),
        ("invalid_auth", Refused("answered invalid_auth: SLACK_API_TOKEN is not valid")),
        (
            "channel_not_found",
            Refused("answered channel_not_found: SLACK_CHANNEL_ID names no channel the app can see"),
        ),
        ("not_in_channel", Refused("answered not_in_channel: invite the app to the channel")),
        ("something_new", Refused("answered something_new")),
        (f"echo {TOKEN}", Refused("answered echo ***")),
    ],
)
def test_slacks_errors_are_told_apart(error, attempt):
    api = SlackApi(token=TOKEN, api_url=API_URL, clock=StandingClock())
    assert api._judge_error(error, 7.0, TOKEN) == attempt


def test_everything_but_acknowledgements_is_for_slack(slack):
    assert {kind for kind in K if not slack.takes(trigger(kind=kind))} == {K.ACKNOWLEDGE}


def test_the_start_line_names_the_channel_and_no_token(slack):
    assert slack.describe() == f"Slack channel {CHANNEL}"
    elsewhere = slack_over("http://127.0.0.1:99/api/")
    assert elsewhere.describe() == f"Slack channel {CHANNEL} at 127.0.0.1"
