"""Hypercorn on loopback: what its names are used for, raw requests, streams, clients that misbehave, the drain."""

from __future__ import annotations

import inspect
import json
import resource
import time
from collections.abc import Awaitable, Callable

import h2.config
import h2.connection
import h2.events
import pytest
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

from medic.core.author import Author
from medic.core.draft import ServiceDraft
from medic.core.service import ServiceRow
from medic.core.units import DurationMs, InstantMs, ServiceId
from medic.http import express_lane, hypercorn_server
from tests.actors.world import until
from tests.contract.served import HEARTBEAT, Served, get, post, read_all, read_answer, receive, serve, status_of
from tests.fakes.http_parts import ApiWorld
from tests.patience import NEVER_SECONDS

# ------------------------------------------------------------------------------------------------- Hypercorn's names


def test_the_names_of_hypercorn_are_what_they_are_used_for() -> None:
    assert list(inspect.signature(TCPServer.__init__).parameters) == [
        "self", "app", "config", "context", "state", "stream",
    ]  # fmt: skip
    assert inspect.iscoroutinefunction(TCPServer.run)
    assert hasattr(TCPServer, "__await__")
    server = TCPServer(None, Config(), WorkerContext(None), {}, None)
    assert {name for name in dir(server.idle_task) if not name.startswith("_")} == {"restart", "stop"}
    assert list(inspect.signature(WorkerContext.__init__).parameters) == ["self", "max_requests"]
    context = WorkerContext(None)
    assert callable(context.terminated.set)
    assert callable(context.terminated.wait)
    assert list(inspect.signature(Lifespan.__init__).parameters) == ["self", "app", "config", "state"]
    assert callable(Lifespan.handle_lifespan)
    assert callable(Lifespan.wait_for_startup)
    assert callable(Lifespan.wait_for_shutdown)
    assert list(inspect.signature(ASGIWrapper.__call__).parameters) == [
        "self", "scope", "receive", "send", "sync_spawn", "call_soon",
    ]  # fmt: skip
    assert {
        "accesslog", "errorlog", "include_server_header", "keep_alive_timeout", "keep_alive_max_requests",
        "h11_max_incomplete_size", "h2_max_header_list_size", "h2_max_concurrent_streams",
    } <= vars(Config).keys()  # fmt: skip


def test_a_config_logs_no_access_and_tells_no_software() -> None:
    config = hypercorn_server._config()
    assert config.accesslog is None
    assert config.log.access_logger is None
    assert [name for name, _ in config.response_headers("h11")] == [b"date"]


# ---------------------------------------------------------------------------------------------------------- requests


async def test_one_connection_serves_many_requests() -> None:
    async with serve() as served, await served.connect() as stream:
        for _ in range(5):
            await stream.send_all(post("/heartbeat", HEARTBEAT))
            answer = await read_answer(stream)
            assert status_of(answer) == 201
            assert answer.endswith(b'{"success":true,"message":"Heartbeat Posted Successfully.","results":""}')
        assert served.server.statistics().accepted == 1


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serve() as served, await served.connect() as stream:
        await stream.send_all(post("/heartbeat", HEARTBEAT) + get("/nowhere") + post("/heartbeat", b"{"))
        received = b""
        while received.count(b'"results":""') < 3:
            received += await receive(stream)
        statuses = [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]
        assert statuses == [201, 404, 400]


async def test_a_chunked_body_is_read() -> None:
    async with serve() as served, await served.connect() as stream:
        await stream.send_all(b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in (HEARTBEAT[:10], HEARTBEAT[10:]):
            await stream.send_all(b"%x\r\n%b\r\n" % (len(part), part))
        await stream.send_all(b"0\r\n\r\n")
        assert status_of(await read_answer(stream)) == 201


async def test_expect_100_continue_is_answered_before_the_body_comes() -> None:
    async with serve() as served, await served.connect() as stream:
        whole = post("/heartbeat", HEARTBEAT, "Expect: 100-continue")
        await stream.send_all(whole[: -len(HEARTBEAT)])
        interim = await receive(stream)
        assert interim.startswith(b"HTTP/1.1 100")
        await stream.send_all(HEARTBEAT)
        assert status_of(await read_answer(stream, interim.partition(b"\r\n\r\n")[2])) == 201


async def test_http_1_0_is_answered_and_closed() -> None:
    async with serve() as served:
        answer = await served.exchange(post("/heartbeat", HEARTBEAT, version="1.0"))
        assert status_of(answer) == 201
        listed = await served.exchange(get("/service", version="1.0"))
        assert json.loads(listed.partition(b"\r\n\r\n")[2])["total_count"] == 1


async def test_a_name_with_a_slash_is_one_place_of_the_raw_path() -> None:
    async with serve() as served:
        draft = ServiceDraft(heartbeat_name="a/b", service_name="x", interval_ms=DurationMs(60_000))
        await served.world.changes.register(draft, by=Author("test"))
        assert status_of(await served.exchange(get("/service/a%2Fb", "Connection: close"))) == 200
        assert status_of(await served.exchange(get("/service/a%2fb", "Connection: close"))) == 200
        assert status_of(await served.exchange(get("/service/a/b", "Connection: close"))) == 404
        assert status_of(await served.exchange(get("http://any.host/service/a%2Fb", "Connection: close"))) == 200


@pytest.mark.parametrize("host", ["", "a b", "x" * 300, "[::1", "ünder", "medic:99999", "..", "\x7f"])
async def test_no_host_header_upsets_anything(host: str) -> None:
    async with serve() as served:
        request = f"GET /health/live HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        assert status_of(await served.exchange(request)) in {200, 400}
        assert status_of(await served.exchange(get("/health/live", "Connection: close"))) == 200
        assert served.server.statistics().crashed == 0


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
        b"POST /heartbeat HTTP/1.1\r\n\r\n",
        b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        bytes(range(256)) * 4,
    ],
)
async def test_what_is_no_http_is_refused_and_hurts_nobody(request_bytes: bytes) -> None:
    async with serve() as served, await served.connect() as stream:
        await stream.send_all(request_bytes)
        await stream.send_eof()
        answer = await read_all(stream)
        assert not answer or (400 <= status_of(answer) < 600 and b'{"success":false,' in answer)
        assert status_of(await served.exchange(get("/health/live", "Connection: close"))) == 200
        assert served.server.statistics().crashed == 0


async def test_a_websocket_is_refused_in_json() -> None:
    async with serve() as served:
        request = get(
            "/heartbeat",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        )
        async with await served.connect() as stream:
            await stream.send_all(request)
            assert 400 <= status_of(await read_answer(stream)) < 500
        assert served.server.statistics().crashed == 0


async def test_a_refusal_is_read_even_by_a_client_that_is_still_sending() -> None:
    async with serve() as served:
        for path, status, size in (("/heartbeat", 413, 3 << 20), ("/nowhere", 404, 1 << 20), ("/health", 405, 1 << 20)):
            async with await served.connect() as stream:
                await stream.send_all(post(path, b"x" * size))
                assert status_of(await read_answer(stream)) == status


async def test_a_body_far_beyond_the_limit_is_not_read_to_its_end() -> None:
    async with serve() as served, await served.connect() as stream:
        await stream.send_all(b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        assert status_of(await read_answer(stream)) == 413


async def test_a_body_that_does_not_come_is_a_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(express_lane, "REQUEST_SECONDS_MAX", 0.1)
    monkeypatch.setattr(express_lane, "LANE_LOOK_SECONDS", 0.1)
    async with serve() as served:
        answer = await served.exchange(b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n{")
        assert status_of(answer) == 408
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["message"] == "The body did not arrive in time."


async def test_an_answer_to_head_has_a_length_and_no_body() -> None:
    async with serve() as served:
        for path in ("/health/live", "/service", "/metrics"):
            answer = await served.exchange(get(path, "Connection: close").replace(b"GET", b"HEAD"))
            assert status_of(answer) == 200
            assert answer.endswith(b"\r\n\r\n")


# ----------------------------------------------------------------------------------------------------------- streams


def fill(world: ApiWorld, count: int) -> None:
    for number in range(count):
        draft = ServiceDraft(heartbeat_name=f"service-{number:06d}", service_name="x", interval_ms=DurationMs(60_000))
        world.add(_row(draft, number))


def _row(draft: ServiceDraft, number: int) -> ServiceRow:
    return draft.row(ServiceId(1_000 + number), InstantMs(1_767_225_600_000), "test")


async def test_a_long_listing_is_streamed_and_others_are_answered_meanwhile() -> None:
    async with serve() as served:
        fill(served.world, 20_000)
        meanwhile = 0

        async def beat() -> None:
            nonlocal meanwhile
            async with await served.connect() as stream:
                while True:
                    await stream.send_all(post("/heartbeat", HEARTBEAT))
                    assert status_of(await read_answer(stream)) == 201
                    meanwhile += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(beat)
            answer = await served.exchange(get("/service", "Connection: close"))
            nursery.cancel_scope.cancel()
        assert b"chunked" in answer
        assert answer.count(b'"heartbeat_name"') == 20_001
        assert b'"total_count":20001}' in answer
        assert meanwhile > 10, "a heartbeat waits for a slice, not for the listing"


async def test_a_client_that_reads_no_further_loses_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypercorn_server, "WRITE_SECONDS_MAX", 0.2)
    async with serve() as served:
        fill(served.world, 20_000)
        async with await served.connect() as stream:
            await stream.send_all(get("/service"))
            await until(lambda: not served.server.statistics().open)


async def test_a_client_that_leaves_in_the_middle_of_a_listing_costs_nothing_more() -> None:
    async with serve() as served:
        fill(served.world, 20_000)
        stream = await served.connect()
        await stream.send_all(get("/service"))
        await stream.receive_some()
        await stream.aclose()
        await until(lambda: not served.server.statistics().open)
        assert served.server.statistics().crashed == 0
        assert ("GET", "/service", 499) in served.world.meter.statistics().requests


async def test_a_silent_connection_is_closed_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypercorn_server, "KEEP_ALIVE_SECONDS", 0.2)
    monkeypatch.setattr(express_lane, "KEEP_ALIVE_SECONDS", 0.2)
    monkeypatch.setattr(express_lane, "REQUEST_SECONDS_MAX", 0.2)
    monkeypatch.setattr(express_lane, "LANE_LOOK_SECONDS", 0.1)
    async with serve() as served:
        for opening in (b"", get("/health/live"), b"GET /hea", HTTP2_PREFACE):
            async with await served.connect() as stream:
                await stream.send_all(opening)
                await read_all(stream)


async def test_a_connection_too_many_is_answered_503_where_all_others_are_being_worked_on() -> None:
    async with serve(connections_max=2) as served, await served.connect() as one, await served.connect() as two:
        served.world.journal.hold()
        await one.send_all(post("/heartbeat", HEARTBEAT))
        await two.send_all(post("/heartbeat", HEARTBEAT, "Expect: nothing"))
        await until(lambda: served.world.directory.find("job").heartbeats_total == 2)
        answer = await served.exchange(get("/health/live"))
        served.world.journal.release()
        assert status_of(answer) == 503
        assert b"Retry-After: 1" in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["success"] is False
        assert served.server.statistics().refused == 1


# ------------------------------------------------------------------------------------------------------------ HTTP/2

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


async def ask_over_http2(stream: trio.SocketStream, path: bytes, body: bytes = b"") -> tuple[int, bytes]:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
    connection.initiate_connection()
    headers = [
        (b":method", b"POST" if body else b"GET"), (b":path", path), (b":scheme", b"http"), (b":authority", b"medic"),
    ]  # fmt: skip
    connection.send_headers(1, headers, end_stream=not body)
    if body:
        connection.send_data(1, body, end_stream=True)
    await stream.send_all(connection.data_to_send())
    status, answer = 0, b""
    while piece := await stream.receive_some():
        for event in connection.receive_data(bytes(piece)):
            if isinstance(event, h2.events.ResponseReceived):
                status = int(dict(event.headers)[b":status"])
            elif isinstance(event, h2.events.DataReceived):
                answer += event.data
            elif isinstance(event, h2.events.StreamEnded):
                return status, answer
    return status, answer


async def test_http2_with_prior_knowledge_is_served() -> None:
    async with serve() as served, await served.connect() as stream:
        status, answer = await ask_over_http2(stream, b"/heartbeat", HEARTBEAT)
        assert (status, json.loads(answer)["success"]) == (201, True)


async def test_a_connection_that_makes_hypercorn_raise_is_closed_and_no_other_notices() -> None:
    async with serve() as served, await served.connect() as other:
        await other.send_all(get("/health/live"))
        await read_answer(other)
        async with await served.connect() as stream:
            assert await ask_over_http2(stream, b"/service/\xff\xfe") == (0, b"")
        assert served.server.statistics().crashed == 1
        await other.send_all(get("/health/live"))
        assert status_of(await read_answer(other)) == 200


# ------------------------------------------------------------------------------------------------------------- drain


async def open_many(served: Served, count: int, prepare: Callable[[trio.SocketStream, int], Awaitable[None]]) -> list:
    streams: list[trio.SocketStream] = []

    async def open_one(number: int) -> None:
        stream = await served.connect()
        await prepare(stream, number)
        streams.append(stream)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(open_one, number)
    return streams


async def test_a_thousand_idle_connections_drain_at_once() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8_192), hard))
    try:
        opened, drained = await _opened_and_drained_seconds(1_000)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    # Left to Hypercorn it takes the whole deadline, which never comes here. It is less work than opening them was.
    assert drained < opened


async def _opened_and_drained_seconds(count: int) -> tuple[float, float]:
    """Seconds of our own work to open so many connections, and to drain them."""

    async def prepare(stream: trio.SocketStream, number: int) -> None:
        if number % 4 == 1:
            await stream.send_all(get("/health/live"))
            await read_answer(stream)
        elif number % 4 == 2:
            await stream.send_all(post("/heartbeat", HEARTBEAT))
            await read_answer(stream)
        elif number % 4 == 3:
            await stream.send_all(HTTP2_PREFACE)
            await stream.receive_some()

    async with serve(drain_seconds=NEVER_SECONDS) as served:
        began = time.process_time()
        streams = await open_many(served, count, prepare)
        assert served.server.statistics().open == count
        opened = time.process_time()
        served.drain.set()
        await served.ended.wait()
        drained = time.process_time()
        for stream in streams:
            await stream.aclose()
    return opened - began, drained - opened


async def test_what_was_begun_is_answered_before_the_drain_ends() -> None:
    async with serve() as served:
        served.world.journal.hold()
        async with await served.connect() as stream, await served.connect() as idle:
            await stream.send_all(post("/heartbeat", HEARTBEAT))
            await until(lambda: served.world.directory.find("job").heartbeats_total == 1)
            served.drain.set()
            assert await read_all(idle) == b""
            with pytest.raises(OSError, match="all attempts to connect"):
                await served.connect()
            served.world.journal.release()
            answer = await read_all(stream)
            assert status_of(answer) == 201
            assert b"connection: close" in answer.lower()
            await served.ended.wait()


async def test_after_the_deadline_whoever_is_left_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without the deadline it would end when the write is given up on.
    monkeypatch.setattr(hypercorn_server, "WRITE_SECONDS_MAX", NEVER_SECONDS)
    async with serve(drain_seconds=0.3) as served:
        fill(served.world, 20_000)
        async with await served.connect() as stream:
            await stream.send_all(get("/service"))
            await stream.receive_some()
            served.drain.set()
            await served.ended.wait()
