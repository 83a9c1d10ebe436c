"""What a restricted key may see."""

from __future__ import annotations

import pytest

from medic.access.caller import Caller
from medic.access.keys import ApiKey
from medic.access.reach import EVERYTHING, Reach, reach_of
from medic.access.scope import Scope
from medic.core.units import InstantMs


@pytest.mark.parametrize(
    ("reach", "name", "team", "covered"),
    [
        (EVERYTHING, "a", "x", True),
        (Reach(names=("pay-*",)), "PAY-api", "x", True),
        (Reach(names=("pay-*",)), "search", "x", False),
        (Reach(teams=("x", "y")), "a", "y", True),
        (Reach(teams=("x",)), "a", "X", False),
        (Reach(("pay-*",), ("x",)), "pay-api", "y", False),
        (Reach(("pay-*",), ("x",)), "pay-api", "x", True),
    ],
)
def test_names_and_teams_both_have_to_fit(reach: Reach, name: str, team: str, covered: bool) -> None:
    assert reach.covers(name, team) is covered


def test_it_is_that_of_the_callers_key() -> None:
    key = ApiKey("id", "n", frozenset({Scope.READ}), b"", InstantMs(0), names=("a",), teams=("x",))
    assert reach_of(Caller("192.0.2.1")).is_everything
    assert reach_of(Caller("192.0.2.1", key)) == Reach(("a",), ("x",))
    assert not reach_of(Caller("192.0.2.1", key)).is_everything
    assert not Reach(teams=("x",)).is_everything
