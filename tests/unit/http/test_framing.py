"""Framing: which bytes are a hot request, where it ends, and that everything unusual is somebody else's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medic.http import framing
from medic.http.framing import Framing, HotHead, HotRoute, Verdict
from medic.http.limits import LANE_HEAD_BYTES_MAX

ONE = HotRoute(("POST",), "/heartbeat", 100)
NAMED = HotRoute(("GET", "HEAD", "POST"), "/heartbeat/{heartbeat_name}", 100)
ROUTES = (ONE, NAMED)

BODY = b'{"heartbeat_name":"x","status":"UP"}'


def head(*lines: str, request: str = "POST /heartbeat HTTP/1.1", host: str = "Host: medic") -> bytes:
    return "\r\n".join([request, *([host] if host else []), *lines, "", ""]).encode("latin-1")


def hot(received: bytes, begin: int = 0) -> HotHead:
    found = Framing(ROUTES).head(received, begin)
    assert isinstance(found, HotHead)
    return found


def verdict(received: bytes) -> HotHead | Verdict:
    return Framing(ROUTES).head(received)


def test_a_request_ends_where_its_length_says() -> None:
    message = head(f"Content-Length: {len(BODY)}") + BODY
    found = hot(message + b"POST /heart")
    assert (found.route, found.method, found.length, found.whole) == (
        ONE,
        "POST",
        len(message) - len(BODY),
        len(message),
    )
    assert not found.closes


def test_a_request_whose_sender_traces_it_is_set_apart_where_there_is_such_a_route() -> None:
    sampled = replace(ONE, sampled=True)
    kept, left = (f"00-{'1' * 32}-{'2' * 16}-{flags}" for flags in ("01", "00"))
    framing = Framing((*ROUTES, sampled))

    def route_of(text: str, request: str = "POST /heartbeat HTTP/1.1") -> HotRoute:
        found = framing.head(head(f"Traceparent: {text}", request=request))
        assert isinstance(found, HotHead)
        assert found.traceparent == text
        return found.route

    assert route_of(kept) is sampled
    assert [route_of(text) for text in (left, "nonsense", f"{kept}x")] == [ONE] * 3
    assert route_of(kept, "GET /heartbeat/x HTTP/1.1") is NAMED
    assert hot(head(f"Traceparent: {kept}")).route is ONE, "nobody traces"
    assert (hot(head()).traceparent, sampled.path) == ("", ONE.path)


def test_a_request_without_a_length_has_no_body() -> None:
    assert hot(head()).whole == len(head())


def test_a_pipelined_request_is_found_behind_the_first() -> None:
    first = head(f"Content-Length: {len(BODY)}") + BODY
    second = head("Connection: close")
    assert hot(first + second, len(first)).closes


@pytest.mark.parametrize(
    ("request_line", "line", "closes"),
    [
        ("POST /heartbeat HTTP/1.1", "Connection: close", True),
        ("POST /heartbeat HTTP/1.1", "connection:Close ", True),
        ("POST /heartbeat HTTP/1.1", "Connection: Keep-Alive", False),
        ("POST /heartbeat HTTP/1.0", "Accept: */*", True),
        ("POST /heartbeat HTTP/1.0", "Connection: keep-alive", True),
    ],
)
def test_whether_a_connection_goes_on_is_read_as_h11_reads_it(request_line: str, line: str, closes: bool) -> None:
    assert hot(head(line, request=request_line)).closes is closes


@pytest.mark.parametrize(
    ("method", "target", "place", "query"),
    [
        ("GET", "/heartbeat/nightly-backup", "nightly-backup", b""),
        ("HEAD", "/heartbeat/a%2Fb?status=DOWN&run_id=7", "a%2Fb", b"status=DOWN&run_id=7"),
        ("POST", "/heartbeat/%C3%BC?", "%C3%BC", b""),
        ("GET", "/heartbeat/a:b@c,d;e=f!", "a:b@c,d;e=f!", b""),
    ],
)
def test_a_name_stands_in_the_path_still_encoded(method: str, target: str, place: str, query: bytes) -> None:
    found = hot(head(request=f"{method} {target} HTTP/1.1"))
    assert (found.route, found.method, found.place, found.query) == (NAMED, method, place, query)


def test_what_an_answer_needs_of_the_headers_is_read() -> None:
    found = hot(
        head(
            "Idempotency-Key:  k-1 ",
            "Idempotency-Key: k-2",
            "X-Forwarded-For: 192.0.2.1, 192.0.2.2",
            "x-forwarded-for: 192.0.2.3",
            "Forwarded: for=192.0.2.4",
            "Cookie:",
        )
    )
    assert found.idempotency_key == "k-1"
    assert found.forwarded_for == ("192.0.2.1, 192.0.2.2", "192.0.2.3")
    assert found.forwarded == ("for=192.0.2.4",)


def test_a_head_says_who_sends_it_and_the_same_is_one_object() -> None:
    lines = ("Authorization: Bearer one", "authorization:  Basic two ", "X-API-Key: three")
    found = hot(head(*lines))
    assert found.introduction.authorization == ("Bearer one", "Basic two")
    assert found.introduction.api_key == ("three",)
    assert found.introduction.host
    assert not found.introduction.is_relayed
    framing = Framing(ROUTES)
    heads = [framing.head(head(*lines, f"X-Number: {number}")) for number in range(2)]
    assert isinstance(heads[0], HotHead)
    assert isinstance(heads[1], HotHead)
    assert heads[0] is not heads[1]
    assert heads[0].introduction is heads[1].introduction


@pytest.mark.parametrize("line", ["X-Forwarded-For: 192.0.2.1", "forwarded: x", "Via: 1.1 x", "X-REAL-IP: x"])
def test_a_head_says_that_a_proxy_stands_between(line: str) -> None:
    assert hot(head(line)).introduction.is_relayed


@pytest.mark.parametrize(
    "received",
    [
        pytest.param(head(request="GET /heartbeat HTTP/1.1"), id="another method"),
        pytest.param(head("Origin: http://medic"), id="a browser's"),
        pytest.param(head("sec-fetch-site: none"), id="a browser's without an origin"),
        pytest.param(head(request="POST /heartbeat?x=1 HTTP/1.1"), id="a query where there is none"),
        pytest.param(head(request="POST /Heartbeat HTTP/1.1"), id="another path"),
        pytest.param(head(request="POST http://medic/heartbeat HTTP/1.1"), id="an absolute target"),
        pytest.param(head(request="post /heartbeat HTTP/1.1"), id="small letters"),
        pytest.param(head(request="POST  /heartbeat HTTP/1.1"), id="two spaces"),
        pytest.param(head(request="POST /heartbeat HTTP/1.2"), id="a version to come"),
        pytest.param(head(request="POST /heartbeat HTTP/2.0"), id="HTTP/2"),
        pytest.param(head(request="GET /heartbeat/ HTTP/1.1"), id="no name"),
        pytest.param(head(request="GET /heartbeat/a/b HTTP/1.1"), id="a further place"),
        pytest.param(head(request="GET /heartbeat/a%2 HTTP/1.1"), id="half an encoding"),
        pytest.param(head(request="GET /heartbeat/a#b HTTP/1.1"), id="a fragment"),
        pytest.param(head(request='GET /heartbeat/a"b HTTP/1.1'), id="a quote"),
        pytest.param(head(request="GET /heartbeat/\xe4 HTTP/1.1"), id="no ASCII"),
        pytest.param(head(host=""), id="no Host"),
        pytest.param(head("Host: medic"), id="two Hosts"),
        pytest.param(head("Content-Length: 5", "Content-Length: 5") + b"hello", id="two lengths"),
        pytest.param(head("Content-Length: 5, 5") + b"hello", id="a list of lengths"),
        pytest.param(head("Content-Length: +5") + b"hello", id="a signed length"),
        pytest.param(head("Content-Length: -1"), id="a negative length"),
        pytest.param(head("Content-Length: 5 5") + b"hello", id="a length with a space"),
        pytest.param(head("Content-Length:"), id="an empty length"),
        pytest.param(head("Content-Length: 101") + b"x" * 101, id="a body too long"),
        pytest.param(head("Content-Length: 99999999999999999999"), id="a length beyond measure"),
        pytest.param(head("Transfer-Encoding: chunked"), id="chunked"),
        pytest.param(head("Transfer-Encoding: identity"), id="any encoding"),
        pytest.param(head("Expect: 100-continue"), id="Expect"),
        pytest.param(head("Upgrade: h2c"), id="Upgrade"),
        pytest.param(head("Webhook-Signature: v1,x"), id="Webhook-Signature"),
        pytest.param(head("webhook-SIGNATURE:"), id="empty Webhook-Signature"),
        pytest.param(head("Connection: Upgrade, HTTP2-Settings"), id="Connection: Upgrade"),
        pytest.param(head("Connection: close, keep-alive"), id="two wishes"),
        pytest.param(head("Connection: close", "Connection: close"), id="two Connections"),
        pytest.param(head("Content-Length : 5") + b"hello", id="a space before the colon"),
        pytest.param(head("X: a", " folded"), id="a folded line"),
        pytest.param(head("X: \xe4"), id="a value that is no ASCII"),
        pytest.param(head("X: a\x00b"), id="NUL"),
        pytest.param(head("X: a\rb"), id="a bare carriage return"),
        pytest.param(head("no colon"), id="no colon"),
        pytest.param(head(": nameless"), id="no name of a header"),
        pytest.param(head().replace(b"\r\n", b"\n"), id="bare line feeds"),
        pytest.param(head("A: b\nTransfer-Encoding: chunked"), id="a bare line feed within"),
        pytest.param(b"\r\n" + head(), id="an empty line before"),
        pytest.param(head("X: " + "x" * LANE_HEAD_BYTES_MAX), id="a head too long"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2 preface"),
        pytest.param(b"\x16\x03\x01\x02\x00", id="TLS"),
        pytest.param(b"G\x00", id="junk"),
    ],
)
def test_what_is_unusual_is_handed_over(received: bytes) -> None:
    assert verdict(received) is Verdict.HAND_OVER


@pytest.mark.parametrize("message", [head("Content-Length: 2") + b"{}", head(request="HEAD /heartbeat/x?y HTTP/1.0")])
def test_every_beginning_of_a_hot_head_needs_more(message: bytes) -> None:
    length = hot(message).length
    assert {verdict(message[:cut]) for cut in range(length)} == {Verdict.NEED_MORE}


def test_a_head_that_grows_beyond_its_limit_is_handed_over() -> None:
    endless = b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nX: " + b"x" * LANE_HEAD_BYTES_MAX
    assert verdict(endless[: LANE_HEAD_BYTES_MAX - 1]) is Verdict.NEED_MORE
    assert verdict(endless[:LANE_HEAD_BYTES_MAX]) is Verdict.HAND_OVER


def test_a_line_feed_that_ends_a_head_for_h11_does_not_keep_it_waiting() -> None:
    assert verdict(b"POST /heartbeat HTTP/1.1\nHost: x\n\n") is Verdict.HAND_OVER


def test_an_empty_table_hands_over_everything() -> None:
    assert Framing(()).head(head()) is Verdict.HAND_OVER
    assert Framing(()).head(b"P") is Verdict.HAND_OVER


def test_a_head_is_read_once_and_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "LANE_HEADS_KNOWN_MAX", 2)
    known = Framing(ROUTES)
    first = known.head(head("X: 1"))
    assert known.head(head("X: 1")) is first
    for number in range(2, 5):
        known.head(head(f"X: {number}"))
    assert known.head(head("X: 1")) == first
    long = head("X: " + "x" * framing.LANE_HEAD_KNOWN_BYTES_MAX)
    assert known.head(long) is not known.head(long)
    senders = [known.head(head(f"X-API-Key: {number}")) for number in range(4)]
    again = [known.head(head(f"X-API-Key: {number}")) for number in range(4)]
    assert senders == again
    assert len(known._introductions) <= 2


def test_what_httptools_refuses_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def __init__(self, protocol: object) -> None: ...

        def feed_data(self, head: bytes) -> None:
            raise framing.httptools.HttpParserInvalidMethodError("no")

    monkeypatch.setattr(framing.httptools, "HttpRequestParser", Refusing)
    assert verdict(head()) is Verdict.HAND_OVER
