"""A hierarchical timing wheel: a million deadlines, of which nearly all are moved before they come due.

The problem. Each service has one deadline, and each of its heartbeats moves it later. So the workload is upside down
compared with a sleep queue: arming happens all the time, firing hardly ever. A heap pays its logarithm for each
heartbeat and keeps the entries that were given up; asking every service whether it is late pays for all of them
every time.

The wheel. A timer waits in a slot whose width fits its distance: near ones in slots of one tick, far ones in wide
slots. When the wheel comes to the first tick of a wide slot, it spreads that slot's timers over the finer levels (a
cascade). With ticks of 10 ms:

    Level  Slot (ticks)  Slot         Whole level
    0                 1  10 ms        640 ms
    1                64  640 ms       40.96 s
    2             4 096  40.96 s      43.69 min
    3           262 144  43.69 min    1.94 d
    4        16 777 216  1.94 d       124.28 d
    5     1 073 741 824  124.28 d     21.78 y

The level is found without a search: it is where the highest bit lies in which the tick differs from the cursor. The
outermost level is a ring, so the origin may be any number and the wheel never has to be wound back; 63 of its slots,
21.4 years, can be reached from anywhere. A deadline beyond that waits in the furthest slot and is moved on from
there: no deadline is refused.

Lazy moves (HARD-CASES H5). A timer does not keep its deadline; whoever made the wheel knows it, and the wheel asks when
it comes to the timer's slot. So a deadline that moves later costs nothing here: the entry stays where it is, and is
linked anew at the deadline it has by then. A service that sends thirty heartbeats an interval so costs a move or two an
interval, not thirty. This is right in one direction only: to an earlier tick the entry is moved at once. Hence the
invariant on which everything rests: the wheel comes to a timer no later than its deadline (one whose deadline has
passed already is linked at the cursor, and fires with the next advance).

What a timer keeps is the first tick of its slot, `armed`: an earlier deadline within the same slot needs no move
either. That integer is one object for all timers of a slot. A deadline and a tick kept by each of a million timers
would be 80 MB; asking costs a move half a microsecond.

The cursor is the first tick that is not finished, `now` the last that is. `advance` goes from occupied slot to
occupied slot by bitmap, never tick by tick, and takes entries out one by one. All of its state is the cursor and the
rings themselves; so it can stop anywhere, in the middle of a slot or of a cascade, when its budget of moves is spent
(H7: a cascade of 100 000 entries in one go would hold up every heartbeat for some 50 ms), and timers can be armed and
disarmed before it goes on. What is armed for a tick up to the cursor joins the ring at the cursor, behind those that
wait there.

Rejected. A heap with lazy deletion: `bench/wheel.py` holds the wheel against it, and decision 2 has the figures.
Linux's wheel without cascades: it rounds far deadlines up to their slot's width, and Medic promises 10 ms to a job
that runs once a year too. A dict of lists by tick: one container a timer where deadlines are spread out.

Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987); the level by highest differing bit and the
bitmaps are those of tokio's timer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from medic.wheel.level import NOT_ARMED, NOWHERE, SLOT_BITS, SLOT_MASK, SLOTS, Level, Slot, Tick, Timer

LEVELS: Final = 6
"""Reaches 21 years at 10 ms. The longest interval with the longest grace is two, so one link does for all."""

_OUTER_SHIFT: Final = SLOT_BITS * (LEVELS - 1)

T = TypeVar("T", bound=Timer)


@dataclass(frozen=True, slots=True)
class WheelStatistics:
    """What a wheel holds and what it did.

    Attributes:
        armed: Timers linked now.
        fired: Timers that fired.
        cascaded: Moves out of a wide slot towards a deadline that lies in it.
        moved_lazily: Moves because the deadline had become later since the timer was linked, and left its slot.
        now: The last tick that is finished.
    """

    armed: int
    fired: int
    cascaded: int
    moved_lazily: int
    now: Tick


class Wheel(Generic[T]):
    """Timers by the tick they are to fire at. `len` is the number of armed ones.

    Args:
        now: The tick that counts as finished at the beginning; any number from 0.
        deadline_of: The tick at which a timer is to fire, as things stand; None: not any more, it is disarmed. Asked
            when the wheel comes to the timer's slot. It must not arm or disarm.
    """

    __slots__ = ("_armed", "_by_bits", "_cascaded", "_cursor", "_deadline_of", "_fired", "_levels", "_moved_lazily")

    def __init__(self, now: Tick, deadline_of: Callable[[T], Tick | None]) -> None:
        self._cursor = Tick(now + 1)
        self._deadline_of: Final = deadline_of
        self._levels: Final = tuple(Level(number) for number in range(LEVELS))
        # The level of a tick, by the number of bits in which it differs from the cursor: 0 to 6 bits are level 0.
        self._by_bits: Final = tuple(self._levels[max(bits - 1, 0) // SLOT_BITS] for bits in range(_OUTER_SHIFT + 1))
        self._armed = 0
        self._fired = 0
        self._cascaded = 0
        self._moved_lazily = 0

    def __len__(self) -> int:
        return self._armed

    @property
    def now(self) -> Tick:
        """The last tick that is finished: everything due up to it has fired."""
        return Tick(self._cursor - 1)

    def arm(self, timer: T, tick: Tick) -> None:
        """Say that the timer's deadline is `tick` from now on. It may become later without a word.

        Later than before costs a comparison: the entry stays where it is. A tick that is not after `now` fires on the
        next advance.
        """
        if timer.armed < 0:
            self._armed += 1
            self._link(timer, tick)
        elif tick < timer.armed:
            _unlink(timer)
            self._link(timer, tick)

    def disarm(self, timer: T) -> None:
        """Let the timer not fire. One that is not armed stays so."""
        if timer.armed < 0:
            return
        _unlink(timer)
        _forget(timer)
        self._armed -= 1

    def next_tick(self) -> Tick | None:
        """The next tick at which `advance` has something to do, or None while nothing is armed.

        That may be a firing, a lazy move or a cascade; it is never later than the earliest deadline.
        """
        work = self._next_work()
        return None if work is None else work[0]

    def advance(self, to: Tick, budget: int) -> list[T]:
        """Turn the wheel to `to`, and return what fired on the way, unlinked, in order of the ticks it was linked at.

        Args:
            to: The tick to finish. Nothing happens where it is finished already.
            budget: At most so many timers are touched, be it to fire, to move or to cascade. If that was not enough,
                `now` is still less than `to`, and the next call goes on from there.
        """
        fired: list[T] = []
        while True:
            work = self._next_work()
            if work is None or work[0] > to:
                self._cursor = max(self._cursor, Tick(to + 1))
                break
            if budget <= 0:
                break
            self._cursor, level = work
            slot = level.slot_at(self._cursor)
            if level.shift:
                budget -= self._spread(slot, level, budget)
            else:
                budget -= self._fire(slot, budget, fired)
        return fired

    def statistics(self) -> WheelStatistics:
        """Counters for metrics and benches."""
        return WheelStatistics(
            armed=self._armed,
            fired=self._fired,
            cascaded=self._cascaded,
            moved_lazily=self._moved_lazily,
            now=self.now,
        )

    def _next_work(self) -> tuple[Tick, Level] | None:
        """The nearest occupied slot, by its first tick, and its level; None where all are empty."""
        cursor = self._cursor
        if not cursor & SLOT_MASK:
            # Here wider slots begin too, and what is in them may be due at this very tick: they go first.
            for level in self._levels[1:]:
                if level.occupied and level.next_start(cursor) == cursor:
                    return cursor, level
        # A level's slots all lie before the next slot of the level above, so the finest occupied level has the nearest.
        for level in self._levels:
            if level.occupied:
                return level.next_start(cursor), level
        return None

    def _fire(self, slot: Slot, budget: int, fired: list[T]) -> int:
        """Empty a slot one tick wide as far as the budget goes; return the moves made."""
        moves = 0
        cursor = self._cursor
        timer = slot._next
        while timer is not slot and moves < budget:
            moves += 1
            tick = self._take_out(timer)
            if tick is None:
                pass
            elif tick <= cursor:
                _forget(timer)
                self._armed -= 1
                self._fired += 1
                fired.append(timer)  # type: ignore[arg-type]  # a ring holds what `arm` was given: Ts
            else:
                self._moved_lazily += 1
                self._link(timer, tick)
            timer = slot._next
        return moves

    def _spread(self, slot: Slot, level: Level, budget: int) -> int:
        """Link a wide slot's timers anew, each at its deadline, as far as the budget goes; return the moves made."""
        moves = 0
        end = self._cursor + (1 << level.shift)
        timer = slot._next
        while timer is not slot and moves < budget:
            moves += 1
            tick = self._take_out(timer)
            if tick is not None:
                if tick < end:
                    self._cascaded += 1
                else:
                    self._moved_lazily += 1
                self._link(timer, tick)
            timer = slot._next
        return moves

    def _take_out(self, timer: Timer) -> Tick | None:
        """Unlink a timer whose slot has come, and return its deadline as things stand; None: it is disarmed."""
        _unlink(timer)
        tick = self._deadline_of(timer)  # type: ignore[arg-type]  # as above
        if tick is None:
            _forget(timer)
            self._armed -= 1
        return tick

    def _link(self, timer: Timer, tick: Tick) -> None:
        """Put an unlinked timer at its deadline, or as near to it as the wheel reaches."""
        cursor = self._cursor
        tick = max(tick, cursor)
        bits = (tick ^ cursor).bit_length()
        if bits <= _OUTER_SHIFT:
            level = self._by_bits[bits]
        else:
            level = self._levels[-1]
            tick = min(tick, Tick((((cursor >> _OUTER_SHIFT) + SLOTS) << _OUTER_SHIFT) - 1))
        shift = level.shift
        slot = level.slots[(tick >> shift) & SLOT_MASK]
        last = slot._prev
        if last is slot:
            level.occupied |= slot.bit
            slot.armed = Tick(tick >> shift << shift)
        timer.armed = slot.armed
        timer._prev = last
        timer._next = slot
        last._next = timer
        slot._prev = timer


def _unlink(timer: Timer) -> None:
    """Take a linked timer out of its ring; its own links are left as they are."""
    before = timer._prev
    after = timer._next
    before._next = after
    after._prev = before
    # Where both neighbours are one, it is the slot itself, and the ring is now empty.
    if before is after and isinstance(after, Slot):
        after.level.occupied &= ~after.bit


def _forget(timer: Timer) -> None:
    """Say of an unlinked timer that it is not armed, and let go of its former neighbours."""
    timer.armed = NOT_ARMED
    timer._next = NOWHERE
    timer._prev = NOWHERE
