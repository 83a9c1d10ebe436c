"""Who may send how much: counted in this process, and with Redis in all processes that share one.

Every limit is kept in this process's memory, which never waits and is never away. Where there is a Redis that works,
heartbeats are counted there behind their backs, by leases (`medic.access.leases`), and other requests, of which there
are few, by a question of their own. Where it does not, within 50 ms or at once, the limits of this process hold alone:
with n processes n times as much passes then, and nobody is refused or made to wait because Redis is ill.

Medics that share a database of a Redis share their limits, by the names of services and callers. Installations that
are to count apart have a database number each in `REDIS_URL`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from medic.access.caller import Caller
from medic.access.counters import Counters
from medic.access.gcra import Limit, Standing, standing, wait_us
from medic.access.leases import Asking, Leases
from medic.access.limits import Counted, Limits, name_of, refusal
from medic.core.service import Service
from medic.errors import RateLimitedError
from medic.store.redis.client import Redis, RedisStatistics
from medic.store.redis.script import PREFIX, Told, count_all
from medic.store.redis.wire import RedisUnavailableError

ASKING_MAX: Final = 256
"""Names counted in one round trip: 2 ms of this process's time and 1 ms of Redis's."""

PAUSE_SECONDS: Final = 0.001
"""Between two round trips: what falls due meanwhile shares the next one."""

_HOT: Final = (Counted.SERVICE, Counted.CALLER, Counted.UNKNOWN)
"""What heartbeats are counted under."""


def monotonic_us() -> int:
    """Time that never goes back, in microseconds."""
    return int(trio.current_time() * 1_000_000)


class Limiter:
    """Implements `ports.HeartbeatLimits` and `ports.RequestLimits`.

    Args:
        limits: Those of callers; a service's stands in its policy.
        redis: Where several processes count together; None: this one alone.
        now: Time in microseconds.
    """

    def __init__(self, limits: Limits, redis: Redis | None, now: Callable[[], int] = monotonic_us) -> None:
        self._limits = {counted: limits.of(counted) for counted in Counted}
        self._of_services: dict[int, Limit] = {}
        self._redis = redis
        self._now = now
        self._counters = {counted: Counters() for counted in Counted}
        self._leases = {counted: Leases() for counted in _HOT}
        self._due = trio.Event()

    @property
    def counts_callers(self) -> bool:
        """Whether there is a limit a caller."""
        return self._limits[Counted.CALLER] is not None

    def refuse_heartbeat(self, service: Service, caller: Caller) -> RateLimitedError | None:
        """None: one more heartbeat of the service is stored, and counted for it and its caller."""
        limit = self._limits[Counted.CALLER]
        if limit is not None and (wait := self._take(Counted.CALLER, name_of(caller), limit)):
            return refusal(Counted.CALLER, limit, wait)
        requests = service.policy.heartbeats_a_minute
        if not requests:
            return None
        limit = self._of_services.get(requests)
        if limit is None:
            limit = self._of_services[requests] = Limit(requests)
        wait = self._take(Counted.SERVICE, service.row.heartbeat_name, limit)
        return refusal(Counted.SERVICE, limit, wait) if wait else None

    def refuse_unknown(self, caller: Caller) -> RateLimitedError | None:
        """None: the caller may be told that the name is not registered, and it was counted."""
        limit = self._limits[Counted.UNKNOWN]
        if limit is None:
            return None
        wait = self._take(Counted.UNKNOWN, name_of(caller), limit)
        return refusal(Counted.UNKNOWN, limit, wait) if wait else None

    async def count(self, counted: Counted, caller: Caller) -> Standing | None:
        """How the caller stands with this request; None where there is no limit. Waits for Redis, 50 ms at most.

        Raises:
            RateLimitedError: it is one too many.
        """
        limit = self._limits[counted]
        if limit is None:
            return None
        name, now = name_of(caller), self._now()
        wait = self._counters[counted].take(name, limit, now)
        backlog = self._counters[counted].backlog_us(name, now)
        if (told := await self._count_in_redis(counted, name, limit)) is not None:
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
                for counted, leases in self._leases.items():
                    await self._lease(self._redis, counted, leases)
                await trio.sleep(PAUSE_SECONDS)

    def statistics(self) -> RedisStatistics | None:
        """How it is with Redis; None where limits are counted in this process alone."""
        return None if self._redis is None else self._redis.statistics()

    def _take(self, counted: Counted, name: str, limit: Limit) -> int:
        """0: one more is taken; else how many µs none would be."""
        now = self._now()
        if self._redis is not None and self._redis.works:
            leases = self._leases[counted]
            if wait := leases.take(name, limit, now):
                return wait
            if leases.is_due:
                self._due.set()
        return self._counters[counted].take(name, limit, now)

    async def _lease(self, redis: Redis, counted: Counted, leases: Leases) -> None:
        while asking := leases.take_due(self._now(), most=ASKING_MAX):
            named = [each._replace(name=_name_in_redis(counted, each.name)) for each in asking]
            try:
                told = await redis.call(partial(count_all, asking=named))
            except RedisUnavailableError:
                for each in asking:
                    leases.fail(each.name)
                continue
            now = self._now()
            for each, counted_there in zip(asking, told, strict=True):
                leases.settle(each.name, counted_there.granted, counted_there.backlog_us, now)

    async def _count_in_redis(self, counted: Counted, name: str, limit: Limit) -> Told | None:
        """What Redis says of one more request; None where it does not say anything."""
        if self._redis is None or not self._redis.works:
            return None
        asking = Asking(_name_in_redis(counted, name), limit, owed=0, wanted=1)
        try:
            (told,) = await self._redis.call(partial(count_all, asking=[asking]))
        except RedisUnavailableError:
            return None
        return told


def _name_in_redis(counted: Counted, name: str) -> str:
    return f"{PREFIX}{counted.value}:{name}"
