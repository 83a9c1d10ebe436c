"""Shares of a limit that several processes have in common, leased ahead so that no request waits for Redis.

Each process counts in its own memory; for the limit to hold for all of them together, every request has to be counted
in Redis too. A heartbeat takes 20 µs and a round trip to Redis ten times that, so requests are counted there
in batches: a lease is a number of requests that Redis has counted already and this process has not used yet.

* Ahead of need. A lease is an eighth of the limit, so that no process holds much that others could use, or a quarter
  where the last one was soon used up, and the next one is asked for before it is. What is not used within `LEASE_US`
  is dropped, and has been given back long before: Redis counts what was taken from it as over after as many emissions.
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
number and nothing else. Where there is no Redis, or it is ill, it is the same (`take_alone`), and only nobody asks.

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

from medic.access.counters import UNKNOWN_US
from medic.access.gcra import MINUTE_US, SECOND_US, Limit, wait_us
from medic.access.generations import Generations

LEASE_US: Final = MINUTE_US
"""How long a lease may be used: a service that sends an eighth of what it may asks Redis once a minute."""

SHARE: Final = 8
SHARE_IN_A_HURRY: Final = 4
HURRY_US: Final = 15 * SECOND_US
"""A lease is an eighth of the limit, and at least one request; it is a quarter for who used up the last one within this
time, which is a pace of half the limit."""

ASKED_AT: Final = 8 * SHARE
"""The next one is asked for when this part of the limit is left of a lease, an eighth of it: an answer takes less time
than who keeps the limit's pace takes for that, and whoever is faster has credit."""

ALONE: Final = 8
"""Where Redis is not asked, this part of the limit is opened at once. It counts as if it all came when its last one
did, so whoever comes in bursts may be refused by as much too early."""

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
        arrival: Until when there is a backlog, of all that this process gave: the theoretical arrival time.
        left: Requests counted in Redis and not used here, open ones among them; negative: used here, not counted there.
        opened: How many were open when they were last opened; what is missing of them now was used.
        is_asked: Whether Redis is being asked. Nothing is open then.
        seen_at: When `take` last saw it, which is what an answer is reckoned from.
        ends_at: Until when what is left may be used.
        shut_until: Until when nothing fits, as Redis said.
        asked_from: Until when Redis is left alone, because it refused the name.

    What is open, what is left, and the backlog are together never more than the limit.
    """

    limit: Limit
    arrival: int = 0
    left: int = 0
    opened: int = 0
    is_asked: bool = False
    seen_at: int = 0
    ends_at: int = 0
    shut_until: int = 0
    asked_from: int = 0

    @property
    def room(self) -> int:
        """How many more fit beside the backlog."""
        return (self.limit.burst_us - max(0, self.arrival - self.seen_at)) // self.limit.emission_us

    @property
    def asked_at(self) -> int:
        """Where so many are left, Redis is asked: ahead of need while there is a lease, else for credit."""
        if self.seen_at < self.ends_at:
            return self.limit.requests // ASKED_AT
        return -(self.limit.requests // CREDIT)

    @property
    def share(self) -> int:
        """How large the next lease is to be."""
        was_quick = self.seen_at < self.ends_at - LEASE_US + HURRY_US
        return max(1, self.limit.requests // (SHARE_IN_A_HURRY if was_quick else SHARE))

    def note(self, count: int, at: int) -> None:
        """Count requests that were taken, the last of them at that instant, and none counted here since."""
        self.arrival = max(self.arrival, at) + count * self.limit.emission_us

    def take(self) -> int:
        """0: one more was taken, and counted; else how long none fits."""
        arrival = max(self.arrival, self.seen_at) + self.limit.emission_us
        wait = arrival - self.seen_at - self.limit.burst_us
        if wait > 0:
            return wait
        self.arrival = arrival
        return 0


def _nobody() -> None:
    """Is told."""


class Leases:
    """What this process holds of the limits of one kind.

    Args:
        when_due: Told when a name falls due where none was, and when one becomes urgent.

    Attributes:
        open: How many more requests of a name are counted down and nothing else; see `count_down`.
        due: The names for which Redis has to be asked.
        is_urgent: Whether one of them, or one that Redis is being asked for, has taken more than `CREDIT` on credit.
    """

    __slots__ = ("_leases", "_when_due", "due", "is_urgent", "open")

    def __init__(self, when_due: Callable[[], None] = _nobody) -> None:
        self._leases: Generations[_Lease] = Generations()
        self.open: Generations[int] = Generations()
        self._when_due = when_due
        self.due: dict[str, _Lease] = {}
        self.is_urgent = False

    # ------------------------------------------------------------------------------------------------------- a request

    def count_down(self, name: str, now: int) -> bool:
        """Whether something is open to the name, of which one is taken then. Else `take` has to be asked."""
        young = self.open.young
        left = young.get(name)
        if not left or now >= self.open.turns_at:
            return False
        young[name] = left - 1
        return True

    def take(self, name: str, limit: Limit, now: int, since_us: int = UNKNOWN_US) -> int:
        """0: the request is taken, from the lease or on credit; else for how many µs nothing fits.

        Args:
            name: Whose request; nothing is open to it (`count_down`).
            limit: Its limit.
            now: In microseconds, never going back.
            since_us: How long ago the one before came, which was not counted where the name is not remembered.
        """
        lease = self._lease(name, limit, now, since_us)
        if lease is None:
            return 0
        if lease.left <= 0 and now < lease.shut_until:
            self.open.keep(name, 0, now)
            return lease.shut_until - now
        wait = lease.take()
        if not wait:
            lease.left -= 1
            if lease.is_asked:
                self._note_credit(lease)
            elif lease.left <= lease.asked_at:
                self._ask(name, lease)
        self._open_some(name, lease, lease.left - lease.asked_at)
        return wait

    def take_alone(self, name: str, limit: Limit, now: int, since_us: int = UNKNOWN_US) -> int:
        """As `take` while Redis is not asked: what this process counts decides."""
        lease = self._lease(name, limit, now, since_us)
        if lease is None:
            return 0
        lease.left = 0
        wait = lease.take()
        self._open_some(name, lease, limit.requests // ALONE)
        return wait

    def _lease(self, name: str, limit: Limit, now: int, since_us: int) -> _Lease | None:
        """What is held for the name, nothing of it open; None: the request was taken on its first credit."""
        lease, opened = self._leases.find(name), self.open.find(name)
        if lease is None:
            used = credit = limit.requests // CREDIT
            if opened is None:
                used = int(0 <= since_us < limit.emission_us)  # the one before, which nobody counted
                opened = credit - used
            if opened > 0:
                self.open.keep(name, opened - 1, now)
                return None
            lease = _Lease(limit, opened=used)
        lease.limit, lease.seen_at = limit, now
        self._leases.keep(name, lease, now)
        used = lease.opened - max(0, opened or 0)
        if used > 0:
            lease.note(used, now - max(0, since_us))
            lease.left -= used
        lease.opened = 0
        if lease.left > 0 and now >= lease.ends_at:
            lease.left = 0
        return lease

    def _open_some(self, name: str, lease: _Lease, most: int) -> None:
        """Let the next requests be counted down, as far as there is room: who comes after them is thought about."""
        if not lease.is_asked and lease.seen_at >= lease.asked_from:
            lease.opened = max(0, min(most, lease.room))
        self.open.keep(name, lease.opened, lease.seen_at)

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
            wanted = max(0, min(lease.share, lease.room - lease.left))
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
            self._open_some(name, lease, lease.left - lease.asked_at)

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
