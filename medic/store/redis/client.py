"""Redis as Medic uses it: asked within 50 ms or not at all, and never missed.

Whatever is the matter with Redis (stopped, slow, gone, out of memory, a replica, a wrong password), whoever asks is
told so within `ANSWER_SECONDS` and goes on without. After the first failure nobody asks any more: the breaker is open,
and a call fails at once. One task in the background asks for all of them, once a `LOOK_SECONDS`, with the very write
that is needed, so that a server that only answers is not taken for one that works; when that succeeds the breaker is
closed again. A stall of Medic's own loop is told apart from a slow Redis as well as it can be (`_may_be_our_stall`).

Between a failure and the next use there is always a look; where the failure is right behind a success, also a pause. It
grows while the breaker closes and opens again and again, so that neither the log nor whoever asks has to follow that.

A Redis that refuses a single name works. Whoever asked counts that name for itself and says so (`note_refused`): it is
counted, named in the log once, and Redis is looked at, in case it is every name.

Connections are opened when they are needed, `REDIS_POOL_SIZE` at the most; beyond that calls wait for one, within the
same 50 ms. One on which a call did not end by itself is closed.

docs/decisions/0019 says why this is not redis-py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf
from typing import Final, TypeVar

import structlog
import trio

from medic.store.redis.address import RedisAddress
from medic.store.redis.connection import RedisConnection
from medic.store.redis.wire import RedisReplyError, RedisUnavailableError

_log = structlog.get_logger(__name__)

ANSWER_SECONDS: Final = 0.05
"""How long a request may wait for Redis, connecting included. A Redis nearby answers in under one millisecond."""

LOOK_SECONDS: Final = 0.5
"""How often a Redis that failed is looked at."""

LOOK_SECONDS_MAX: Final = 16.0
STEADY_SECONDS: Final = 10.0
"""Where it worked for longer than `STEADY_SECONDS` before it failed, it is looked at at once. Else after a pause, which
is twice the one before, up to `LOOK_SECONDS_MAX`: two lines in the log in that time."""

NAMED_MAX: Final = 20
"""Refused names that the log has a line for, since the start."""

REFUSING_SECONDS: Final = 60.0
"""For how long after a name was refused that is told of. It is asked for again every ten seconds while it is in use."""

CONNECT_SECONDS: Final = 2.0
"""How long that look may take: nobody waits for it, and TLS to a far server takes several round trips."""

LATE: Final = 1.5
STALLS_MAX: Final = 2
"""A call that is given up so many times later than it should have been shows that our own loop stalled. It says nothing
of Redis, unless it happens again and again: the third such call in a row opens the breaker."""

NOT_ASKED: Final = "it has not been asked yet"
NO_ANSWER: Final = "it does not answer in time"


@dataclass(frozen=True, slots=True)
class RedisStatistics:
    """How it is with Redis.

    Attributes:
        failing: Why it is not used now; None while it works.
        failures: How often it failed since the start.
        connections: Open now.
        refused: How often it refused to count one name since the start.
        refusing: Why it refused one, within the last minute.
    """

    failing: str | None
    failures: int
    connections: int
    refused: int = 0
    refusing: str | None = None


_Answer = TypeVar("_Answer")


class Redis:
    """Asks one Redis. `run` has to run; until its first look has succeeded the breaker is open.

    Args:
        address: Where it is.
        pool_size: `REDIS_POOL_SIZE`.
        probe: Asks what shows that it works; raises `RedisUnavailableError` where it does not.
        answer_seconds: How long a call may take.

    Attributes:
        failing: Why it is not asked now; None while it works.
    """

    def __init__(
        self,
        address: RedisAddress,
        *,
        pool_size: int,
        probe: Callable[[RedisConnection], Awaitable[object]],
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._address = address
        self._answer_seconds = answer_seconds
        self._probe = probe
        self._places = trio.Semaphore(pool_size)
        self._idle: list[RedisConnection] = []
        self._open = 0
        self._failures = 0
        self._stalls = 0
        self._refused = 0
        self._refusing = ""
        self._refused_at = -inf
        self._named: set[str] = set()
        self.failing: str | None = NOT_ASKED
        self._works_since = -inf
        self._pause = 0.0
        self._to_be_looked_at = trio.Event()

    async def call(self, ask: Callable[[RedisConnection], Awaitable[_Answer]]) -> _Answer:
        """What `ask` gives on a connection of its own.

        Raises:
            RedisUnavailableError: not within `ANSWER_SECONDS`, or at once while the breaker is open.
        """
        if self.failing is not None:
            raise RedisUnavailableError(self.failing)
        begun = trio.current_time()
        try:
            with trio.move_on_after(self._answer_seconds):
                async with self._places:
                    answer = await self._on_connection(ask)
                    self._stalls = 0
                    return answer
        except RedisUnavailableError as error:
            await self._fail(error.reason)
            raise
        if not self._may_be_our_stall(trio.current_time() - begun):
            await self._fail(NO_ANSWER)
        raise RedisUnavailableError(NO_ANSWER)

    def _may_be_our_stall(self, seconds: float) -> bool:
        """Whether a call that was not answered in time ended so late that this process may not have looked in time."""
        if seconds < LATE * self._answer_seconds:
            return False
        self._stalls += 1
        return self._stalls <= STALLS_MAX

    def note_refused(self, name: str, refusal: RedisReplyError) -> None:
        """Count that Redis would not count this name; the log says it once. See whether it refuses every name."""
        self._refused += 1
        self._refusing, self._refused_at = refusal.reason, trio.current_time()
        self._to_be_looked_at.set()
        if name in self._named or len(self._named) >= NAMED_MAX:
            return
        self._named.add(name)
        _log.warning("Redis refuses a name: it is counted in this process", name=name, reason=refusal.reason)
        if len(self._named) == NAMED_MAX:
            _log.warning("Redis refuses many names: no more of them are named here", names=NAMED_MAX)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look whether it works, until cancelled: now, and after each failure until it does again."""
        try:
            await self._look()
            task_status.started()
            while True:
                if self.failing is None:
                    await self._to_be_looked_at.wait()
                await trio.sleep(self._pause)
                await self._look()
                self._pause = max(LOOK_SECONDS, self._pause)
        finally:
            with trio.CancelScope(shield=True):
                await self._close_idle()

    async def _look(self) -> None:
        try:
            with trio.fail_after(CONNECT_SECONDS):
                connection = await self._take_connection()
            with trio.fail_after(self._answer_seconds):
                await self._use(connection, self._probe)
        except RedisUnavailableError as error:
            await self._fail(error.reason)
            return
        except trio.TooSlowError:
            await self._fail(NO_ANSWER)
            return
        if self.failing is not None:
            _log.info("Redis counts limits")
            self._works_since = trio.current_time()
        self.failing = None
        self._to_be_looked_at = trio.Event()

    async def _fail(self, reason: str) -> None:
        self._failures += 1
        if self.failing is None:
            was_steady = trio.current_time() - self._works_since >= STEADY_SECONDS
            self._pause = 0.0 if was_steady else min(max(LOOK_SECONDS, 2 * self._pause), LOOK_SECONDS_MAX)
        if self.failing != reason:
            _log.warning("Redis is not used: limits are counted in this process", reason=reason)
        self.failing = reason
        self._to_be_looked_at.set()
        await self._close_idle()

    async def _on_connection(self, ask: Callable[[RedisConnection], Awaitable[_Answer]]) -> _Answer:
        return await self._use(await self._take_connection(), ask)

    async def _take_connection(self) -> RedisConnection:
        if self._idle:
            return self._idle.pop()
        connection = await RedisConnection.open(self._address)
        self._open += 1
        return connection

    async def _use(self, connection: RedisConnection, ask: Callable[[RedisConnection], Awaitable[_Answer]]) -> _Answer:
        try:
            answer = await ask(connection)
        except BaseException:
            self._open -= 1
            with trio.CancelScope(shield=True):
                await connection.aclose()
            raise
        self._idle.append(connection)
        return answer

    async def _close_idle(self) -> None:
        idle, self._idle = self._idle, []
        self._open -= len(idle)
        for connection in idle:
            await connection.aclose()

    def statistics(self) -> RedisStatistics:
        """Counters for metrics and health."""
        is_refusing = trio.current_time() - self._refused_at < REFUSING_SECONDS
        refusing = self._refusing if is_refusing else None
        return RedisStatistics(self.failing, self._failures, self._open, self._refused, refusing)
