"""The express lane over TLS: the same framing and the same functions, one task a connection.

Encrypting a heartbeat costs more than everything the selector of `express_lane.py` saves, and a TLS stream cannot be
read without one that waits. So a connection over TLS has a task, its requests are answered one after the other, and
what is not hot is passed on to Hypercorn with the stream as it is. HTTP/2 is passed on at once.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
import trio

from medic.http.answers import SAFETY_HEADERS
from medic.http.crowd import Waiting
from medic.http.framing import Framing, HotHead, HotRoute, Verdict
from medic.http.headers import OVER_TLS
from medic.http.hot_routes import HOT_ROUTES, Take, refuse_late
from medic.http.limits import (
    HANDSHAKE_SECONDS_MAX,
    KEEP_ALIVE_REQUESTS_MAX,
    KEEP_ALIVE_SECONDS,
    LANE_RECEIVE_BYTES,
    REQUEST_SECONDS_MAX,
    WRITE_SECONDS_MAX,
)
from medic.http.parts import ApiParts
from medic.http.recognition import address_of
from medic.http.wire import Wire

_log = structlog.get_logger(__name__)

HTTP2: Final = "h2"

TlsStream = trio.SSLStream[trio.SocketStream]

PassOn = Callable[[TlsStream, str, bytes], Awaitable[None]]
"""Serves a connection that is not the lane's, with its peer's address and the bytes that were read of it."""


@dataclass(slots=True)
class _Client:
    """The other end of a connection.

    Attributes:
        peer: Its address.
        patient_until: Instant of trio's clock until which it has time for what it is at; None: nobody waits for it.
    """

    peer: str
    patient_until: float | None = None

    @contextmanager
    def has_until(self, instant: float) -> Iterator[trio.CancelScope]:
        """Within, the client is waited for, until then at the most."""
        self.patient_until = instant
        with trio.move_on_at(instant) as scope:
            yield scope
        self.patient_until = None


class StreamLane:
    """Answers hot requests of connections over TLS.

    Args:
        parts: What the API is built from.
        context: Certificate and key.
        pass_on: Serves what is Hypercorn's.
        routes: The table; an empty one passes everything on.
    """

    def __init__(
        self, parts: ApiParts, context: ssl.SSLContext, *, pass_on: PassOn, routes: Mapping[HotRoute, Take] = HOT_ROUTES
    ) -> None:
        self._parts = parts
        self._context = context
        self._pass_on = pass_on
        self._routes = routes
        self._framing = Framing(tuple(routes))
        self._wire = Wire(parts.clock, (*SAFETY_HEADERS, *OVER_TLS))
        self._open: dict[trio.SocketStream, _Client] = {}
        self._waiting: set[trio.CancelScope] = set()
        self._all_ended = trio.Event()
        self._draining = False
        self._crashed = 0

    async def serve(self, transport: trio.SocketStream, peer: str) -> None:
        """Serve one connection until it ends or is passed on. Never raises because of it."""
        client = self._open[transport] = _Client(peer)
        stream = trio.SSLStream(transport, self._context, server_side=True, https_compatible=True)
        rest: bytes | None = None
        try:
            with client.has_until(trio.current_time() + HANDSHAKE_SECONDS_MAX) as scope:
                await stream.do_handshake()
            if not scope.cancelled_caught:
                rest = b"" if stream.selected_alpn_protocol() == HTTP2 else await self._converse(stream, client)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            rest = None
        except Exception as error:  # noqa: BLE001 - for connections this is the supervisor
            self._crashed += 1
            _log.error("a connection of the express lane ended by a fault of ours", exc_info=error)
        finally:
            self._open.pop(transport, None)
            if rest is None:
                transport.socket.close()
            if self._draining and not self._open:
                self._all_ended.set()
        if rest is not None:
            await self._pass_on(stream, peer, rest)

    async def _converse(self, stream: TlsStream, client: _Client) -> bytes | None:
        """Answer request after request. The bytes of one that is Hypercorn's; None at the end."""
        received = bytearray()
        requests = 0
        while isinstance(head := await self._receive_head(stream, client, received), HotHead):
            if not await self._receive_body(stream, client, received, head):
                return None
            body = bytes(received[head.length : head.whole])
            del received[: head.whole]
            requests += 1
            last = head.closes or requests >= KEEP_ALIVE_REQUESTS_MAX
            if await self._answer(stream, client, head, body, last=last):
                return None
        return bytes(received) or None

    async def _receive_head(self, stream: TlsStream, client: _Client, received: bytearray) -> HotHead | Verdict:
        """Receive a head, `REQUEST_SECONDS_MAX` from its first byte. Another verdict: no hot one came.

        Nothing is left in `received` where it was too late, or Medic drains.
        """
        until = trio.current_time() + (REQUEST_SECONDS_MAX if received else KEEP_ALIVE_SECONDS)
        while (head := self._framing.head(bytes(received))) is Verdict.NEED_MORE:
            was_idle = not received
            if not await self._receive_piece(stream, client, received, until):
                break
            if was_idle:
                until = trio.current_time() + REQUEST_SECONDS_MAX
        return head

    async def _receive_piece(self, stream: TlsStream, client: _Client, received: bytearray, until: float) -> bool:
        """Receive more of a head. False: the client sends no more, or it is too late, or Medic drains."""
        piece = b""
        with client.has_until(until) as scope:
            if self._draining:
                scope.cancel()
            self._waiting.add(scope)
            try:
                piece = bytes(await stream.receive_some(LANE_RECEIVE_BYTES))
            finally:
                self._waiting.discard(scope)
        if scope.cancelled_caught:
            received.clear()
        received += piece
        return bool(piece)

    async def _receive_body(self, stream: TlsStream, client: _Client, received: bytearray, head: HotHead) -> bool:
        """Receive the rest of a body. False: it did not come."""
        with client.has_until(trio.current_time() + REQUEST_SECONDS_MAX) as scope:
            while len(received) < head.whole:
                piece = await stream.receive_some(LANE_RECEIVE_BYTES)
                if not piece:
                    return False
                received += piece
        if scope.cancelled_caught:
            await self._send(stream, client, self._wire.write(refuse_late(self._parts, head), closes=True))
            return False
        return True

    async def _answer(self, stream: TlsStream, client: _Client, head: HotHead, body: bytes, *, last: bool) -> bool:
        """Answer one request; whether the connection ends behind it."""
        began = trio.current_time()
        answer = await self._routes[head.route](self._parts, head, body, address_of(self._parts, head, client.peer))
        closes = last or self._draining
        await self._send(stream, client, self._wire.write(answer, closes=closes, bodiless=head.method == "HEAD"))
        self._parts.meter.observe(head.method, head.route.path, answer.status, trio.current_time() - began)
        return closes

    async def _send(self, stream: TlsStream, client: _Client, piece: bytes) -> None:
        with client.has_until(trio.current_time() + WRITE_SECONDS_MAX) as scope:
            await stream.send_all(piece)
        if scope.cancelled_caught:
            raise trio.TooSlowError

    async def drain(self) -> None:
        """End what stands between two requests, and return once everything has ended."""
        self._draining = True
        for scope in tuple(self._waiting):
            scope.cancel()
        if self._open:
            await self._all_ended.wait()

    def cut(self) -> None:
        """Close at once what is left."""
        for transport in tuple(self._open):
            transport.socket.close()

    def waiting(self) -> Iterator[Waiting]:
        """Connections at which nothing is done but waiting for their clients."""
        for transport, client in tuple(self._open.items()):
            if client.patient_until is not None:
                yield Waiting(client.peer, client.patient_until, partial(self._give_way, transport))

    def _give_way(self, transport: trio.SocketStream) -> None:
        """Make room for another: it counts no longer, though its task has yet to notice."""
        transport.socket.close()
        del self._open[transport]

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._open)

    @property
    def crashed(self) -> int:
        """How many connections ended by a fault of ours."""
        return self._crashed
