"""The newest signs of life of a service with a threshold over 1, and which heartbeat each of them was.

A ring is the array of the k newest signs, oldest first (HARD-CASES H9), so that `ring[0]` is the one the deadline is
counted from. Beside the signs it may have marks: of each sign the 63 bits by which a repetition of its heartbeat is
recognised (`medic.core.discount`), 0 where there is none. Marks are allotted with the first heartbeat that has one: a
service whose heartbeats name neither run nor key never pays for them, although `ring_bytes` always counts them.

Only what is in the ring is remembered. A heartbeat that is repeated after k newer signs counts again, and changes
nothing that matters: those k signs keep the promise without it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from medic.core.units import SightedMs

NO_SIGN = SightedMs(-(1 << 62))
"""Stands for "no sign of life since the service reported that it is down"; long past, whatever is added to it."""

NO_MARK = 0
"""Stands for "nothing by which a repetition could be recognised"."""


if TYPE_CHECKING:
    _Signs = array[int]
else:
    _Signs = array  # takes a parameter from Python 3.12 on only


class Ring(_Signs):
    """The k newest signs of life as sighted instants, oldest first and so in order; `NO_SIGN` where there is none.

    Attributes:
        marks: Of each sign what recognises its heartbeat; None while no sign has a mark.
    """

    __slots__ = ("marks",)

    marks: array[int] | None

    def __new__(cls, signs: Iterable[int], marks: Iterable[int] | None = None) -> Self:
        """A ring of these signs, and of these marks where any of them is one."""
        # typeshed says "array", whatever the class.
        ring: Self = super().__new__(cls, "q", signs)  # type: ignore[assignment]
        kept = None if marks is None else array("q", marks)
        ring.marks = kept if kept is not None and any(kept) else None
        return ring

    def __copy__(self) -> Self:
        """Another ring with the same signs and marks; an array's own way knows no marks."""
        return type(self)(self, self.marks)

    def push(self, sign: SightedMs, mark: int) -> None:
        """The newest sign comes, the oldest goes."""
        if mark != NO_MARK and self.marks is None:
            self.marks = array("q", (NO_MARK,)) * len(self)
        del self[0]
        self.append(sign)
        if self.marks is not None:
            del self.marks[0]
            self.marks.append(mark)

    def holds(self, mark: int, *, after: SightedMs) -> bool:
        """Whether a sign that is newer than `after` has this mark."""
        if self.marks is None:
            return False
        try:
            self.marks.index(mark, bisect_right(self, after))
        except ValueError:
            return False
        return True

    def credited(self, since: SightedMs) -> Ring:
        """The ring once `since` counts as k signs: older ones, and their marks, give way to it."""
        marks = self.marks
        kept = marks and [mark if sign > since else NO_MARK for sign, mark in zip(self, marks, strict=True)]
        return Ring((max(sign, since) for sign in self), kept)


def ring_of(sign: SightedMs, threshold: int) -> Ring | None:
    """A ring of `threshold` signs at one instant; None for a threshold of 1, which needs no ring."""
    return None if threshold == 1 else Ring((sign,) * threshold)


def ring_bytes(threshold: int) -> int:
    """What a service's ring costs in memory, marks included. All rings together are bounded (HARD-CASES H9)."""
    signs, marks = 104 + 8 * threshold, 80 + 8 * threshold
    return 0 if threshold == 1 else signs + marks
