"""The gate by itself: what needs no way into Medic to be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from medic.access.caller import Caller
from medic.access.entrance import FREE, HEARTBEATS, Entrance
from medic.access.introduction import Introduction
from medic.access.keyless import KeylessRules
from medic.access.keys import ApiKey, KeyRing, digest_of, key_id_of, secret_of, text_of
from medic.access.mode import AuthMode
from medic.access.scope import Scope
from medic.access.uses import KeyUses
from medic.actors.actor import Actor
from medic.actors.directory import Directory
from medic.core.units import DAY_MS, InstantMs
from medic.errors import ForbiddenError, UnauthorizedError
from medic.http import gate as gate_module
from medic.http.gate import REMEMBERED_SECONDS, Gate
from medic.metrics.requests import RequestMeter
from tests.unit.metrics.parts import FixedClock, ListRoster, service

ADDRESS = "192.0.2.7"
KEY_ID, SECRET = key_id_of(bytes(8)), secret_of(bytes(32))
SHOWN = Introduction((f"Bearer {text_of(KEY_ID, SECRET)}",), host="localhost")


class World:
    """A gate with one key, and what it told of failures."""

    def __init__(self, mode: AuthMode = AuthMode.KEYS, **fields: object) -> None:
        self.clock = FixedClock()
        self.ring = KeyRing([ApiKey(KEY_ID, "one", frozenset(Scope), digest_of(SECRET), InstantMs(0), **fields)])  # type: ignore[arg-type]
        self.noted: list[tuple[str, str, str]] = []
        self.mode, self.uses = mode, KeyUses()
        self.gate = self.gate_of(ListRoster([]))

    def gate_of(self, roster: Any) -> Gate:
        return Gate(
            self.mode,
            self.ring,
            self.uses,
            keyless=KeylessRules(),
            roster=roster,
            clock=self.clock,
            meter=RequestMeter(),
            note_failure=lambda reason, address, key_id: self.noted.append((reason, address, key_id)),
        )


def test_a_route_that_does_not_narrow_is_closed_to_a_restricted_key() -> None:
    for fields in ({"names": ("*",)}, {"teams": ("payments",)}):
        world = World(**fields)
        assert world.gate.recognise(SHOWN, ADDRESS, Entrance(Scope.READ, narrows=True)).key is not None
        with pytest.raises(ForbiddenError, match="restricted"):
            world.gate.recognise(SHOWN, ADDRESS, Entrance(Scope.READ))
        assert world.noted == [("restricted", ADDRESS, KEY_ID)]
    assert World().gate.recognise(SHOWN, ADDRESS, Entrance(Scope.READ)).key is not None


def test_where_nobody_is_asked_nothing_that_is_shown_matters() -> None:
    world = World()
    foreign = Introduction(("Bearer mdk_wrong",), host="evil.example", is_relayed=True, origin="null")
    assert world.gate.recognise(foreign, ADDRESS, FREE) == Caller(ADDRESS)
    assert world.noted == []


@pytest.mark.parametrize(
    ("shown", "noted"),
    [
        ((), ("missing", "")),
        ((f"Bearer mdk_{KEY_ID}_{SECRET[:-1]}!",), ("malformed", KEY_ID)),
        ((f"Bearer mdk_{KEY_ID}_{SECRET[::-1][:-1]}x",), ("wrong_secret", KEY_ID)),
        ((f"Bearer mdk_{SECRET}",), ("malformed", "")),
        ((f"Bearer mdk_inventedkeyz_{SECRET}",), ("unknown", "")),
        (("Bearer mdk_@SUM(1,2)AB_x",), ("malformed", "")),
        (("Bearer wrong",), ("malformed", "")),
    ],
)
def test_a_failure_is_noted_with_the_id_of_a_key_there_is_and_nothing_else_of_what_was_shown(
    shown: Sequence[str], noted: tuple[str, str]
) -> None:
    world = World()
    with pytest.raises(UnauthorizedError):
        world.gate.recognise(Introduction(tuple(shown)), ADDRESS, HEARTBEATS)
    assert world.noted == [(noted[0], ADDRESS, noted[1])]


def test_a_caller_is_remembered_for_a_second_or_until_the_key_ends() -> None:
    world = World()
    caller = world.gate.recognise(SHOWN, ADDRESS, HEARTBEATS)
    remembered = world.gate.remember(SHOWN, caller, 100.0)
    assert (remembered.introduction, remembered.caller) == (SHOWN, caller)
    assert (remembered.version, remembered.until) == (world.gate.version, 100.0 + REMEMBERED_SECONDS)
    world.ring.remove(KEY_ID)
    assert world.gate.version != remembered.version
    ends = World(expires_at=InstantMs(FixedClock().now() + 250))
    assert ends.gate.remember(SHOWN, ends.gate.recognise(SHOWN, ADDRESS, HEARTBEATS), 100.0).until == 100.25


def test_in_the_open_mode_a_key_is_held_to_nothing() -> None:
    world = World(AuthMode.OPEN, names=("other",))
    caller = world.gate.recognise(SHOWN, ADDRESS, Entrance(Scope.ADMIN))
    assert caller.key is not None
    assert (caller.key.name, caller.key.names, caller.key.teams) == ("one", (), ())
    assert world.gate.recognise(SHOWN._replace(host="evil.example"), ADDRESS, HEARTBEATS).key is world.ring.by_id(
        KEY_ID
    )


def actor(number: int = 1, *, require_key: bool = False) -> Actor:
    return Actor.of(service(number, "nightly", require_key=require_key))


def test_a_name_that_was_let_in_without_a_key_is_refused_once_its_service_needs_one() -> None:
    directory, world = Directory(), World(AuthMode.HEARTBEATS_OPEN)
    gate = world.gate_of(directory)
    one = actor()
    directory.add(one)
    for _ in range(3):
        assert gate.admit_heartbeat(Caller(ADDRESS), "nightly") is None
    one.row = replace(one.row, require_key=True)
    directory.note(one, one.status)
    refusal = gate.admit_heartbeat(Caller(ADDRESS), "nightly")
    assert isinstance(refusal, UnauthorizedError)
    one.row = replace(one.row, require_key=False)
    directory.note(one, one.status)
    assert gate.admit_heartbeat(Caller(ADDRESS), "nightly") is None


def test_a_name_that_was_let_in_is_looked_at_again_where_another_service_has_it() -> None:
    directory, world = Directory(), World(AuthMode.HEARTBEATS_OPEN)
    gate = world.gate_of(directory)
    first = actor()
    directory.add(first)
    assert gate.admit_heartbeat(Caller(ADDRESS), "nightly") is None
    directory.remove(first)
    directory.add_all([actor(2, require_key=True)])
    assert isinstance(gate.admit_heartbeat(Caller(ADDRESS), "nightly"), UnauthorizedError)


def test_a_heartbeat_without_a_key_is_noted_once_a_day() -> None:
    directory, world = Directory(), World(AuthMode.HEARTBEATS_OPEN)
    gate = world.gate_of(directory)
    directory.add(actor())
    for expected in (1, 0, 0):
        assert gate.admit_heartbeat(Caller(ADDRESS), "nightly") is None
        assert len(world.uses.take_unwritten().keyless) == expected
    tomorrow = InstantMs(world.clock.now() + DAY_MS)
    world.clock.now = lambda: tomorrow  # type: ignore[method-assign]
    gate.recognise(Introduction(host="localhost"), ADDRESS, Entrance(Scope.HEARTBEAT))
    assert gate.admit_heartbeat(Caller(ADDRESS), "nightly") is None
    assert len(world.uses.take_unwritten().keyless) == 1


def test_no_more_names_are_remembered_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "LET_IN_MAX", 1)
    directory, world = Directory(), World(AuthMode.HEARTBEATS_OPEN)
    gate = world.gate_of(directory)
    directory.add(actor())
    for name in ("nightly", "NIGHTLY", "Nightly"):
        assert gate.admit_heartbeat(Caller(ADDRESS), name) is None
    assert len(gate._let_in) == 1
