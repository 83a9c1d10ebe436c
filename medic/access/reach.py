"""How far a restricted key reaches, as questions to the store have it: patterns of names, and teams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from medic.access.caller import Caller
from medic.access.restriction import matches_any


@dataclass(frozen=True, slots=True)
class Reach:
    """What may be seen: names by one of these patterns, of one of these teams. Empty: by any, of any.

    What happened is seen by the name and the team it happened under: an alert keeps the team it opened with.
    """

    names: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()

    @property
    def is_everything(self) -> bool:
        """Whether it leaves nothing out."""
        return not self.names and not self.teams

    def covers(self, name: str, team: str) -> bool:
        """Whether something of this name and team may be seen."""
        return (not self.teams or team in self.teams) and (not self.names or matches_any(self.names, name))


EVERYTHING: Final = Reach()


def reach_of(caller: Caller) -> Reach:
    """What the caller may see."""
    return EVERYTHING if caller.key is None else Reach(caller.key.names, caller.key.teams)
