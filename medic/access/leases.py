"""Shares of a limit that several processes have in common, leased ahead so that no request waits for Redis.

Each process counts in its own memory (`Counters`); for the limit to hold for all of them together, every request has to
be counted in Redis too. A heartbeat takes 20 µs and a round trip to Redis ten times that, so requests are counted there
in batches: a lease is a number of requests that Redis has counted already and this process has not used yet.

* Ahead of need. A lease is an eighth of the limit, so that no process holds much that others could use, and the next
  one is asked for before it is used up. What is not used within `LEASE_US` is dropped, and has been given back long
  before: Redis counts what was taken from it as over after as many emissions.
* Never waiting. The first requests of a name are taken on credit while Redis is asked. Credit is counted in Redis with
  the next lease, whether it fits or not, so that what was taken too much at the beginning is missing afterwards:
  however slow Redis is, in the long run exactly the limit passes.
* Refusing. Where nothing fits, Redis says when something will, and until then requests are refused without asking.
* Rarely asking. A name of which little was taken is counted in Redis once `CREDIT` of its limit has come together.
* Not asking in vain. A name that Redis refuses (one that its user may not write, say) is counted in this process alone
  for `REFUSED_US`, and then asked for again.

What a heartbeat costs is looking for memory, not arithmetic: 20 000 names are in no cache. So of nearly every request
all that is looked at is one small number, how many more are open to its name before anybody has to think
(`Leases.count_down`). Thinking (`take`) is once for several requests: it writes down what was used of what was open,
asks, refuses, and opens the next few, of the lease or on credit. A name that is heard of four times a minute has that
number and nothing else.

Never more than one limit at once. Whatever was taken, from a lease or on credit, is counted in this process as well,
when what was open is used up, as of the instant of the last one. And what is opened, and what is asked for, has room
beside that. So these three together are never more than the limit, and one process alone, cold or rested, gives in a
burst what the limit says, and not that and a lease.

How far four processes exceed a limit together is measured in docs/decisions/0019. Time is in whole microseconds of this
process; Redis has a time of its own, and only lengths of time pass between the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from medic.access.counters import UNKNOWN_US, Counters
from medic.access.gcra import MINUTE_US, SECOND_US, Limit, wait_us
from medic.access.generations import Generations

LEASE_US: Final = MINUTE_US
"""How long a lease may be used: a service that sends an eighth of what it may asks Redis once a minute."""

SHARE: Final = 8
"""A lease is this part of the limit, and at least one request."""

ASKED_AT: Final = 8 * SHARE
"""The next one is asked for when this part of the limit is left of a lease, an eighth of it: an answer takes less time
than who keeps the limit's pace takes for that, and whoever is faster has credit."""

CREDIT: Final = 32
"""Requests on credit are counted once they are this part of the limit, and at once where they are more: what several
processes have on credit when the limit is used up is what they take beyond it."""

REFUSED_US: Final = 10 * SECOND_US
"""How long a name is not asked for that Redis refused. What stands in its way is there until somebody removes it."""


class Asking(NamedTuple):
    """What Redis is asked for one name: to count `owed` whether they fit or not, and up to `wanted` that fit."""

    name: str
    limit: Limit
    owed: int
    wanted: int


@dataclass(slots=True)
class _Lease:
    """Of one name.

    Attributes:
        limit: The limit as it was last asked for.
        left: Requests counted in Redis and not used here, open ones among them; negative: used here, not counted there.
        opened: How many were open when they were last opened; what is missing of them now was used.
        is_asked: Whether Redis is being asked. Nothing is open then.
        seen_at: When `take` last saw it, which is what an answer is reckoned from.
        ends_at: Until when what is left may be used.
        shut_until: Until when nothing fits, as Redis said.
        asked_from: Until when Redis is left alone, because it refused the name.
    """

    limit: Limit
    left: int = 0
    opened: int = 0
    is_asked: bool = False
    seen_at: int = 0
    ends_at: int = 0
    shut_until: int = 0
    asked_from: int = 0


def _nobody() -> None:
    """Is told."""


class Leases:
    """What this process holds of the limits of one kind.

    Args:
        counters: What this process counts by itself.
        when_due: Told when a name falls due where none was, and when one becomes urgent.

    Attributes:
        due: The names for which Redis has to be asked.
        is_urgent: Whether one of them, or one that Redis is being asked for, has taken more than `CREDIT` on credit.
    """

    __slots__ = ("_counters", "_leases", "_open", "_when_due", "due", "is_urgent")

    def __init__(self, counters: Counters, when_due: Callable[[], None] = _nobody) -> None:
        self._counters = counters
        self._leases: Generations[_Lease] = Generations()
        self._open: Generations[int] = Generations()
        self._when_due = when_due
        self.due: dict[str, _Lease] = {}
        self.is_urgent = False

    # ------------------------------------------------------------------------------------------------------- a request

    def count_down(self, name: str, now: int) -> bool:
        """Whether something is open to the name, of which one is taken then. Else `take` has to be asked."""
        opened = self._open
        left = opened.young.get(name)
        if not left or now >= opened.turns_at:
            return False
        opened.young[name] = left - 1
        return True

    def take(self, name: str, limit: Limit, now: int, since_us: int = UNKNOWN_US) -> int:
        """0: the request is taken, from the lease or on credit; else for how many µs nothing fits.

        Args:
            name: Whose request; nothing is open to it (`count_down`).
            limit: Its limit.
            now: In microseconds, never going back.
            since_us: How long ago the one before came, which was not counted where the name is not remembered.
        """
        lease = self._leases.find(name)
        if lease is None:
            opened = self._open.find(name)
            if opened is None:
                opened = self._first_credit(name, limit, now, since_us)
            if opened > 0:
                self._open.keep(name, opened - 1, now)
                return 0
            lease = _Lease(limit, opened=limit.requests // CREDIT)
        lease.limit, lease.seen_at = limit, now
        self._leases.keep(name, lease, now)
        self._note_used(name, lease, since_us)
        return self._take(name, lease, since_us)

    def _first_credit(self, name: str, limit: Limit, now: int, since_us: int) -> int:
        """How many requests of a name that is not remembered are taken before anything is asked or written down."""
        credit = min(limit.requests // CREDIT, self._counters.room(name, limit, now))
        return credit - (0 <= since_us < limit.emission_us)

    def _note_used(self, name: str, lease: _Lease, since_us: int) -> None:
        """Write down in this process's count what was used of what was open, and close it."""
        used = lease.opened - (self._open.find(name) or 0)
        if used > 0:
            self._counters.note(name, lease.limit, lease.seen_at, used, since_us)
            lease.left -= used
        lease.opened = 0
        if lease.left > 0 and lease.seen_at >= lease.ends_at:
            lease.left = 0

    def _take(self, name: str, lease: _Lease, since_us: int) -> int:
        """One more, of a lease of which nothing is open."""
        limit, now = lease.limit, lease.seen_at
        if lease.left <= 0 and now < lease.shut_until:
            self._open.keep(name, 0, now)
            return lease.shut_until - now
        wait = self._counters.take(name, limit, now, since_us)
        if not wait:
            lease.left -= 1
            if lease.is_asked:
                self._note_credit(lease)
            elif lease.left <= _asked_at(lease):
                self._ask(name, lease)
        self._open_some(name, lease)
        return wait

    def _open_some(self, name: str, lease: _Lease) -> None:
        """Let so many of the next requests be counted down that the one after them has to ask, or to be refused."""
        if not lease.is_asked and lease.seen_at >= lease.asked_from:
            room = self._counters.room(name, lease.limit, lease.seen_at)
            lease.opened = max(0, min(room, lease.left - _asked_at(lease)))
        self._open.keep(name, lease.opened, lease.seen_at)

    # ----------------------------------------------------------------------------------------------------- Redis asked

    def _ask(self, name: str, lease: _Lease) -> None:
        if lease.seen_at < lease.asked_from:
            return
        lease.is_asked = True
        self.due[name] = lease
        if len(self.due) == 1:
            self._when_due()

    def _note_credit(self, lease: _Lease) -> None:
        if not self.is_urgent and -lease.left > lease.limit.requests // CREDIT:
            self.is_urgent = True
            self._when_due()

    def take_due(self, *, most: int) -> list[Asking]:
        """What Redis has to be asked now, the oldest first. Each is settled with `settle`, or given up."""
        asking = []
        for name in list(islice(self.due, most)):
            lease = self.due.pop(name)
            owed = max(0, -lease.left)
            lease.left += owed
            room = self._counters.room(name, lease.limit, lease.seen_at) - lease.left
            wanted = max(0, min(room, max(1, lease.limit.requests // SHARE)))
            asking.append(Asking(name, lease.limit, owed, wanted))
        self.is_urgent = False
        return asking

    def settle(self, name: str, granted: int, backlog_us: int) -> None:
        """Take what Redis counted for the name, and how long its backlog is with it."""
        lease = self._leases.find(name)
        if lease is None:
            return
        lease.is_asked = False
        lease.left += granted
        lease.ends_at = lease.seen_at + LEASE_US
        lease.shut_until = 0 if granted else lease.seen_at + wait_us(lease.limit, backlog_us)
        if lease.left < 0:
            self._ask(name, lease)
            self._note_credit(lease)
        else:
            self._open_some(name, lease)

    def fail(self, name: str) -> None:
        """Redis did not answer. What was on credit is forgotten: it was counted in this process."""
        lease = self._leases.find(name)
        if lease is not None:
            lease.is_asked = False

    def refuse(self, name: str) -> None:
        """Redis answered, and does not count this name: for a while this process does, alone."""
        lease = self._leases.find(name)
        if lease is not None:
            lease.is_asked, lease.left = False, min(0, lease.left)
            lease.asked_from = lease.seen_at + REFUSED_US


def _asked_at(lease: _Lease) -> int:
    """Where so many are left, Redis is asked: ahead of need while there is a lease, else once there is some credit."""
    if lease.seen_at < lease.ends_at:
        return lease.limit.requests // ASKED_AT
    return -(lease.limit.requests // CREDIT)
