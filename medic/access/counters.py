"""How much came lately, by name: the limit that one process keeps by itself, in memory."""

from __future__ import annotations

from typing import Final

from medic.access.gcra import Limit
from medic.access.generations import Generations

UNKNOWN_US: Final = -1
"""Where nobody knows how long ago the request before this one came."""


class Counters:
    """GCRA of each name, as an instant in microseconds: the theoretical arrival time.

    A name that is not remembered has no backlog. One number a name.
    """

    __slots__ = ("_arrivals",)

    def __init__(self) -> None:
        self._arrivals: Generations[int] = Generations()

    def take(self, name: str, limit: Limit, now: int) -> int:
        """0: the request is taken, and written down; else how many microseconds until one would be.

        Args:
            name: Whose request.
            limit: Its limit.
            now: In microseconds, never going back.
        """
        arrival = max(self._arrivals.find(name) or 0, now) + limit.emission_us
        wait = arrival - now - limit.burst_us
        if wait > 0:
            return wait
        self._arrivals.keep(name, arrival, now)
        return 0

    def backlog_us(self, name: str, now: int) -> int:
        """How long it takes until all of the limit could be used at once again."""
        arrival = self._arrivals.find(name)
        return 0 if arrival is None or arrival <= now else arrival - now

    def __len__(self) -> int:
        return len(self._arrivals)
