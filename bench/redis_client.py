"""One question through Redis: Medic's client beside redis-py, which comes to trio through the bridge to asyncio.

Both have the same connection's comfort: redis-py pools, sends the script by its digest, and parses with hiredis too.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial

import redis.asyncio
import trio
import trio_asyncio

from medic.access.gcra import Limit
from medic.access.leases import Asking
from medic.store.redis.address import RedisAddress
from medic.store.redis.client import Redis
from medic.store.redis.script import SCRIPT_SHA, count_all, probe

LIMIT = Limit(100)
PATIENT_SECONDS = 5.0
QUESTIONS = {1: 400, 100: 40}
"""Names in one round trip, and how many of these are measured at once."""

Ask = Callable[[], Awaitable[object]]


async def client_figures(url: str, rounds: int) -> dict[str, float]:
    """µs of CPU of this process a round trip: medians of each way, in turn."""
    found: dict[str, list[float]] = {}
    async with trio_asyncio.open_loop(), trio.open_nursery() as nursery:
        client = Redis(RedisAddress.of(url), pool_size=1, probe=probe, answer_seconds=PATIENT_SECONDS)
        await nursery.start(client.run)
        rival = redis.asyncio.Redis.from_url(url, protocol=2)
        for count, times in QUESTIONS.items():
            names = [f"medic:limit:bench:service-{number:07d}" for number in range(count)]
            ours = partial(client.call, partial(count_all, asking=[Asking(name, LIMIT, 0, 1) for name in names]))
            theirs = partial(trio_asyncio.aio_as_trio(_ask_rival), rival, names)
            for _ in range(rounds):
                found.setdefault(f"{count} names", []).append(await _cpu_us(ours, times))
                found.setdefault(f"{count} names, redis-py", []).append(await _cpu_us(theirs, times))
        await trio_asyncio.aio_as_trio(rival.aclose)()
        nursery.cancel_scope.cancel()
    return {name: round(statistics.median(values)) for name, values in found.items()}


async def _cpu_us(ask: Ask, times: int) -> float:
    begun = time.process_time()
    for _ in range(times):
        await ask()
    return (time.process_time() - begun) / times * 1e6


async def _ask_rival(rival: redis.asyncio.Redis, names: list[str]) -> None:
    await rival.evalsha(SCRIPT_SHA, len(names), *names, *((LIMIT.emission_us, LIMIT.burst_us, 0, 1) * len(names)))
