"""What has to be shown at a route, and which routes a restricted key may use at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from medic.access.scope import Scope


@dataclass(frozen=True, slots=True)
class Entrance:
    """What a route asks of whoever calls it.

    Attributes:
        scope: What a key needs for it; None: nobody is asked for anything.
        takes_basic: Whether a key may stand in HTTP Basic, for clients that can send an address and nothing else.
        narrows: Whether it shows and changes no more than what a restricted key reaches. Where it does not, such a key
            is refused: so a route that nobody has thought about is closed to it.
    """

    scope: Scope | None
    takes_basic: bool = False
    narrows: bool = False


FREE: Final = Entrance(None)
"""Health, the documentation, and what proves by itself who sent it."""

HEARTBEATS: Final = Entrance(Scope.HEARTBEAT, narrows=True)
HEARTBEATS_IN_ONE_LINE: Final = Entrance(Scope.HEARTBEAT, takes_basic=True, narrows=True)
