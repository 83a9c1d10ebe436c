"""The table at the head of `medic.alerting.lane`, row by row, and what surrounds it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medic.alerting.attempt import Attempt, Delivered, Refused, Retry, Throttled
from medic.alerting.errand import Errand
from medic.alerting.lane import LANE_ERRANDS_MAX, Lane, Standing
from medic.core.notification import Notification
from medic.core.status import NotificationKind, Outcome
from tests.fakes.alerting import follow, trigger

K = NotificationKind
CERTAIN = Retry("connection refused", maybe_taken=False)
UNCERTAIN = Retry("no answer", maybe_taken=True)


class Track:
    """A lane with its standing, driven by words; keeps every ending."""

    def __init__(self) -> None:
        self.lane = Lane("medic-service-1")
        self.standing = Standing()
        self.ended: list[tuple[str, Outcome]] = []
        self._sequence = 0

    def add(self, notification: Notification, *, resumed: bool = False) -> Track:
        self._sequence += 1
        errand = Errand(notification, self._sequence, now=0.0, expires_at=1e9)
        errand.maybe_taken = resumed
        self._keep(self.lane.add(errand, self.standing))
        return self

    def begin(self) -> Track:
        self.lane.head.in_flight = True
        return self

    def end(self, attempt: Attempt) -> Track:
        self._keep(self.lane.settle(attempt, self.standing))
        return self

    def attempt(self, attempt: Attempt) -> Track:
        return self.begin().end(attempt)

    def waiting(self) -> list[str]:
        return [errand.notification.notification_id for errand in self.lane.errands]

    def _keep(self, endings) -> None:
        self.ended += [(ending.errand.notification.notification_id, ending.outcome) for ending in endings]


CLAIM = trigger()
END = follow(CLAIM, K.RESOLVE, 9)


@pytest.mark.parametrize(
    ("attempts", "claim_outcome", "end_is_sent"),
    [
        ([], Outcome.DROPPED, False),
        ([CERTAIN], Outcome.GIVEN_UP, False),
        ([Throttled("answered 429")], Outcome.GIVEN_UP, False),
        ([CERTAIN, Throttled("answered 429"), CERTAIN], Outcome.GIVEN_UP, False),
        ([UNCERTAIN], Outcome.GIVEN_UP, True),
        ([UNCERTAIN, CERTAIN], Outcome.GIVEN_UP, True),
        ([Delivered()], Outcome.DELIVERED, True),
        ([Refused("wrong key")], Outcome.REFUSED, False),
        ([UNCERTAIN, Refused("wrong key")], Outcome.REFUSED, True),
    ],
)
def test_an_end_meets_a_claim_that_waits(attempts, claim_outcome, end_is_sent):
    track = Track().add(CLAIM)
    for attempt in attempts:
        track.attempt(attempt)
    track.add(END)
    assert track.ended[0] == ("1.0", claim_outcome)
    assert track.waiting() == (["1.9"] if end_is_sent else [])
    assert track.ended[1:] == ([] if end_is_sent else [("1.9", Outcome.DROPPED)])


@pytest.mark.parametrize(
    ("attempt", "claim_outcome", "end_is_sent"),
    [
        (Delivered(), Outcome.DELIVERED, True),
        (Refused("no"), Outcome.REFUSED, False),
        (CERTAIN, Outcome.GIVEN_UP, False),
        (Throttled("no"), Outcome.GIVEN_UP, False),
        (UNCERTAIN, Outcome.GIVEN_UP, True),
    ],
)
def test_an_end_meets_a_claim_under_way_and_waits_for_its_attempt(attempt, claim_outcome, end_is_sent):
    track = Track().add(CLAIM).begin().add(END)
    assert track.ended == []
    assert track.waiting() == ["1.0", "1.9"]
    track.end(attempt)
    assert track.ended[0] == ("1.0", claim_outcome)
    assert track.waiting() == (["1.9"] if end_is_sent else [])


def test_a_claim_resumed_after_a_restart_may_have_been_taken():
    track = Track().add(CLAIM, resumed=True).add(END)
    assert track.ended == [("1.0", Outcome.GIVEN_UP)]
    assert track.waiting() == ["1.9"]


def test_an_end_of_a_claim_this_process_never_saw_is_sent():
    track = Track().add(END)
    assert track.waiting() == ["1.9"]
    assert track.attempt(Delivered()).ended == [("1.9", Outcome.DELIVERED)]
    assert len(track.standing) == 0


def test_an_end_after_a_delivered_claim_closes_the_account():
    track = Track().add(CLAIM).attempt(Delivered()).add(END)
    assert len(track.standing) == 1
    track.attempt(UNCERTAIN).attempt(Delivered())
    assert track.ended == [("1.0", Outcome.DELIVERED), ("1.9", Outcome.DELIVERED)]
    assert len(track.standing) == 0
    assert track.waiting() == []


def test_an_end_takes_reminders_acknowledgements_and_complaints_with_it():
    track = Track().add(CLAIM).attempt(Delivered())
    for ordinal, kind in enumerate((K.REMINDER, K.ESCALATION, K.ACKNOWLEDGE, K.UNTOLD), start=1):
        track.add(follow(CLAIM, kind, ordinal))
    track.add(END)
    assert track.ended[1:] == [(f"1.{ordinal}", Outcome.DROPPED) for ordinal in range(1, 5)]
    assert track.waiting() == ["1.9"]


def test_a_reminder_that_was_not_taken_does_not_unsay_the_trigger_before_a_restart():
    reminder = follow(CLAIM, K.REMINDER)
    track = Track().add(reminder).attempt(Refused("no")).add(END)
    assert track.waiting() == ["1.9"]
    dropped = Track().add(reminder).add(END)
    assert dropped.waiting() == ["1.9"]


def test_a_second_trigger_refused_does_not_unsay_the_first():
    track = Track().add(CLAIM).attempt(Delivered()).add(follow(CLAIM, K.TRIGGER, 2)).attempt(Refused("no"))
    assert track.add(END).waiting() == ["1.9"]
    other_process = Track().add(follow(CLAIM, K.TRIGGER, 2)).attempt(Refused("no"))
    assert other_process.add(END).waiting() == ["1.9"]


def test_a_reminder_taken_after_a_refused_trigger_needs_an_end():
    track = Track().add(CLAIM).attempt(Refused("no")).add(follow(CLAIM, K.REMINDER)).attempt(Delivered())
    assert track.add(END).waiting() == ["1.9"]


def test_a_complaint_taken_after_a_refused_trigger_needs_an_end():
    track = Track().add(CLAIM).begin().add(follow(CLAIM, K.UNTOLD)).end(Refused("no")).attempt(Delivered())
    assert track.add(END).waiting() == ["1.9"]


def test_a_newer_reminder_replaces_one_that_waits():
    first, second, third = (follow(CLAIM, K.REMINDER, ordinal) for ordinal in (1, 2, 3))
    track = Track().add(CLAIM).begin().add(first).add(second)
    assert track.ended == [("1.1", Outcome.DROPPED)]
    track.end(Delivered()).attempt(UNCERTAIN).add(third)
    assert track.ended[-1] == ("1.2", Outcome.GIVEN_UP)
    assert track.waiting() == ["1.3"]


def test_a_reminder_under_way_is_not_tried_again_once_a_newer_one_waits():
    first, second = (follow(CLAIM, K.REMINDER, ordinal) for ordinal in (1, 2))
    track = Track().add(first).begin().add(second).end(CERTAIN)
    assert track.ended == [("1.1", Outcome.GIVEN_UP)]
    assert track.waiting() == ["1.2"]


def test_the_next_alert_waits_behind_the_end_of_the_last():
    again = trigger(2, name="service-1")
    track = Track().add(CLAIM).attempt(UNCERTAIN).add(END).add(again)
    assert track.waiting() == ["1.9", "2.0"]
    track.add(follow(again, K.RESOLVE))
    assert track.waiting() == ["1.9"]
    assert track.ended[1:] == [("2.0", Outcome.DROPPED), ("2.1", Outcome.DROPPED)]


def test_being_degraded_is_told_and_ended_like_an_alert():
    degraded = replace(CLAIM, kind=K.DEGRADED, alert_id=None, notification_id="5.d")
    over = replace(degraded, kind=K.DEGRADED_OVER, notification_id="6.o")
    assert Track().add(degraded).add(over).waiting() == []
    assert Track().add(degraded).attempt(CERTAIN).add(over).waiting() == []
    assert Track().add(degraded).attempt(UNCERTAIN).add(over).waiting() == ["6.o"]
    assert Track().add(degraded).attempt(Delivered()).add(over).waiting() == ["6.o"]
    assert Track().add(over).waiting() == ["6.o"]


def test_a_test_and_its_end_are_both_sent():
    test = replace(CLAIM, kind=K.TEST, alert_id=None, notification_id="7.t", key="medic-test-7")
    over = replace(test, kind=K.RESOLVE, notification_id="7.r")
    track = Track().add(test).add(over)
    assert track.waiting() == ["7.t", "7.r"]
    track.attempt(Delivered()).attempt(Delivered())
    assert track.ended == [("7.t", Outcome.DELIVERED), ("7.r", Outcome.DELIVERED)]
    refused = Track().add(test).add(over).attempt(Refused("no"))
    assert refused.ended == [("7.t", Outcome.REFUSED), ("7.r", Outcome.DROPPED)]


def test_time_gives_up_what_waits_and_what_is_under_way():
    track = Track().add(CLAIM).attempt(Delivered()).add(END)
    errand = track.lane.head
    assert [ending.outcome for ending in track.lane.expire(errand, track.standing)] == [Outcome.GIVEN_UP]
    assert len(track.standing) == 0
    under_way = Track().add(END).begin()
    assert under_way.lane.expire(under_way.lane.head, under_way.standing) == []
    assert under_way.end(CERTAIN).ended == [("1.9", Outcome.GIVEN_UP)]
    answered = Track().add(END).begin()
    answered.lane.expire(answered.lane.head, answered.standing)
    assert answered.end(Delivered()).ended == [("1.9", Outcome.DELIVERED)]


def test_a_test_page_that_expires_takes_its_end_along():
    test = replace(CLAIM, kind=K.TEST, alert_id=None, notification_id="7.t", key="medic-test-7")
    track = Track().add(test).add(replace(test, kind=K.RESOLVE, notification_id="7.r"))
    endings = track.lane.expire(track.lane.head, track.standing)
    assert [ending.outcome for ending in endings] == [Outcome.GIVEN_UP, Outcome.DROPPED]
    assert track.waiting() == []


def test_news_without_an_end_is_kept_so_far_back():
    track = Track().add(CLAIM).attempt(CERTAIN)
    for number in range(LANE_ERRANDS_MAX + 5):
        track.add(replace(CLAIM, kind=K.BLIND, alert_id=None, notification_id=f"blind.{number}"))
    assert len(track.waiting()) == LANE_ERRANDS_MAX
    assert track.waiting()[0] == "1.0"
    assert track.ended[0] == ("blind.0", Outcome.DROPPED)
    assert track.waiting()[-1] == f"blind.{LANE_ERRANDS_MAX + 4}"


def test_claims_and_ends_are_never_crowded_out():
    track = Track()
    for number in range(LANE_ERRANDS_MAX + 5):
        track.add(replace(CLAIM, alert_id=number, notification_id=f"{number}.0"))
    assert len(track.waiting()) == LANE_ERRANDS_MAX + 5


def test_a_lane_is_as_urgent_as_its_most_urgent_errand():
    track = Track().add(trigger(priority="p5")).add(follow(trigger(priority="p1"), K.ESCALATION))
    assert track.lane.priority == 0


def test_the_last_failure_is_what_is_journaled():
    track = Track().add(CLAIM).attempt(CERTAIN)
    (ending,) = track.lane.add(Errand(END, 9, now=0.0, expires_at=1.0), track.standing)[:1]
    assert (ending.detail, ending.errand.attempts) == ("connection refused", 1)
