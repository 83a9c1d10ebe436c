"""How much came lately, by name: the limit that one process keeps by itself, in memory."""

from __future__ import annotations

from medic.access.gcra import Limit, wait_us
from medic.access.generations import Generations


class Counters:
    """GCRA of each name, as an instant in microseconds: the theoretical arrival time.

    A name that is not remembered has no backlog. One number a name; nothing is made where a request is refused.
    """

    __slots__ = ("_arrivals",)

    def __init__(self) -> None:
        self._arrivals: Generations[int] = Generations()

    def take(self, name: str, limit: Limit, now: int) -> int:
        """0: the request is taken; else how many microseconds until one would be."""
        backlog = self.backlog_us(name, now)
        wait = wait_us(limit, backlog)
        if wait == 0:
            self._arrivals.keep(name, now + backlog + limit.emission_us, now)
        return wait

    def backlog_us(self, name: str, now: int) -> int:
        """How long it takes until all of the limit could be used at once again."""
        arrival = self._arrivals.find(name)
        return 0 if arrival is None or arrival <= now else arrival - now

    def __len__(self) -> int:
        return len(self._arrivals)
