"""Alerting as a whole, on a clock of its own, with notifiers that do as they are told."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from medic.alerting.attempt import Delivered, Refused, Retry, Throttled
from medic.alerting.pace import ATTEMPTS_AT_ONCE_MAX, OUTAGE_LANES, PROBE_MAX_SECONDS, URGENT_ATTEMPTS_EXTRA
from medic.alerting.supervision import HANG_SECONDS
from medic.core.notification import Notification
from medic.core.status import NotificationKind, Outcome
from medic.errors import InvariantError, JournalRefusedError
from tests.fakes.alerting import Bench, Scripted, answer_after, follow, hang, running, trigger, until

K = NotificationKind
DOWN = Retry("connection refused", maybe_taken=False)
SILENT = Retry("no answer", maybe_taken=True)


async def test_a_notification_is_told_to_each_of_its_targets_and_settled(autojump_clock):
    pagerduty, slack = Scripted(), Scripted("slack")
    async with running(pagerduty, slack) as bench:
        bench.offer(trigger())
        await wait_all_tasks_blocked()
        assert pagerduty.sent == slack.sent == [(trio.current_time(), "1.0")]
        assert bench.outcomes() == bench.outcomes("slack") == [("1.0", Outcome.DELIVERED)]
        assert bench.console.sent == []
        (settlement, _) = bench.settled.settlements
        assert (settlement.service_id, settlement.attempts, settlement.detail) == (1001, 1, "")


async def test_the_most_urgent_goes_first_then_the_oldest(autojump_clock):
    pagerduty = Scripted(otherwise=answer_after(1.0))
    async with running(pagerduty) as bench:
        first = [trigger(number) for number in range(ATTEMPTS_AT_ONCE_MAX)]
        bench.offer(*first)
        await wait_all_tasks_blocked()
        bench.offer(
            trigger(20, priority="p4"),
            trigger(21, priority="p2", at=2_000),
            trigger(22, priority="p2", at=1_000),
            trigger(23, priority="p3"),
        )
        await until(lambda: len(pagerduty.sent) == ATTEMPTS_AT_ONCE_MAX + 4)
        assert pagerduty.ids[ATTEMPTS_AT_ONCE_MAX:] == ["22.0", "21.0", "23.0", "20.0"]


async def test_what_is_offered_in_one_turn_is_ordered_before_the_first_leaves(autojump_clock):
    pagerduty = Scripted()
    async with running(pagerduty) as bench:
        bench.offer(*[trigger(number, priority=f"p{5 - number % 5}") for number in range(50)])
        await wait_all_tasks_blocked()
        priorities = [5 - int(sent.partition(".")[0]) % 5 for sent in pagerduty.ids]
        assert priorities == sorted(priorities)


async def test_hanging_requests_leave_room_for_a_p1(autojump_clock):
    pagerduty = Scripted(otherwise=hang)
    async with running(pagerduty) as bench:
        bench.offer(*[trigger(number) for number in range(100)])
        await wait_all_tasks_blocked()
        assert pagerduty.under_way == ATTEMPTS_AT_ONCE_MAX
        pagerduty.otherwise = Delivered()
        bench.offer(trigger(500, priority="p2"))
        await wait_all_tasks_blocked()
        assert bench.outcomes() == []
        bench.offer(trigger(501, priority="p1"))
        await wait_all_tasks_blocked()
        assert bench.outcomes() == [("501.0", Outcome.DELIVERED)]
        pagerduty.otherwise = hang
        bench.offer(*[trigger(600 + number, priority="p1") for number in range(9)])
        await wait_all_tasks_blocked()
        assert pagerduty.under_way == ATTEMPTS_AT_ONCE_MAX + URGENT_ATTEMPTS_EXTRA


async def test_a_target_that_hangs_delays_no_other(autojump_clock):
    pagerduty, slack = Scripted(otherwise=hang), Scripted("slack")
    async with running(pagerduty, slack) as bench:
        bench.offer(*[trigger(number) for number in range(1_000)])
        began = trio.current_time()
        await wait_all_tasks_blocked()
        assert len(bench.outcomes("slack")) == 1_000
        assert trio.current_time() == began
        assert bench.outcomes() == []


async def test_a_notifier_that_never_ends_its_attempt_is_ended(autojump_clock):
    pagerduty = Scripted(otherwise=hang)
    async with running(pagerduty) as bench:
        bench.offer(trigger())
        await until(lambda: len(pagerduty.sent) == 2)
        assert pagerduty.sent[1][0] - pagerduty.sent[0][0] >= HANG_SECONDS
        bench.offer(follow(trigger(), K.RESOLVE))
        pagerduty.otherwise = Delivered()
        await until(lambda: len(bench.outcomes()) == 2)
        assert bench.outcomes() == [("1.0", Outcome.GIVEN_UP), ("1.1", Outcome.DELIVERED)]


async def test_one_service_is_told_in_order_one_at_a_time(autojump_clock):
    pagerduty = Scripted(otherwise=answer_after(1.0))
    async with running(pagerduty) as bench:
        claim = trigger()
        bench.offer(claim, follow(claim, K.ACKNOWLEDGE, 1), follow(claim, K.ESCALATION, 2))
        await trio.sleep(0.5)
        bench.offer(follow(claim, K.RESOLVE, 3))
        await until(lambda: len(pagerduty.sent) == 2)
        assert pagerduty.ids == ["1.0", "1.3"]
        assert pagerduty.most_under_way == 1
        again = replace(trigger(2), key=claim.key)
        bench.offer(again)
        await until(lambda: len(bench.outcomes()) == 5)
        assert pagerduty.ids == ["1.0", "1.3", "2.0"]


async def test_a_trigger_is_tried_until_the_alert_closes(autojump_clock):
    pagerduty = Scripted(otherwise=DOWN)
    async with running(pagerduty) as bench:
        bench.offer(trigger())
        await trio.sleep(3 * 86_400)
        gaps = [later - earlier for (earlier, _), (later, _) in zip(pagerduty.sent, pagerduty.sent[1:], strict=False)]
        assert max(gaps) <= 60.001
        assert len(gaps) > 3 * 86_400 / 60
        assert bench.outcomes() == []
        bench.offer(follow(trigger(), K.RESOLVE))
        await wait_all_tasks_blocked()
        assert bench.outcomes() == [("1.0", Outcome.GIVEN_UP), ("1.1", Outcome.DROPPED)]
        assert bench.settled.settlements[0].attempts == len(pagerduty.sent)
        assert bench.alerting.statistics().pending == 0


async def test_a_resolve_is_tried_for_a_day(autojump_clock):
    pagerduty = Scripted()
    async with running(pagerduty) as bench:
        bench.offer(trigger())
        await wait_all_tasks_blocked()
        pagerduty.otherwise = SILENT
        began = trio.current_time()
        bench.offer(follow(trigger(), K.RESOLVE, later_ms=0))
        await trio.sleep(86_399)
        assert len(bench.outcomes()) == 1
        await trio.sleep(began + 86_411 - trio.current_time())
        assert bench.outcomes()[1] == ("1.1", Outcome.GIVEN_UP)
        assert bench.settled.settlements[1].detail == "no answer"


async def test_a_vendor_that_is_back_is_told_everything_at_once_in_order(autojump_clock):
    pagerduty = Scripted(otherwise=DOWN)
    async with running(pagerduty) as bench:
        bench.offer(*[trigger(number, priority=f"p{1 + number % 5}") for number in range(10_000)])
        await trio.sleep(3_600)
        tried = len(pagerduty.sent)
        assert tried < 3_600 / 4
        assert bench.alerting.statistics().targets[0].out
        pagerduty.otherwise = Delivered()
        back = trio.current_time()
        await until(lambda: len(bench.outcomes()) == 10_000)
        assert trio.current_time() - back <= PROBE_MAX_SECONDS + 0.1
        assert not bench.alerting.statistics().targets[0].out
        told = [1 + int(sent.partition(".")[0]) % 5 for sent in pagerduty.ids[tried:]]
        # Those tried last during the outage are due again at once; apart from them the order is that of urgency.
        assert told[20:] == sorted(told[20:])


async def test_news_during_an_outage_is_tried_within_a_second(autojump_clock):
    pagerduty = Scripted(otherwise=DOWN)
    async with running(pagerduty) as bench:
        bench.offer(*[trigger(number) for number in range(100)])
        await trio.sleep(600)
        pagerduty.otherwise = Delivered()
        bench.offer(trigger(500, priority="p1"))
        began = trio.current_time()
        await until(bench.outcomes)
        assert bench.outcomes()[0] == ("500.0", Outcome.DELIVERED)
        assert trio.current_time() - began <= 1.01


async def test_one_notification_a_vendor_cannot_digest_holds_up_nothing_else(autojump_clock):
    pagerduty = Scripted()
    poison = trigger(666, priority="p1")
    pagerduty.script[poison.key].extend([SILENT] * 1_000)
    async with running(pagerduty) as bench:
        bench.offer(poison)
        for number in range(500):
            bench.offer(trigger(number))
            began = trio.current_time()
            await until(lambda wanted=number + 1: len(bench.outcomes()) == wanted)
            assert trio.current_time() - began <= 0.02
            await trio.sleep(0.5)
        tried = pagerduty.ids.count("666.0")
        assert tried < 40
        assert not bench.alerting.statistics().targets[0].out


async def test_a_throttled_target_is_left_alone_as_long_as_it_asks(autojump_clock):
    pagerduty = Scripted()
    async with running(pagerduty) as bench:
        pagerduty.script[trigger(1).key].append(Throttled("answered 429", 30.0))
        bench.offer(trigger(1))
        await wait_all_tasks_blocked()
        assert bench.alerting.statistics().targets[0].paused
        bench.offer(trigger(2), trigger(3, priority="p1"))
        await trio.sleep(29.9)
        assert pagerduty.ids == ["1.0"]
        await trio.sleep(0.2)
        assert pagerduty.ids == ["1.0", "3.0", "1.0", "2.0"]
        statistics = bench.alerting.statistics().targets[0]
        assert (statistics.throttled, statistics.retries, statistics.failing_since) == (1, 1, None)


async def test_a_throttle_without_a_wait_backs_off_by_itself(autojump_clock):
    pagerduty = Scripted(otherwise=Throttled("answered 429"))
    async with running(pagerduty) as bench:
        bench.offer(trigger(1))
        await trio.sleep(3_600)
        assert 60 <= len(pagerduty.sent) <= 300


async def test_what_was_pending_before_a_restart_may_have_been_taken(autojump_clock):
    pagerduty = Scripted(otherwise=DOWN)
    claim = trigger(targets=("pagerduty", "slack"))
    async with running(pagerduty, Scripted("slack")) as bench:
        bench.alerting.resume_nowait(claim, ["pagerduty"])
        await trio.sleep(1)
        bench.offer(follow(claim, K.RESOLVE))
        pagerduty.otherwise = Delivered()
        await until(lambda: len(bench.outcomes()) == 2)
        assert bench.outcomes() == [("1.0", Outcome.GIVEN_UP), ("1.1", Outcome.DELIVERED)]
        assert bench.outcomes("slack") == [("1.1", Outcome.DELIVERED)]


async def test_recovery_may_offer_before_the_tasks_run(autojump_clock):
    pagerduty = Scripted()
    bench = Bench(pagerduty)
    bench.alerting.resume_nowait(trigger(1), ["pagerduty"])
    bench.alerting.resume_nowait(trigger(2, priority="p1"), ["pagerduty"])
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.alerting.run)
        await wait_all_tasks_blocked()
        assert pagerduty.ids == ["2.0", "1.0"]
        nursery.cancel_scope.cancel()


async def test_what_does_not_outlive_a_restart_is_given_up(autojump_clock):
    pagerduty, slack = Scripted(), Scripted("slack")
    async with running(pagerduty, slack) as bench:
        test = trigger(1, kind=K.TEST)
        complaint = trigger(2, kind=K.UNTOLD)
        bench.alerting.resume_nowait(test, ["pagerduty", "slack"])
        bench.alerting.resume_nowait(complaint, ["pagerduty", "slack"])
        bench.alerting.resume_nowait(trigger(3), ["webhook:8"])
        await wait_all_tasks_blocked()
        assert bench.outcomes() == [("1.0", Outcome.GIVEN_UP), ("2.0", Outcome.GIVEN_UP)]
        assert bench.outcomes("slack") == [("1.0", Outcome.GIVEN_UP), ("2.0", Outcome.DELIVERED)]
        assert bench.outcomes("webhook:8") == [("3.0", Outcome.GIVEN_UP)]


async def test_a_notifier_with_a_bug_is_survived(autojump_clock):
    async def crash(_: Notification) -> Delivered:
        raise ValueError("a bug")

    pagerduty = Scripted()
    pagerduty.script[trigger(1).key].append(crash)
    async with running(pagerduty) as bench:
        bench.offer(trigger(1), trigger(2))
        await until(lambda: len(bench.outcomes()) == 2)
        assert bench.outcomes() == [("2.0", Outcome.DELIVERED), ("1.0", Outcome.DELIVERED)]
        statistics = bench.alerting.statistics().targets[0]
        assert (statistics.crashes, statistics.retries, statistics.delivered) == (1, 1, 2)


async def test_a_crash_of_the_task_itself_loses_nothing(autojump_clock, monkeypatch):
    pagerduty = Scripted(otherwise=answer_after(5.0))
    async with running(pagerduty) as bench:
        target = bench.alerting._targets["pagerduty"]
        bench.offer(*[trigger(number) for number in range(20)])
        await trio.sleep(1)

        def crash(now: float) -> None:
            monkeypatch.undo()
            raise InvariantError("a bug in the queue")

        monkeypatch.setattr(target._queue, "expire", crash)
        bench.offer(trigger(100))
        await until(lambda: len(bench.outcomes()) == 21)
        assert Counter(outcome for _, outcome in bench.outcomes()) == {Outcome.DELIVERED: 21}
        assert Counter(Counter(pagerduty.ids).values()) == {1: 13, 2: ATTEMPTS_AT_ONCE_MAX}
        assert bench.alerting.statistics().targets[0].crashes == 1
        assert pagerduty.under_way == 0


async def test_an_outcome_the_journal_refuses_is_counted_not_raised(autojump_clock):
    pagerduty = Scripted(otherwise=Refused("no"))
    async with running(pagerduty, Scripted("slack")) as bench:
        bench.settled.refuses = JournalRefusedError("the journal is full")
        bench.offer(trigger())
        await wait_all_tasks_blocked()
        assert bench.alerting.statistics().unsettled == 2
        assert bench.alerting.statistics().targets[0].crashes == 0


async def test_a_drain_lets_go_out_what_can_and_waits_for_what_is_under_way(autojump_clock):
    pagerduty, slack = Scripted(otherwise=answer_after(0.5)), Scripted("slack", otherwise=DOWN)
    async with running(pagerduty, slack) as bench:
        bench.offer(*[trigger(number) for number in range(20)])
        await bench.alerting.drain()
        assert len(bench.outcomes()) == 20
        assert slack.under_way == 0
        tried = len(slack.sent)
        bench.offer(trigger(99))
        await trio.sleep(600)
        assert len(pagerduty.sent) == 20
        assert len(slack.sent) == tried
        assert bench.alerting.statistics().pending == 20 + 2


async def test_a_drain_does_not_wait_for_a_vendor_that_hangs(autojump_clock):
    pagerduty = Scripted(otherwise=hang)
    async with running(pagerduty) as bench:
        bench.offer(*[trigger(number) for number in range(20)])
        began = trio.current_time()
        await bench.alerting.drain(seconds=4.0)
        assert trio.current_time() - began == pytest.approx(4.0)
        assert len(pagerduty.sent) == ATTEMPTS_AT_ONCE_MAX


async def test_requests_are_counted_by_action_and_status(autojump_clock):
    pagerduty = Scripted()
    async with running(pagerduty) as bench:
        claim = trigger()
        pagerduty.script[claim.key].append(DOWN)
        bench.offer(claim)
        await until(bench.outcomes)
        bench.offer(follow(claim, K.ACKNOWLEDGE, 1), follow(claim, K.REMINDER, 2))
        await wait_all_tasks_blocked()
        bench.offer(follow(claim, K.RESOLVE, 3))
        await wait_all_tasks_blocked()
        counted = {
            (count.action, count.status): count.count for count in bench.alerting.statistics().targets[0].requests
        }
        assert counted == {
            ("trigger", "failure"): 1,
            ("trigger", "success"): 2,
            ("acknowledge", "success"): 1,
            ("resolve", "success"): 1,
        }


async def test_an_idle_target_sleeps(autojump_clock):
    pagerduty = Scripted()
    async with running(pagerduty) as bench:
        bench.offer(trigger(), follow(trigger(), K.REMINDER))
        await trio.sleep(60)
        target = bench.alerting._targets["pagerduty"]
        looks: list[float] = []
        expire = target._queue.expire

        def counting(now: float):
            looks.append(now)
            return expire(now)

        target._queue.expire = counting
        await trio.sleep(7 * 86_400)
        assert looks == []


async def test_an_outage_needs_several_lanes(autojump_clock):
    pagerduty = Scripted(otherwise=DOWN)
    async with running(pagerduty) as bench:
        bench.offer(*[trigger(number) for number in range(OUTAGE_LANES - 1)])
        await trio.sleep(3_600)
        assert not bench.alerting.statistics().targets[0].out
        bench.offer(trigger(99))
        await trio.sleep(1)
        assert bench.alerting.statistics().targets[0].out
