"""Where a hot request begins and ends, and whether it is one: bytes in, a verdict out. Knows no socket and no clock.

The express lane answers a few requests itself and leaves all others to Hypercorn, so everything depends on one
question, asked again for each message of a connection: is this exactly one of ours? Two readers that frame the same
bytes differently are how requests are smuggled. So the lane decides by a grammar of its own that is narrower than that
of either reader behind it: what it takes, h11 would have taken, with the same end, and what h11 would refuse, it never
takes. Whatever is only unusual (chunked, `Expect`, an absolute target, a folded line, a bare line feed, two lengths,
HTTP/2) is not refused here either. It goes to Hypercorn from the message's first byte on, which answers as it always
did, refusals included. That is why there are three verdicts and none of them is "refuse":

    NEED_MORE     what is there may become a hot request; read on
    HAND_OVER     it is none: this byte and all that follow are Hypercorn's
    a HotHead     a head whose end, and whose body's length, are known; with `whole` bytes there the request is whole

A hot request has a method and path of the table, HTTP/1.0 or 1.1, one Host, one numeric Content-Length within its
route's limit or none, no Transfer-Encoding, Expect, Upgrade or Webhook-Signature (which is verified over the body), no
Connection but `close` and `keep-alive`, no Origin or Sec-Fetch-Site (a browser sends those, and its answers have
headers of their own), and a head of at most `LANE_HEAD_BYTES_MAX` bytes of printable ASCII. The head, and nothing
behind it, is then read by httptools.
It could not frame for us: it takes requests without a Host or with two, a head of 200 kB, and says of pipelined
requests not where one ends (HARD-CASES H26). Here it is a second opinion and reads what the answer needs of the rest.

Clients say the same thing again: the head of a fleet's heartbeats differs in its Content-Length at most. So heads are
remembered by their bytes, a bounded number of them, and one that is known costs a search for its end and a look-up:
0.3 µs in place of 11. A client that never repeats itself (a trace id a request) pays the 11; it can crowd out others'
heads and then they pay them too. What is remembered is a pure function of the bytes, so it can be forgotten any time.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import httptools

from medic.access.introduction import RELAY_HEADERS, Introduction
from medic.http.limits import LANE_HEAD_BYTES_MAX, LANE_HEAD_KNOWN_BYTES_MAX, LANE_HEADS_KNOWN_MAX


class Verdict(Enum):
    """What is not a hot request, or not yet."""

    NEED_MORE = auto()
    HAND_OVER = auto()


@dataclass(frozen=True, slots=True)
class HotRoute:
    """A route of the lane.

    Attributes:
        methods: Those it takes.
        path: As in the table of routes; one that ends in a place has the place's value in `HotHead.place`.
        body_bytes_max: Longest body; a longer one is Hypercorn's to refuse.
        sampled: It stands for the route of the same path, for requests whose sender has them traced.
    """

    methods: tuple[str, ...]
    path: str
    body_bytes_max: int
    sampled: bool = False

    @property
    def has_place(self) -> bool:
        """Whether the path ends in a place."""
        return self.path.endswith("}")

    @property
    def beginnings(self) -> tuple[bytes, ...]:
        """How its requests begin, up to the place or the end of the target."""
        fixed = self.path.partition("{")[0]
        end = "" if self.has_place else " "
        return tuple(f"{method} {fixed}{end}".encode() for method in self.methods)


@dataclass(frozen=True, slots=True)
class HotHead:
    """The head of a hot request.

    Attributes:
        route: Which one.
        method: GET, HEAD or POST.
        length: Bytes of the head, the empty line included.
        whole: Bytes of head and body.
        closes: Whether the client wants the connection to end after the answer.
        place: What stands in the path's place, still percent-encoded; empty where there is none.
        query: The query string.
        idempotency_key: That header, empty where it was not sent.
        forwarded_for, forwarded: `X-Forwarded-For` and `Forwarded`, in order.
        is_direct: Whether there is none of these.
        introduction: What the head says of its sender; the same object for as long as it says the same.
        traceparent: That header, empty where it was not sent.
    """

    route: HotRoute
    method: str
    length: int
    whole: int
    closes: bool
    place: str
    query: bytes
    idempotency_key: str
    forwarded_for: tuple[str, ...]
    forwarded: tuple[str, ...]
    is_direct: bool
    introduction: Introduction
    traceparent: str = ""


_HEAD: Final = re.compile(
    rb"(GET|HEAD|POST) (/[^ ?#]*)(?:\?([A-Za-z0-9\-._~%!$&'()*+,;=:@/?]*))? HTTP/1\.([01])\r\n"
    rb"(?:[-!#$%&'*+.^_`|~0-9A-Za-z]+:[\t\x20-\x7e]*\r\n)+\r\n"
)
_FRAMING: Final = re.compile(
    rb"\r\n(host|content-length|connection|transfer-encoding|expect|upgrade|webhook-signature):"
    rb"[ \t]*([^\r]*?)[ \t]*(?=\r)",
    re.IGNORECASE,
)
_PLACE: Final = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})+")
_LENGTH: Final = re.compile(rb"[0-9]{1,9}")
_OF_BROWSERS: Final = frozenset({"origin", "sec-fetch-site"})
_SAMPLED: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f][13579bdf]")
_CLOSES: Final = {b"close": True, b"keep-alive": False}


class Framing:
    """Frames the requests of a table of hot routes. Cost: 0.3 µs for a head that is known, 11 for another.

    Args:
        routes: The table; an empty one hands over everything.
    """

    def __init__(self, routes: tuple[HotRoute, ...]) -> None:
        plain = [route for route in routes if not route.sampled]
        self._beginnings = tuple((beginning, route) for route in plain for beginning in route.beginnings)
        self._sampled = {route.path: route for route in routes if route.sampled}
        self._known: dict[bytes, HotHead] = {}
        self._introductions: dict[Introduction, Introduction] = {}

    def head(self, received: bytes, begin: int = 0) -> HotHead | Verdict:
        """The head of the message that begins at `begin`, or why there is none."""
        end = received.find(b"\r\n\r\n", begin, begin + LANE_HEAD_BYTES_MAX) + 4
        if end < 4:
            return self._unfinished(received[begin : begin + LANE_HEAD_BYTES_MAX])
        head = received[begin:end]
        known = self._known.get(head)
        return known if known is not None else self._read(head)

    def _unfinished(self, part: bytes) -> Verdict:
        """Whether the beginning of a head may still become that of a hot request."""
        if len(part) >= LANE_HEAD_BYTES_MAX or part.count(b"\n") != part.count(b"\r\n"):
            return Verdict.HAND_OVER
        if any(part.startswith(beginning[: len(part)]) for beginning, _ in self._beginnings):
            return Verdict.NEED_MORE
        return Verdict.HAND_OVER

    def _read(self, head: bytes) -> HotHead | Verdict:
        route = next((route for beginning, route in self._beginnings if head.startswith(beginning)), None)
        match = _HEAD.fullmatch(head)
        if route is None or match is None:
            return Verdict.HAND_OVER
        method, path, query, minor = match.groups(b"")
        place = path[path.rindex(b"/") + 1 :] if route.has_place else b""
        if route.has_place and not (path == _fixed(route) + place and _PLACE.fullmatch(place)):
            return Verdict.HAND_OVER
        framing = _framing(head, is_old=minor == b"0")
        if framing is None or framing.length > route.body_bytes_max:
            return Verdict.HAND_OVER
        headers = _Headers.read(head)
        if headers is None or headers.are_a_browsers:
            return Verdict.HAND_OVER
        traceparent = headers.first("traceparent")
        if _SAMPLED.fullmatch(traceparent) is not None:
            route = self._sampled.get(route.path, route)
        is_short = len(head) <= LANE_HEAD_KNOWN_BYTES_MAX
        hot = HotHead(
            route=route,
            method=method.decode(),
            length=len(head),
            whole=len(head) + framing.length,
            closes=framing.closes,
            place=place.decode(),
            query=query,
            idempotency_key=headers.first("idempotency-key"),
            forwarded_for=headers.all("x-forwarded-for"),
            forwarded=headers.all("forwarded"),
            is_direct=not (headers.all("x-forwarded-for") or headers.all("forwarded")),
            introduction=self._same(headers.introduction) if is_short else headers.introduction,
            traceparent=traceparent,
        )
        if is_short:
            self._remember(head, hot)
        return hot

    def _remember(self, head: bytes, hot: HotHead) -> None:
        # Forgetting all of them costs less than knowing which one to forget; a fleet's heads are back in a second.
        if len(self._known) >= LANE_HEADS_KNOWN_MAX:
            self._known.clear()
        self._known[head] = hot

    def _same(self, introduction: Introduction) -> Introduction:
        """The object that stood for an equal introduction before.

        Heads of one client differ in their lengths: whoever remembers the client compares objects, and no text.
        """
        if len(self._introductions) >= LANE_HEADS_KNOWN_MAX:
            self._introductions.clear()
        return self._introductions.setdefault(introduction, introduction)


@dataclass(frozen=True, slots=True)
class _Lines:
    """What the framing lines of a head say."""

    length: int
    closes: bool


def _fixed(route: HotRoute) -> bytes:
    return route.path.partition("{")[0].encode()


def _framing(head: bytes, *, is_old: bool) -> _Lines | None:
    """What the framing lines say, or None where they say anything but the plainest."""
    lines: dict[bytes, bytes] = {}
    for name, value in _FRAMING.findall(head):
        key = name.lower()
        if key in lines:
            return None
        lines[key] = value
    length = lines.pop(b"content-length", b"0")
    wish = lines.pop(b"connection", b"keep-alive").lower()
    # Host alone is left: no Transfer-Encoding, no Expect, no Upgrade; no signature, which is verified over the body.
    if lines.keys() != {b"host"} or _LENGTH.fullmatch(length) is None or wish not in _CLOSES:
        return None
    return _Lines(int(length), is_old or _CLOSES[wish])


class _Headers:
    """The headers of one head, as httptools reads them."""

    def __init__(self) -> None:
        self._lines: list[tuple[str, str]] = []

    @classmethod
    def read(cls, head: bytes) -> _Headers | None:
        """The headers, or None where httptools refuses the head."""
        headers = cls()
        try:
            httptools.HttpRequestParser(headers).feed_data(head)
        except httptools.HttpParserError:
            return None
        return headers

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by httptools for each line."""
        self._lines.append((name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")))

    def first(self, name: str) -> str:
        """The first value of that name, or the empty string."""
        return next(iter(self.all(name)), "")

    @property
    def introduction(self) -> Introduction:
        """What they say of who sends them."""
        return Introduction(
            authorization=self.all("authorization"),
            api_key=self.all("x-api-key"),
            host=self.first("host"),
            is_relayed=self.has_any(RELAY_HEADERS),
        )

    @property
    def are_a_browsers(self) -> bool:
        """Whether a web page may have sent them: that is judged in one place, the other way."""
        return self.has_any(_OF_BROWSERS)

    def has_any(self, names: AbstractSet[str]) -> bool:
        """Whether one of these is there."""
        return any(name in names for name, _ in self._lines)

    def all(self, name: str) -> tuple[str, ...]:
        """All values of that name, in order."""
        return tuple(value for known, value in self._lines if known == name)
