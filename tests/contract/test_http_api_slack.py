"""`/v2/slack/interactions`: presses over the real application and actors, with a Slack that checks what it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlencode
from zoneinfo import ZoneInfo

import orjson
import pytest
import trio

from medic.access.mode import AuthMode
from medic.access.slack_signature import SlackSignatures
from medic.alerting.slack_api import SlackApi
from medic.alerting.slack_look import Look
from medic.alerting.slack_presses import SlackPresses
from medic.http.parts import SlackParts
from tests.contract.http_api import Api, faults, open_api
from tests.fakes.alerting import slack_over, trigger
from tests.vendors import Refuse, SlackServer
from tests.vendors.server import Arrival
from tests.vendors.slack import CHANNEL, SIGNING_SECRET, TOKEN, pressed, slack_headers

PATH = "/v2/slack/interactions"


class Channel:
    """Medic's API, and a channel of Slack's in which its alerts stand."""

    def __init__(self, api: Api, server: SlackServer) -> None:
        self.api = api
        self.world = api.world
        self.server = server
        self._notifier = slack_over(server.url, has_buttons=True)

    @property
    def alert_id(self) -> int:
        """That of the open alert."""
        [service] = self.world.directory.open_alerts()
        assert service.alert is not None
        return service.alert.alert_id

    def message(self, alert_id: int | None = None) -> dict[str, object]:
        """The alert as Medic posts it."""
        return self._notifier.message(trigger(self.alert_id if alert_id is None else alert_id))

    async def press(self, label: str, **changes: str) -> int:
        return await self.send(pressed(self.message(), label, **changes))

    async def send(self, body: bytes, **headers: str) -> int:
        return (await self.answer(body, **headers)).status_code

    async def answer(self, body: bytes, *, age: int = 0, secret: str = SIGNING_SECRET, **headers: str):
        signed = slack_headers(body, seconds=self.world.clock.now() // 1000 - age, secret=secret)
        return await self.api.request("POST", PATH, content=body, **{**signed, **headers})

    async def updates(self, count: int = 1) -> list[dict[str, Any]]:
        """What messages were replaced with, once there are so many."""
        await self._told("/chat.update", count)
        return self.server.updates

    async def remarks(self, count: int = 1) -> list[str]:
        """The last line of each of them."""
        return [update["blocks"][-1]["elements"][0]["text"] for update in await self.updates(count)]

    async def whispers(self) -> list[str]:
        """What single people were told, once somebody was."""
        await self._told("/chat.postEphemeral", 1)
        return self.server.whispers

    async def _told(self, method: str, count: int) -> None:
        def took(arrival: Arrival) -> bool:
            return arrival.taken and arrival.path.endswith(method)

        await trio.to_thread.run_sync(partial(self.server.wait_for, count, where=took))

    async def close(self) -> None:
        await self._notifier.aclose()


@asynccontextmanager
async def open_channel(server: SlackServer, *, token: str = TOKEN) -> AsyncIterator[Channel]:
    async with open_api() as api, trio.open_nursery() as nursery:
        world = api.world
        presses = SlackPresses(
            changes=world.changes,
            roster=world.directory,
            clock=world.clock,
            look=Look("https://medic.example", ZoneInfo("UTC")),
            api=SlackApi(token=token, api_url=server.url, clock=world.clock) if token else None,
            rng=Random(1),
        )
        signatures = SlackSignatures(SIGNING_SECRET, since=world.clock.now())
        object.__setattr__(world.parts, "slack", SlackParts(signatures, presses))
        await nursery.start(presses.run)
        channel = Channel(api, server)
        yield channel
        await channel.close()
        nursery.cancel_scope.cancel()
    assert server.faults() == []


@pytest.fixture
async def channel() -> AsyncIterator[Channel]:
    """With one service, `job`, whose alert is open."""
    with SlackServer() as server:
        async with open_channel(server) as opened:
            await opened.api.open_alert("job")
            yield opened


def failures(api: Api) -> int:
    return dict(api.world.meter.statistics().auth_failures).get("slack_signature", 0)


# ------------------------------------------------------------------------------------------------------------- buttons


async def test_acknowledge_stops_reminders_and_says_who_did(channel: Channel) -> None:
    answer = await channel.answer(pressed(channel.message(), "Acknowledge", ts="1700000000.000042"))
    assert (answer.status_code, answer.content) == (200, b"")
    [alert] = (await channel.api.get("/alerts?active=1")).json()["results"]
    assert alert["acknowledged_by"] == "slack:ada (U0123456789)"
    [update] = await channel.updates()
    assert (update["channel"], update["ts"]) == (CHANNEL, "1700000000.000042")
    [remark] = await channel.remarks()
    assert remark.startswith("Acknowledged by @ada at ")


@pytest.mark.parametrize(("label", "hours"), [("Mute 1 h", 1), ("Mute 24 h", 24)])
async def test_mute_mutes_and_says_who_did(channel: Channel, label: str, hours: int) -> None:
    before = channel.world.clock.now()
    assert await channel.press(label) == 200
    after = channel.world.clock.now()
    service = channel.world.directory.find("job")
    assert service is not None
    assert service.mute is not None
    assert before <= service.mute.until - hours * 3_600_000 <= after
    assert service.mute.muted_by == "slack:ada (U0123456789)"
    [remark] = await channel.remarks()
    assert remark.startswith(f"Muted for {hours} h by @ada at ")


async def test_the_second_to_acknowledge_is_told_who_was_quicker(channel: Channel) -> None:
    assert await channel.press("Acknowledge") == 200
    assert await channel.press("Acknowledge", user="U9", name="grace") == 200
    said = sorted(await channel.remarks(2))
    assert said[0].startswith("Acknowledged already, by slack:ada (U0123456789) at ")
    assert said[1].startswith("Acknowledged by @ada at ")


@pytest.mark.parametrize("label", ["Acknowledge", "Mute 1 h"])
@pytest.mark.parametrize("ending", ["recovered", "deleted"])
async def test_the_button_of_an_alert_that_is_over_changes_nothing(channel: Channel, label: str, ending: str) -> None:
    body = pressed(channel.message(), label)
    if ending == "recovered":
        await channel.api.beat("job")
    else:
        await channel.api.delete("/service/job")
    assert await channel.send(body) == 200
    assert await channel.whispers() == ["This alert is over: nothing was changed."]
    assert channel.server.updates == []
    service = channel.world.directory.find("job")
    assert service is None or service.mute is None


async def test_buttons_work_while_postgresql_is_away(channel: Channel) -> None:
    channel.world.lose_database()
    assert await channel.press("Acknowledge") == 200
    assert await channel.press("Mute 1 h") == 200
    assert len(await channel.updates(2)) == 2


async def test_what_the_journal_does_not_take_is_said_not_to_be_done(channel: Channel) -> None:
    channel.world.journal.refuse("The disk is full.")
    assert await channel.press("Acknowledge") == 200
    [said] = await channel.whispers()
    assert said == "Medic could not do that now: nothing was changed. Press again in a moment."


async def test_a_slack_that_fails_for_a_moment_is_told_again(channel: Channel) -> None:
    channel.server.behave(Refuse(429, retry_after="0"), times=1)
    channel.server.behave(Refuse(500), times=1)
    assert await channel.press("Acknowledge") == 200
    assert len(await channel.updates()) == 1


async def test_without_a_token_it_is_done_and_nobody_told() -> None:
    with SlackServer() as server:
        async with open_channel(server, token="") as channel:
            await channel.api.open_alert("job")
            assert await channel.press("Acknowledge") == 200
            [alert] = (await channel.api.get("/alerts?active=1")).json()["results"]
            assert alert["acknowledged_by"] == "slack:ada (U0123456789)"
        assert server.arrivals == []


# ----------------------------------------------------------------------------------------------------------- signature


async def test_only_slack_may_press(channel: Channel) -> None:
    body = pressed(channel.message(), "Mute 24 h")
    for attempt in ({"secret": "another secret"}, {"age": 301}, {"age": -301}):
        assert await channel.send(body, **attempt) == 401
    assert (await channel.api.request("POST", PATH, content=body)).status_code == 401
    signed = slack_headers(body, seconds=channel.world.clock.now() // 1000)
    twice = [*signed.items(), ("X-Slack-Signature", "v0=00")]
    assert (await channel.api._http.post(PATH, content=body, headers=twice)).status_code == 401
    assert failures(channel.api) == 5
    service = channel.world.directory.find("job")
    assert service is not None
    assert service.mute is None


async def test_a_recorded_press_is_good_once(channel: Channel) -> None:
    body = pressed(channel.message(), "Mute 24 h")
    signed = slack_headers(body, seconds=channel.world.clock.now() // 1000)
    assert (await channel.api.request("POST", PATH, content=body, **signed)).status_code == 200
    await channel.api.post("/service/job", {"muted": 0})
    assert (await channel.api.request("POST", PATH, content=body, **signed)).status_code == 401
    assert (await channel.api.service("job"))["muted"] == 0
    assert failures(channel.api) == 1


@pytest.mark.parametrize("mode", list(AuthMode))
async def test_the_signature_is_the_credential_in_every_mode(channel: Channel, mode: AuthMode) -> None:
    channel.world.ask_for_keys(mode)
    assert await channel.press("Acknowledge") == 200
    # By a name nobody told Medic of, through a proxy nobody named: Slack has no other way.
    relayed = {"Host": "medic.example.com", "X_Forwarded_For": "192.0.2.1"}
    assert await channel.send(pressed(channel.message(), "Mute 1 h"), **relayed) == 200


async def test_without_a_signing_secret_everything_is_refused() -> None:
    async with open_api() as api:
        answer = await api.request("POST", PATH, content=b"payload=%7B%7D", **slack_headers(b"payload=%7B%7D"))
        assert answer.status_code == 401
        assert "SLACK_SIGNING_SECRET is not set" in answer.json()["message"]
        assert failures(api) == 1


async def test_slack_may_look_at_the_certificate(channel: Channel) -> None:
    assert (await channel.api.get(f"{PATH}?ssl_check=1")).status_code == 200
    assert (await channel.api.request("POST", PATH, content=b"ssl_check=1&token=x")).status_code == 200
    assert (await channel.api.get(PATH)).status_code == 400


# ------------------------------------------------------------------------------------------------------------- payload


def changed(channel: Channel, fields: dict[str, object]) -> bytes:
    """A press with other fields at its top."""
    form = parse_qs(pressed(channel.message(), "Acknowledge").decode())
    payload = orjson.loads(form["payload"][0]) | fields
    return urlencode({"payload": orjson.dumps(payload)}).encode()


@pytest.mark.parametrize(
    ("fields", "faulty"),
    [
        ({"type": "view_submission"}, "type"),
        ({"actions": []}, "actions"),
        ({"actions": [{"action_id": "medic_delete", "value": "1"}]}, "actions"),
        ({"actions": [{"action_id": "medic_acknowledge", "value": "x"}]}, "actions"),
        ({"actions": [{"action_id": "medic_acknowledge", "value": "9" * 16}]}, "actions"),
        ({"actions": [{"action_id": "medic_acknowledge"}]}, "actions"),
        ({"user": {"id": "<!channel>"}}, "user"),
        ({"user": None}, "user"),
        ({"channel": {"id": "C1\r\nX: y"}}, "channel"),
        ({"container": {"message_ts": "now"}}, "container"),
    ],
)
async def test_a_payload_that_is_no_press_of_ours_names_what_is_wrong(
    channel: Channel, fields: dict[str, object], faulty: str
) -> None:
    answer = await channel.answer(changed(channel, fields))
    assert answer.status_code == 400
    assert any(field.startswith(faulty) for field in faults(answer))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"payload=",
        b"payload=%FF",
        b"payload=" + b"[" * 5_000,
        b"payload=%7B%22type%22%3ANaN%7D",
        b"other=1",
        b"&".join(b"a%d=1" % number for number in range(100)),
    ],
)
async def test_a_body_that_is_no_form_of_slacks_is_refused(channel: Channel, body: bytes) -> None:
    assert await channel.send(body) == 400


async def test_a_body_beyond_any_payload_is_too_large(channel: Channel) -> None:
    assert await channel.send(b"payload=" + b"x" * (1 << 20)) == 413


async def test_a_button_with_an_id_nobody_has_is_told_so(channel: Channel) -> None:
    assert await channel.send(pressed(channel.message(123_456_789), "Acknowledge")) == 200
    assert await channel.whispers() == ["This alert is over: nothing was changed."]
