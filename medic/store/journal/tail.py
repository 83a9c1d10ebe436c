"""Where a journal ends, seen by whoever opens it after a crash: behind the last turn that is whole.

The problem. A turn decides several things that are true only together: the service is up, its alert is closed, the end
of it is to be told. They are as many records, written by one call; but a call that writes is no more whole than the
disk is, and what a loss of power or a `kill -9` leaves of it is cut at any byte. A journal that kept the first records
of such a turn would have an alert that is closed and whose end nobody decided to tell: the page stays open for ever.

The invariant. An opened journal ends where a turn ends. So recovery, which folds all of it, comes to a state in which
some turn was the last one, and readers of a running journal need not look at the bit: behind an opening there are whole
turns only, commits are made of whole turns, and a segment begins where a commit does.

What is cut off. Everything from the first place on that is not whole and that no mark vouches for; and before it the
records of a turn whose last one is not there. Nobody was answered for those: a 201, or an operator's 200, waits for the
commit that holds the whole turn.

What is not. Everything before a marked frame was synced once, and the frame begins a commit, so a turn ended before it,
whatever can still be read of that one. Damage there is no torn tail: the records it hit are lost, and the rest of their
turn is read, what stands before it and what stands behind it. Dropping the rest was weighed. It would bring no
consistency that is worth having, for the writer and the vendors have mostly seen the whole turn by then: an alert of
which only the notification was hit would be forgotten, and what PagerDuty has of it never resolved; heartbeats that
were answered 201 and can be read would be gone. And behind damage nobody knows where a turn begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from medic.store.journal.frames import Damage, Frame


class Tail(NamedTuple):
    """What the last file of a journal comes to.

    Attributes:
        end: The position at which its last whole turn ends.
        damage: Stretches before it that were synced once and cannot be read any more.
    """

    end: int
    damage: tuple[Damage, ...]


def find_end(found: Iterable[Frame | Damage], start: int) -> Tail:
    """Where the journal ends whose last file holds `found` and begins at `start`, which is where a turn does."""
    whole = reached = start
    damage: list[Damage] = []
    whole_before: list[int] = []
    vouched = 0
    for one in found:
        if isinstance(one, Damage):
            damage.append(one)
            whole_before.append(whole)
        else:
            if one.marked:
                whole, vouched = reached, len(damage)
            if not one.more_follows:
                whole = one.end
        reached = one.end
    end = whole_before[vouched] if vouched < len(damage) else whole
    return Tail(end, tuple(damage[:vouched]))
