"""All of alerting over real sockets: order, pauses, hangs and recoveries as the vendors see them."""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import StringIO
from random import Random
from zoneinfo import ZoneInfo

import pytest
import trio

from medic.access.allowlist import read_entry
from medic.alerting import outbound, supervision
from medic.alerting.assembly import NotifierSettings, build_alerting
from medic.alerting.pagerduty import PagerDuty
from medic.alerting.pipeline import Alerting
from medic.core.notification import Notification
from medic.core.status import NotificationKind, Outcome
from medic.core.webhook import Webhook
from tests.fakes.alerting import Settled, WallClock, follow, trigger
from tests.patience import NEVER_SECONDS, PATIENCE_SECONDS
from tests.vendors import Hang, PagerDutyServer, Refuse, Reset, SlackServer, WebhookReceiver
from tests.vendors.pagerduty import ROUTING_KEY
from tests.vendors.slack import CHANNEL, TOKEN

K = NotificationKind
BASE_URL = "http://medic.example:8080"


@pytest.fixture
def pagerduty() -> Iterator[PagerDutyServer]:
    with PagerDutyServer() as server:
        yield server


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as server:
        yield server


@asynccontextmanager
async def running(
    *, pagerduty: PagerDutyServer | None = None, slack: SlackServer | None = None, webhooks: tuple[Webhook, ...] = ()
) -> AsyncIterator[tuple[Alerting, Settled]]:
    settings = NotifierSettings(base_url=BASE_URL, zone=ZoneInfo("UTC"), allowlist=(read_entry("127.0.0.0/8"),))
    if pagerduty is not None:
        settings = replace(settings, pagerduty_routing_key=ROUTING_KEY, pagerduty_events_url=pagerduty.url)
    if slack is not None:
        settings = replace(settings, slack_token=TOKEN, slack_channel=CHANNEL, slack_api_url=slack.url)
    assert ROUTING_KEY not in repr(settings)
    alerting = build_alerting(settings, webhooks=webhooks, clock=WallClock(), rng=Random(1), terminal=StringIO())
    settled = Settled()
    alerting.settle_through(settled)
    async with trio.open_nursery() as nursery:
        await nursery.start(alerting.run)
        yield alerting, settled
        await alerting.drain()
        nursery.cancel_scope.cancel()


def offer(alerting: Alerting, *notifications: Notification) -> None:
    for notification in notifications:
        alerting.offer_nowait(replace(notification, targets=alerting.targets_for(notification)))


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until the condition holds."""
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            if condition():
                return
            await trio.lowlevel.checkpoint()


async def arrive(server, count: int):
    return await trio.to_thread.run_sync(server.wait_for, count)


async def test_everybody_configured_is_told_and_named(pagerduty, slack, receiver):
    hook = Webhook(webhook_id=3, url=receiver.url, heartbeat_name="Service-1")
    async with running(pagerduty=pagerduty, slack=slack, webhooks=(hook,)) as (alerting, settled):
        assert alerting.describe_targets() == (
            f"PagerDuty at 127.0.0.1, Slack channel {CHANNEL} at 127.0.0.1, webhook 3 at 127.0.0.1 (only Service-1)"
        )
        offer(alerting, trigger(1), trigger(2))
        await arrive(pagerduty, 2)
        await arrive(slack, 2)
        await arrive(receiver, 1)
        offer(alerting, follow(trigger(1), K.RESOLVE), follow(trigger(2), K.RESOLVE))
        await arrive(pagerduty, 4)
        await arrive(slack, 4)
        await arrive(receiver, 2)
    assert pagerduty.open == {}
    assert {outcome for _, outcome in settled.outcomes()} == {Outcome.DELIVERED}
    assert len(settled.settlements) == 10
    assert pagerduty.faults() == slack.faults() == receiver.faults() == []


async def test_nobody_configured_means_this_terminal():
    async with running() as (alerting, settled):
        assert "this terminal" in alerting.describe_targets()
        offer(alerting, trigger(1))
        await until(lambda: settled.settlements)
    assert settled.outcomes("console") == [("1.0", Outcome.DELIVERED)]


async def test_an_idle_target_sends_as_soon_as_it_is_offered_something(pagerduty):
    through_alerting, bare = [], []
    direct = PagerDuty(routing_key=ROUTING_KEY, events_url=pagerduty.url, base_url=BASE_URL, clock=WallClock())
    async with running(pagerduty=pagerduty) as (alerting, _):
        for number in range(40):
            begun = time.monotonic()
            offer(alerting, trigger(number))
            arrivals = await arrive(pagerduty, 2 * number + 1)
            through_alerting.append(arrivals[-1].at_monotonic - begun)
            begun = time.monotonic()
            await direct.send(trigger(number))
            bare.append(pagerduty.arrivals[-1].at_monotonic - begun)
    await direct.aclose()
    # Whoever looked for work every so often would be a hundred times slower than the request itself.
    assert statistics.median(through_alerting) < 10 * statistics.median(bare)


async def test_of_a_thousand_at_once_the_p1_are_told_first_also_after_a_429(pagerduty):
    pagerduty.behave(Refuse(429, retry_after="1"), times=8)
    async with running(pagerduty=pagerduty) as (alerting, _):
        offer(alerting, *[trigger(number, priority=f"p{5 - number % 5}") for number in range(1_000)])
        taken = await arrive(pagerduty, 130)
        alerting_statistics = alerting.statistics().targets[0]
        pagerduty.behave(Refuse(410))
    assert [arrival.document["payload"]["severity"] for arrival in taken[:130]] == ["critical"] * 130
    assert alerting_statistics.throttled >= 1
    assert pagerduty.faults() == []


async def test_a_vendor_that_hangs_delays_nobody_else(pagerduty, slack, receiver, monkeypatch):
    # Nothing here is given up on: whoever waited for the ones that hang would wait for ever.
    for module, limit in ((outbound, "ATTEMPT_SECONDS"), (supervision, "HANG_SECONDS")):
        monkeypatch.setattr(module, limit, NEVER_SECONDS)
    slack.behave(Hang())
    receiver.behave(Hang(), containing="service-1")
    hook = Webhook(webhook_id=3, url=receiver.url)
    async with running(pagerduty=pagerduty, slack=slack, webhooks=(hook,)) as (alerting, settled):
        offer(alerting, *[trigger(number) for number in range(5)])
        await arrive(pagerduty, 5)
        await arrive(receiver, 4)
        assert settled.outcomes("slack") == []
        slack.release()
        receiver.release()
        slack.behave(Refuse(200, error="is_archived"))
        receiver.behave(Refuse(410))


async def test_a_429_holds_everything_for_as_long_as_it_says(pagerduty):
    pagerduty.behave(Refuse(429, retry_after="1"), times=1)
    async with running(pagerduty=pagerduty) as (alerting, _):
        offer(alerting, trigger(1))
        await until(lambda: alerting.statistics().targets[0].paused)
        (refused,) = pagerduty.arrivals
        offer(alerting, trigger(2, priority="p1"))
        taken = await arrive(pagerduty, 2)
    assert taken[0].at_monotonic - refused.at_monotonic >= 1.0
    assert taken[0].document["dedup_key"] == "medic-service-2"


async def test_a_recovery_after_a_lost_answer_is_told(pagerduty):
    pagerduty.behave(Reset(taken=True), times=1)
    async with running(pagerduty=pagerduty) as (alerting, settled):
        claim = trigger(1)
        offer(alerting, claim)
        await arrive(pagerduty, 1)
        pagerduty.behave(Reset(taken=True), containing='"trigger"')
        offer(alerting, follow(claim, K.RESOLVE))
        await trio.to_thread.run_sync(
            lambda: pagerduty.wait_for(1, where=lambda arrival: "resolve" in arrival.text and arrival.taken)
        )
    assert pagerduty.open == {}
    assert settled.outcomes() == [("1.0", Outcome.GIVEN_UP), ("1.1", Outcome.DELIVERED)]


async def test_a_vendor_whose_port_was_closed_is_told_when_it_is_back(pagerduty):
    pagerduty.refuse_connections()
    async with running(pagerduty=pagerduty) as (alerting, settled):
        offer(alerting, trigger(1), trigger(2))
        offer(alerting, follow(trigger(2), K.RESOLVE))
        pagerduty.accept_connections()
        (taken,) = await arrive(pagerduty, 1)
        assert taken.document["dedup_key"] == "medic-service-1"
    assert ("1.0", Outcome.DELIVERED) in settled.outcomes()
    assert len(pagerduty.arrivals) == 1


async def test_an_alert_that_pagerduty_refuses_is_told_to_slack(slack, pagerduty):
    pagerduty.behave(Refuse(400, error="Invalid routing key"))
    async with running(pagerduty=pagerduty, slack=slack) as (alerting, settled):
        settled.hand_on = lambda complaint: offer(alerting, complaint)
        offer(alerting, trigger(1))
        await arrive(slack, 2)
        standing = alerting.statistics()
    assert standing.untold == (1,)
    assert slack.messages[1].startswith(
        "🟡 NOT TOLD service-1: pagerduty refused this alert for good (answered 400: Invalid routing key"
    )
    assert slack.faults() == []
