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

    A request that meets no backlog leaves one emission from its own instant on. So whoever remembers that instant by
    other means, as a service does, need not have it written here (`take_paced`): of a name that keeps its pace there is
    nothing, and counting it is a look into a small dict.
    """

    __slots__ = ("_arrivals",)

    def __init__(self) -> None:
        self._arrivals: Generations[int] = Generations()

    def take(self, name: str, limit: Limit, now: int, since_us: int = UNKNOWN_US) -> int:
        """0: the request is taken, and written down; else how many microseconds until one would be.

        Args:
            name: Whose request.
            limit: Its limit.
            now: In microseconds, never going back.
            since_us: How long ago the newest `take_paced` of the name was.
        """
        arrival = self._arrivals.find(name) or 0
        if since_us >= 0 and arrival <= now - since_us:
            arrival = now - since_us + limit.emission_us
        return self._write(name, limit, now, max(arrival, now))

    def take_paced(self, name: str, limit: Limit, now: int, since_us: int) -> int:
        """As `take`, and written down only where there is a backlog: the next one says how long ago this one was."""
        if since_us < 0:
            return self.take(name, limit, now)
        # Written out: this is asked at nearly every heartbeat of a service in a hurry.
        arrivals, emission = self._arrivals, limit.emission_us
        young = arrivals.young
        written = young.get(name)
        arrival = arrivals.old.get(name, 0) if written is None else written
        before = now - since_us
        if arrival <= before:
            arrival = before + emission
        if arrival <= now:
            return 0
        if written is None or now >= arrivals.turns_at or arrival + emission - now > limit.burst_us:
            return self._write(name, limit, now, arrival)
        young[name] = arrival + emission
        return 0

    def _write(self, name: str, limit: Limit, now: int, arrival: int) -> int:
        wait = arrival + limit.emission_us - now - limit.burst_us
        if wait > 0:
            # The next one says how long ago this one was, and must not take it for one that was taken.
            self._arrivals.keep(name, arrival, now)
            return wait
        self._arrivals.keep(name, arrival + limit.emission_us, now)
        return 0

    def note(self, name: str, limit: Limit, now: int, count: int, since_us: int = UNKNOWN_US) -> None:
        """Write down requests that were taken already, as if all came when the last one did: `since_us` ago, or now."""
        arrival = max(self._arrivals.find(name) or 0, now - max(0, since_us))
        self._arrivals.keep(name, arrival + count * limit.emission_us, now)

    def room(self, name: str, limit: Limit, now: int) -> int:
        """How many more fit now; less than none where more were noted than fit."""
        return (limit.burst_us - self.backlog_us(name, now)) // limit.emission_us

    def backlog_us(self, name: str, now: int) -> int:
        """How long it takes until all of the limit could be used at once again."""
        arrival = self._arrivals.find(name)
        return 0 if arrival is None or arrival <= now else arrival - now

    def __len__(self) -> int:
        return len(self._arrivals)
