"""The same bytes to the lane and to Hypercorn with Quart: never two different answers, and never a crash.

Requests that are right, nearly right and mutilated, several on a connection, cut anywhere. What the lane takes, and
what it hands over in the midst of a connection, has to be answered as Hypercorn answers all of it.

One thing is left out, because there h11 errs: bytes behind a request that ends the connection make it answer 400 in
place of the request's own answer. The lane passes over them (RFC 9112, 9.6).
"""

from __future__ import annotations

from unittest import mock

import trio
import trio.testing
from hypothesis import example, given
from hypothesis import strategies as st

from medic.http.framing import Framing, HotHead
from medic.http.hot_routes import HOT_ROUTES
from tests.contract.served import HEARTBEAT, Served, get, post, serve

Exchange = tuple[int, bytes, bytes]
"""Status, Content-Type and body."""

LAST = [
    post("/heartbeat", HEARTBEAT, "Connection: close"),
    post("/heartbeat", HEARTBEAT, version="1.0"),
    get("/heartbeat/job", "Connection: close"),
    get("/health/live", "Connection: close"),
]

REQUESTS = [
    post("/heartbeat", HEARTBEAT),
    post("/heartbeat", HEARTBEAT, "Idempotency-Key: k"),
    post("/heartbeat", b'{"heartbeat_name":"typo","status":"UP"}'),
    post("/heartbeat", b'{"heartbeat_name":"job","status":"UP","host":"web-1"}'),
    post("/heartbeat", b"{"),
    post("/heartbeat", b""),
    post("/heartbeat?x=1", HEARTBEAT),
    post("/heartbeat", HEARTBEAT, "Origin: http://evil.example"),
    post("/heartbeat", HEARTBEAT, "X-API-Key: mdk_wrong"),
    post("/heartbeat", HEARTBEAT, "X-Forwarded-For: 192.0.2.1"),
    get("/heartbeat/job", "Sec-Fetch-Site: cross-site"),
    get("/heartbeat/job", "Authorization: Basic !"),
    post("/heartbeat", HEARTBEAT, "Expect: nothing"),
    post("/heartbeat", HEARTBEAT, "Host: again"),
    post("/heartbeat", HEARTBEAT, "Content-Length: 5"),
    post("/heartbeat", HEARTBEAT, "X-Folded: a", " b"),
    b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    % (len(HEARTBEAT), HEARTBEAT),
    post("/v2/heartbeats", b"[" + HEARTBEAT + b",{}]"),
    post("/v2/heartbeats", HEARTBEAT + b"\n" + HEARTBEAT),
    post("/v2/heartbeats", b""),
    get("/heartbeat/job"),
    get("/heartbeat/job?status=DOWN&run_id=7"),
    get("/heartbeat/job?status="),
    get("/heartbeat/%6Aob"),
    get("/heartbeat/a%2Fb"),
    get("/heartbeat/%ff"),
    get("/heartbeat/%zz"),
    get("/heartbeat/job?x=1"),
    get("/heartbeat/"),
    get("/heartbeat/a/b"),
    get("/heartbeat/job").replace(b"GET", b"HEAD"),
    get("/heartbeat/typo").replace(b"GET", b"HEAD"),
    post("/heartbeat/job", b"status=DOWN"),
    post("/heartbeat/job", b"some output of a job"),
    post("/heartbeat/job", b'{"status":7}'),
    get("/heartbeat/job").replace(b"GET", b"PUT"),
    get("/nowhere"),
]

PAUSE_SECONDS = 0.05
"""On a clock that goes on only while every task waits: an answer that comes at all is there within it."""

SETTLED_SECONDS = 0.02
"""Of the real clock: so long nothing happens before the other goes on. What goes over loopback has arrived by then."""

BYTES = [b"", b"\r\n", b"\n", b" ", b":", b"\x00", b"\xff", b"5", b"HTTP/1.1"]


@st.composite
def connections(draw: st.DrawFn) -> list[bytes]:
    """The pieces a client sends on one connection."""
    requests = draw(st.lists(st.sampled_from(REQUESTS), max_size=4))
    requests.append(draw(st.sampled_from(LAST)))
    sent = bytearray(b"".join(requests))
    if draw(st.booleans()):
        place = draw(st.integers(0, len(sent)))
        sent[place : place + draw(st.integers(0, 2))] = draw(st.sampled_from(BYTES))
    cuts = sorted(draw(st.lists(st.integers(0, len(sent)), max_size=3)))
    pieces = [bytes(sent[begin:end]) for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    return [piece for piece in pieces if piece]


def answers(received: bytes) -> list[Exchange]:
    """The answers of a connection.

    One without a body is followed by the next, or by nothing: which of the requests were HEAD cannot be told from what
    was sent, because a length that was mutilated lets others begin elsewhere.
    """
    found: list[Exchange] = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = 0 if rest.startswith(b"HTTP/1.") else int(lines.get(b"content-length", b"0"))
        body = rest[:length] if lines.get(b"content-type") == b"application/json" else b""
        received = rest[length:]
        is_probe = b'"alive"' in body
        found.append((int(head.split(b" ")[1]), lines.get(b"content-type", b""), b"" if is_probe else body))
    return found


async def ask(served: Served, pieces: list[bytes]) -> bytes:
    received = b""
    async with await served.connect() as stream:
        try:
            for piece in pieces:
                await stream.send_all(piece)
                await trio.testing.wait_all_tasks_blocked()
            while part := await stream.receive_some():
                received += part
        except trio.BrokenResourceError:
            pass  # it closed with bytes of ours unread
    return received


async def answered(pieces: list[bytes], *, by_quart: bool) -> list[Exchange]:
    """The answers, and behind them what the service knows of it all."""
    async with serve(by_quart=by_quart, patience=float("inf")) as served:
        found = answers(await ask(served, pieces))
        assert served.server.statistics().crashed == 0
        service = served.world.directory.find("job")
        return [*found, (service.heartbeats_total, b"", service.status.encode())]


def one_by_one(sent: bytes) -> list[bytes]:
    """The hot requests at the beginning, each by itself, and the rest."""
    framing, pieces, begin = Framing(tuple(HOT_ROUTES)), [], 0
    while isinstance(head := framing.head(sent, begin), HotHead) and len(sent) - begin >= head.whole:
        pieces.append(sent[begin : begin + head.whole])
        begin += head.whole
    return [*pieces, sent[begin:]] if begin < len(sent) else pieces


async def answered_one_by_one(sent: bytes) -> list[Exchange]:
    """What Hypercorn answers to a client that waits for each answer before it sends what follows."""
    async with serve(by_quart=True, patience=float("inf")) as served, await served.connect() as stream:
        received = b""
        try:
            for piece in one_by_one(sent):
                await stream.send_all(piece)
                await trio.sleep(PAUSE_SECONDS)
            while part := await stream.receive_some():
                received += part
        except trio.BrokenResourceError:
            pass
        service = served.world.directory.find("job")
        return [*answers(received), (service.heartbeats_total, b"", service.status.encode())]


async def both_ways(pieces: list[bytes]) -> None:
    lane = await answered(pieces, by_quart=False)
    # Of a request with nonsense behind it, Hypercorn answers the one or the other, as its tasks happen to run and as
    # the bytes happen to come. What the lane answered must be what it says to the same bytes, or to a client that waits
    # for each answer.
    said = await answered(pieces, by_quart=True)
    if lane != said:
        assert lane == await answered_one_by_one(b"".join(pieces))


IMPATIENT = {
    "medic.http.express_lane.REQUEST_SECONDS_MAX": 0.3,
    "medic.http.express_lane.KEEP_ALIVE_SECONDS": 0.3,
    "medic.http.express_lane.LANE_LOOK_SECONDS": 0.05,
    "medic.http.hypercorn_server.KEEP_ALIVE_SECONDS": 0.3,
    "medic.http.requests.BODY_SECONDS_MAX": 0.3,
    "medic.http.requests.LINGER_SECONDS": 0.3,
}
"""What a mutilated request waits for does not come: the clock need not jump often until it is given up on."""


@given(connections())
@example([b"POST /heartbeat HTTP/1.1\r\nHost: medic\r\nContent-Length: 38\r\n"])
def test_both_ways_answer_the_same(pieces: list[bytes]) -> None:
    patches = [mock.patch(name, seconds) for name, seconds in IMPATIENT.items()]
    for patch in patches:
        patch.start()
    try:
        trio.run(both_ways, pieces, clock=trio.testing.MockClock(autojump_threshold=SETTLED_SECONDS))
    finally:
        for patch in patches:
            patch.stop()
