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
* Never more than one limit here. Credit is counted in this process as well (`Counters`), and what was taken from a lease
  is counted there with the next question, and before any credit is given. What is asked for has room beside both. So one
  process, cold or rested, gives at once what the limit says, and not that and a lease.
* Refusing. Where nothing fits, Redis says when something will, and until then requests are refused without asking.
* Rarely asking. A name of which little was taken is counted in Redis once `CREDIT` of its limit has come together.
* Not asking in vain. A name that Redis refuses (it holds what is no number and cannot be written, say) is counted in
  this process alone for `REFUSED_US`, and then asked for again.

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

ASKED_AT: Final = 4 * SHARE
"""The next one is asked for when this part of the limit is left of a lease: a quarter of it."""

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
        left: Requests counted in Redis and not used here; negative: used here and not counted there.
        used: Requests taken from leases and not counted in this process yet.
        plenty: While more than this is left, a request only counts it down.
        is_asked: Whether Redis is being asked.
        seen_at: When `take` last saw it, which is what an answer is reckoned from.
        ends_at: Until when what is left may be used.
        shut_until: Until when nothing fits, as Redis said.
        asked_from: Until when Redis is left alone, because it refused the name.
    """

    limit: Limit
    left: int = 0
    used: int = 0
    plenty: int = 0
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

    __slots__ = ("_counters", "_leases", "_when_due", "due", "is_urgent")

    def __init__(self, counters: Counters, when_due: Callable[[], None] = _nobody) -> None:
        self._counters = counters
        self._leases: Generations[_Lease] = Generations()
        self._when_due = when_due
        self.due: dict[str, _Lease] = {}
        self.is_urgent = False

    def count_down(self, name: str, now: int) -> bool:
        """Whether plenty is left of the name's lease, of which one is taken then. Else `take` has to be asked."""
        lease = self._leases.young.get(name)
        if lease is None or lease.left <= lease.plenty or now >= lease.ends_at:
            return False
        lease.left -= 1
        lease.used += 1
        return True

    def take(self, name: str, limit: Limit, now: int, since_us: int = UNKNOWN_US) -> int:
        """0: the request is taken, from the lease or on credit; else for how many µs nothing fits.

        Args:
            name: Whose request.
            limit: Its limit.
            now: In microseconds, never going back.
            since_us: How long ago the one before came, which was not counted where the name is not remembered.
        """
        lease = self._leases.young.get(name)
        if lease is None:
            owed = 0 <= since_us < limit.emission_us
            lease = self._leases.old.get(name) or _Lease(limit, left=-owed)
            self._leases.keep(name, lease, now)
        lease.limit, lease.seen_at = limit, now
        if now >= lease.ends_at and lease.left > 0:
            lease.left = 0
        if lease.left > 0:
            lease.used += 1
        elif wait := self._wait_for_credit(name, lease, since_us):
            return wait
        lease.left -= 1
        if lease.is_asked:
            self._note_credit(lease)
        elif lease.left <= (limit.requests // ASKED_AT if now < lease.ends_at else -(limit.requests // CREDIT)):
            self._ask(name, lease, since_us)
        return 0

    def _wait_for_credit(self, name: str, lease: _Lease, since_us: int) -> int:
        """0: one more was taken on credit; else how long until Redis and this process's own count let one be."""
        now = lease.seen_at
        if now < lease.shut_until:
            return lease.shut_until - now
        self._note_used(name, lease, since_us)
        return self._counters.take(name, lease.limit, now, since_us)

    def _note_used(self, name: str, lease: _Lease, since_us: int) -> None:
        if lease.used:
            self._counters.note(name, lease.limit, lease.seen_at, lease.used, since_us)
            lease.used = 0

    def _ask(self, name: str, lease: _Lease, since_us: int = UNKNOWN_US) -> None:
        if lease.seen_at < lease.asked_from:
            return
        self._note_used(name, lease, since_us)
        lease.is_asked, lease.plenty = True, 0
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
            room = self._counters.room(name, lease.limit, lease.seen_at) - lease.used - lease.left
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
        lease.plenty = lease.limit.requests // ASKED_AT + 1
        lease.ends_at = lease.seen_at + LEASE_US
        lease.shut_until = 0 if granted else lease.seen_at + wait_us(lease.limit, backlog_us)
        if lease.left < 0:
            self._ask(name, lease)
            self._note_credit(lease)

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
