from __future__ import annotations

import math
from dataclasses import replace

from medic.alerting.untold import UNTOLD_SECONDS, UntoldWatch
from tests.fakes.alerting import trigger

CLAIM = trigger(1)


def watching() -> UntoldWatch:
    watch = UntoldWatch()
    watch.offered(CLAIM, 0.0)
    return watch


def test_a_minute_is_granted_and_then_said_once():
    watch = watching()
    assert watch.next_due() == UNTOLD_SECONDS
    assert watch.overdue(UNTOLD_SECONDS - 0.1, most=10) == []
    assert watch.overdue(UNTOLD_SECONDS, most=10) == [CLAIM]
    assert watch.overdue(UNTOLD_SECONDS + 100, most=10) == []
    assert watch.untold() == (1,)
    assert watch.next_due() == math.inf


def test_one_target_that_took_it_is_enough():
    watch = watching()
    watch.took(CLAIM, "slack")
    assert watch.overdue(1_000.0, most=10) == []
    assert watch.untold() == ()
    assert not watch.knows(CLAIM.alert_id)


def test_told_late_is_told():
    watch = watching()
    watch.overdue(UNTOLD_SECONDS, most=10)
    watch.took(CLAIM, "pagerduty")
    assert watch.untold() == ()


def test_refused_is_untold_at_once_until_that_target_takes_it():
    watch = watching()
    watch.took(CLAIM, "slack")
    assert watch.refused(CLAIM, "pagerduty") is True
    assert watch.refused(CLAIM, "pagerduty") is False
    assert watch.untold() == (1,)
    assert watch.refused_by(CLAIM.alert_id) == {"pagerduty"}
    watch.took(CLAIM, "slack")
    assert watch.untold() == (1,)
    watch.took(CLAIM, "pagerduty")
    assert watch.untold() == ()
    assert watch.refused_by(CLAIM.alert_id) == frozenset()


def test_refused_first_and_taken_elsewhere_later_is_not_said_again():
    watch = watching()
    watch.refused(CLAIM, "pagerduty")
    watch.took(CLAIM, "slack")
    assert watch.overdue(UNTOLD_SECONDS, most=10) == []
    assert watch.untold() == (1,)


def test_the_end_of_the_alert_ends_it():
    watch = watching()
    watch.refused(CLAIM, "pagerduty")
    watch.closed(CLAIM.alert_id)
    watch.closed(None)
    assert watch.untold() == ()
    assert watch.overdue(UNTOLD_SECONDS, most=10) == []


def test_an_alert_without_any_target_is_untold_at_once():
    watch = UntoldWatch()
    assert watch.nobody(CLAIM) is True
    assert watch.nobody(CLAIM) is False
    assert watch.untold() == (1,)


def test_an_alert_offered_twice_is_watched_once():
    watch = watching()
    watch.offered(CLAIM, 50.0)
    assert watch.overdue(1_000.0, most=10) == [CLAIM]


def test_a_flood_is_reported_in_slices_and_listed_so_far():
    watch = UntoldWatch()
    for number in range(250):
        watch.offered(trigger(number), 0.0)
    assert [len(watch.overdue(100.0, most=100)) for _ in range(4)] == [100, 100, 50, 0]
    assert watch.untold() == tuple(range(250))


def test_what_belongs_to_no_alert_is_not_watched():
    said = replace(CLAIM, alert_id=None)
    watch = UntoldWatch()
    watch.offered(said, 0.0)
    watch.took(said, "slack")
    assert watch.refused(said, "slack") is False
    assert watch.nobody(said) is False
    assert watch.untold() == ()
    assert watch.next_due() == math.inf
