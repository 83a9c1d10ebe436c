"""Clients that mean ill, on real sockets: slow ones, floods of frames and headers, and crowds that hold connections."""

from __future__ import annotations

from collections.abc import Iterator

import h2.config
import h2.connection
import h2.exceptions
import h2.settings
import pytest
import trio
import trio.testing

from medic.http import hypercorn_server
from medic.http.limits import BODY_DISCARD_MAX, GIVEN_UP_MAX, HEAD_BYTES_MAX
from tests.actors.world import until
from tests.contract.served import HEARTBEAT, Served, get, post, read_all, read_answer, serve, status_of
from tests.patience import NEVER_SECONDS

STEP_SECONDS = 20.0
"""Less than every patience, so that each step brings something before it ends."""

STEPS_MAX = 50
"""So many steps are thirteen times the longest patience."""


async def assert_well(served: Served) -> None:
    """Others are answered, and no fault of ours ended a connection."""
    assert status_of(await served.exchange(post("/heartbeat", HEARTBEAT, "Connection: close"))) == 201
    assert status_of(await served.exchange(get("/service", "Connection: close"))) == 200
    assert served.server.statistics().crashed == 0


def beats(served: Served) -> int:
    return served.world.directory.find("job").heartbeats_total


# ---------------------------------------------------------------------------------------------------------------- slow


@pytest.mark.parametrize(
    "begun", [b"POST /heartbeat HTTP/1.1\r\n", b"GET /service HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
)
async def test_heads_that_trickle_in_for_ever_end_with_the_patience_for_them(
    mock_clock: trio.testing.MockClock, begun: bytes
) -> None:
    trickle = bytes.fromhex("000008060000000000") + bytes(8) if begun.startswith(b"PRI") else b"X: y\r\n"
    async with serve(patience=float("inf")) as served:
        streams = [await served.connect() for _ in range(20)]
        for stream in streams:
            await stream.send_all(begun)
        await until(lambda: served.server.statistics().open == len(streams))
        steps = 0
        while served.server.statistics().open:
            await trio.testing.wait_all_tasks_blocked(0.01)
            mock_clock.jump(STEP_SECONDS)
            steps += 1
            assert steps < STEPS_MAX, "each piece gave it new patience"
            for stream in streams:
                try:
                    await stream.send_all(trickle)
                except trio.BrokenResourceError:
                    await stream.aclose()
                except trio.ClosedResourceError:
                    pass
        for stream in streams:
            await stream.aclose()
        mock_clock.rate = 1.0
        await assert_well(served)


async def test_a_request_may_come_late_on_a_connection_that_is_kept(mock_clock: trio.testing.MockClock) -> None:
    async with serve(patience=float("inf")) as served, await served.connect() as stream:
        for _ in range(4):
            await stream.send_all(get("/service?limit=1"))
            assert status_of(await read_answer(stream)) == 200
            await trio.testing.wait_all_tasks_blocked(0.01)
            mock_clock.jump(hypercorn_server.KEEP_ALIVE_SECONDS * 0.9)


class Http2:
    """A client of HTTP/2 that sends what it likes."""

    def __init__(self, stream: trio.SocketStream, **settings: int) -> None:
        self.stream = stream
        self.frames = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        named = {getattr(h2.settings.SettingCodes, name.upper()): value for name, value in settings.items()}
        self.frames.local_settings = h2.settings.Settings(client=True, initial_values=named)
        self.frames.initiate_connection()

    def ask(self, stream_id: int, path: bytes = b"/service", *more: tuple[bytes, bytes], end: bool = True) -> None:
        usual = [(b":method", b"GET"), (b":path", path), (b":scheme", b"http"), (b":authority", b"medic")]
        self.frames.send_headers(stream_id, [*usual, *more], end_stream=end)

    async def send(self) -> None:
        await self.stream.send_all(self.frames.data_to_send())


@pytest.mark.parametrize("leaves", [True, False], ids=["and leaves", "and stays"])
async def test_a_client_that_gives_its_answers_no_room_holds_nothing_for_ever(
    monkeypatch: pytest.MonkeyPatch, *, leaves: bool
) -> None:
    monkeypatch.setattr(hypercorn_server, "WRITE_SECONDS_MAX", 0.1)
    async with serve() as served, await served.connect() as stream:
        client = Http2(stream, initial_window_size=0)
        for number in range(5):
            client.ask(2 * number + 1, b"/openapi.json")
        await client.send()
        await until(lambda: served.server.statistics().passed_on == 1)
        if leaves:
            await stream.aclose()
        await until(lambda: served.server.statistics().open == 0)
        await assert_well(served)


async def test_a_client_that_gives_its_answer_no_room_does_not_keep_medic_from_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hypercorn_server, "WRITE_SECONDS_MAX", NEVER_SECONDS)
    async with serve(drain_seconds=0.1) as served, await served.connect() as stream:
        client = Http2(stream, initial_window_size=0)
        client.ask(1, b"/openapi.json")
        await client.send()
        await until(
            lambda: ("GET", "/openapi.json", 200) in served.world.meter.statistics().requests or _writes(served)
        )
        served.drain.set()
        await served.ended.wait()


def _writes(served: Served) -> bool:
    return any(connection._writes for connection in served.server._hypercorn._open)


# --------------------------------------------------------------------------------------------------------------- floods


async def test_a_client_that_resets_each_request_at_once_is_cut_and_others_are_answered() -> None:
    async with serve() as served, await served.connect() as stream:
        client = Http2(stream)
        for number in range(20 * GIVEN_UP_MAX):
            client.ask(2 * number + 1)
            client.frames.reset_stream(2 * number + 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send_what_it_takes, client)
            await assert_well(served)
            await until(lambda: served.server.statistics().open == 0)
        requests = served.world.meter.statistics().requests
        assert requests["GET", "/service", 200] == 1
        assert sum(requests.values()) < 10 * GIVEN_UP_MAX, "the rest of the burst is nobody's work"


async def _send_what_it_takes(client: Http2) -> None:
    try:
        await client.send()
        await read_all(client.stream)
    except trio.BrokenResourceError:
        pass


async def test_a_client_that_gives_up_now_and_then_keeps_its_connection() -> None:
    async with serve() as served, await served.connect() as stream:
        client, begin = Http2(stream), 1
        for _ in range(3):
            for stream_id in range(begin, begin + GIVEN_UP_MAX, 2):
                client.ask(stream_id, end=False)
                client.frames.reset_stream(stream_id)
            begin += GIVEN_UP_MAX + 2
            client.ask(begin, b"/health/live")
            begin += 2
            await client.send()
            while not any(b'"alive"' in data for data in _data(client, await stream.receive_some())):
                pass
        await assert_well(served)


def _data(client: Http2, received: bytes | bytearray) -> Iterator[bytes]:
    assert received, "the server closed"
    for event in client.frames.receive_data(bytes(received)):
        if isinstance(event, h2.events.DataReceived):
            yield event.data


@pytest.mark.parametrize("by_quart", [False, True], ids=["lane", "Quart"])
@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["a: b"] * 10_000, id="many"),
        pytest.param(["X: " + "x" * 1_000_000], id="one long line"),
        pytest.param(["x" * 100_000 + ": y"], id="a long name"),
        pytest.param([f"Cookie: {number}={'y' * 400}" for number in range(100)], id="cookies"),
    ],
)
async def test_heads_that_are_too_long_are_431_however_they_are(lines: list[str], *, by_quart: bool) -> None:
    async with serve(by_quart=by_quart) as served, await served.connect() as stream:
        await stream.send_all(post("/heartbeat", HEARTBEAT, *lines))
        assert status_of(await read_answer(stream)) == 431
        assert beats(served) == 0
        await assert_well(served)


async def test_headers_of_http_2_that_unfold_to_megabytes_end_their_connection() -> None:
    async with serve() as served, await served.connect() as stream:
        client = Http2(stream)
        # Once in the table, each repetition is one byte on the wire.
        bomb = (b"x-bomb", b"y" * 4_000)
        client.frames.max_outbound_frame_size = HEAD_BYTES_MAX
        client.ask(1, b"/service", *([bomb] * 1_000))
        await client.send()
        assert b"200" not in await read_all(stream)
        await assert_well(served)


async def test_headers_of_http_2_without_end_end_their_connection() -> None:
    async with serve() as served, await served.connect() as stream:
        client = Http2(stream)
        await client.send()
        headers_without_end = bytes.fromhex("000001010000000001") + b"\x82"
        continuation = bytes.fromhex("000001090000000001") + b"\x82"
        await stream.send_all(headers_without_end + continuation * 1_000)
        await read_all(stream)
        await assert_well(served)


async def test_a_chunked_body_without_end_is_a_413_and_not_read_for_ever() -> None:
    sent = 0

    async def go_on(stream: trio.SocketStream) -> None:
        nonlocal sent
        chunk = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
        while True:
            try:
                await stream.send_all(chunk)
            except trio.BrokenResourceError:
                return
            sent += len(chunk)

    async with serve() as served, await served.connect() as stream:
        await stream.send_all(b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_on, stream)
            assert status_of(await read_answer(stream)) == 413
        assert sent < 4 * BODY_DISCARD_MAX
        await assert_well(served)


# ------------------------------------------------------------------------------------------------------------- crowds


async def _nothing(stream: trio.SocketStream) -> None:
    await stream.send_all(b"")


async def _half_a_head(stream: trio.SocketStream) -> None:
    await stream.send_all(b"POST /heartbeat HTTP/1.1\r\nHost: ")


async def _half_a_body(stream: trio.SocketStream) -> None:
    await stream.send_all(post("/heartbeat", HEARTBEAT)[:-1])


async def _half_a_head_of_hypercorns(stream: trio.SocketStream) -> None:
    await stream.send_all(b"PUT /x HTTP/1.1\r\n")


async def _half_a_body_of_hypercorns(stream: trio.SocketStream) -> None:
    await stream.send_all(post("/service", b"{")[:-1])


async def _kept_after_a_heartbeat(stream: trio.SocketStream) -> None:
    await stream.send_all(post("/heartbeat", HEARTBEAT))
    await read_answer(stream)


async def _kept_after_a_listing(stream: trio.SocketStream) -> None:
    await stream.send_all(get("/service?limit=1"))
    await read_answer(stream)


async def _http_2(stream: trio.SocketStream) -> None:
    await Http2(stream).send()
    await stream.receive_some()


def _waiting(served: Served) -> int:
    return len([*served.server._lane.waiting(), *served.server._hypercorn.waiting()])


@pytest.mark.parametrize(
    "begin",
    [
        _nothing, _half_a_head, _half_a_body, _half_a_head_of_hypercorns, _half_a_body_of_hypercorns,
        _kept_after_a_heartbeat, _kept_after_a_listing, _http_2,
    ],
)  # fmt: skip
async def test_connections_that_wait_for_their_clients_give_way(begin: object) -> None:
    async with serve(connections_max=20) as served, await served.connect() as busy:
        crowd = [await served.connect() for _ in range(19)]
        for stream in crowd:
            await begin(stream)  # type: ignore[operator]  # one of those above
        await until(lambda: _waiting(served) == 20)
        served.world.journal.hold()
        count = beats(served)
        await busy.send_all(post("/heartbeat", HEARTBEAT))
        await until(lambda: beats(served) == count + 1)
        newcomers = []
        for taken in range(2, 21):  # one that has sent nothing yet waits for its client as well, and might give way
            newcomers.append(await served.connect())
            await newcomers[-1].send_all(post("/heartbeat", HEARTBEAT))
            await until(lambda taken=taken: beats(served) == count + taken)
        served.world.journal.release()
        for stream in (busy, *newcomers):
            assert status_of(await read_answer(stream)) == 201
        found = served.server.statistics()
        assert (found.refused, found.gave_way) == (0, 19)
        for stream in (*crowd, *newcomers):
            await trio.aclose_forcefully(stream)
        await assert_well(served)
