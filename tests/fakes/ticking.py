"""A clock that stands where it is put, and ids that are counted."""

from __future__ import annotations

from itertools import count

from medic.core.blind import SIGHTED_ALWAYS, BlindLog
from medic.core.units import EventId, InstantMs, SightedMs, SkewMs


class HandClock:
    """Implements `ports.Clock`: wall time is `at`, sighted time stands `skew` behind it."""

    def __init__(self, at: int = 1_700_000_000_000, *, skew: int = 0) -> None:
        self.at = at
        self._skew = SkewMs(skew)

    def now(self) -> InstantMs:
        return InstantMs(self.at)

    def sighted(self) -> SightedMs:
        return SightedMs(self.at - self._skew)

    @property
    def skew(self) -> SkewMs:
        return self._skew

    @property
    def blind(self) -> BlindLog:
        return SIGHTED_ALWAYS


class CountedIds:
    """Implements `ports.Ids`: a number after another."""

    def __init__(self, first: int = 1) -> None:
        self._numbers = count(first)

    def draw(self) -> EventId:
        return EventId(next(self._numbers))

    @property
    def in_hand(self) -> int:
        return 1 << 20

    def draw_many(self, count: int) -> list[EventId]:
        return [self.draw() for _ in range(count)]
