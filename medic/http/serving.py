"""The HTTP side as a whole: who serves a connection, how many there may be, and how all of it ends.

A connection is the express lane's first, plain (`express_lane.py`) or over TLS (`stream_lane.py`); from the first
message on that is not hot it is Hypercorn's (`hypercorn_server.py`). All three count against one limit. For one
connection too many, some that only wait for their clients give way (`crowd.py`); where none does, it is answered 503 at
once, rather than left waiting.

The drain, in order (HARD-CASES H27). Readiness is told before: whoever calls for it has `/health/ready` answer 503.

1. Listeners are closed: new connections are refused by the kernel, and go to whoever listens next.
2. Lane connections: what has arrived is read, what is idle is closed, what was begun is answered and then closed.
3. Hypercorn's connections: the same, in its way (`terminated`, and what is idle a moment later is cut).
4. What is still open after the deadline is cut.

Between 1 and 4 both drain at the same time: neither waits for the other's slow clients.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import trio
from quart import Quart

from medic.http.answers import refusal
from medic.http.crowd import give_way
from medic.http.express_lane import ExpressLane
from medic.http.framing import HotRoute
from medic.http.framing_refusals import as_bytes
from medic.http.hot_routes import HOT_ROUTES, Take
from medic.http.hypercorn_server import HypercornServer
from medic.http.listening import connections_allowed, listen
from medic.http.parts import ApiParts
from medic.http.stream_lane import StreamLane, TlsStream
from medic.ports import Position, WhenDurable

CUT_SECONDS: Final = 1.0
"""How long connections that were cut may take to notice, before their tasks are cancelled."""

REFUSED_SECONDS: Final = 1.0
"""How long a connection that was one too many is kept, so that its client reads why."""


@dataclass(frozen=True, slots=True)
class HttpStatistics:
    """Connections: open now, accepted since the start, refused because too many were open, ended by a fault of ours.

    `gave_way` are those that were ended to make room for others.
    `passed_on` are those that were not the express lane's; `hot_requests` are the requests it took.
    """

    open: int
    accepted: int
    refused: int
    gave_way: int
    crashed: int
    passed_on: int
    hot_requests: int


class HttpServer:
    """Serves connections, each until it ends.

    Args:
        parts: What the API is built from.
        app: The application, for Hypercorn.
        when_durable: `Journal.call_when_durable`.
        connections_max: How many may be open.
        tls: Certificate and key; None: connections are plain.
        hot: The routes of the express lane; none: everything is Hypercorn's.
    """

    def __init__(
        self,
        parts: ApiParts,
        app: Quart,
        *,
        when_durable: Callable[[Position, WhenDurable], None],
        connections_max: int | None = None,
        tls: ssl.SSLContext | None = None,
        hot: Mapping[HotRoute, Take] = HOT_ROUTES,
    ) -> None:
        self._connections_max = connections_allowed() if connections_max is None else connections_max
        self._hypercorn = HypercornServer(app)
        self._lane = ExpressLane(parts, when_durable=when_durable, admit=self._admit, pass_on=self._pass_on, routes=hot)
        self._tls = None if tls is None else StreamLane(parts, tls, pass_on=self._pass_on_stream, routes=hot)
        self._refused = self._gave_way = 0
        self._tasks: trio.Nursery

    async def serve(
        self,
        sockets: Sequence[socket.socket],
        *,
        drain: trio.Event,
        drain_seconds: float,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen and serve until `drain` is set; return once every connection has ended.

        Args:
            sockets: Bound by `medic.http.listening.bind_sockets`; closed at the end.
            drain: Set by the caller, who has told before that Medic is not ready.
            drain_seconds: `MEDIC_DRAIN_SECONDS`.
            task_status: Started once connections are accepted.

        Raises:
            ConfigurationError: another program began to listen on an address since it was bound.
        """
        listen(sockets)
        async with trio.open_nursery() as lifespan:
            await lifespan.start(self._hypercorn.run_lifespan)
            async with trio.open_nursery() as self._tasks:
                async with trio.open_nursery() as accepting:
                    await accepting.start(self._lane.run, sockets)
                    task_status.started()
                    await drain.wait()
                    with trio.move_on_after(drain_seconds):
                        await self._drain()
                    accepting.cancel_scope.cancel()
                self._hypercorn.cut()
                if self._tls is not None:
                    self._tls.cut()
                with trio.move_on_after(CUT_SECONDS):
                    await self._hypercorn.wait_closed()
                self._tasks.cancel_scope.cancel()
            lifespan.cancel_scope.cancel()

    async def _drain(self) -> None:
        self._lane.stop_accepting()
        async with trio.open_nursery() as draining:
            draining.start_soon(self._lane.drain)
            if self._tls is not None:
                draining.start_soon(self._tls.drain)
            draining.start_soon(self._hypercorn.drain)

    # ------------------------------------------------------------------------------------------------------ connections

    def _admit(self, opened: socket.socket, peer: str) -> bool:
        """Whether a new connection is the plain lane's; where it is not, it is taken care of here."""
        if self._open >= self._connections_max and not self._make_room():
            self._refused += 1
            if self._tls is None:
                self._tasks.start_soon(_refuse, opened, self._connections_max)
            else:
                opened.close()
            return False
        if self._tls is None:
            return True
        self._tasks.start_soon(self._tls.serve, _stream(opened), peer)
        return False

    def _make_room(self) -> bool:
        """Have some connections that only wait for their clients give way. False: there are none."""
        waiting = [*self._lane.waiting(), *self._hypercorn.waiting(), *(self._tls.waiting() if self._tls else ())]
        gave_way = give_way(waiting, self._connections_max)
        self._gave_way += gave_way
        return gave_way > 0

    def _pass_on(self, opened: socket.socket, peer: str, begun: bytes) -> None:
        connection = self._hypercorn.admit(_stream(opened), peer, begun)
        self._tasks.start_soon(self._hypercorn.serve, connection)

    async def _pass_on_stream(self, stream: TlsStream, peer: str, begun: bytes) -> None:
        await self._hypercorn.serve(self._hypercorn.admit(stream, peer, begun))

    @property
    def _open(self) -> int:
        return self._lane.open + self._hypercorn.open + (0 if self._tls is None else self._tls.open)

    def statistics(self) -> HttpStatistics:
        """Counters for metrics."""
        lane = self._lane.statistics()
        crashed = lane.crashed + self._hypercorn.crashed + (0 if self._tls is None else self._tls.crashed)
        return HttpStatistics(
            open=self._open,
            accepted=lane.accepted,
            refused=self._refused,
            gave_way=self._gave_way,
            crashed=crashed,
            passed_on=lane.passed_on,
            hot_requests=lane.requests,
        )


def _stream(opened: socket.socket) -> trio.SocketStream:
    return trio.SocketStream(trio.socket.from_stdlib_socket(opened))


async def _refuse(opened: socket.socket, most: int) -> None:
    """Answer 503 without reading the request, and stay until the client has read that."""
    answer = refusal(503, f"{most} connections are open already. Try again.", headers=(("Retry-After", "1"),))
    with trio.move_on_after(REFUSED_SECONDS), contextlib.suppress(trio.BrokenResourceError):
        async with _stream(opened) as stream:
            await stream.send_all(as_bytes(answer))
            await stream.send_eof()
            while await stream.receive_some():
                pass
