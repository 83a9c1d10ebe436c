from __future__ import annotations

from dataclasses import replace
from zoneinfo import ZoneInfo

import jsonschema
import pytest

from medic.alerting.slack_buttons import (
    Button,
    Person,
    Press,
    acknowledged_words,
    muted_words,
    updated,
    whispered,
)
from medic.alerting.slack_look import Look
from medic.core.author import Author
from medic.core.draft import ServiceDraft
from medic.core.events import HeartbeatReceived, MuteRequested
from medic.core.heartbeat_words import kind_of
from medic.core.names import NAME_MAX
from medic.core.policy import Defaults
from medic.core.status import NotificationKind
from medic.core.step import register, step
from medic.core.units import DAY_MS, HOUR_MS, MINUTE_MS, EventId, InstantMs, ServiceId, SightedMs
from tests.fakes.alerting import NOON, slack_over, trigger
from tests.vendors.slack import CHANNEL, EPHEMERAL_SCHEMA, MESSAGE_SCHEMA, UPDATE_SCHEMA, SlackServer, buttons_of

K = NotificationKind
LOOK = Look("https://medic.example", ZoneInfo("America/Chicago"))
HOSTILE = ["<!channel>", "*bold* _it_ `x`", "<https://evil.example|click>", "a\nb\x1b[31m\u202e", "&" * 500, "監" * 500]


def a_press(button: Button = Button.ACKNOWLEDGE, name: str = "ada") -> Press:
    return Press(button, EventId(7), Person("U0123456789", name), CHANNEL, "1700000000.000001")


def a_service(name: str = "job"):
    """One that reported DOWN at noon."""
    row = ServiceDraft(name, "owner", MINUTE_MS, team="ops").row(ServiceId(1), InstantMs(NOON), "ada")
    service, _ = register(row, Defaults(), at=InstantMs(NOON), sighted=SightedMs(NOON))
    step(service, HeartbeatReceived(InstantMs(NOON), SightedMs(NOON), EventId(7), kind_of("DOWN"), "DOWN"))
    return service


@pytest.mark.parametrize("kind", list(K))
def test_open_alerts_have_buttons_and_nothing_else_has(kind):
    message = slack_over("https://slack.com/api", has_buttons=True).message(trigger(42, kind=kind))
    jsonschema.validate(message, MESSAGE_SCHEMA)
    shown = buttons_of(message)
    if kind in {K.TRIGGER, K.REMINDER, K.ESCALATION}:
        assert list(shown) == ["Acknowledge", "Mute 1 h", "Mute 24 h"]
        assert {button["value"] for button in shown.values()} == {"42"}
    else:
        assert shown == {}


@pytest.mark.parametrize("missing", ["service_id", "alert_id"])
def test_medics_own_alert_has_none(missing):
    said = replace(trigger(42), **{missing: None})
    assert buttons_of(slack_over("https://slack.com/api", has_buttons=True).message(said)) == {}


def test_where_nobody_takes_presses_there_are_none():
    assert buttons_of(slack_over("https://slack.com/api").message(trigger(42))) == {}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_in_a_persons_or_a_services_name_is_interpreted(name):
    press, service = a_press(name=name), a_service(name[:NAME_MAX] if name.isprintable() else "job")
    assert service.alert is not None
    alert = replace(service.alert, acknowledged_by=press.person.actor, acknowledged_at=InstantMs(NOON))
    update = updated(press, service, alert, acknowledged_words(press, alert, LOOK), at=InstantMs(NOON), look=LOOK)
    jsonschema.validate(update, UPDATE_SCHEMA)
    whisper = whispered(press, name)
    jsonschema.validate(whisper, EPHEMERAL_SCHEMA)
    assert SlackServer._markup(update) == SlackServer._markup(whisper) == []
    assert press.person.actor.isprintable()
    assert len(press.person.actor) <= 100
    assert buttons_of(update) == {}


def test_an_update_says_who_did_what_and_what_it_was_about():
    press, service = a_press(), a_service()
    assert service.alert is not None
    alert = replace(service.alert, acknowledged_by="slack:ada (U0123456789)", acknowledged_at=InstantMs(NOON))
    said = acknowledged_words(press, alert, LOOK)
    assert said == "Acknowledged by @ada at 06:00 CST"
    update = updated(press, service, alert, said, at=InstantMs(NOON), look=LOOK)
    assert (update["channel"], update["ts"]) == (CHANNEL, "1700000000.000001")
    assert update["text"] == "Acknowledged by @ada at 06:00 CST · job"
    text = str(update["blocks"])
    for part in ("🔴 ALERT job: it reported DOWN", "Team: ops", "Alert: 7", said, "https://medic.example/alerts/7"):
        assert part in text


def test_who_was_quicker_is_said():
    service = a_service()
    assert service.alert is not None
    alert = replace(service.alert, acknowledged_by="grace", acknowledged_at=InstantMs(NOON))
    assert acknowledged_words(a_press(), alert, LOOK) == "Acknowledged already, by grace at 06:00 CST"
    nameless = replace(alert, acknowledged_by="", acknowledged_at=None)
    assert acknowledged_words(a_press(), nameless, LOOK) == "Acknowledged already, by somebody"


def test_a_mute_says_until_when():
    service = a_service()
    for duration, said in (
        (HOUR_MS, "Muted for 1 h by @ada at 06:00 CST, until 2026-01-01 07:00:00 CST"),
        (DAY_MS, "Muted for 24 h by @ada at 06:00 CST, until 2026-01-02 06:00:00 CST"),
    ):
        until = InstantMs(NOON + duration)
        step(service, MuteRequested(InstantMs(NOON), SightedMs(NOON), until, "", Author("slack:ada")))
        assert muted_words(a_press(Button.MUTE_HOUR), duration, service.mute, LOOK) == said
    assert muted_words(a_press(), HOUR_MS, None, LOOK) == "Muted by @ada, and unmuted since"


def test_somebody_without_a_name_is_called_by_their_id():
    assert Person("U1", "").at_name == "@U1"
    assert Person("U1", "ada").actor == "slack:ada (U1)"
