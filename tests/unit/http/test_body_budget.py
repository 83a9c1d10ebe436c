"""What bodies keep together never exceeds the budget, and all of it comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medic.http.body_budget import BodyBudget
from medic.http.limits import BODY_SMALL_BYTES

LARGE = BODY_SMALL_BYTES + 1


def test_a_body_that_does_not_fit_counts_as_it_did() -> None:
    budget = BodyBudget(3 * LARGE, reserve=0)
    first, second = budget.share(), budget.share()
    assert first.keep(2 * LARGE)
    assert second.keep(LARGE)
    assert not second.keep(LARGE + 1)
    assert budget.held == 3 * LARGE
    first.give_back()
    assert second.keep(LARGE + 1)
    assert budget.held == LARGE + 1


def test_small_bodies_have_a_reserve_that_large_ones_leave_alone() -> None:
    budget = BodyBudget(LARGE + 100, reserve=100)
    large, other, small = budget.share(), budget.share(), budget.share()
    assert large.keep(LARGE)
    assert not other.keep(LARGE)
    assert small.keep(100)
    assert not other.keep(1)


def test_a_share_comes_back_however_its_request_ends() -> None:
    budget = BodyBudget()

    def crash() -> None:
        with budget.share() as share:
            share.keep(LARGE)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()
    assert budget.held == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4 * LARGE)), max_size=40))
def test_what_is_held_is_the_sum_of_what_fits(steps: list[tuple[int, int]]) -> None:
    budget = BodyBudget(4 * LARGE, reserve=LARGE)
    shares = [budget.share() for _ in range(4)]
    held = [0, 0, 0, 0]
    for number, whole in steps:
        if not whole:
            shares[number].give_back()
            held[number] = 0
        elif shares[number].keep(whole):
            held[number] = whole
        assert budget.held == sum(held) <= 4 * LARGE
    for share in shares:
        share.give_back()
    assert budget.held == 0
