"""Several limiters on one real Redis: together they keep one limit, and each keeps it alone while Redis is ill."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from medic.access.caller import NOBODY, Caller
from medic.access.limits import Counted, Limits
from medic.core.policy import Defaults
from medic.core.service import Service
from medic.core.units import SightedMs
from medic.errors import RateLimitedError
from medic.store.limiter import Limiter
from medic.store.redis.address import RedisAddress
from medic.store.redis.client import Redis
from medic.store.redis.script import probe
from tests.actors.world import ORIGIN, row
from tests.redis_server import RedisServer

PATIENT = 60.0
LIMITS = Limits(caller=0, unknown=100, management=50, reads=50)
CALLER = Caller("192.0.2.1")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    started = RedisServer(tmp_path)
    started.start()
    yield started
    started.stop()


@asynccontextmanager
async def limiters(server: RedisServer, count: int, answer_seconds: float = PATIENT) -> AsyncIterator[list[Limiter]]:
    async with trio.open_nursery() as nursery:
        made = []
        for _ in range(count):
            redis = Redis(RedisAddress.of(server.url), pool_size=2, probe=probe, answer_seconds=answer_seconds)
            made.append(Limiter(LIMITS, redis))
            await nursery.start(made[-1].run)
        yield made
        nursery.cancel_scope.cancel()


def busy_service(heartbeats_a_minute: int) -> Service:
    stored = row(1, 3_600)
    service = Service(
        stored, stored.policy(Defaults(heartbeats_a_minute=heartbeats_a_minute)), registered=SightedMs(ORIGIN)
    )
    service.last_heartbeat_at = ORIGIN
    return service


def sighted_now() -> SightedMs:
    return SightedMs(int(trio.current_time() * 1000))


async def wait_for(limiter: Limiter, *, works: bool) -> None:
    with trio.fail_after(PATIENT):
        while (limiter.statistics().failing is None) is not works:  # noqa: ASYNC110 - Redis is another process
            await trio.sleep(0.01)


async def read_until_refused(limiter: Limiter) -> None:
    with suppress(RateLimitedError):
        for _ in range(1_000):
            await limiter.count(Counted.READ, CALLER)
        pytest.fail("a thousand reads were taken where fifty a minute are")


async def test_four_processes_that_send_without_end_store_what_one_may(server: RedisServer) -> None:
    service, taken = busy_service(3_000), 0
    async with limiters(server, 4) as made:
        begun = trio.current_time()
        for _ in range(300):
            for limiter in made:
                taken += sum(limiter.heartbeat_wait_us(service, ORIGIN, sighted_now()) == 0 for _ in range(20))
            await trio.sleep(0.002)
        passed = trio.current_time() - begun
    allowed = 3_000 + passed * 50
    assert 0.7 * 3_000 <= taken <= 1.1 * allowed, f"{taken} of {allowed}"


async def test_one_process_alone_stores_in_a_burst_what_the_limit_says_and_no_lease_beside_it(
    server: RedisServer,
) -> None:
    service, taken = busy_service(100), 0
    async with limiters(server, 1) as (limiter,):
        begun = trio.current_time()
        for _ in range(40):
            taken += sum(limiter.heartbeat_wait_us(service, ORIGIN, sighted_now()) == 0 for _ in range(5))
            await trio.sleep(0.002)  # for what asks Redis
        passed = trio.current_time() - begun
    assert 95 <= taken <= 100 + passed * 100 / 60 + 1


async def test_a_name_that_redis_refuses_is_counted_in_the_process_and_the_others_together(
    server: RedisServer,
) -> None:
    server.say("ACL", "SETUSER", "default", "resetkeys", "~medic:limit:probe", "~medic:limit:read:192.0.2.2")
    service = busy_service(100)
    async with limiters(server, 2) as (limiter, other):
        with capture_logs() as lines:
            for _ in range(20):
                await limiter.count(Counted.READ, CALLER)
                await limiter.count(Counted.READ, Caller("192.0.2.2"))
                for _ in range(10):
                    limiter.heartbeat_wait_us(service, ORIGIN, sighted_now())
                await trio.sleep(0.005)
        assert limiter.heartbeat_wait_us(service, ORIGIN, sighted_now()) > 0
        await read_until_refused(limiter)
        assert (await other.count(Counted.READ, Caller("192.0.2.2"))).remaining < 49
        stands = limiter.statistics()
    assert (stands.failing, stands.failures) == (None, 0)
    assert stands.refusing == "the user may not run scripts on these keys"
    assert stands.refused >= 20
    assert [line["name"] for line in lines if line["log_level"] == "warning"].count("medic:limit:read:192.0.2.1") == 1


async def test_what_is_no_number_is_written_over(server: RedisServer) -> None:
    name = "medic:limit:read:192.0.2.1"
    for words in (("LPUSH", name, "x"), ("SET", name, "many"), ("SET", name, "1e300"), ("SET", name, "nan")):
        server.say(*words)
        async with limiters(server, 1) as (limiter,):
            stands = await limiter.count(Counted.READ, CALLER)
            assert (stands.limit, limiter.statistics().refused) == (50, 0)
        assert server.say("GET", name).startswith("$")
        server.say("DEL", name)


async def test_a_caller_is_counted_in_all_processes_with_one_question_each(server: RedisServer) -> None:
    async with limiters(server, 2) as made:
        standings = [await limiter.count(Counted.READ, CALLER) for _ in range(25) for limiter in made]
        assert standings[0].remaining > standings[-1].remaining
        assert standings[-1].remaining <= 25
        await read_until_refused(made[0])
        assert (await made[0].count(Counted.READ, Caller("192.0.2.2"))).remaining == 49


@pytest.mark.parametrize("ill", ["paused", "stopped"])
async def test_while_redis_is_ill_each_process_keeps_the_limit_alone_and_nobody_waits(
    server: RedisServer, ill: str
) -> None:
    service = busy_service(100)
    async with limiters(server, 1, answer_seconds=0.05) as (limiter,):
        await wait_for(limiter, works=True)
        server.pause() if ill == "paused" else server.stop()
        with trio.fail_after(PATIENT):
            for _ in range(20):
                await limiter.count(Counted.READ, CALLER)
                limiter.refuse_heartbeat(service, ORIGIN, sighted_now(), NOBODY)
                await trio.sleep(0.01)
        await wait_for(limiter, works=False)
        await read_until_refused(limiter)
        assert any(limiter.refuse_heartbeat(service, ORIGIN, sighted_now(), NOBODY) for _ in range(1_000))
        assert any(limiter.refuse_unknown(CALLER) for _ in range(1_000))
        server.go_on() if ill == "paused" else server.start()
        await wait_for(limiter, works=True)
        assert limiter.statistics().failures >= 1


async def test_without_redis_there_is_nothing_to_say_of_it() -> None:
    limiter = Limiter(Limits(), None)
    await limiter.run()
    assert limiter.statistics() is None
    assert await limiter.count(Counted.READ, CALLER) is None
    assert limiter.refuse_unknown(CALLER) is None
    assert limiter.refuse_heartbeat(busy_service(0), ORIGIN, sighted_now(), NOBODY) is None
