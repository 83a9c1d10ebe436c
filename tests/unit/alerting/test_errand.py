from __future__ import annotations

import math
from dataclasses import replace

import pytest

from medic.alerting.errand import Errand, is_first_claim, lifetime_seconds, priority_of, subject_of
from medic.core.status import NotificationKind
from medic.core.units import InstantMs
from tests.fakes.alerting import NOON, follow, trigger

DAY = 86_400.0


@pytest.mark.parametrize(("priority", "rank"), [("p1", 0), ("p3", 2), ("p5", 4), ("urgent", 5)])
def test_more_urgent_sorts_first_and_the_unknown_last(priority, rank):
    assert priority_of(trigger(priority=priority)) == rank
    assert Errand(trigger(priority=priority), 1, now=0.0, expires_at=1.0).priority == rank


def test_a_claim_and_its_end_have_one_subject():
    claim = trigger(7)
    assert subject_of(claim) == subject_of(follow(claim, NotificationKind.RESOLVE)) == 7
    degraded = replace(claim, kind=NotificationKind.DEGRADED)
    assert subject_of(degraded) == subject_of(replace(claim, kind=NotificationKind.DEGRADED_OVER, alert_id=None))
    test = replace(claim, kind=NotificationKind.TEST, alert_id=None, key="medic-test-9")
    assert subject_of(test) == subject_of(replace(test, kind=NotificationKind.RESOLVE))
    assert len({subject_of(claim), subject_of(degraded), subject_of(test)}) == 3


def test_only_the_first_trigger_says_that_nobody_was_told_before():
    assert is_first_claim(trigger())
    assert not is_first_claim(trigger(ordinal=2))
    assert not is_first_claim(trigger(kind=NotificationKind.REMINDER))
    assert is_first_claim(trigger(kind=NotificationKind.DEGRADED))


@pytest.mark.parametrize(
    ("kind", "age", "seconds"),
    [
        (NotificationKind.TRIGGER, 10 * DAY, math.inf),
        (NotificationKind.REMINDER, 0, math.inf),
        (NotificationKind.RESOLVE, 0, DAY),
        (NotificationKind.RESOLVE, DAY / 2, DAY / 2),
        (NotificationKind.RESOLVE, 3 * DAY, 600.0),
        (NotificationKind.BLIND, 60, DAY - 60),
        (NotificationKind.TEST, 0, 600.0),
        (NotificationKind.RESOLVE, -5, DAY + 5),
    ],
)
def test_news_is_worth_telling_for_so_long(kind, age, seconds):
    now = InstantMs(NOON + round(age * 1000))
    assert lifetime_seconds(trigger(kind=kind), now=now) == seconds
