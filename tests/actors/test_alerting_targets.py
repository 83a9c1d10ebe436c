"""Whom alerting tells, and what it does about alerts that nobody was told of."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import structlog
import trio
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from medic.alerting.attempt import Delivered, Refused, Retry
from medic.alerting.pipeline import UNTOLD_GATHERED_SECONDS
from medic.alerting.untold import UNTOLD_SECONDS
from medic.core.status import NotificationKind, Outcome
from medic.core.webhook import Webhook
from tests.fakes.alerting import Scripted, answer_after, follow, hang, running, trigger, until

K = NotificationKind
DOWN = Retry("connection refused", maybe_taken=False)


async def test_an_alert_refused_for_good_is_told_through_the_others(autojump_clock):
    pagerduty, slack = Scripted(otherwise=Refused("answered 400: Invalid routing key")), Scripted("slack")
    async with running(pagerduty, slack) as bench:
        bench.settled.hand_on = bench.offer
        claim = trigger()
        bench.offer(claim)
        await wait_all_tasks_blocked()
        assert bench.outcomes() == [("1.0", Outcome.REFUSED)]
        assert slack.ids == ["1.0", "1.0.untold.pagerduty"]
        assert pagerduty.ids == ["1.0"]
        statistics = bench.alerting.statistics()
        assert statistics.untold == (1,)
        failing = statistics.target("pagerduty")
        assert failing is not None
        assert failing.last_error == "answered 400: Invalid routing key"
        assert failing.failing_since is not None
        bench.offer(follow(claim, K.REMINDER, 1))
        await wait_all_tasks_blocked()
        assert slack.ids == ["1.0", "1.0.untold.pagerduty", "1.1"]
        bench.offer(follow(claim, K.RESOLVE, 2))
        await wait_all_tasks_blocked()
        assert bench.alerting.statistics().untold == ()
        assert slack.ids[-1] == "1.2"
        assert pagerduty.ids == ["1.0", "1.1"]


async def test_a_complaint_that_is_refused_makes_no_other(autojump_clock):
    pagerduty, slack = Scripted(otherwise=Refused("wrong key")), Scripted("slack")
    slack.script[trigger().key].extend([Delivered(), Refused("is_archived")])
    async with running(pagerduty, slack) as bench:
        bench.settled.hand_on = bench.offer
        bench.offer(trigger())
        await wait_all_tasks_blocked()
        assert bench.outcomes("slack") == [("1.0", Outcome.DELIVERED), ("1.0.untold.pagerduty", Outcome.REFUSED)]
        assert len(pagerduty.sent) == 1


async def test_refused_by_all_is_told_to_nobody_once(autojump_clock):
    pagerduty, slack = Scripted(otherwise=Refused("a")), Scripted("slack", otherwise=Refused("b"))
    async with running(pagerduty, slack) as bench:
        bench.settled.hand_on = bench.offer
        bench.offer(trigger())
        await trio.sleep(600)
        assert len(pagerduty.sent) + len(slack.sent) <= 3
        assert bench.alerting.statistics().untold == (1,)


async def test_a_complaint_about_an_alert_that_closed_meanwhile_is_dropped(autojump_clock):
    pagerduty, slack = Scripted(), Scripted("slack", otherwise=Refused("is_archived"))
    async with running(pagerduty, slack) as bench:
        claim = trigger()
        bench.offer(claim)
        await wait_all_tasks_blocked()
        (complaint,) = bench.settled.told
        bench.offer(follow(claim, K.RESOLVE))
        bench.offer(complaint)
        await wait_all_tasks_blocked()
        assert pagerduty.ids == ["1.0", "1.1"]
        assert bench.outcomes()[-2:] == [(complaint.notification_id, Outcome.DROPPED), ("1.1", Outcome.DELIVERED)]


async def test_an_alert_nobody_takes_within_a_minute_is_untold_until_told(autojump_clock, caplog):
    pagerduty = Scripted(otherwise=DOWN)
    async with running(pagerduty) as bench:
        bench.offer(trigger(1), trigger(2))
        await trio.sleep(UNTOLD_SECONDS - 1)
        assert bench.alerting.statistics().untold == ()
        await trio.sleep(1 + UNTOLD_GATHERED_SECONDS)
        assert bench.alerting.statistics().untold == (1, 2)
        bench.offer(follow(trigger(2), K.RESOLVE))
        assert bench.alerting.statistics().untold == (1,)
        pagerduty.otherwise = Delivered()
        await trio.sleep(61)
        assert bench.alerting.statistics().untold == ()


async def test_a_flood_of_untold_is_one_line(autojump_clock):
    pagerduty = Scripted(otherwise=DOWN)
    async with running(pagerduty) as bench:
        with structlog.testing.capture_logs() as lines:
            bench.offer(*[trigger(number) for number in range(5_000)])
            await trio.sleep(UNTOLD_SECONDS + 5)
        errors = [line for line in lines if line["log_level"] == "error"]
        assert [line["event"] for line in errors] == ["5000 alerts were told to nobody within 60 s"]
        assert len(errors[0]["heartbeat_names"]) == 100
        assert errors[0]["reasons"] == {"pagerduty": "connection refused"}
        assert bench.alerting.statistics().untold == tuple(range(5_000))


async def test_a_wrong_key_is_one_error_line_a_minute(autojump_clock):
    pagerduty = Scripted(otherwise=Refused("wrong key"))
    async with running(pagerduty) as bench:
        with structlog.testing.capture_logs() as lines:
            bench.offer(*[trigger(number) for number in range(100)])
            await trio.sleep(61)
            bench.offer(trigger(500))
            await wait_all_tasks_blocked()
        refused = Counter(line["log_level"] for line in lines if line["event"] == "an alert was refused for good")
        assert refused == {"error": 2, "info": 99}


async def test_a_reminder_that_waits_does_not_make_a_told_alert_untold(autojump_clock):
    pagerduty = Scripted()
    async with running(pagerduty) as bench:
        bench.offer(trigger(1))
        await wait_all_tasks_blocked()
        pagerduty.otherwise = DOWN
        bench.offer(follow(trigger(1), K.REMINDER))
        await trio.sleep(600)
        assert bench.alerting.statistics().untold == ()


async def test_without_any_notifier_the_console_is_told(autojump_clock):
    async with running() as bench:
        assert bench.alerting.targets_for(trigger()) == ("console",)
        assert bench.alerting.describe_targets() == "scripted console"
        bench.offer(trigger())
        await wait_all_tasks_blocked()
        assert bench.console.ids == ["1.0"]
        assert [target.target for target in bench.alerting.statistics().targets] == ["console"]


async def test_an_alert_that_every_notifier_passes_over_goes_to_the_console(autojump_clock):
    webhook = Scripted("webhook:1")
    webhook.kinds = frozenset()
    async with running(webhook) as bench:
        claim = trigger()
        assert bench.alerting.targets_for(claim) == ("console",)
        assert bench.alerting.targets_for(follow(claim, K.RESOLVE)) == ("console",)
        assert bench.alerting.targets_for(follow(claim, K.DEGRADED)) == ()
        assert bench.alerting.describe_targets() == "scripted webhook:1"
        bench.alerting.offer_nowait(replace(claim, targets=()))
        bench.alerting.offer_nowait(replace(claim, targets=()))
        assert bench.alerting.statistics().untold == (1,)


async def test_the_start_line_stays_a_line(autojump_clock):
    async with running(*[Scripted(f"webhook:{number}") for number in range(30)]) as bench:
        assert bench.alerting.describe_targets().endswith("scripted webhook:7 and 22 more")


async def test_webhooks_come_and_go_at_run_time(autojump_clock):
    pagerduty = Scripted()
    webhook = Webhook(webhook_id=4, url="http://x")
    async with running(pagerduty) as bench:
        bench.alerting.add_webhook(webhook)
        bench.offer(trigger(1))
        await wait_all_tasks_blocked()
        (made,) = bench.made
        assert made.ids == ["1.0"]
        made.otherwise = hang
        bench.offer(trigger(2), trigger(3))
        await wait_all_tasks_blocked()
        bench.alerting.remove_webhook(webhook)
        await wait_all_tasks_blocked()
        assert made.closed
        assert made.under_way == 0
        assert bench.outcomes("webhook:4") == [
            ("1.0", Outcome.DELIVERED),
            ("2.0", Outcome.GIVEN_UP),
            ("3.0", Outcome.GIVEN_UP),
        ]
        bench.offer(trigger(5))
        bench.alerting.offer_nowait(trigger(6, targets=("webhook:4", "pagerduty")))
        await wait_all_tasks_blocked()
        assert ("6.0", Outcome.DROPPED) in bench.outcomes("webhook:4")
        bench.alerting.remove_webhook(webhook)
        bench.alerting.add_webhook(webhook)
        bench.alerting.add_webhook(webhook)
        bench.offer(trigger(7))
        await wait_all_tasks_blocked()
        assert [made.ids for made in bench.made] == [["1.0", "2.0", "3.0"], [], ["7.0"]]


async def test_a_webhook_that_changed_keeps_what_waits_for_it(autojump_clock):
    webhook = Webhook(webhook_id=4, url="http://x", secret="whsec_1")
    async with running(Scripted()) as bench:
        bench.alerting.add_webhook(webhook)
        (first,) = bench.made
        first.otherwise = answer_after(5)
        bench.offer(trigger(1), follow(trigger(1), K.REMINDER, 1))
        await wait_all_tasks_blocked()
        bench.alerting.add_webhook(replace(webhook, secret="whsec_2"))
        second = bench.made[1]
        await trio.sleep(4)
        # What is under way is not cut off, and nothing of the same alert overtakes it.
        assert (first.under_way, first.closed, second.ids) == (1, False, [])
        await trio.sleep(4)
        assert (first.ids, first.closed, second.ids) == (["1.0"], True, ["1.1"])
        assert [outcome for _, outcome in bench.outcomes("webhook:4")] == [Outcome.DELIVERED] * 2


async def test_the_connections_of_a_webhook_that_changed_are_closed(autojump_clock):
    webhook = Webhook(webhook_id=4, url="http://x", secret="whsec_1")
    async with running(Scripted()) as bench:
        for number in range(3):
            bench.alerting.add_webhook(replace(webhook, secret=f"whsec_{number}"))
        await wait_all_tasks_blocked()
        assert [made.closed for made in bench.made] == [True, True, False]
        bench.offer(trigger(1))
        await wait_all_tasks_blocked()
        assert [made.ids for made in bench.made] == [[], [], ["1.0"]]
    assert bench.made[-1].closed


async def test_lines_of_a_delivery_say_what_they_concern_and_not_who_added_the_webhook(
    autojump_clock,
):
    async with running() as bench:
        structlog.contextvars.bind_contextvars(request_id="of-the-request")
        bench.alerting.add_webhook(Webhook(webhook_id=4, url="http://x"))
        structlog.contextvars.clear_contextvars()
        bench.made[0].otherwise = Retry("answered 503", maybe_taken=True)
        with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
            bench.offer(trigger(1))
            await until(lambda: lines)
    assert lines[0]["event"] == "a target does not take notifications"
    assert (lines[0]["alert_id"], lines[0]["heartbeat_name"], lines[0]["service_id"]) == (1, "service-1", 1001)
    assert not any("request_id" in line for line in lines)
