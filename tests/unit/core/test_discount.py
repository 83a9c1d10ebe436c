"""Which heartbeats count for nothing, and what they leave alone."""

from __future__ import annotations

from copy import copy

import pytest

from medic.core.effects import RecordHeartbeat
from medic.core.ring import NO_MARK, Ring
from medic.core.status import Discount, Status
from medic.core.units import HOUR_MS, MINUTE_MS, SECOND_MS
from tests.stories.simulation import SimulatedMedic, SimulatedService


def discounts(web: SimulatedService) -> list[Discount | None]:
    return [effect.discount for effect in web.effects if isinstance(effect, RecordHeartbeat)]


def untouched(web: SimulatedService) -> tuple[object, ...]:
    service = web.service
    return (
        web.next_deadline(), service.status, service.alert, service.last_heartbeat_at, service.last_status,
        service.gap_ms, service.heard_kind, tuple(service.ring or ()),
    )  # fmt: skip


@pytest.mark.parametrize("status", ["UP", "STARTED", "DEGRADED", "DOWN", "FAILED"])
def test_a_heartbeat_older_than_interval_and_grace_is_history(status):
    medic = SimulatedMedic()
    web = medic.register(interval_ms=MINUTE_MS, grace_ms=30 * SECOND_MS)
    web.beat()
    medic.advance(10 * SECOND_MS)
    before = untouched(web)
    web.beat(status, said_at=medic.at - 90 * SECOND_MS - 1)
    assert untouched(web) == before
    assert discounts(web) == [None, Discount.HISTORY]
    assert web.service.heartbeats_total == 2


def test_one_exactly_as_old_as_interval_and_grace_counts():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=MINUTE_MS, grace_ms=30 * SECOND_MS)
    medic.advance(10 * SECOND_MS)
    web.beat(said_at=medic.at - 90 * SECOND_MS)
    assert discounts(web) == [None]
    assert web.deadline_in() == 90 * SECOND_MS


def test_history_closes_no_alert_and_what_is_sent_now_does():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=MINUTE_MS)
    medic.advance(2 * MINUTE_MS)
    web.beat(said_at=medic.at - HOUR_MS)
    assert web.status is Status.LATE
    assert not web.service.heard
    web.beat(said_at=medic.at - SECOND_MS)
    assert web.status is Status.UP


def test_a_time_far_ahead_is_kept_as_five_minutes_ahead_and_the_heartbeat_counts():
    medic = SimulatedMedic()
    web = medic.register()
    web.beat(said_at=medic.at + 5 * MINUTE_MS)
    web.beat(said_at=medic.at + 24 * HOUR_MS)
    kept = [effect.said_at for effect in web.effects if isinstance(effect, RecordHeartbeat)]
    assert kept == [medic.at + 5 * MINUTE_MS] * 2
    assert discounts(web) == [None, None]


SAME = [
    ({"run_id": "r"}, {"run_id": "r"}),
    ({"key": "k"}, {"key": "k"}),
    ({"run_id": "r", "key": "k"}, {"run_id": "r", "key": "another attempt"}),
    ({"run_id": "r"}, {"run_id": "r", "key": "k"}),
    ({"run_id": "r", "status": "up"}, {"run_id": "r", "status": "UP"}),
    ({"run_id": "r", "status": "step 2"}, {"run_id": "r", "status": "step 2"}),
]
OTHER = [
    ({}, {}),
    ({"run_id": "r"}, {"run_id": "s"}),
    ({"run_id": "r", "status": "STARTED"}, {"run_id": "r", "status": "COMPLETED"}),
    ({"run_id": "r", "status": "step 1"}, {"run_id": "r", "status": "step 2"}),
    ({"key": "k"}, {"key": "l"}),
    ({"key": "r"}, {"run_id": "r"}),
    ({"key": "k"}, {}),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_of_two_that_are_one_only_the_first_counts_toward_the_threshold(first, second):
    medic = SimulatedMedic()
    web = medic.register(threshold=2)
    medic.advance(20 * SECOND_MS)
    web.beat(**first)
    before = untouched(web)
    medic.advance(20 * SECOND_MS)
    web.beat(**second)
    assert untouched(web) == before
    assert discounts(web) == [None, Discount.REPEATED]


@pytest.mark.parametrize(("first", "second"), OTHER)
def test_two_that_are_not_one_count_twice(first, second):
    web = SimulatedMedic().register(threshold=2)
    web.beat(**first)
    web.beat(**second)
    assert discounts(web) == [None, None]


def test_an_interval_later_the_same_counts_again():
    medic = SimulatedMedic()
    web = medic.register(threshold=2, interval_ms=MINUTE_MS, grace_ms=HOUR_MS)
    web.beat(key="k")
    medic.advance(MINUTE_MS - 1)
    web.beat(key="k")
    medic.advance(1)
    web.beat(key="k")
    assert discounts(web) == [None, Discount.REPEATED, None]


def test_with_a_threshold_of_one_nothing_is_remembered():
    medic = SimulatedMedic()
    web = medic.register(interval_ms=MINUTE_MS)
    web.beat(key="k", run_id="r")
    medic.advance(10 * SECOND_MS)
    [record] = web.beat(key="k", run_id="r")
    assert record.mark == NO_MARK
    assert discounts(web) == [None, None]
    assert web.deadline_in() == MINUTE_MS


def test_a_repetition_does_not_help_a_late_service_over_its_threshold():
    medic = SimulatedMedic()
    web = medic.register(threshold=2, interval_ms=MINUTE_MS)
    medic.advance(2 * MINUTE_MS)
    web.beat(key="k")
    web.beat(key="k")
    assert web.status is Status.LATE
    web.beat(key="l")
    assert web.status is Status.UP


def test_reports_are_never_taken_for_repetitions():
    medic = SimulatedMedic()
    web = medic.register(threshold=2)
    web.beat("DOWN", key="k", run_id="r")
    web.beat("DOWN", key="k", run_id="r")
    assert discounts(web) == [None, None]
    web.beat("UP", key="k")
    assert discounts(web)[-1] is None


def test_a_credit_forgets_the_marks_of_the_signs_that_it_stands_for():
    ring = Ring([10, 20, 30], [1, 2, 3])
    credited = ring.credited(20)
    assert (list(credited), list(credited.marks or ())) == ([20, 20, 30], [0, 0, 3])
    assert ring.credited(30).marks is None
    assert Ring([10, 20]).credited(15).marks is None


def test_a_copied_ring_lives_its_own_life():
    ring = Ring([10, 20], [1, 2])
    twin = copy(ring)
    twin.push(30, 3)
    assert (list(ring), list(ring.marks or ())) == ([10, 20], [1, 2])
    assert (list(twin), list(twin.marks or ())) == ([20, 30], [2, 3])


@pytest.mark.parametrize(("threshold", "signs", "marks"), [(4, 4, [0, 0, 1, 2]), (2, 2, [1, 2]), (1, 1, None)])
def test_an_edit_under_a_reported_failure_keeps_signs_with_their_marks(threshold, signs, marks):
    medic = SimulatedMedic()
    web = medic.register(threshold=3)
    web.beat("DOWN")
    web.beat(key="a")
    web.beat(key="b")
    ring = web.service.ring
    assert ring is not None
    assert ring.marks is not None
    known = dict(zip([0, 1, 2], ring.marks, strict=True))
    web.edit(threshold=threshold)
    after = web.service.ring
    assert (1 if after is None else len(after)) == signs
    assert (None if after is None else list(after.marks or ())) == (marks and [known[mark] for mark in marks])
