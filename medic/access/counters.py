"""How much came lately, by name: the limit that one process keeps by itself, in memory."""

from __future__ import annotations

from medic.access.gcra import Limit
from medic.access.generations import Generations


class Counters:
    """GCRA of each name, as an instant in microseconds: the theoretical arrival time.

    A name that is not remembered has no backlog. One number a name; nothing is made where a request is refused.
    """

    __slots__ = ("_arrivals",)

    def __init__(self) -> None:
        self._arrivals: Generations[int] = Generations()

    def take(self, name: str, limit: Limit, now: int, assumed_us: int = 0) -> int:
        """0: the request is taken; else how many microseconds until one would be.

        Args:
            name: Whose request.
            limit: Its limit.
            now: In microseconds, never going back.
            assumed_us: The backlog of a name that is not remembered.
        """
        # Written out: a service that is in a hurry is counted here at every heartbeat.
        arrivals = self._arrivals
        young = arrivals.young
        known = young.get(name)
        arrival = known if known is not None else arrivals.old.get(name)
        if arrival is None:
            arrival = now + assumed_us
        elif arrival < now:
            arrival = now
        arrival += limit.emission_us
        wait = arrival - now - limit.burst_us
        if wait > 0:
            return wait
        if known is not None and now < arrivals.turns_at:
            young[name] = arrival
        else:
            arrivals.keep(name, arrival, now)
        return 0

    def backlog_us(self, name: str, now: int) -> int:
        """How long it takes until all of the limit could be used at once again."""
        arrival = self._arrivals.find(name)
        return 0 if arrival is None or arrival <= now else arrival - now

    def __len__(self) -> int:
        return len(self._arrivals)
