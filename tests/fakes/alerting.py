"""What tests of alerting put in the place of the parts around it.

A clock that goes with trio's, an outbox that records, notifiers that do as they are told.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from zoneinfo import ZoneInfo

import trio

from medic.alerting.attempt import Attempt, Delivered
from medic.alerting.notifier import Notifier
from medic.alerting.pipeline import Alerting
from medic.alerting.slack import Slack
from medic.alerting.slack_api import SlackApi
from medic.alerting.slack_look import Look
from medic.core.blind import SIGHTED_ALWAYS, BlindLog
from medic.core.effects import SettleNotification
from medic.core.notification import Notification, alert_key
from medic.core.status import NotificationKind, OpenedReason, Outcome
from medic.core.units import DurationMs, EventId, InstantMs, ServiceId, SightedMs, SkewMs
from medic.core.webhook import Webhook
from tests.vendors.slack import CHANNEL, TOKEN

NOON = InstantMs(1_767_268_800_000)
"""2026-01-01T12:00:00Z."""


class TrioClock:
    """Wall time that goes as trio's clock does, which a MockClock may own."""

    def now(self) -> InstantMs:
        return InstantMs(NOON + round(trio.current_time() * 1000))

    def sighted(self) -> SightedMs:
        return SightedMs(self.now() - 1000)

    @property
    def skew(self) -> SkewMs:
        return SkewMs(1000)

    @property
    def blind(self) -> BlindLog:
        return SIGHTED_ALWAYS


class StandingClock(TrioClock):
    """Noon, always."""

    def now(self) -> InstantMs:
        return NOON


class WallClock(TrioClock):
    """The machine's own wall time."""

    def now(self) -> InstantMs:
        return InstantMs(time.time_ns() // 1_000_000)


class Settled:
    """Implements `ports.Settlements`: keeps outcomes and what Medic told of itself. `carry_on` hands the latter on."""

    def __init__(self) -> None:
        self.settlements: list[SettleNotification] = []
        self.told: list[Notification] = []
        self.hand_on: Callable[[Notification], None] = self.told.append
        self.refuses: Exception | None = None

    def settle_nowait(self, settlement: SettleNotification) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.settlements.append(settlement)

    def tell_nowait(self, notification: Notification) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.hand_on(notification)

    def outcomes(self, target: str | None = None) -> list[tuple[str, Outcome]]:
        """Ids and outcomes, in the order in which they were journaled."""
        return [
            (settled.notification_id, settled.outcome)
            for settled in self.settlements
            if target is None or settled.target == target
        ]


Behave = Callable[[Notification], Awaitable[Attempt]]


class Scripted:
    """Implements `Notifier`: answers as scripted for a key, else as `otherwise` says, and keeps what it was asked."""

    def __init__(self, target: str = "pagerduty", otherwise: Attempt | Behave | None = None) -> None:
        self.target = target
        self.otherwise: Attempt | Behave = Delivered() if otherwise is None else otherwise
        self.script: dict[str, deque[Attempt | Behave]] = defaultdict(deque)
        self.sent: list[tuple[float, str]] = []
        self.kinds: frozenset[NotificationKind] = frozenset(NotificationKind)
        self.closed = False
        self.under_way = 0
        self.most_under_way = 0

    def takes(self, notification: Notification) -> bool:
        return notification.kind in self.kinds

    async def send(self, notification: Notification) -> Attempt:
        self.sent.append((trio.current_time(), notification.notification_id))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            waiting = self.script[notification.key]
            answer = waiting.popleft() if waiting else self.otherwise
            if callable(answer):
                return await answer(notification)
            await trio.lowlevel.checkpoint()
            return answer
        finally:
            self.under_way -= 1

    def describe(self) -> str:
        return f"scripted {self.target}"

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()

    @property
    def ids(self) -> list[str]:
        """Ids of what it was asked to send, in order, repetitions included."""
        return [notification_id for _, notification_id in self.sent]


async def hang(_: Notification) -> Attempt:
    """Never answer."""
    await trio.sleep_forever()
    return Delivered()


def answer_after(seconds: float, attempt: Attempt | None = None) -> Behave:
    """Answer so many seconds later."""

    async def answer(_: Notification) -> Attempt:
        await trio.sleep(seconds)
        return Delivered() if attempt is None else attempt

    return answer


def trigger(
    alert_id: int = 1,
    *,
    name: str = "",
    priority: str = "p3",
    at: int = NOON,
    ordinal: int = 0,
    kind: NotificationKind = NotificationKind.TRIGGER,
    targets: tuple[str, ...] = ("pagerduty",),
) -> Notification:
    """A notification of the alert: its name follows from the alert's id where none is given."""
    heartbeat_name = name or f"service-{alert_id}"
    return Notification(
        notification_id=f"{alert_id}.{ordinal}",
        kind=kind,
        key=alert_key(heartbeat_name),
        at=InstantMs(at),
        service_id=ServiceId(alert_id + 1000),
        alert_id=EventId(alert_id),
        heartbeat_name=heartbeat_name,
        service_name=f"{heartbeat_name}-owner",
        team="ops",
        priority=priority,
        reason=OpenedReason.LATE,
        late_since=InstantMs(at),
        last_seen=InstantMs(at - 720_000),
        interval_ms=DurationMs(300_000),
        targets=targets,
    )


def follow(claim: Notification, kind: NotificationKind, ordinal: int = 1, *, later_ms: int = 60_000) -> Notification:
    """What is told of the same alert afterwards."""
    told = replace(
        claim,
        kind=kind,
        notification_id=f"{claim.alert_id}.{ordinal}",
        at=InstantMs(claim.at + later_ms),
    )
    if kind is NotificationKind.RESOLVE:
        return replace(told, lasted_ms=DurationMs(later_ms), closed_reason="recovered")
    return told


class Bench:
    """Alerting with its fakes; `offer` addresses a notification as the outbox does."""

    def __init__(self, *notifiers: Scripted, console: Notifier | None = None) -> None:
        self.console = Scripted("console")
        self.settled = Settled()
        self.made: list[Scripted] = []
        self.alerting = Alerting(
            notifiers, fallback=console or self.console, make_webhook=self._make, clock=TrioClock(), rng=Random(1)
        )
        self.alerting.settle_through(self.settled)

    def offer(self, *notifications: Notification) -> None:
        for notification in notifications:
            targets = self.alerting.targets_for(notification)
            self.alerting.offer_nowait(replace(notification, targets=targets))

    def outcomes(self, target: str = "pagerduty") -> list[tuple[str, Outcome]]:
        return self.settled.outcomes(target)

    def _make(self, webhook: Webhook) -> Scripted:
        self.made.append(Scripted(webhook.target))
        return self.made[-1]


def slack_over(
    url: str,
    *,
    token: str = TOKEN,
    channel: str = CHANNEL,
    base_url: str = "https://medic.example",
    has_buttons: bool = False,
) -> Slack:
    """The notifier, over Slack's API at that address."""
    api = SlackApi(token=token, api_url=url, clock=WallClock())
    return Slack(api, channel=channel, look=Look(base_url, ZoneInfo("America/Chicago")), has_buttons=has_buttons)


@asynccontextmanager
async def running(*notifiers: Scripted) -> AsyncIterator[Bench]:
    bench = Bench(*notifiers)
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.alerting.run)
        yield bench
        nursery.cancel_scope.cancel()
    assert all(notifier.closed for notifier in notifiers)


async def until(condition: Callable[[], object]) -> None:
    """Let simulated time pass in steps of 10 ms, at most an hour of it, until the condition holds."""
    for _ in range(360_000):
        if condition():
            return
        await trio.sleep(0.01)
    raise AssertionError("an hour of simulated time was not enough")
