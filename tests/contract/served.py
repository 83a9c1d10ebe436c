"""The API behind a real socket, and raw requests to it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from medic.core.author import Author
from medic.core.draft import ServiceDraft
from medic.core.units import DurationMs
from medic.http.application import create_app
from medic.http.body_budget import BodyBudget
from medic.http.hot_routes import HOT_ROUTES
from medic.http.listening import bind_sockets
from medic.http.parts import ApiSettings
from medic.http.serving import HttpServer
from tests.fakes.http_parts import ApiWorld
from tests.patience import PATIENCE_SECONDS

HEARTBEAT = b'{"heartbeat_name":"job","status":"UP"}'


class Served:
    """A world behind a real socket."""

    def __init__(self, world: ApiWorld, server: HttpServer, port: int) -> None:
        self.world = world
        self.server = server
        self.port = port
        self.drain = trio.Event()
        self.ended = trio.Event()

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def exchange(self, request: bytes) -> bytes:
        """Everything that is answered until the server closes."""
        async with await self.connect() as stream:
            await stream.send_all(request)
            return await read_all(stream)


@asynccontextmanager
async def serve(
    *,
    drain_seconds: float = 20.0,
    connections_max: int = 5_000,
    by_quart: bool = False,
    tls: ssl.SSLContext | None = None,
    settings: ApiSettings | None = None,
    patience: float = PATIENCE_SECONDS,
    send_buffer: int | None = None,
    bodies: BodyBudget | None = None,
) -> AsyncIterator[Served]:
    """Serve a world with one service, `job`. `by_quart`: without the express lane, all of it by Hypercorn and Quart."""
    world = ApiWorld(settings)
    [bound] = bind_sockets([("127.0.0.1", 0)])
    if send_buffer is not None:  # accepted connections inherit it
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    server = HttpServer(
        world.parts,
        create_app(world.parts, bodies=bodies),
        when_durable=world.journal.call_when_durable,
        connections_max=connections_max,
        tls=tls,
        hot={} if by_quart else HOT_ROUTES,
    )
    served = Served(world, server, bound.getsockname()[1])

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        await served.server.serve(
            [bound],
            drain=served.drain,
            drain_seconds=drain_seconds,
            task_status=task_status,
        )
        served.ended.set()

    with trio.fail_after(patience):
        async with trio.open_nursery() as nursery:
            await nursery.start(run)
            await world.changes.register(
                ServiceDraft(heartbeat_name="job", service_name="x", interval_ms=DurationMs(60_000)), by=Author("test")
            )
            yield served
            served.drain.set()


async def read_all(stream: trio.SocketStream) -> bytes:
    answer = b""
    while piece := await stream.receive_some():
        answer += piece
    return answer


async def read_answer(stream: trio.SocketStream, answer: bytes = b"") -> bytes:
    """One answer with a Content-Length, or the head of one without."""
    while b"\r\n\r\n" not in answer:
        answer += await receive(stream)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    while len(body) < length:
        body += await receive(stream)
    return head + b"\r\n\r\n" + body


async def receive(stream: trio.SocketStream) -> bytes:
    piece = await stream.receive_some()
    assert piece, "the server closed"
    return bytes(piece)


def post(path: str, body: bytes, *headers: str, version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: medic", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def get(path: str, *headers: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {path} HTTP/{version}", "Host: medic", *headers, "", ""]).encode()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])
