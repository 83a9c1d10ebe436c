"""What a wheel is made of: timers, the slots they are linked into, and levels of sixty-four slots.

The links are intrusive. A timer carries its two neighbours itself, so that arming allocates nothing, disarming needs no
search, and a million timers cost no containers beside them. A slot is the head of a ring of timers; it has the links of
a timer itself, so that linking and unlinking know no special cases.
"""

from __future__ import annotations

from typing import Final, NewType

Tick = NewType("Tick", int)
"""A whole number of the wheel's unit since an origin that is the caller's business."""

SLOT_BITS: Final = 6
"""Sixty-four slots a level, so that a level's occupancy is one machine word."""

SLOTS: Final = 1 << SLOT_BITS
SLOT_MASK: Final = SLOTS - 1

NOT_ARMED: Final = Tick(-1)


class Timer:
    """Something that can be armed on a wheel. Belongs to one wheel at a time, which is told what its deadline is.

    Attributes:
        armed: The tick at which the wheel comes to it: never after its deadline, unless that had passed already. It is
            the first tick of its slot, and the same object for every timer in there. -1: not armed.
    """

    __slots__ = ("_next", "_prev", "armed")

    armed: Tick
    _next: Timer
    _prev: Timer

    def __init__(self) -> None:
        self.armed = NOT_ARMED
        self._next = NOWHERE
        self._prev = NOWHERE


NOWHERE: Final = Timer.__new__(Timer)
"""The neighbour of a timer that is not linked. None would have to be ruled out at each step along a ring; a timer that
pointed to itself would be a cycle, which only a full garbage collection frees."""


class Slot(Timer):
    """The head of a ring of timers, oldest first. While it has any, `armed` is its first tick, which they share.

    Attributes:
        level: The level it is a slot of.
        bit: Its bit in that level's `occupied`.
    """

    __slots__ = ("bit", "level")

    def __init__(self, level: Level, bit: int) -> None:
        super().__init__()
        self.level = level
        self.bit = bit
        self._next = self
        self._prev = self


class Level:
    """Sixty-four slots of one width.

    Attributes:
        shift: A slot is 2 ** shift ticks wide.
        slots: By the six bits of a tick above `shift`.
        occupied: Bit i is set while slot i has a timer.
    """

    __slots__ = ("occupied", "shift", "slots")

    def __init__(self, number: int) -> None:
        self.shift: Final = SLOT_BITS * number
        self.slots: Final = tuple(Slot(self, 1 << index) for index in range(SLOTS))
        self.occupied = 0

    def slot_at(self, tick: Tick) -> Slot:
        """The slot that the tick falls into."""
        return self.slots[(tick >> self.shift) & SLOT_MASK]

    def next_start(self, cursor: Tick) -> Tick:
        """The first tick of the nearest occupied slot, the cursor's own included. One has to be occupied.

        The cursor's own slot is occupied only while the cursor stands at its first tick.
        """
        here = cursor >> self.shift
        ahead = self.occupied >> (here & SLOT_MASK)
        if ahead:
            return Tick((here + _lowest_bit(ahead)) << self.shift)
        # Once round the ring: only the outermost level has occupied slots behind the cursor's.
        return Tick(((here | SLOT_MASK) + 1 + _lowest_bit(self.occupied)) << self.shift)


def _lowest_bit(bits: int) -> int:
    return (bits & -bits).bit_length() - 1
