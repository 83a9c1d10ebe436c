"""What is refused below the application: a head that h11 does not take, a length said twice. In JSON, and read."""

from __future__ import annotations

import json

import pytest
import trio

from medic.http.limits import HEAD_BYTES_MAX
from tests.contract.served import HEARTBEAT, get, post, read_all, serve, status_of
from tests.patience import PATIENCE_SECONDS

CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(HEARTBEAT), HEARTBEAT)


def assert_refused(answer: bytes, status: int, message: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert status_of(answer) == status
    assert b"content-type: application/json" in head.lower()
    assert b"connection: close" in head.lower()
    assert b"content-length: %d" % len(body) in head.lower()
    assert json.loads(body) == {"success": False, "message": message, "results": ""}


@pytest.mark.parametrize(
    ("request_bytes", "status", "message"),
    [
        (b"GET\r\n\r\n", 400, "This is no well-formed HTTP request."),
        (b"POST /heartbeat HTTP/1.1\r\n\r\n", 400, "This is no well-formed HTTP request."),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "This is no well-formed HTTP request."),
        (post("/heartbeat", HEARTBEAT, "Content-Length: 6"), 400, "This is no well-formed HTTP request."),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "This is no well-formed HTTP request."),
        (
            get("/health", "X: " + "x" * 300_000),
            431,
            f"The request line and the headers are too long: {HEAD_BYTES_MAX} bytes at most.",
        ),
        (
            b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
            501,
            "The only Transfer-Encoding there is, is chunked.",
        ),
    ],
)
async def test_what_h11_refuses_is_refused_in_json(request_bytes: bytes, status: int, message: str) -> None:
    async with serve() as served:
        assert_refused(await served.exchange(request_bytes), status, message)


async def test_a_body_whose_chunks_break_off_is_refused_once_though_its_request_was_begun() -> None:
    async with serve() as served:
        answer = await served.exchange(
            b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n"
        )
        assert_refused(answer, 400, "This is no well-formed HTTP request.")
        assert served.world.directory.find("job").heartbeats_total == 0


async def test_a_broken_request_after_a_good_one_does_not_touch_the_answer_before_it() -> None:
    async with serve() as served:
        answer = await served.exchange(post("/heartbeat", HEARTBEAT) + b"nonsense\r\n\r\n")
        first, _, second = answer.partition(b'"results":""}')
        assert status_of(first) == 201
        assert_refused(second, 400, "This is no well-formed HTTP request.")


@pytest.mark.parametrize("content_length", ["0", str(len(HEARTBEAT)), str(len(CHUNKED))])
async def test_transfer_encoding_beside_content_length_is_refused_and_ends_the_connection(content_length: str) -> None:
    head = f"POST /heartbeat HTTP/1.1\r\nHost: x\r\nContent-Length: {content_length}\r\nTransfer-Encoding: chunked"
    async with serve() as served:
        answer = await served.exchange(head.encode() + b"\r\n\r\n" + CHUNKED + post("/heartbeat", HEARTBEAT))
        assert_refused(answer, 400, "A request has either Content-Length or Transfer-Encoding, never both.")
        assert served.world.directory.find("job").heartbeats_total == 0
        assert served.server.statistics().crashed == 0


async def test_transfer_encoding_in_http_1_0_is_refused() -> None:
    async with serve() as served:
        head = b"POST /heartbeat HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = await served.exchange(head + CHUNKED)
        assert_refused(answer, 400, "HTTP/1.0 has no Transfer-Encoding: send Content-Length.")
        assert served.world.directory.find("job").heartbeats_total == 0


async def test_a_handshake_that_is_no_websocket_is_refused_in_json() -> None:
    async with serve() as served, await served.connect() as stream:
        await stream.send_all(get("/heartbeat", "Connection: Upgrade", "Upgrade: websocket"))
        await stream.send_eof()
        assert_refused(await read_all(stream), 400, "This is no well-formed HTTP request.")


async def test_a_refusal_is_read_by_a_client_that_goes_on_writing() -> None:
    async with serve() as served, await served.connect() as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, get("/health", "X: " + "x" * 4_000_000)[:-4])
            with trio.fail_after(PATIENCE_SECONDS):
                answer = await stream.receive_some()
        assert status_of(answer) == 431


async def test_a_refusal_of_the_application_is_left_alone() -> None:
    async with serve() as served:
        answer = await served.exchange(get("/nowhere", "Connection: close"))
        assert status_of(answer) == 404
        assert b"There is nothing at this path" in answer
        assert b"x-content-type-options: nosniff" in answer.lower()
