"""A histogram that costs a bisection an observation; Prometheus' own costs a lock and a label look-up beside it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    """A distribution at one moment.

    Attributes:
        bounds: Upper bounds in seconds, ascending, each inclusive.
        counts: Observations for each bound, and at the end those beyond the last; not cumulative.
        total: Sum of all observations in seconds.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        """Number of observations."""
        return sum(self.counts)

    def buckets(self) -> list[tuple[str, float]]:
        """The cumulative form that Prometheus wants: bound as text, count up to there."""
        cumulative, steps = 0, []
        for bound, count in zip((*(f"{bound:g}" for bound in self.bounds), "+Inf"), self.counts, strict=True):
            cumulative += count
            steps.append((bound, float(cumulative)))
        return steps


class Distribution:
    """Counts durations by upper bound. Bounded: it never holds more than its bounds and a sum."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, seconds: float, count: int = 1) -> None:
        """Count a duration, or several that are equal. One equal to a bound belongs to that bound."""
        self._counts[bisect_left(self._bounds, seconds)] += count
        self._total += seconds * count

    def reading(self) -> Reading:
        """What was counted so far."""
        return Reading(self._bounds, tuple(self._counts), self._total)
