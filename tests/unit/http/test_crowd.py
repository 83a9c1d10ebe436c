"""Who gives way to one connection too many."""

from __future__ import annotations

from functools import partial

from medic.http.crowd import Waiting, give_way


def left(given: list[tuple[str, float]], connections_max: int) -> list[tuple[str, float]]:
    """The connections that were ended, in order."""
    ended: list[tuple[str, float]] = []
    waiting = [Waiting(peer, until, partial(ended.append, (peer, until))) for peer, until in given]
    assert give_way(waiting, connections_max) == len(ended)
    return ended


def test_whoever_holds_the_most_gives_way_first() -> None:
    fleet = [(f"192.0.2.{host}", 1.0) for host in range(200)]
    crowd = [("198.51.100.1", 90.0), ("198.51.100.1", 80.0)]
    assert left([*fleet, *crowd], 200) == [("198.51.100.1", 80.0), ("198.51.100.1", 90.0)]


def test_of_one_holder_those_whose_patience_ends_soonest() -> None:
    kept = [("192.0.2.1", 75.0 + number) for number in range(300)]
    slow = [("192.0.2.1", 30.0 + number) for number in range(3)]
    assert left([*kept, *slow], 300) == slow


def test_addresses_of_one_ipv6_network_are_one_holder() -> None:
    crowd = [(f"2001:db8::{host:x}", 75.0) for host in range(1, 4)]
    assert left([("192.0.2.1", 1.0), ("192.0.2.1", 2.0), *crowd], 100) == [crowd[0]]


def test_where_nothing_waits_nothing_gives_way() -> None:
    assert left([], 100) == []


def test_however_few_there_may_be_one_gives_way() -> None:
    assert left([("192.0.2.1", 1.0), ("192.0.2.1", 2.0)], 2) == [("192.0.2.1", 1.0)]
