"""The framing beside h11: whatever bytes come, however cut, the lane takes nothing that h11 reads otherwise."""

from __future__ import annotations

import h11
from hypothesis import given
from hypothesis import strategies as st

from medic.http.framing import Framing, HotHead, HotRoute, Verdict

ROUTES = (
    HotRoute(("POST",), "/heartbeat", 64),
    HotRoute(("POST",), "/v2/heartbeats", 64),
    HotRoute(("GET", "HEAD", "POST"), "/heartbeat/{heartbeat_name}", 64),
)

METHODS = ["POST", "GET", "HEAD", "PUT", "post", "POST ", ""]
TARGETS = [
    "/heartbeat", "/v2/heartbeats", "/heartbeat/x", "/heartbeat/a%2Fb?status=UP", "/heartbeat/%zz", "/heartbeat/", "*",
    "/heartbeat?x", "http://medic/heartbeat", "/service", "/heartbeat/\x80", "/heartbeat/x#y", "/heartbeat/ x",
]  # fmt: skip
VERSIONS = ["HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 ", ""]
LINES = [
    "Host: medic", "host:medic", "Host : medic", "Content-Length: 5", "Content-Length: 5", "content-length:5 ",
    "Content-Length: 05", "Content-Length: 5,5", "Content-Length: 0x5", "Content-Length: 6", "Content-Length:",
    "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Connection: close", "Connection: keep-alive",
    "Connection: CLOSE", "Connection: upgrade", "Expect: 100-continue", "Upgrade: h2c", "X-A: b", "X-A:", " folded",
    "\tfolded", "X\x00: y", "X: \x00", "X: a\rb", "X: a\nTransfer-Encoding: chunked", ": x",
    "X-Forwarded-For: 192.0.2.1", "Accept: */*", "Cookie: \xe4", "X: " + "x" * 300,
]  # fmt: skip
BYTES = [b"", b"\r", b"\n", b"\r\n", b" ", b":", b"\x00", b"\xff", b"5"]
ENDS = ["\r\n", "\r\n", "\r\n", "\r\n", "\n"]


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A request that is often right, and often nearly."""
    plain = draw(st.booleans())
    method = "POST" if plain else draw(st.sampled_from(METHODS))
    target = draw(st.sampled_from(TARGETS[:4] if plain else TARGETS))
    version = draw(st.sampled_from(VERSIONS[:2] if plain else VERSIONS))
    lines = draw(st.lists(st.sampled_from(LINES), max_size=4))
    if draw(st.integers(0, 9)):
        lines.insert(0, "Host: medic")
    end = "\r\n" if plain else draw(st.sampled_from(ENDS))
    return end.join(
        [f"{method} {target} {version}", *lines, "", draw(st.sampled_from(["", "hello", "hello!"]))]
    ).encode("latin-1")


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Some requests behind each other, a few of their bytes changed, taken out or put in."""
    received = bytearray(b"".join(draw(st.lists(messages(), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(received)))
        cut = draw(st.integers(0, 2))
        received[place : place + cut] = draw(
            st.sampled_from([b"", b"\r", b"\n", b"\r\n", b" ", b":", b"\x00", b"\xff", b"5"])
        )
    return bytes(received)


def read_by_h11(received: bytes) -> tuple[h11.Request, bytes, bool, int]:
    """Request, body, whether the connection ends behind it, and how many bytes it took; raises what h11 raises."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=16 << 10)
    connection.receive_data(received)
    request = connection.next_event()
    assert isinstance(request, h11.Request), request
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage), event
    return request, body, connection.their_state is h11.MUST_CLOSE, len(received) - len(connection.trailing_data[0])


def take_all(received: bytes, framing: Framing) -> list[tuple[HotHead, bytes]]:
    """What the lane would take of these bytes."""
    taken, begin = [], 0
    while isinstance(head := framing.head(received, begin), HotHead) and len(received) - begin >= head.whole:
        taken.append((head, received[begin : begin + head.whole]))
        begin += head.whole
    return taken


@given(mutated())
def test_what_the_lane_takes_h11_reads_the_same(received: bytes) -> None:
    begin = 0
    for head, message in take_all(received, Framing(ROUTES)):
        request, body, closes, length = read_by_h11(received[begin:])
        begin += head.whole
        target = head.route.path.partition("{")[0] + head.place
        assert request.method == head.method.encode()
        assert request.target.partition(b"?")[::2] == (target.encode(), head.query)
        assert body == message[head.length :]
        assert (closes, length) == (head.closes, head.whole)
        headers = dict(request.headers)
        assert not headers.keys() & {b"transfer-encoding", b"expect", b"upgrade"}
        forwarded = [value.decode() for name, value in request.headers if name == b"x-forwarded-for"]
        assert list(head.forwarded_for) == forwarded


@given(mutated(), st.data())
def test_however_the_bytes_are_cut_the_verdict_is_the_same(received: bytes, drawn: st.DataObject) -> None:
    framing = Framing(ROUTES)
    whole = framing.head(received)
    cut = drawn.draw(st.integers(0, len(received)))
    part = framing.head(received[:cut])
    # More bytes decide what was open, and change nothing that was decided.
    assert part in (whole, Verdict.NEED_MORE)
    if whole is Verdict.NEED_MORE:
        assert part is Verdict.NEED_MORE


@given(st.binary(max_size=200))
def test_no_bytes_upset_it(received: bytes) -> None:
    assert not isinstance(Framing(ROUTES).head(received), HotHead)
