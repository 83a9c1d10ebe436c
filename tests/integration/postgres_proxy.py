"""Stands between a client and PostgreSQL's socket, and does to the connection what networks and crashes do."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto
from pathlib import Path

import trio

from medic.store.postgres.target import ConnectionTarget

CHUNK = 65_536
COMMIT = b"COMMIT\x00"


class Fault(Enum):
    """What happens to a connection."""

    NONE = auto()
    COMMIT_LOST = auto()
    """The connection breaks before the server has read COMMIT."""
    ANSWER_LOST = auto()
    """The connection breaks after the server has answered COMMIT."""
    SILENCE = auto()
    """What the client sends arrives nowhere, and nothing comes back."""


class PostgresProxy:
    """Forwards between `target` and the real server; `fault` may be changed at any time."""

    def __init__(self, server: ConnectionTarget, folder: Path) -> None:
        self.fault = Fault.NONE
        self.folder = folder
        self._server = server

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Take connections until cancelled."""
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(self.folder / f".s.PGSQL.{self._server.port}"))
            bound.listen()
            bound.setblocking(False)
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
            await trio.serve_listeners(self._forward, [listener], task_status=task_status)

    async def _forward(self, client: trio.SocketStream) -> None:
        path = f"{self._server.host}/.s.PGSQL.{self._server.port}"
        async with client, await trio.open_unix_socket(path) as server, trio.open_nursery() as nursery:
            answer_is_last = trio.Event()

            async def ask() -> None:
                async for chunk in client:
                    await self._wait_spoken()
                    if COMMIT in chunk and self.fault is Fault.COMMIT_LOST:
                        break
                    if COMMIT in chunk and self.fault is Fault.ANSWER_LOST:
                        answer_is_last.set()
                    await server.send_all(chunk)
                nursery.cancel_scope.cancel()

            async def answer() -> None:
                async for chunk in server:
                    await self._wait_spoken()
                    if answer_is_last.is_set():
                        break
                    with suppress(trio.BrokenResourceError):  # the client may have left, as a killed one does
                        await client.send_all(chunk)
                nursery.cancel_scope.cancel()

            nursery.start_soon(ask)
            nursery.start_soon(answer)

    async def _wait_spoken(self) -> None:
        if self.fault is Fault.SILENCE:
            await trio.sleep_forever()


@asynccontextmanager
async def proxied(server: ConnectionTarget, folder: Path) -> AsyncIterator[PostgresProxy]:
    """A proxy in front of the server for the block; connect to `folder`."""
    async with trio.open_nursery() as nursery:
        proxy = PostgresProxy(server, folder)
        await nursery.start(proxy.serve)
        yield proxy
        nursery.cancel_scope.cancel()
    (folder / f".s.PGSQL.{server.port}").unlink()
