"""Hypercorn, given connections one at a time, and drained without waiting for the idle ones.

The problem. `hypercorn.trio.serve` owns its listeners, so nothing could stand in front of it on the same port, and its
end depends on its clients. An idle HTTP/2 connection that never had a request is not known to be idle. A client that
does not read its answer holds a connection in a shielded send that no graceful timeout ends. Medic has to stop within
seconds whatever its clients do, and the heartbeats it has begun to answer must be answered.

So only Hypercorn's protocol server is used, `TCPServer`, one for each connection, with what it needs around it: one
`WorkerContext` for all (its `terminated` is how connections learn that Medic drains) and the application's lifespan.
All names of Hypercorn that are used are imported here and nowhere else but for types; its version is pinned, and
`tests/contract/test_http_hypercorn.py` holds each name to what it is used for.

What `TCPServer` gets as its stream and as its application is a `Connection`. It first gives back the bytes that the
express lane has read of it already. It counts the requests under way, so that idle means no request here, whatever the
protocol; it can be cut from outside, which is the last word on every connection; and it has patience, but no more:

* From the end of one request to the head of the next, `KEEP_ALIVE_SECONDS`, whatever bytes come meanwhile. Counted from
  the last byte, a head sent byte by byte would hold its connection for weeks (slowloris), an HTTP/2 ping for ever.
* For requests given up before they are answered, `GIVEN_UP_MAX` one after another: each costs work, and a client that
  resets its streams at once is held back neither by the number that may be open nor by reading answers.
* For each piece of an answer, `WRITE_SECONDS_MAX`, in the socket and before it. An HTTP/2 client may open a window of 0
  bytes: the socket is writable then, and the answer waits within Hypercorn, for ever, shielded, through a drain.

The drain: `terminated` is set, so that connections in the midst of a request finish it, answer, and close. What is idle
a moment later is cut. What is still open after the deadline is cut as well, so that even a shielded send ends. What
comes before, in which order, is `medic/http/serving.py`'s. Measured on 2 cores, with 1 000 idle connections, a third of
them HTTP/2 and a third after a request: left to Hypercorn, 667 were held for the whole deadline of 20 s; now all are
gone within 0.3 s.

What Hypercorn refuses by itself passes through `Connection` too, and gets its JSON there (`framing_refusals.py`).

A connection that makes Hypercorn raise (an HTTP/2 path that is no ASCII does) is logged and closed; no other connection
notices. For connections this file is the supervisor.

Rejected: `hypercorn.trio.serve` with a shutdown trigger, for the reasons above. Cutting everything at once: it breaks
the promise that what was begun is answered. Finding a request's connection by its peer's address: a second truth.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
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
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    ConnectionState,
    LifespanState,
    Scope,
    TaskGroup,
)
from quart import Quart

from medic.http.answers import Answer
from medic.http.crowd import Waiting
from medic.http.framing_refusals import as_pairs, in_json, refuse_framing
from medic.http.limits import (
    BODY_DISCARD_MAX,
    BODY_SECONDS_MAX,
    GIVEN_UP_MAX,
    HEAD_BYTES_MAX,
    KEEP_ALIVE_REQUESTS_MAX,
    KEEP_ALIVE_SECONDS,
    LINGER_SECONDS,
    STREAMS_MAX,
    WRITE_SECONDS_MAX,
)

_log = structlog.get_logger(__name__)

IDLE_LOOK_SECONDS: Final = 0.1
"""How often a drain looks for connections that became idle and did not close themselves."""

PlainOrTls = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class Connection(trio.abc.HalfCloseableStream):
    """One client's connection: the stream that Hypercorn reads and writes, and the application it calls.

    Attributes:
        socket: Hypercorn asks it for the addresses of both ends.
        peer: The address of its other end.
        requests: Requests under way.
    """

    def __init__(
        self, stream: PlainOrTls, app: ASGIWrapper, peer: str = "", *, begun: bytes = b"", draining: Callable[[], bool]
    ) -> None:
        self.socket = (stream.transport_stream if isinstance(stream, trio.SSLStream) else stream).socket
        self.peer = peer
        self.requests = 0
        self._unfed = 0
        self._given_up = 0
        self._writes: set[trio.CancelScope] = set()
        self._patient_until = trio.current_time() + KEEP_ALIVE_SECONDS
        self._is_cut = False
        self._stream: trio.abc.Stream = stream
        self._begun = begun
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
        fed = False

        async def receive_on() -> ASGIReceiveEvent:
            nonlocal fed
            message = await receive()
            if not fed and (message["type"] != "http.request" or not message["more_body"]):
                fed = True
                self._unfed -= 1
            return message

        async def send_on(message: ASGISendEvent) -> None:
            # Told to close, a client does not send its next request into a connection that is about to end.
            ends = scope["type"] == "http" and scope["http_version"] == "1.1" and self._draining()
            if message["type"] == "http.response.start" and ends:
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                self._answering = True
            elif message["type"] == "http.response.body" and not message.get("more_body", False):
                self._answering = False
            await self._write(send, message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self._given_up = -1

        if self._is_cut or self.requests >= STREAMS_MAX + GIVEN_UP_MAX:
            self.cut()
            return
        self._begin()
        try:
            if (refused := refuse_framing(scope)) is not None:
                await _answer(refused, receive_on, send_on)
                return
            await self._app(scope, receive_on, send_on, sync_spawn, call_soon)
        finally:
            self._end(fed=fed)

    def _begin(self) -> None:
        """A request's head is there; its body is its client's to send."""
        self.requests += 1
        self._unfed += 1
        self._patient_until = trio.current_time() + BODY_SECONDS_MAX

    def _end(self, *, fed: bool) -> None:
        self.requests -= 1
        self._given_up += 1
        if self._given_up > GIVEN_UP_MAX:
            self.cut()
        self._unfed -= not fed
        self._patient_until = trio.current_time() + KEEP_ALIVE_SECONDS

    async def _write(self, send: ASGISendCallable, message: ASGISendEvent) -> None:
        """Hand a piece of an answer to Hypercorn, which takes it once the client has room for it, or not at all."""
        if self._is_cut:
            return
        self._patient_until = trio.current_time() + WRITE_SECONDS_MAX
        with trio.CancelScope(deadline=self._patient_until) as scope:
            self._writes.add(scope)
            try:
                await send(message)
            finally:
                self._writes.discard(scope)
        if scope.cancelled_caught:
            self.cut()

    @property
    def waits_for_client(self) -> bool:
        """Whether nothing is done here but waiting: for a request, for the rest of one, for answers to be read."""
        return self.requests <= self._unfed + len(self._writes)

    @property
    def patient_until(self) -> float:
        """Instant of trio's clock until which the client has time for what it is at."""
        return self._patient_until

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
        """What arrived; nothing, as at the end, once `KEEP_ALIVE_SECONDS` have brought no request."""
        if self._begun:
            begun, self._begun = self._begun, b""
            await trio.lowlevel.checkpoint()
            return begun
        while True:
            until = trio.current_time() + KEEP_ALIVE_SECONDS if self.requests else self._patient_until
            with trio.move_on_at(until):
                return await self._stream.receive_some(max_bytes)
            if not self.requests and self._patient_until <= trio.current_time():
                return b""

    async def send_eof(self) -> None:
        """As the stream does."""
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
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
        self._is_cut = True
        self.socket.close()
        for scope in self._writes:
            scope.cancel()


class TlsConnection(Connection):
    """A connection over TLS whose handshake is done; Hypercorn asks it for what was agreed on."""

    def __init__(
        self,
        stream: trio.SSLStream[trio.SocketStream],
        app: ASGIWrapper,
        peer: str = "",
        *,
        begun: bytes = b"",
        draining: Callable[[], bool],
    ) -> None:
        super().__init__(stream, app, peer, begun=begun, draining=draining)
        self.transport_stream = stream.transport_stream
        self._agreed = stream.selected_alpn_protocol()

    async def do_handshake(self) -> None:
        """It is done."""
        await trio.lowlevel.checkpoint()

    def selected_alpn_protocol(self) -> str:
        """`h2` or `http/1.1`."""
        return self._agreed or "http/1.1"


class NoTimer:
    """Stands in the place of Hypercorn's own keep-alive, which outlives its connection.

    A client that left in the midst of a head kept its descriptor for the whole `KEEP_ALIVE_SECONDS`: no more than a
    connection and three bytes, ten thousand times, and nobody could come in. `Connection` knows when it is idle itself.
    """

    async def restart(self, task_group: TaskGroup, action: Callable[[], Awaitable[None]]) -> None:
        """Nothing: there is no timer."""

    async def stop(self) -> None:
        """Nothing: there is no timer."""


class HypercornServer:
    """Serves connections with Hypercorn, each until it ends.

    Args:
        app: The application.
    """

    def __init__(self, app: Quart) -> None:
        self._app = ASGIWrapper(app)
        self._config = _config()
        self._context = WorkerContext(None)
        self._state: LifespanState = {}
        self._open: set[Connection] = set()
        self._all_closed = trio.Event()
        self._all_closed.set()
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

    def admit(self, stream: PlainOrTls, peer: str, begun: bytes = b"") -> Connection:
        """A connection to `serve`, which counts as open from now on.

        Args:
            stream: TLS after its handshake, or plain.
            peer: The address of its other end.
            begun: What was read of it already.
        """
        kind = TlsConnection if isinstance(stream, trio.SSLStream) else Connection
        connection = kind(stream, self._app, peer, begun=begun, draining=self._context.terminated.is_set)  # type: ignore[arg-type]
        self._open.add(connection)
        self._all_closed = trio.Event() if self._all_closed.is_set() else self._all_closed
        return connection

    async def serve(self, connection: Connection) -> None:
        """Serve one connection until it ends. Never raises because of it."""
        try:
            state = ConnectionState(self._state.copy())
            # It is declared for TLS only; without do_handshake it takes a stream for plain.
            server = TCPServer(connection, self._config, self._context, state, connection)  # type: ignore[arg-type]
            server.idle_task = NoTimer()  # type: ignore[assignment]  # it is started and stopped, no more
            await server
        except* Exception as group:  # noqa: BLE001 - for connections this is the supervisor
            self._crashed += 1
            _log.error("a connection ended by a fault of ours or of Hypercorn's", exc_info=group)
        finally:
            connection.cut()
            self._open.discard(connection)
            if not self._open:
                self._all_closed.set()

    async def drain(self) -> None:
        """Let connections end, idle ones now, others once they are answered; return when all have."""
        await self._context.terminated.set()
        while self._open:
            with trio.move_on_after(IDLE_LOOK_SECONDS):
                await self._all_closed.wait()
            self._cut_idle()

    def _cut_idle(self) -> None:
        for connection in tuple(self._open):
            if not connection.requests:
                connection.cut()

    def cut(self) -> None:
        """Close at once what is left."""
        if self._open:
            _log.warning("connections were cut at the end of the drain", connections=len(self._open))
        for connection in tuple(self._open):
            connection.cut()

    async def wait_closed(self) -> None:
        """Return once no connection is open."""
        await self._all_closed.wait()

    def waiting(self) -> Iterator[Waiting]:
        """Connections at which nothing is done but waiting for their clients."""
        for connection in tuple(self._open):
            if connection.waits_for_client:
                yield Waiting(connection.peer, connection.patient_until, partial(self._give_way, connection))

    def _give_way(self, connection: Connection) -> None:
        """Make room for another: it counts no longer, though its tasks have yet to notice."""
        connection.cut()
        self._open.discard(connection)

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._open)

    @property
    def crashed(self) -> int:
        """How many connections ended by a fault of ours or of Hypercorn's."""
        return self._crashed


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
    config.h2_max_header_list_size = HEAD_BYTES_MAX
    config.h2_max_concurrent_streams = STREAMS_MAX
    return config
