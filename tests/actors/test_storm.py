"""A storm at a vendor that takes 50 a second: who is told first, who is never told, and how long it lasts."""

from __future__ import annotations

import trio

from medic.actors.outbox import SLICE_NOTIFICATIONS
from medic.alerting.attempt import Attempt, Delivered, Throttled
from medic.alerting.pace import ATTEMPTS_AT_ONCE_MAX, URGENT_ATTEMPTS_EXTRA
from medic.core.notification import Notification
from medic.core.status import NotificationKind, Outcome
from tests.fakes.alerting import Bench, Scripted, follow, running, trigger, until

A_SECOND = 50
STORM = 1_000


class Limited(Scripted):
    """Takes `A_SECOND` in each second and answers within 20 ms; 429 for the rest of the second beyond that."""

    def __init__(self) -> None:
        super().__init__(otherwise=self._answer)
        self.taken: list[tuple[float, str]] = []
        self._second = -1
        self._count = 0

    async def _answer(self, notification: Notification) -> Attempt:
        await trio.sleep(0.02)
        now = trio.current_time()
        if int(now) != self._second:
            self._second, self._count = int(now), 0
        self._count += 1
        if self._count > A_SECOND:
            return Throttled("slow down", 1 - now % 1)
        self.taken.append((now, notification.priority))
        return Delivered()


def storm() -> list[Notification]:
    """Every tenth is a p1; the first of them is in the third slice."""
    first = 2 * SLICE_NOTIFICATIONS + 7
    return [
        trigger(number, priority="p1" if number >= first and number % 10 == 0 else f"p{2 + number % 4}")
        for number in range(STORM)
    ]


async def offer_in_slices(bench: Bench, notifications: list[Notification]) -> None:
    """As the outbox hands them on: a slice, then everybody else's turn."""
    for first in range(0, len(notifications), SLICE_NOTIFICATIONS):
        bench.offer(*notifications[first : first + SLICE_NOTIFICATIONS])
        await trio.sleep(0.004)


async def test_the_most_urgent_of_a_storm_is_told_within_a_tenth_of_a_second(autojump_clock):
    vendor = Limited()
    async with running(vendor) as bench:
        began = trio.current_time()
        await offer_in_slices(bench, storm())
        await until(lambda: len(vendor.taken) == STORM)
        assert next(at for at, priority in vendor.taken if priority == "p1") - began < 0.1
        # By now all were offered; only those under way at once, and those asked to wait, may change places.
        behind = [priority for _, priority in vendor.taken[A_SECOND:]]
        misplaced = sum(told != due for told, due in zip(behind, sorted(behind), strict=True))
        assert misplaced <= 5 * (ATTEMPTS_AT_ONCE_MAX + URGENT_ATTEMPTS_EXTRA)
        assert trio.current_time() - began < STORM / A_SECOND * 1.1


async def test_what_recovers_before_its_turn_is_never_told(autojump_clock):
    vendor = Limited()
    async with running(vendor) as bench:
        claims = storm()
        bench.offer(*claims)
        await trio.sleep(2.5)
        bench.offer(*[follow(claim, NotificationKind.RESOLVE) for claim in claims])
        await until(lambda: len(bench.outcomes()) == 2 * STORM)
        outcomes = dict(bench.outcomes())
        told = {claim.key for claim in claims if outcomes[claim.notification_id] is Outcome.DELIVERED}
        assert 2 * A_SECOND <= len(told) <= 4 * A_SECOND
        for claim in claims:
            ended = outcomes[f"{claim.alert_id}.1"]
            assert ended is (Outcome.DELIVERED if claim.key in told else Outcome.DROPPED)
        assert bench.alerting.statistics().pending == 0
