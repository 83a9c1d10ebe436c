"""The arithmetic of a limit, against a table and against a naive log of instants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medic.access.counters import Counters
from medic.access.gcra import MINUTE_US, SECOND_US, Limit, Standing, standing, take, wait_us
from medic.access.generations import Generations


@pytest.mark.parametrize(
    ("requests", "backlog_us", "wanted", "taken", "wait"),
    [
        (60, 0, 1, 1, 0),
        (60, 0, 100, 60, 0),
        (60, 59 * SECOND_US, 2, 1, 0),
        (60, 59 * SECOND_US + 1, 1, 0, 1),
        (60, 60 * SECOND_US, 1, 0, SECOND_US),
        (60, 120 * SECOND_US, 1, 0, 61 * SECOND_US),
        (1, 0, 5, 1, 0),
        (1, 1, 1, 0, 1),
        (7, 6 * (MINUTE_US // 7), 1, 1, 0),
        (1_000_000_000, 0, 3, 3, 0),
    ],
)
def test_so_many_are_taken(requests, backlog_us, wanted, taken, wait):
    limit = Limit(requests)
    assert take(limit, backlog_us, wanted) == taken
    assert wait_us(limit, backlog_us) == wait


@pytest.mark.parametrize(
    ("backlog_us", "expected"),
    [
        (0, Standing(60, 60, 0, 0)),
        (1, Standing(60, 59, 1, 0)),
        (SECOND_US, Standing(60, 59, 1, 0)),
        (59_500_000, Standing(60, 0, 60, 1)),
        (61 * SECOND_US, Standing(60, 0, 61, 2)),
    ],
)
def test_a_caller_is_told_whole_seconds_that_are_never_too_few(backlog_us, expected):
    assert standing(Limit(60), backlog_us) == expected


class NaiveLog:
    """Keeps every instant and asks each time: at no past instant may there have been more than fit since then."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.taken: list[int] = []

    def take(self, now: int) -> bool:
        taken = [*self.taken, now]
        for place, since in enumerate(taken):
            fitting = self.limit.requests + (now - since) // self.limit.emission_us
            if len(taken) - place > fitting:
                return False
        self.taken = taken
        return True


@given(
    requests=st.integers(1, 8),
    gaps=st.lists(st.sampled_from([0, 1, SECOND_US, 7_500_000, 8 * SECOND_US, 30 * SECOND_US, 90 * SECOND_US])),
)
def test_it_takes_what_a_log_of_every_instant_would_take(requests, gaps):
    limit, counters, now = Limit(requests), Counters(), 10**15
    naive = NaiveLog(limit)
    for gap in gaps:
        now += gap
        wait = counters.take("name", limit, now)
        assert (wait == 0) == naive.take(now)
        if wait:
            twin = NaiveLog(limit)
            twin.taken = list(naive.taken)
            assert not twin.take(now + wait - 1)
            assert twin.take(now + wait)


def test_a_backlog_is_over_after_as_many_emissions():
    counters, limit = Counters(), Limit(60)
    assert counters.backlog_us("name", 0) == 0
    for _ in range(3):
        counters.take("name", limit, 0)
    assert [counters.backlog_us("name", seconds * SECOND_US) for seconds in (0, 2, 3, 9)] == [
        3_000_000,
        SECOND_US,
        0,
        0,
    ]


def test_names_are_counted_apart():
    counters = Counters()
    assert [counters.take(name, Limit(1), 0) for name in ("a", "b", "a")] == [0, 0, MINUTE_US]


def test_what_has_no_backlog_any_more_is_forgotten_within_two_minutes():
    counters = Counters()
    for second in range(300):
        counters.take(f"name-{second}", Limit(100), second * SECOND_US)
    assert len(counters) <= 121
    assert counters.take("name-299", Limit(1), 299 * SECOND_US) > 0


def test_too_many_names_forget_the_oldest():
    kept: Generations[int] = Generations(most=10)
    for number in range(100):
        kept.keep(str(number), number, 0)
    assert len(kept) <= 20
    assert kept.find("99") == 99
    assert kept.find("0") is None
