"""The queue of one target: order, retries, release, bounds; and a vendor that is told the truth in the end."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from medic.alerting.attempt import Attempt, Delivered, Refused, Retry, Throttled
from medic.alerting.errand import Ending, Errand
from medic.alerting.lane import Standing
from medic.alerting.queue import STALE_SLACK, Queue
from medic.core.notification import Notification
from medic.core.status import NotificationKind, Outcome
from tests.fakes.alerting import follow, trigger

K = NotificationKind
DOWN = Retry("down", maybe_taken=False)


class Desk:
    """A queue, its time, and everything that ended."""

    def __init__(self) -> None:
        self.queue = Queue()
        self.now = 0.0
        self.sequence = 0
        self.endings: list[Ending] = []

    def offer(self, notification: Notification, *, expires_at: float = math.inf) -> Errand:
        self.sequence += 1
        errand = Errand(notification, self.sequence, now=self.now, expires_at=expires_at)
        self.endings += self.queue.offer(errand, self.now)
        return errand

    def take(self) -> str | None:
        self.taken = self.queue.take(self.now)
        return None if self.taken is None else self.taken.notification.notification_id

    def settle(self, errand: Errand, attempt: Attempt, *, wait: float = 10.0, outage: int = 0) -> None:
        self.endings += self.queue.settle(errand, attempt, now=self.now, retry_at=self.now + wait, outage=outage)

    def outcomes(self) -> list[tuple[str, Outcome]]:
        return [(ending.errand.notification.notification_id, ending.outcome) for ending in self.endings]


def test_priority_then_age_then_arrival():
    desk = Desk()
    for notification in (
        trigger(1, priority="p3", at=500),
        trigger(2, priority="p3", at=400),
        trigger(3, priority="p1", at=900),
        trigger(4, priority="p3", at=400),
    ):
        desk.offer(notification)
    assert desk.queue.next_priority(0.0) == 0
    assert [desk.take() for _ in range(5)] == ["3.0", "2.0", "4.0", "1.0", None]
    assert len(desk.queue) == 4


def test_a_lane_under_way_is_not_taken_again():
    desk = Desk()
    claim = trigger()
    errand = desk.offer(claim)
    assert desk.take() == "1.0"
    desk.offer(follow(claim, K.REMINDER))
    assert desk.take() is None
    desk.settle(errand, Delivered())
    assert desk.take() == "1.1"


def test_an_urgent_errand_lifts_what_stands_before_it():
    desk = Desk()
    desk.offer(trigger(1, priority="p2"))
    desk.offer(trigger(2, priority="p5"))
    desk.offer(follow(trigger(2, priority="p1"), K.ESCALATION))
    assert desk.take() == "2.0"


def test_an_escalation_ends_the_wait_of_what_stands_before_it():
    desk = Desk()
    errand = desk.offer(trigger(2, priority="p5"))
    desk.take()
    desk.settle(errand, DOWN, wait=50.0)
    desk.offer(follow(trigger(2, priority="p5"), K.REMINDER))
    assert desk.take() is None
    desk.offer(follow(trigger(2, priority="p1"), K.ESCALATION, 2))
    assert desk.take() == "2.0"


def test_a_failed_lane_is_due_again_after_its_wait():
    desk = Desk()
    errand = desk.offer(trigger())
    desk.take()
    desk.settle(errand, DOWN, wait=10.0)
    assert desk.take() is None
    assert desk.queue.next_due() == 10.0
    desk.now = 10.0
    assert desk.take() == "1.0"
    assert desk.queue.next_due() == math.inf


def test_a_release_sets_each_failed_lane_free_once_an_outage():
    desk = Desk()
    for number in (1, 2):
        errand = desk.offer(trigger(number))
        desk.take()
        desk.settle(errand, DOWN, outage=1)
    desk.queue.release(desk.now, 1)
    assert {desk.take(), desk.take()} == {"1.0", "2.0"}
    desk.settle(desk.taken, DOWN, wait=10.0, outage=1)
    desk.queue.release(desk.now, 1)
    assert desk.take() is None
    desk.now = 10.0
    desk.take()
    desk.settle(desk.taken, DOWN, wait=50.0, outage=2)
    desk.queue.release(desk.now, 2)
    assert desk.take() is not None


def test_a_released_lane_that_ended_meanwhile_is_no_trouble():
    desk = Desk()
    claim = trigger()
    errand = desk.offer(claim)
    desk.take()
    desk.settle(errand, DOWN)
    desk.offer(follow(claim, K.RESOLVE))
    desk.queue.release(desk.now, 0)
    assert desk.take() is None
    assert desk.outcomes() == [("1.0", Outcome.GIVEN_UP), ("1.1", Outcome.DROPPED)]
    assert len(desk.queue) == 0


def test_news_expires_where_it_waits_and_after_the_attempt_under_way():
    desk = Desk()
    waiting = trigger(1, kind=K.RESOLVE)
    desk.offer(waiting, expires_at=100.0)
    under_way = desk.offer(trigger(2, kind=K.RESOLVE, priority="p1"), expires_at=100.0)
    assert desk.take() == "2.0"
    assert desk.queue.next_due() == 100.0
    desk.endings += desk.queue.expire(99.0)
    assert desk.endings == []
    desk.endings += desk.queue.expire(100.0)
    assert desk.outcomes() == [("1.0", Outcome.GIVEN_UP)]
    desk.settle(under_way, DOWN)
    assert desk.outcomes() == [("1.0", Outcome.GIVEN_UP), ("2.0", Outcome.GIVEN_UP)]
    assert desk.queue.next_due() == math.inf


def test_what_has_ended_does_not_expire():
    desk = Desk()
    errand = desk.offer(trigger(1, kind=K.RESOLVE), expires_at=100.0)
    desk.take()
    desk.settle(errand, Delivered())
    assert desk.queue.expire(1_000.0) == []


def test_nothing_is_kept_of_what_is_done():
    desk = Desk()
    claim = trigger()
    for number in range(20_000):
        done = desk.offer(replace(claim, alert_id=number, notification_id=f"{number}.0"))
        desk.take()
        desk.settle(done, Delivered())
        end = desk.offer(
            replace(follow(claim, K.RESOLVE), alert_id=number, notification_id=f"{number}.1"), expires_at=86_400.0
        )
        desk.take()
        desk.settle(end, Delivered())
    queue = desk.queue
    assert len(queue) == len(queue._lanes) == len(queue._standing) == 0
    assert len(queue._ready) + len(queue._delayed) + len(queue._lapses) + len(queue._releasable) <= 3 * STALE_SLACK


def test_a_day_of_reminders_to_a_dead_vendor_is_one_reminder_a_service():
    desk = Desk()
    claims = [trigger(number) for number in range(50)]
    for claim in claims:
        desk.offer(claim)
    for ordinal in range(1, 1_000):
        for claim in claims:
            desk.offer(follow(claim, K.REMINDER, ordinal))
    queue = desk.queue
    assert len(queue) == 100
    assert len(queue._ready) <= 2 * 50 + STALE_SLACK


def test_withdrawing_ends_everything_and_revives_nothing():
    desk = Desk()
    first = desk.offer(trigger(1), expires_at=50.0)
    desk.offer(trigger(2))
    desk.take()
    endings = desk.queue.withdraw()
    assert [(ending.errand.notification.notification_id, ending.outcome) for ending in endings] == [
        ("1.0", Outcome.GIVEN_UP),
        ("2.0", Outcome.DROPPED),
    ]
    assert first.ended
    assert len(desk.queue) == 0
    assert desk.take() is None
    assert desk.queue.next_due() == math.inf


def test_reviving_puts_back_what_was_under_way_as_perhaps_taken():
    desk = Desk()
    claim = trigger(1)
    errand = desk.offer(claim)
    delayed = desk.offer(trigger(2))
    desk.take()
    desk.take()
    desk.settle(delayed, DOWN, wait=30.0)
    desk.queue.revive(desk.now)
    assert errand.maybe_taken
    assert desk.take() == "1.0"
    assert desk.take() is None
    desk.now = 30.0
    assert desk.take() == "2.0"


def test_a_standing_is_settled_by_the_end():
    standing = Standing()
    standing.untaken(1)
    assert not standing.needs_end(1)
    standing.taken(1)
    standing.untaken(1)
    assert standing.needs_end(1)
    standing.over(1)
    assert len(standing) == 0


# ------------------------------------------------------------------------------------- a vendor is told the truth

SERVICES = 4

Step = tuple[str, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["toggle", "remind", "escalate", "begin", "end", "pass"]),
        st.integers(0, SERVICES - 1),
        st.integers(0, 5),
    ),
    max_size=150,
)


class World:
    """Services that open and close alerts, and a vendor with a mind of its own, which knows what it took."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.open: dict[int, int] = {}
        self.ordinals: defaultdict[int, int] = defaultdict(int)
        self.alerts = 0
        self.under_way: list[Errand] = []
        self.order: defaultdict[str, list[int]] = defaultdict(list)
        self.vendor_open: dict[str, int] = {}
        self.vendor_told: set[int] = set()
        self.needless: list[str] = []
        self.offered = 0

    def step(self, verb: str, service: int, choice: int) -> None:
        if verb == "toggle":
            self._toggle(service)
        elif verb in {"remind", "escalate"} and service in self.open:
            self._offer(service, K.REMINDER if verb == "remind" else K.ESCALATION)
        elif verb == "begin":
            if self.desk.take() is not None:
                assert self.desk.taken is not None
                self.under_way.append(self.desk.taken)
        elif verb == "end" and self.under_way:
            self.end(self.under_way.pop(service % len(self.under_way)), choice)
        elif verb == "pass":
            self.desk.now += choice * 5

    def end(self, errand: Errand, choice: int) -> None:
        told = errand.notification
        self.order[told.key].append(errand.sequence)
        taken = choice in {0, 1}
        if taken:
            self._vendor_takes(told)
        answers = (
            Delivered(),
            Retry("reset after it was taken", maybe_taken=True),
            Retry("reset", maybe_taken=True),
            DOWN,
            Throttled("429"),
            Refused("no"),
        )
        self.desk.settle(errand, answers[choice], wait=7.0)

    def finish(self) -> None:
        """Every alert closes and the vendor works from now on."""
        for service in list(self.open):
            self._toggle(service)
        while True:
            for errand in self.under_way:
                self.end(errand, 0)
            self.under_way.clear()
            self.desk.now += 100
            while self.desk.take() is not None:
                assert self.desk.taken is not None
                self.under_way.append(self.desk.taken)
            if not self.under_way:
                return

    def _toggle(self, service: int) -> None:
        if service in self.open:
            self._offer(service, K.RESOLVE)
            del self.open[service]
        else:
            self.alerts += 1
            self.open[service] = self.alerts
            self.ordinals[service] = 0
            self._offer(service, K.TRIGGER)

    def _offer(self, service: int, kind: NotificationKind) -> None:
        self.offered += 1
        said = trigger(self.open[service], name=f"s{service}", kind=kind, ordinal=self.ordinals[service])
        self.ordinals[service] += 1
        self.desk.offer(said)

    def _vendor_takes(self, told: Notification) -> None:
        assert told.alert_id is not None
        if told.kind is K.RESOLVE:
            if told.alert_id not in self.vendor_told:
                self.needless.append(told.notification_id)
            self.vendor_open.pop(told.key, None)
        else:
            self.vendor_told.add(told.alert_id)
            self.vendor_open[told.key] = told.alert_id


@given(steps)
def test_whoever_took_a_claim_is_told_its_end_in_order_and_everything_ends_once(script):
    world = World()
    for verb, service, choice in script:
        world.step(verb, service, choice)
    world.finish()
    # A resolve refused for good is the vendor's own decision; nothing else may leave an incident open.
    refused = {
        ending.errand.notification.key
        for ending in world.desk.endings
        if ending.outcome is Outcome.REFUSED and ending.errand.kind is K.RESOLVE
    }
    assert set(world.vendor_open) <= refused
    assert len(world.desk.endings) == world.offered
    assert len({id(ending.errand) for ending in world.desk.endings}) == world.offered
    assert len(world.desk.queue) == 0
    for sequences in world.order.values():
        assert sequences == sorted(sequences)


@given(steps)
def test_a_vendor_that_certainly_took_nothing_hears_no_end(script):
    world = World()
    for verb, service, choice in script:
        world.step(verb, service, choice if choice in {0, 3, 4, 5} else 3)
    world.finish()
    assert world.needless == []
