"""What waits for a secret that is not there: told as soon as it is, and complained about until then."""

from __future__ import annotations

import structlog
import trio
from trio.testing import wait_all_tasks_blocked

from medic.alerting.attempt import SECRET_MISSING, Attempt, Delivered, Retry, SecretMissing
from medic.alerting.resolving import MISSING_RETRY_SECONDS
from medic.core.notification import Notification
from medic.core.status import NotificationKind, Outcome
from tests.fakes.alerting import Scripted, follow, running, trigger

LANES = 40
"""More than make an outage."""


class Lacking(Scripted):
    """Delivers once its secret is there."""

    def __init__(self, target: str = "pagerduty") -> None:
        super().__init__(target, self._attempt)
        self.has_secret = False

    async def _attempt(self, _: Notification) -> Attempt:
        await trio.lowlevel.checkpoint()
        if self.has_secret:
            return Delivered()
        return SecretMissing("the secret pd is not there", maybe_taken=False, retry_after=MISSING_RETRY_SECONDS)


async def test_every_alert_that_waits_for_a_secret_is_told_as_soon_as_it_is_there(autojump_clock):
    pagerduty = Lacking()
    async with running(pagerduty) as bench:
        bench.offer(*(trigger(number) for number in range(1, LANES + 1)))
        await trio.sleep(3)
        assert bench.outcomes() == []
        pagerduty.has_secret = True
        before = trio.current_time()
        bench.alerting.try_lacking_again()
        await wait_all_tasks_blocked()
        assert bench.outcomes() == [(f"{number}.0", Outcome.DELIVERED) for number in range(1, LANES + 1)]
        assert trio.current_time() == before
        assert bench.alerting.statistics().untold == ()


async def test_it_is_tried_again_without_being_told_of_a_change(autojump_clock):
    pagerduty = Lacking()
    async with running(pagerduty) as bench:
        bench.offer(trigger())
        await trio.sleep(1)
        pagerduty.has_secret = True
        await trio.sleep(2 * MISSING_RETRY_SECONDS)
        assert bench.outcomes() == [("1.0", Outcome.DELIVERED)]
        assert len(pagerduty.sent) == 2


async def test_the_reason_names_no_secret_but_in_the_log_and_is_none_once_secrets_were_changed(autojump_clock):
    pagerduty = Lacking()
    async with running(pagerduty) as bench:
        claim = trigger()
        with structlog.testing.capture_logs() as lines:
            bench.offer(claim)
            await trio.sleep(3 * MISSING_RETRY_SECONDS)
        (failing,) = bench.alerting.statistics().targets
        assert failing.last_error == SECRET_MISSING
        assert failing.failing_since is not None
        reasons = [line["reason"] for line in lines if "reason" in line]
        assert reasons == ["the secret pd is not there"] * 2
        (overdue,) = [line for line in lines if "told to nobody" in line["event"]]
        assert overdue["reasons"] == {"pagerduty": "the secret pd is not there"}
        bench.offer(follow(claim, NotificationKind.RESOLVE))
        await wait_all_tasks_blocked()
        assert bench.outcomes() == [("1.0", Outcome.GIVEN_UP), ("1.1", Outcome.DROPPED)]
        bench.alerting.try_lacking_again()
        (mended,) = bench.alerting.statistics().targets
        assert (mended.last_error, mended.failing_since) == ("", None)


async def test_the_others_are_told_once_that_one_waits_for_a_secret(autojump_clock):
    pagerduty, slack = Lacking(), Scripted("slack")
    async with running(pagerduty, slack) as bench:
        bench.settled.hand_on = bench.offer
        bench.offer(trigger())
        await trio.sleep(5 * MISSING_RETRY_SECONDS)
        assert slack.ids == ["1.0", "1.0.untold.pagerduty"]
        assert bench.alerting.statistics().untold == (1,)
        pagerduty.has_secret = True
        bench.alerting.try_lacking_again()
        await wait_all_tasks_blocked()
        assert bench.outcomes() == [("1.0", Outcome.DELIVERED)]
        assert bench.alerting.statistics().untold == ()


async def test_a_change_hurries_nothing_that_failed_of_something_else(autojump_clock):
    down = Scripted(otherwise=Retry("connection refused", maybe_taken=False, retry_after=MISSING_RETRY_SECONDS))
    async with running(down) as bench:
        bench.offer(trigger())
        await trio.sleep(1)
        bench.alerting.try_lacking_again()
        await wait_all_tasks_blocked()
        assert down.ids == ["1.0"]
        assert bench.alerting.statistics().targets[0].last_error == "connection refused"
