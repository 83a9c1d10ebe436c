"""Where a restricted key reaches, and that no spelling gets past it (HARD-CASES H10)."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medic.access.keys import ApiKey
from medic.access.restriction import matches_any, may_beat, may_see, reaches
from medic.access.scope import Scope
from medic.core.draft import ServiceDraft
from medic.core.names import name_key, normal_name
from medic.core.policy import Defaults
from medic.core.service import Service
from tests.unit.core.test_names import SAME_OR_NOT


def key(*scopes: Scope, names: tuple[str, ...] = (), teams: tuple[str, ...] = ()) -> ApiKey:
    return ApiKey("a" * 12, "hosts", frozenset(scopes or {Scope.HEARTBEAT}), bytes(32), 0, names=names, teams=teams)


@pytest.mark.parametrize(("one", "other", "same"), SAME_OR_NOT)
def test_a_restriction_means_the_names_that_are_that_name_and_no_others(one, other, same):
    assert reaches(key(names=(one,)), other, None) is same
    assert reaches(key(names=(f"{one}-*",)), f"{other}-1", None) is same
    assert reaches(key(names=(f"*-{one}",)), f"1-{other}", None) is same


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("pay-*", "pay-nightly", True),
        ("pay-*", "PAY-Nightly", True),
        ("pay-*", "pay-", True),
        ("pay-*", "pay", False),
        ("pay-*", "prepay-nightly", False),
        ("*", "anything", True),
        ("*-pay", "eu-pay", True),
        ("*-pay", "-pay", True),
        ("*-pay", "eu-payments", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "abc", True),
        ("a*b*c", "acb", False),
        ("a*b*c", "ac-bc", True),
        ("*b*b*", "b", False),
        ("*b*b*", "bb", True),
        ("**", "x", True),
        ("pay-?", "pay-1", False),
        ("pay-[12]", "pay-1", False),
        ("pay.*", "pay-1", False),
        ("cafe*", "cafe\u0301-1", False),
        ("caf\u00e9*", "cafe\u0301-1", True),
    ],
)
def test_a_star_stands_for_any_characters_and_nothing_else_for_anything(pattern, name, expected):
    assert matches_any((pattern,), name) is expected


@given(st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=8), st.text("ab", max_size=10))
def test_patterns_mean_what_a_slow_matcher_says(pieces, name):
    def slow(pattern: str, rest: str) -> bool:
        if not pattern:
            return not rest
        if pattern[0] == "*":
            return slow(pattern[1:], rest) or (bool(rest) and slow(pattern, rest[1:]))
        return bool(rest) and pattern[0] == rest[0] and slow(pattern[1:], rest[1:])

    assert matches_any(("".join(pieces),), name) is slow("".join(pieces), name)


@given(st.text(max_size=6), st.text(max_size=6))
def test_a_key_for_one_name_reaches_the_names_that_are_the_same_service(one, other):
    pattern, name = one.replace("*", ""), other
    same = name_key(normal_name(pattern)) == name_key(normal_name(name))
    assert matches_any((pattern,), name) is same
    assert matches_any((pattern,), unicodedata.normalize("NFD", pattern))


def test_a_long_pattern_of_many_stars_is_no_work():
    assert not matches_any(("a*" * 124 + "b",), "a" * 249)


def test_teams_restrict_as_well_and_a_name_that_is_not_registered_has_none():
    of_shop = key(teams=("shop", "till"))
    assert may_beat(of_shop, "web", "shop")
    assert may_beat(of_shop, "web", "till")
    assert not may_beat(of_shop, "web", "Shop")
    assert not may_beat(of_shop, "web", None)
    both = key(names=("pay-*",), teams=("shop",))
    assert may_beat(both, "pay-1", "shop")
    assert not may_beat(both, "pay-1", "till")
    assert not may_beat(both, "web", "shop")


@pytest.mark.parametrize(
    ("scope", "expected"),
    [(Scope.HEARTBEAT, True), (Scope.ADMIN, True), (Scope.READ, False), (Scope.WRITE, False)],
)
def test_heartbeats_need_their_scope(scope, expected):
    assert may_beat(key(scope), "web", None) is expected


def test_a_restricted_key_sees_what_it_reaches():
    row = ServiceDraft("pay-nightly", "payments", 60_000, team="shop").row(1, 1, "")
    service = Service(row, row.policy(Defaults()), registered=1)
    assert may_see(key(Scope.READ), service)
    assert may_see(key(Scope.READ, names=("PAY-*",)), service)
    assert may_see(key(Scope.READ, teams=("shop",)), service)
    assert not may_see(key(Scope.READ, names=("web",)), service)
    assert not may_see(key(Scope.READ, teams=("till",)), service)
