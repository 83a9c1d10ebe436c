"""What waits for one target: lanes, and which of them goes next. Synchronous and told the time, like all that decides.

Lanes that may be tried stand in a heap by priority, then by the age of their head. A lane whose last attempt failed
stands in a second heap by the instant at which it may be tried again. Entries are not moved in the heaps: a lane that
is scheduled anew gets a new ticket and its older entries are stale; stale entries are thrown away when they come up,
and all at once when they outnumber the live ones.

Bounded by the number of services: a lane holds a few errands (`medic.alerting.lane`), and there is one lane a service.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from typing import Final

from medic.alerting.attempt import Attempt
from medic.alerting.errand import Ending, Errand
from medic.alerting.lane import Lane, Standing

STALE_SLACK: Final = 256
"""Stale entries that are not worth a sweep."""

_Ready = tuple[int, int, int, int, Lane]
_Delayed = tuple[float, int, int, Lane]
_Lapse = tuple[float, int, Errand]


class Queue:
    """The lanes of one target. Every time is monotonic seconds, as `trio.current_time()` gives them."""

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}
        self._standing = Standing()
        self._ready: list[_Ready] = []
        self._delayed: list[_Delayed] = []
        self._lapses: list[_Lapse] = []
        self._releasable: set[Lane] = set()
        self._pending = 0

    def __len__(self) -> int:
        """Errands that have not ended, those under way included."""
        return self._pending

    def offer(self, errand: Errand, now: float) -> list[Ending]:
        """Take an errand in; gives those that ended because of it, perhaps itself."""
        key = errand.notification.key
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key)
        if lane.errands and lane.head.due > now and errand.priority < lane.priority:
            # Somebody raised the priority: that is news enough to try what stands before it at once.
            lane.head.due = now
        self._pending += 1
        endings = lane.add(errand, self._standing)
        if errand.expires_at != math.inf and not errand.ended:
            heappush(self._lapses, (errand.expires_at, errand.sequence, errand))
        self._left(lane, endings, now)
        return endings

    def next_priority(self, now: float) -> int | None:
        """The priority of the lane that would go next, or None if none may be tried now."""
        self._wake_delayed(now)
        while self._ready:
            priority, _, _, ticket, lane = self._ready[0]
            if ticket == lane.ticket:
                return priority
            heappop(self._ready)
        return None

    def take(self, now: float) -> Errand | None:
        """The errand to try next, now under way, or None."""
        if self.next_priority(now) is None:
            return None
        lane = heappop(self._ready)[-1]
        lane.ticket += 1
        lane.head.in_flight = True
        return lane.head

    def settle(self, errand: Errand, attempt: Attempt, *, now: float, retry_at: float, outage: int) -> list[Ending]:
        """The attempt has ended; gives what ended with it. What did not end is due again at `retry_at`."""
        lane = self._lanes[errand.notification.key]
        endings = lane.settle(attempt, self._standing)
        if not errand.ended:
            errand.due = retry_at
            if errand.released_in != outage:
                self._releasable.add(lane)
        self._left(lane, endings, now)
        return endings

    def release(self, now: float, outage: int) -> None:
        """Let what failed try again at once, but what was released after the same outage already.

        A lane that fails again while others succeed has a fault of its own, and only time brings its next attempt.
        """
        lanes, self._releasable = self._releasable, set()
        for lane in lanes:
            if lane.errands and not lane.head.in_flight and lane.head.due > now:
                lane.head.due = now
                lane.head.released_in = outage
                self._schedule(lane, now)

    def release_all(self, now: float) -> None:
        """Let everything that waits for its retry try again at once: what all of it failed of is mended."""
        self._releasable.clear()
        for lane in self._lanes.values():
            if not lane.head.in_flight and lane.head.due > now:
                lane.head.due = now
                self._schedule(lane, now)

    def expire(self, now: float) -> list[Ending]:
        """Give up what was tried for long enough."""
        endings: list[Ending] = []
        while self._lapses and (self._lapses[0][0] <= now or self._lapses[0][2].ended):
            errand = heappop(self._lapses)[2]
            if errand.ended:
                continue
            lane = self._lanes[errand.notification.key]
            found = lane.expire(errand, self._standing)
            self._left(lane, found, now)
            endings += found
        return endings

    def next_due(self) -> float:
        """When time alone makes something happen: a lane is due again, or an errand expires. May be early."""
        while self._delayed and self._delayed[0][2] != self._delayed[0][3].ticket:
            heappop(self._delayed)
        due = self._delayed[0][0] if self._delayed else math.inf
        return min(due, self._lapses[0][0] if self._lapses else math.inf)

    def withdraw(self) -> list[Ending]:
        """End everything: the target is no more. What is under way ends here too."""
        endings = []
        for lane in self._lanes.values():
            for errand in list(lane.errands):
                errand.maybe_taken = errand.maybe_taken or errand.in_flight
                errand.in_flight = False
                endings.append(lane.give_up(errand, self._standing))
            lane.ticket += 1
        self._lanes.clear()
        self._pending = 0
        self._sweep()
        return endings

    def revive(self, now: float) -> None:
        """Schedule everything anew after the task that worked this queue crashed: its attempts may have been taken."""
        self._ready, self._delayed = [], []
        for lane in self._lanes.values():
            if lane.head.in_flight:
                lane.head.in_flight = False
                lane.head.maybe_taken = True
            self._schedule(lane, now)

    def _left(self, lane: Lane, endings: list[Ending], now: float) -> None:
        self._pending -= len(endings)
        self._schedule(lane, now)
        live = 2 * len(self._lanes) + STALE_SLACK
        if len(self._ready) + len(self._delayed) > live or len(self._lapses) > 2 * self._pending + STALE_SLACK:
            self._sweep()

    def _schedule(self, lane: Lane, now: float) -> None:
        if not lane.errands:
            lane.ticket += 1
            self._lanes.pop(lane.key, None)
            return
        head = lane.head
        if head.in_flight:
            return
        lane.ticket += 1
        if head.due > now:
            heappush(self._delayed, (head.due, head.sequence, lane.ticket, lane))
        else:
            heappush(self._ready, (lane.priority, head.notification.at, head.sequence, lane.ticket, lane))

    def _wake_delayed(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            _, _, ticket, lane = heappop(self._delayed)
            if ticket == lane.ticket:
                self._schedule(lane, now)

    def _sweep(self) -> None:
        self._ready = [entry for entry in self._ready if entry[3] == entry[4].ticket]
        self._delayed = [entry for entry in self._delayed if entry[2] == entry[3].ticket]
        self._lapses = [entry for entry in self._lapses if not entry[2].ended]
        self._releasable = {lane for lane in self._releasable if lane.errands}
        heapify(self._ready)
        heapify(self._delayed)
        heapify(self._lapses)
