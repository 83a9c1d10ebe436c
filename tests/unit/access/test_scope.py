"""Which scope grants which."""

from __future__ import annotations

import pytest

from medic.access.scope import Scope

GRANTED = {
    Scope.HEARTBEAT: {Scope.HEARTBEAT},
    Scope.READ: {Scope.READ},
    Scope.WRITE: {Scope.READ, Scope.WRITE},
    Scope.ADMIN: set(Scope),
}


@pytest.mark.parametrize("held", list(Scope))
def test_a_scope_grants_what_it_includes_and_nothing_else(held: Scope) -> None:
    assert {scope for scope in Scope if scope.is_granted_by({held})} == GRANTED[held]


def test_who_holds_nothing_may_nothing() -> None:
    assert not [scope for scope in Scope if scope.is_granted_by(frozenset())]
