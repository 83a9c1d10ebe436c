"""`MEDIC_NOTIFY=off`: nobody is told, what would have been told is known, and what was told before is not forgotten."""

from __future__ import annotations

from dataclasses import replace

import structlog
from trio.testing import wait_all_tasks_blocked

from medic.core.effects import Notify, SettleNotification
from medic.core.ledger import NotificationLedger
from medic.core.notification import Notification
from medic.core.status import NotificationKind, Outcome
from medic.core.units import EventId, InstantMs, SightedMs
from tests.fakes.alerting import Bench, Scripted, follow, running, trigger

K = NotificationKind
AT, SIGHTED = InstantMs(1), SightedMs(1)


class Withheld:
    """A bench that withholds, with the outbox's ledger beside it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.ledger = NotificationLedger()
        bench.alerting.withhold(self.ledger)

    def decide(self, notification: Notification) -> None:
        """Decide it, hand it on, and take what comes back."""
        addressed = replace(notification, targets=self.bench.alerting.targets_for(notification))
        self.ledger.fold(Notify(AT, SIGHTED, addressed))
        before = len(self.bench.settled.settlements)
        self.bench.alerting.offer_nowait(addressed)
        for settled in self.bench.settled.settlements[before:]:
            self.ledger.fold(settled)

    def remember(self, notification: Notification, target: str, outcome: Outcome = Outcome.DELIVERED) -> None:
        """It was decided, and ended so at that target, before this process began."""
        self.ledger.fold(Notify(AT, SIGHTED, replace(notification, targets=(target,))))
        self.ledger.fold(SettleNotification(AT, SIGHTED, notification.notification_id, None, target, outcome, 1))


async def test_nobody_is_told_and_what_would_have_been_told_is_kept_said_and_counted(autojump_clock):
    pagerduty, slack = Scripted(), Scripted("slack")
    async with running(pagerduty, slack) as bench:
        withheld = Withheld(bench)
        with structlog.testing.capture_logs() as logs:
            withheld.decide(trigger())
            withheld.decide(follow(trigger(), K.REMINDER))
            withheld.decide(follow(trigger(), K.RESOLVE, 2))
        await wait_all_tasks_blocked()
        assert pagerduty.sent == slack.sent == bench.console.sent == []
        ended = [("1.0", Outcome.WITHHELD), ("1.1", Outcome.WITHHELD), ("1.2", Outcome.WITHHELD)]
        assert bench.outcomes() == bench.outcomes("slack") == ended
        assert {settled.detail for settled in bench.settled.settlements} == {"MEDIC_NOTIFY is off"}
        assert [(line["kind"], line["withheld_from"]) for line in logs] == [
            ("trigger", ["pagerduty", "slack"]),
            ("reminder", ["pagerduty", "slack"]),
            ("resolve", ["pagerduty", "slack"]),
        ]
        assert logs[0]["said"].startswith("ALERT service-1: no heartbeat for 12 min")
        statistics = bench.alerting.statistics()
        assert (statistics.withholds, statistics.withheld, statistics.pending) == (True, 6, 0)
        assert (statistics.untold, len(withheld.ledger)) == ((), 0)


async def test_the_start_line_says_that_nobody_is_told(autojump_clock):
    async with running(Scripted()) as bench:
        assert bench.alerting.describe_targets() == "scripted pagerduty"
        Withheld(bench)
        assert bench.alerting.describe_targets() == "nobody: MEDIC_NOTIFY is off. With on: scripted pagerduty"


async def test_an_alert_that_was_withheld_reached_nobody_so_that_the_next_start_tells_it(autojump_clock):
    async with running(Scripted()) as bench:
        withheld = Withheld(bench)
        withheld.decide(trigger())
        assert withheld.ledger.reached_nobody(EventId(1))


async def test_the_end_of_what_was_told_before_waits_until_somebody_may_be_told(autojump_clock):
    pagerduty, slack = Scripted(), Scripted("slack")
    async with running(pagerduty, slack) as bench:
        withheld = Withheld(bench)
        withheld.remember(trigger(), "pagerduty")
        withheld.decide(follow(trigger(), K.RESOLVE))
        await wait_all_tasks_blocked()
        assert (pagerduty.sent, bench.outcomes()) == ([], [])
        assert bench.outcomes("slack") == [("1.1", Outcome.WITHHELD)]
        [owed] = withheld.ledger.pending()
        assert (owed.notification_id, owed.targets) == ("1.1", ("pagerduty",))


async def test_what_was_pending_at_the_start_stays_so_with_its_end(autojump_clock):
    pagerduty = Scripted()
    async with running(pagerduty) as bench:
        withheld = Withheld(bench)
        claim = trigger()
        withheld.ledger.fold(Notify(AT, SIGHTED, claim))
        bench.alerting.resume_nowait(claim, claim.targets)
        withheld.decide(follow(claim, K.RESOLVE))
        await wait_all_tasks_blocked()
        assert (pagerduty.sent, bench.outcomes()) == ([], [])
        assert [one.notification_id for one in withheld.ledger.pending()] == ["1.0", "1.1"]


async def test_news_that_was_pending_at_the_start_is_withheld(autojump_clock):
    async with running(Scripted()) as bench:
        Withheld(bench)
        news = replace(trigger(), kind=K.DEGRADED, alert_id=None, notification_id="9.d")
        bench.alerting.resume_nowait(news, ("pagerduty", "slack-that-was"))
        assert bench.settled.outcomes() == [("9.d", Outcome.WITHHELD), ("9.d", Outcome.WITHHELD)]
        assert bench.alerting.statistics().withheld == 1


async def test_a_test_page_is_withheld_with_its_end(autojump_clock):
    pagerduty = Scripted()
    async with running(pagerduty) as bench:
        withheld = Withheld(bench)
        page = replace(trigger(), kind=K.TEST, alert_id=None, key="medic-test-9", notification_id="9.t")
        withheld.decide(page)
        withheld.decide(replace(page, kind=K.RESOLVE, notification_id="9.r"))
        await wait_all_tasks_blocked()
        assert pagerduty.sent == []
        assert bench.alerting.who_hears(page) == ()
        assert bench.outcomes() == [("9.t", Outcome.WITHHELD), ("9.r", Outcome.WITHHELD)]
