"""Hypercorn, given connections one at a time, and drained without waiting for the idle ones.

The problem. `hypercorn.trio.serve` owns its listeners, so nothing could stand in front of it on the same port, and its
end depends on its clients. An idle HTTP/2 connection that never had a request is not known to be idle. A client that
does not read its answer holds a connection in a shielded send that no graceful timeout ends. Medic has to stop within
seconds whatever its clients do, and the heartbeats it has begun to answer must be answered.

So only Hypercorn's protocol server is used, `TCPServer`, one for each connection, with what it needs around it: one
`WorkerContext` for all (its `terminated` is how connections learn that Medic drains) and the application's lifespan.
All names of Hypercorn that are used are imported here and nowhere else but for types; its version is pinned, and
`tests/contract/test_http_hypercorn.py` holds each name to what it is used for.

What `TCPServer` gets as its stream and as its application is a `Connection`. It counts the requests under way, so that
idle means no request here, whatever the protocol; it gives each write a deadline, and the silence between two requests;
and it can be cut from outside, which is the last word on every connection.

The drain, in order:

1. Listeners are closed: new connections are refused by the kernel, and go to whoever listens next.
2. `terminated` is set: connections that Hypercorn knows to be idle close themselves, those in the midst of a request
   finish it, answer, and close. What is idle a moment later and has not closed is cut.
3. What is still open after the deadline is cut, so that even a shielded send ends.

Readiness is told before: whoever calls for the drain has `/health/ready` answer 503. Measured on 2 cores, with 1 000
idle connections, a third of them HTTP/2 and a third after a request: left to Hypercorn, 667 were held for the whole
deadline of 20 s; now all are gone within 0.3 s.

What Hypercorn refuses by itself passes through `Connection` too, and gets its JSON there: `medic/http/framing.py`.

A connection that makes Hypercorn raise (an HTTP/2 path that is no ASCII does) is logged and closed; no other connection
notices. For connections this file is the supervisor.

Rejected: `hypercorn.trio.serve` with a shutdown trigger, for the reasons above. Cutting everything at once: it breaks
the promise that what was begun is answered. Finding a request's connection by its peer's address: a second truth.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    ConnectionState,
    LifespanState,
    Scope,
)
from quart import Quart

from medic.http.answers import Answer, refusal
from medic.http.framing import as_bytes, as_pairs, in_json, refuse_framing
from medic.http.limits import (
    BODY_DISCARD_MAX,
    HEAD_BYTES_MAX,
    KEEP_ALIVE_REQUESTS_MAX,
    KEEP_ALIVE_SECONDS,
    LINGER_SECONDS,
    WRITE_SECONDS_MAX,
)
from medic.http.listening import connections_allowed, listen

_log = structlog.get_logger(__name__)

CUT_SECONDS: Final = 1.0
"""How long connections that were cut may take to notice, before their tasks are cancelled."""

IDLE_LOOK_SECONDS: Final = 0.1
"""How often a drain looks for connections that became idle and did not close themselves."""

REFUSED_SECONDS: Final = 1.0
"""How long a connection that was one too many is kept, so that its client reads why."""


@dataclass(frozen=True, slots=True)
class HttpStatistics:
    """Connections: open now, accepted since the start, refused because too many were open, ended by a fault of ours."""

    open: int
    accepted: int
    refused: int
    crashed: int


class Connection(trio.abc.HalfCloseableStream):
    """One client's connection: the stream that Hypercorn reads and writes, and the application it calls.

    Attributes:
        socket: Hypercorn asks it for the addresses of both ends.
        requests: Requests under way.
    """

    def __init__(self, stream: trio.SocketStream, app: ASGIWrapper, *, draining: Callable[[], bool]) -> None:
        self.socket = stream.socket
        self.requests = 0
        self._stream = stream
        self._app = app
        self._draining = draining
        self._answering = False
        self._lingers = False

    async def __call__(
        self,
        scope: Scope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        sync_spawn: Callable[..., Awaitable[object]],
        call_soon: Callable[..., object],
    ) -> None:
        """Answer one request, as the application does; several at a time over HTTP/2."""

        async def send_on(message: ASGISendEvent) -> None:
            # Told to close, a client does not send its next request into a connection that is about to end.
            ends = scope["type"] == "http" and scope["http_version"] == "1.1" and self._draining()
            if message["type"] == "http.response.start" and ends:
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                self._answering = True
            elif message["type"] == "http.response.body" and not message.get("more_body", False):
                self._answering = False
            await send(message)

        self.requests += 1
        try:
            if (refused := refuse_framing(scope)) is not None:
                await _answer(refused, receive, send_on)
                return
            await self._app(scope, receive, send_on, sync_spawn, call_soon)
        finally:
            self.requests -= 1

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, within `WRITE_SECONDS_MAX`; a client that reads no further loses its connection."""
        if not self._answering and (refused := in_json(data)) is not None:
            self._lingers = True
            data = refused
        with trio.move_on_after(WRITE_SECONDS_MAX) as scope:
            await self._stream.send_all(data)
        if scope.cancelled_caught:
            self.cut()
            raise trio.BrokenResourceError("the client reads no further")

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream does."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What arrived; nothing, as at the end, after `KEEP_ALIVE_SECONDS` of silence between requests."""
        while True:
            with trio.move_on_after(KEEP_ALIVE_SECONDS):
                return await self._stream.receive_some(max_bytes)
            if not self.requests:
                return b""

    async def send_eof(self) -> None:
        """As the stream does."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """As the stream does; after a refusal of Hypercorn's once the client is done writing, so that it reads that."""
        if self._lingers:
            self._lingers = False
            await self._discard()
        await self._stream.aclose()

    async def _discard(self) -> None:
        discarded = 0
        with (
            trio.move_on_after(LINGER_SECONDS),
            contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError),
        ):
            while discarded < BODY_DISCARD_MAX and (piece := await self._stream.receive_some()):
                discarded += len(piece)

    def cut(self) -> None:
        """Close at once, whatever another task does with it at this moment."""
        self.socket.close()


class HypercornServer:
    """Serves connections with Hypercorn, each until it ends.

    Args:
        app: The application.
        connections_max: How many may be open; one more is answered 503.
    """

    def __init__(self, app: Quart, *, connections_max: int | None = None) -> None:
        self._connections_max = connections_allowed() if connections_max is None else connections_max
        self._app = ASGIWrapper(app)
        self._config = _config()
        self._context = WorkerContext(None)
        self._state: LifespanState = {}
        self._open: set[Connection] = set()
        self._all_closed = trio.Event()
        self._all_closed.set()
        self._accepted = 0
        self._refused = 0
        self._crashed = 0

    async def run_lifespan(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the application's lifespan until cancelled: its start has returned before `started`, its end after."""
        lifespan = Lifespan(self._app, self._config, self._state)
        async with trio.open_nursery() as nursery:
            await nursery.start(lifespan.handle_lifespan)
            await lifespan.wait_for_startup()
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await lifespan.wait_for_shutdown()

    async def serve_stream(self, stream: trio.SocketStream) -> None:
        """Serve one connection until it ends. Never raises because of it."""
        self._accepted += 1
        if len(self._open) >= self._connections_max:
            self._refused += 1
            await _refuse(stream, self._connections_max)
            return
        connection = Connection(stream, self._app, draining=self._context.terminated.is_set)
        self._open.add(connection)
        self._all_closed = trio.Event() if self._all_closed.is_set() else self._all_closed
        try:
            state = ConnectionState(self._state.copy())
            # It is declared for TLS only; without do_handshake it takes a stream for plain.
            await TCPServer(connection, self._config, self._context, state, connection)  # type: ignore[arg-type]
        except* Exception as group:  # noqa: BLE001 - for connections this is the supervisor
            self._crashed += 1
            _log.error("a connection ended by a fault of ours or of Hypercorn's", exc_info=group)
        finally:
            connection.cut()
            self._open.discard(connection)
            if not self._open:
                self._all_closed.set()

    async def drain(self, seconds: float) -> None:
        """Let connections end: idle ones now, others once they are answered, what is left after `seconds` by force."""
        await self._context.terminated.set()
        with trio.move_on_after(seconds):
            while self._open:
                with trio.move_on_after(IDLE_LOOK_SECONDS):
                    await self._all_closed.wait()
                self._cut_idle()
        if self._open:
            _log.warning("connections were cut at the end of the drain", connections=len(self._open))
        for connection in tuple(self._open):
            connection.cut()

    def _cut_idle(self) -> None:
        for connection in tuple(self._open):
            if not connection.requests:
                connection.cut()

    async def wait_closed(self) -> None:
        """Return once no connection is open."""
        await self._all_closed.wait()

    def statistics(self) -> HttpStatistics:
        """Counters for metrics."""
        return HttpStatistics(len(self._open), self._accepted, self._refused, self._crashed)


async def serve_http(
    server: HypercornServer,
    sockets: Sequence[socket.socket],
    *,
    drain: trio.Event,
    drain_seconds: float,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen and serve until `drain` is set; return once every connection has ended.

    Args:
        server: What serves each connection.
        sockets: Bound by `medic.http.listening.bind_sockets`; closed at the end.
        drain: Set by the caller, who has told before that Medic is not ready.
        drain_seconds: `MEDIC_DRAIN_SECONDS`.
        task_status: Started once connections are accepted.

    Raises:
        ConfigurationError: another program began to listen on an address since it was bound.
    """
    listen(sockets)
    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(opened)) for opened in sockets]
    async with trio.open_nursery() as lifespan:
        await lifespan.start(server.run_lifespan)
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                await accepting.start(_accept, server, listeners, connections)
                task_status.started()
                await drain.wait()
                accepting.cancel_scope.cancel()
            await server.drain(drain_seconds)
            with trio.move_on_after(CUT_SECONDS):
                await server.wait_closed()
            connections.cancel_scope.cancel()
        lifespan.cancel_scope.cancel()


async def _accept(
    server: HypercornServer,
    listeners: Sequence[trio.SocketListener],
    connections: trio.Nursery,
    *,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Accept until cancelled, which closes the listeners. Out of file descriptors it waits and goes on."""
    await trio.serve_listeners(
        server.serve_stream, list(listeners), handler_nursery=connections, task_status=task_status
    )


async def _refuse(stream: trio.SocketStream, most: int) -> None:
    """Answer 503 without reading the request, and stay until the client has read that."""
    message = f"{most} connections are open already. Try again."
    answer = as_bytes(refusal(503, message, headers=(("Retry-After", "1"),)))
    with trio.move_on_after(REFUSED_SECONDS), contextlib.suppress(trio.BrokenResourceError):
        async with stream:
            await stream.send_all(answer)
            await stream.send_eof()
            while await stream.receive_some():
                pass


async def _answer(answer: Answer, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Answer in the application's place, once the client is done writing or `LINGER_SECONDS` have passed."""
    with trio.move_on_after(LINGER_SECONDS):
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            pass
    await send({"type": "http.response.start", "status": answer.status, "headers": as_pairs(answer)})
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE_SECONDS
    config.keep_alive_max_requests = KEEP_ALIVE_REQUESTS_MAX
    config.h11_max_incomplete_size = HEAD_BYTES_MAX
    return config
