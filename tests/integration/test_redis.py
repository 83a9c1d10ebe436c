"""A real redis-server: counted in exactly, stopped, paused, restarted, filled, made a replica, and locked."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from medic.access.gcra import Limit, take
from medic.access.leases import Asking
from medic.store.redis.address import RedisAddress
from medic.store.redis.client import (
    LOOK_SECONDS,
    LOOK_SECONDS_MAX,
    NAMED_MAX,
    NO_ANSWER,
    NOT_ASKED,
    STEADY_SECONDS,
    Redis,
)
from medic.store.redis.connection import RedisConnection
from medic.store.redis.script import count_all, probe
from medic.store.redis.wire import RedisReplyError, RedisUnavailableError, Reply, encode
from tests.redis_server import RedisServer

PATIENT = 60.0
"""Where an answer is expected, no test fails because the machine is slow."""

LIMIT = Limit(60)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    started = RedisServer(tmp_path)
    started.start()
    yield started
    started.stop()


@asynccontextmanager
async def running(url: str, *, pool_size: int = 2, answer_seconds: float = PATIENT) -> AsyncIterator[Redis]:
    redis = Redis(RedisAddress.of(url), pool_size=pool_size, probe=probe, answer_seconds=answer_seconds)
    async with trio.open_nursery() as nursery:
        await nursery.start(redis.run)
        yield redis
        nursery.cancel_scope.cancel()


async def say(server: RedisServer, *words: str | int) -> Reply:
    connection = await RedisConnection.open(RedisAddress.of(server.url))
    (reply,) = await connection.ask([encode(*words)])
    await connection.aclose()
    return reply


async def wait_until_it_works(redis: Redis) -> None:
    with trio.fail_after(PATIENT):
        while redis.failing is not None:  # noqa: ASYNC110 - the server is another process
            await trio.sleep(0.01)


async def it_works(redis: Redis) -> None:
    """The same where time stands still."""
    while redis.failing is not None:
        await trio.lowlevel.checkpoint()


def one(name: str, *, owed: int = 0, wanted: int = 1, limit: Limit = LIMIT) -> partial[object]:
    return partial(count_all, asking=[Asking(name, limit, owed, wanted)])


async def test_a_limit_is_counted_in_one_call_a_name_and_the_server_learns_the_script(server: RedisServer) -> None:
    async with running(server.url) as redis:
        first = await redis.call(one("a", wanted=50))
        second = await redis.call(one("a", wanted=50))
        other = await redis.call(one("b", owed=70, wanted=5))
    assert [told.granted for told in (*first, *second, *other)] in ([50, 10, 0], [50, 11, 0])
    assert LIMIT.burst_us + 8_000_000 < other[0].backlog_us <= 70_000_000


async def test_a_name_without_a_backlog_is_not_there(server: RedisServer) -> None:
    async with running(server.url) as redis:
        await redis.call(one("short", limit=Limit(60_000)))
        await redis.call(one("none", wanted=0))
        with trio.fail_after(PATIENT):
            while await say(server, "EXISTS", "short", "none", "medic:limit:probe"):  # noqa: ASYNC110 - another process
                await trio.sleep(0.01)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), min_size=1, max_size=12))
async def test_redis_counts_as_the_arithmetic_does(server: RedisServer, asked: list[tuple[int, int]]) -> None:
    """A limit of one a minute for each so many that no time that passes in a test changes what fits."""
    limit, backlog = Limit(30), 0
    await say(server, "FLUSHALL")
    connection = await RedisConnection.open(RedisAddress.of(server.url))
    for owed, wanted in asked:
        (told,) = await count_all(connection, [Asking("name", limit, owed, wanted)])
        backlog = min(backlog + owed * limit.emission_us, 2 * limit.burst_us)
        expected = take(limit, backlog, wanted)
        passed = backlog + expected * limit.emission_us - told.backlog_us
        # Redis's clock goes on meanwhile: what it grants beyond is what fits by then.
        assert 0 <= told.granted - expected <= max(0, passed) // limit.emission_us + 1
        backlog = told.backlog_us
    await connection.aclose()


async def test_a_server_that_is_stopped_is_not_waited_for_and_comes_back(server: RedisServer) -> None:
    async with running(server.url) as redis:
        assert redis.failing is None
        server.stop()
        with pytest.raises(RedisUnavailableError):
            await redis.call(one("a"))
        with pytest.raises(RedisUnavailableError):
            await redis.call(one("a"))
        assert redis.statistics().failures >= 1
        server.start()
        await wait_until_it_works(redis)
        assert await redis.call(one("a")) != []


async def test_a_server_that_is_paused_is_given_up_after_the_time_that_an_answer_may_take(server: RedisServer) -> None:
    async with running(server.url, answer_seconds=0.05) as redis:
        with trio.fail_after(PATIENT):
            while redis.failing is not None:  # noqa: ASYNC110 - a loaded machine is slower than 50 ms
                await trio.sleep(0.01)
        server.pause()
        with trio.fail_after(PATIENT), pytest.raises(RedisUnavailableError) as refused:
            await redis.call(one("a"))
        assert refused.value.reason == NO_ANSWER
        assert redis.statistics().connections == 0
        server.go_on()
        await wait_until_it_works(redis)


async def test_a_stall_of_our_own_is_not_held_against_redis_unless_it_goes_on() -> None:
    redis = Redis(RedisAddress(), pool_size=1, probe=probe, answer_seconds=0.05)
    assert [redis._may_be_our_stall(seconds) for seconds in (0.06, 0.2, 0.2, 0.2)] == [False, True, True, False]


async def test_a_restarted_server_has_forgotten_the_script_and_is_told_it_again(server: RedisServer) -> None:
    async with running(server.url) as redis:
        await redis.call(one("a"))
        assert await say(server, "SCRIPT", "FLUSH") == "OK"
        (told,) = await redis.call(one("a"))
        assert told.granted == 1
        assert redis.failing is None


async def test_a_server_that_is_full_is_not_counted_in(server: RedisServer) -> None:
    async with running(server.url) as redis:
        await say(server, "CONFIG", "SET", "maxmemory-policy", "noeviction")
        await say(server, "CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(RedisUnavailableError, match="out of memory"):
            await redis.call(one("a"))
        assert redis.failing is not None
        await say(server, "CONFIG", "SET", "maxmemory", 0)
        await wait_until_it_works(redis)


async def test_a_name_that_is_refused_spoils_no_other(server: RedisServer) -> None:
    await say(server, "ACL", "SETUSER", "default", "resetkeys", "~a*", "~medic:limit:*")
    asking = [Asking(name, LIMIT, 0, 1) for name in ("a1", "b", "a2")]
    async with running(server.url) as redis:
        first, refused, third = await redis.call(partial(count_all, asking=asking))
        assert (first.granted, refused.code, third.granted) == (1, "NOPERM", 1)
        assert redis.failing is None


async def test_a_user_that_may_write_no_name_is_found_by_the_look_that_a_refusal_causes(server: RedisServer) -> None:
    async with running(server.url) as redis:
        await say(server, "ACL", "SETUSER", "default", "resetkeys")
        (refused,) = await redis.call(one("a"))
        redis.note_refused("a", refused)
        with trio.fail_after(PATIENT):
            while redis.failing is None:  # noqa: ASYNC110 - the server is another process
                await trio.sleep(0.01)
        assert redis.failing == "the user may not run scripts on these keys"


async def test_names_that_are_refused_do_not_fill_the_log(server: RedisServer) -> None:
    async with running(server.url) as redis:
        with capture_logs() as lines:
            for number in range(3 * NAMED_MAX):
                for _ in range(3):
                    redis.note_refused(f"service-{number}", RedisReplyError("MOVED 1 127.0.0.1:1"))
    assert len(lines) == NAMED_MAX + 1
    assert redis.statistics().refused == 9 * NAMED_MAX


async def test_a_redis_that_answers_looks_and_nothing_else_is_used_and_looked_at_ever_more_rarely(
    server: RedisServer, mock_clock: trio.testing.MockClock
) -> None:
    async def refuse(connection: RedisConnection) -> None:
        raise RedisUnavailableError("no")

    async with running(server.url) as redis:
        with capture_logs() as lines:
            for number in range(8):
                pause = min(LOOK_SECONDS * 2**number, LOOK_SECONDS_MAX)
                with pytest.raises(RedisUnavailableError):
                    await redis.call(refuse)
                await trio.testing.wait_all_tasks_blocked()
                mock_clock.jump(pause - 0.01)
                await trio.testing.wait_all_tasks_blocked(cushion=0.01)
                assert redis.failing == "no"
                mock_clock.jump(0.02)
                await it_works(redis)
            mock_clock.jump(STEADY_SECONDS)
            with pytest.raises(RedisUnavailableError):
                await redis.call(refuse)
            await it_works(redis)  # without a pause
    assert len(lines) == 18


async def test_a_replica_is_not_counted_in_and_its_promotion_is_noticed(server: RedisServer) -> None:
    async with running(server.url) as redis:
        await say(server, "REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(RedisUnavailableError):
            await redis.call(one("a"))
        assert redis.statistics().failing in {"it is a replica that takes no writes", "its primary is away"}
        await say(server, "REPLICAOF", "NO", "ONE")
        await wait_until_it_works(redis)


async def test_a_password_is_shown_and_a_wrong_one_is_said_without_it(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, "--requirepass", "geheim")
    server.start()
    try:
        async with running(f"unix://:geheim@{server.path}?db=3") as redis:
            assert redis.failing is None
        for url in (f"unix://:falsch@{server.path}", f"unix://{server.path}", f"unix://:geheim@{server.path}?db=99"):
            async with running(url) as redis:
                said = str(redis.statistics().failing)
            assert said not in {"None", NOT_ASKED}
            assert "geheim" not in said
            assert "falsch" not in said
    finally:
        server.stop()


async def test_more_calls_than_connections_wait_for_one(server: RedisServer) -> None:
    told = []
    async with running(server.url, pool_size=2) as redis:

        async def ask() -> None:
            told.extend(await redis.call(one("a", limit=Limit(600))))

        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(ask)
        assert redis.statistics().connections == 2
    assert [each.granted for each in told] == [1] * 40


async def test_tls_is_spoken_with_whom_the_system_trusts(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)

    async def forward(client: trio.SSLStream[trio.SocketStream]) -> None:
        async with client, await trio.open_unix_socket(str(server.path)) as behind, trio.open_nursery() as nursery:

            async def answer() -> None:
                async for piece in behind:
                    await client.send_all(piece)

            nursery.start_soon(answer)
            with suppress(trio.BrokenResourceError):  # Medic closes without a word
                async for piece in client:
                    await behind.send_all(piece)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, host="127.0.0.1")
        (listener,) = await nursery.start(serve, forward, 0, context)
        port = listener.transport_listener.socket.getsockname()[1]
        async with running(f"rediss://localhost:{port}/1") as redis:
            assert redis.statistics().failing == "it cannot be reached"
        authority.cert_pem.write_to_path(tmp_path / "authority.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        async with running(f"rediss://localhost:{port}/1") as redis:
            assert redis.failing is None
            assert await redis.call(one("a")) != []
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what answers is not Redis"),
        (b":12\r\n", "it answers what was not asked"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", "it is still loading its data"),
        (b"-WHATEVER geheim\r\n", "it refuses (WHATEVER)"),
        (b"", "it closed the connection"),
        (b"$100000\r\n" + b"x" * 100_000, "it says more than was asked"),
        (b"*2147483647\r\n:1\r\n", "it says more than was asked"),
        (b"*1\r\n" * 10_000, "what answers is not Redis"),
    ],
)
async def test_whatever_answers_is_not_missed(said: bytes, reason: str) -> None:
    async def answer(client: trio.SocketStream) -> None:
        async with client:
            with suppress(trio.BrokenResourceError):  # Medic closes without a word
                await converse(client)

    async def converse(client: trio.SocketStream) -> None:
        await client.receive_some()
        if said:
            await client.send_all(said)
            await client.receive_some()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        async with running(f"redis://127.0.0.1:{listener.socket.getsockname()[1]}") as redis:
            assert redis.statistics().failing == reason
        nursery.cancel_scope.cancel()
