"""Who may send how much: counted in this process, and with Redis in all processes that share one.

Every limit can be kept in this process's memory, which never waits and is never away. Where there is a Redis that
works, heartbeats are counted there behind their backs, by leases (`medic.access.leases`), and other requests, of which
there are few, by a question of their own. Where it does not, within 50 ms or at once, this process counts alone, and
anew: with n processes n times as much passes then, and nobody is refused or made to wait because Redis is ill.

Medics that share a database of a Redis share their limits, by the names of services and callers. Installations that
are to count apart have a database number each in `REDIS_URL`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import trio

from medic.access.caller import Caller
from medic.access.counters import UNKNOWN_US, Counters
from medic.access.gcra import Limit, Standing, standing, wait_us
from medic.access.leases import Asking, Leases
from medic.access.limits import Counted, Limits, name_of, refusal, service_refusal
from medic.core.service import Service
from medic.core.units import InstantMs, SightedMs
from medic.errors import RateLimitedError
from medic.store.redis.client import Redis, RedisStatistics
from medic.store.redis.script import PREFIX, Told, count_all
from medic.store.redis.wire import RedisReplyError, RedisUnavailableError

ASKING_MAX: Final = 256
"""Names counted in one round trip: 2 ms of this process's time and 1 ms of Redis's."""

PAUSE_SECONDS: Final = 0.05
"""Between two round trips: what falls due meanwhile shares the next one. A round trip is 150 µs of this process's time,
whatever it carries. The first after a rest is made at once, and so is one for a name that takes much on credit. Who
keeps the limit's pace has a quarter of a lease left when it falls due, which lasts longer than this."""


def monotonic_us() -> int:
    """Time that never goes back, in microseconds."""
    return int(trio.current_time() * 1_000_000)


class _Tally:
    """What is counted together: its limit where all have the same, and what is remembered by name."""

    __slots__ = ("counted", "counters", "leases", "limit", "prefix")

    def __init__(self, counted: Counted, limit: Limit | None, when_due: Callable[[], None]) -> None:
        self.counted = counted
        self.limit = limit
        self.prefix = f"{PREFIX}{counted.value}:"
        self.counters = Counters()
        self.leases = Leases(when_due)


class Limiter:
    """Implements `HeartbeatLimits` and `RequestLimits` of `medic.access.limits`.

    Args:
        limits: Those of callers; a service's stands in its policy.
        redis: Where several processes count together; None: this one alone.
        now: Time in microseconds.
    """

    def __init__(self, limits: Limits, redis: Redis | None, now: Callable[[], int] = monotonic_us) -> None:
        self._redis = redis
        self._now = now
        self._service, self._caller, self._unknown, management, read = (
            _Tally(counted, limits.of(counted), self._note_due) for counted in Counted
        )
        self._leased = (self._service, self._caller, self._unknown)
        self._requests = {tally.counted: tally for tally in (management, read)}
        self._of_services: dict[int, Limit] = {}
        self._open_to_services = self._service.leases.open
        self._due = trio.Event()
        self._urgent = trio.Event()

    @property
    def counts_callers(self) -> bool:
        """Whether there is a limit a caller."""
        return self._caller.limit is not None

    def refuse_heartbeat(
        self, service: Service, at: InstantMs, sighted: SightedMs, caller: Caller
    ) -> RateLimitedError | None:
        """None: one more heartbeat of the service is stored, and counted for it and its caller."""
        if self._caller.limit is not None and (refused := self._refuse(self._caller, caller)) is not None:
            return refused
        limit = self._limit_of(service)
        if limit is None:
            return None
        since_us = 1000 * (at - service.last_heartbeat_at)
        wait = self._wait_us(self._service, service.row.heartbeat_name, limit, sighted * 1000, since_us)
        return service_refusal(service, wait) if wait else None

    def heartbeat_wait_us(self, service: Service, at: InstantMs, sighted: SightedMs) -> int:
        """0: one more heartbeat of the service, which then is its last one, is stored; else how many µs none is.

        Counted in sighted time, which comes with the heartbeat: it goes on while heartbeats are taken, and never back.
        """
        name, now = service.row.heartbeat_name, sighted * 1000
        # `Leases.count_down`, written out: this is asked at nearly every heartbeat of a service in a hurry.
        opened = self._open_to_services
        left = opened.young.get(name)
        if left and now < opened.turns_at:
            opened.young[name] = left - 1
            return 0
        limit = self._limit_of(service)
        if limit is None:
            return 0
        return self._take(self._service, name, limit, now, 1000 * (at - service.last_heartbeat_at))

    def refuse_unknown(self, caller: Caller) -> RateLimitedError | None:
        """None: the caller may be told that the name is not registered, and it was counted."""
        return self._refuse(self._unknown, caller)

    async def count(self, counted: Counted, caller: Caller) -> Standing | None:
        """How the caller stands with this request; None where there is no limit. Waits for Redis, 50 ms at most.

        Raises:
            RateLimitedError: it is one too many.
        """
        tally = self._requests[counted]
        limit = tally.limit
        if limit is None:
            return None
        name, now = name_of(caller), self._now()
        wait = tally.counters.take(name, limit, now)
        backlog = tally.counters.backlog_us(name, now)
        if (told := await self._count_in_redis(tally, Asking(name, limit, owed=0, wanted=1))) is not None:
            backlog = told.backlog_us
            wait = 0 if told.granted else wait_us(limit, backlog)
        if wait:
            raise refusal(counted, limit, wait)
        return standing(limit, backlog)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep Redis in view and lease from it, until cancelled; nothing where there is none."""
        if self._redis is None:
            task_status.started()
            return
        async with trio.open_nursery() as nursery:
            await nursery.start(self._redis.run)
            task_status.started()
            while True:
                await self._due.wait()
                self._due = trio.Event()
                for tally in self._leased:
                    await self._lease(self._redis, tally)
                with trio.move_on_after(PAUSE_SECONDS):
                    await self._urgent.wait()
                self._urgent = trio.Event()

    def statistics(self) -> RedisStatistics | None:
        """How it is with Redis; None where limits are counted in this process alone."""
        return None if self._redis is None else self._redis.statistics()

    def _refuse(self, tally: _Tally, caller: Caller) -> RateLimitedError | None:
        if tally.limit is None:
            return None
        wait = self._wait_us(tally, name_of(caller), tally.limit, self._now())
        return refusal(tally.counted, tally.limit, wait) if wait else None

    def _wait_us(self, tally: _Tally, name: str, limit: Limit, now: int, since_us: int = UNKNOWN_US) -> int:
        """0: the request is taken, and counted here or in Redis; else how many µs none is."""
        return 0 if tally.leases.count_down(name, now) else self._take(tally, name, limit, now, since_us)

    def _take(self, tally: _Tally, name: str, limit: Limit, now: int, since_us: int) -> int:
        redis = self._redis
        if redis is not None and redis.failing is None:
            return tally.leases.take(name, limit, now, since_us)
        return tally.leases.take_alone(name, limit, now, since_us)

    def _limit_of(self, service: Service) -> Limit | None:
        requests = service.policy.heartbeats_a_minute
        if not requests:
            return None
        limit = self._of_services.get(requests)
        if limit is None:
            limit = self._of_services[requests] = Limit(requests)
        return limit

    def _note_due(self) -> None:
        self._due.set()
        if any(tally.leases.is_urgent for tally in self._leased):
            self._urgent.set()

    async def _lease(self, redis: Redis, tally: _Tally) -> None:
        """Ask for what is due now. What falls due meanwhile shares the next round trip, or there would be no pause."""
        leases = tally.leases
        for _ in range(0, max(1, len(leases.due)), ASKING_MAX):
            due = leases.take_due(most=ASKING_MAX)
            told = await self._count_all(redis, tally, due) if due else ()
            if told is None:
                for each in due:
                    leases.fail(each.name)
                continue
            for each, answer in zip(due, told, strict=True):
                if isinstance(answer, Told):
                    leases.settle(each.name, *answer)
                else:
                    leases.refuse(each.name)

    async def _count_in_redis(self, tally: _Tally, asking: Asking) -> Told | None:
        """What Redis says of one more request; None where it does not count it."""
        if self._redis is None or self._redis.failing is not None:
            return None
        told = await self._count_all(self._redis, tally, [asking])
        return told[0] if told is not None and isinstance(told[0], Told) else None

    async def _count_all(
        self, redis: Redis, tally: _Tally, asking: Sequence[Asking]
    ) -> Sequence[Told | RedisReplyError] | None:
        """What Redis says to each; None where it says nothing."""
        try:
            told = await redis.call(partial(count_all, asking=asking, prefix=tally.prefix))
        except RedisUnavailableError:
            return None
        for each, answer in zip(asking, told, strict=True):
            if isinstance(answer, RedisReplyError):
                redis.note_refused(tally.prefix + each.name, answer)
        return told
