"""What a key that is restricted to names or teams may touch.

A name has to be one of the key's names and its team one of the key's teams, as far as the key has any. Names are the
same here as everywhere (HARD-CASES H10): in NFC, without regard to the case of A-Z and of nothing else. So no spelling
of a name gets past a restriction that does not also reach another service.

A pattern is read piece by piece between its stars, each piece being looked for once behind the one before: there is no
going back, so no pattern makes a name expensive.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from medic.access.keys import ApiKey
from medic.access.scope import Scope
from medic.core.names import name_key, normal_name
from medic.core.service import Service

STAR = "*"
"""Stands for any characters, none included. No name is known to need one of its own; in a pattern it is always this."""

PATTERNS_KEPT = 4_096
"""Patterns whose pieces are remembered: those of some thousand keys."""


def may_beat(key: ApiKey, name: str, team: str | None) -> bool:
    """Whether the key may send heartbeats of this name.

    Args:
        key: A key that works.
        name: The heartbeat's name.
        team: Its service's team; None where no such service is registered: then a key of certain teams may not.
    """
    return Scope.HEARTBEAT.is_granted_by(key.scopes) and reaches(key, name, team)


def may_see(key: ApiKey, service: Service) -> bool:
    """Whether the service is within the key's restriction: to be listed, read or changed, as its scopes allow."""
    if not key.names and not key.teams:
        return True
    return reaches(key, service.row.heartbeat_name, service.row.team)


def reaches(key: ApiKey, name: str, team: str | None) -> bool:
    """Whether this name and team are within the key's restriction, whatever it may do there."""
    if key.teams and team not in key.teams:
        return False
    return not key.names or matches_any(key.names, name)


def matches_any(patterns: Iterable[str], name: str) -> bool:
    """Whether the name is meant by one of the patterns."""
    plain = name_key(normal_name(name))
    return any(_matches(_pieces(pattern), plain) for pattern in patterns)


@lru_cache(maxsize=PATTERNS_KEPT)
def _pieces(pattern: str) -> tuple[str, ...]:
    return tuple(name_key(normal_name(pattern)).split(STAR))


def _matches(pieces: tuple[str, ...], name: str) -> bool:
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return name == first
    if len(name) < len(first) + len(last) or not name.startswith(first) or not name.endswith(last):
        return False
    place, end = len(first), len(name) - len(last)
    for piece in pieces[1:-1]:
        found = name.find(piece, place, end)
        if found < 0:
            return False
        place = found + len(piece)
    return True
