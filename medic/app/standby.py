"""A Medic that stands by: what it says and answers until it takes over, or is stopped.

It answers on the sockets that the active Medic will serve, through listeners of its own on the same queue of
connections. So nothing has to be closed at the takeover: the application of the active one begins to accept, then this
one stops.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import trio

from medic.actors.clock import wall_now
from medic.app.stopping import Stage, Stopping
from medic.http.standby import ActiveMedic, create_standby_app, serve_standby
from medic.store.postgres.leadership import Sighting


class Standby:
    """Answers for a Medic that is not the active one. Made by `open_standby`; does nothing until it is told of another.

    Args:
        sockets: Bound; they stay open.
        tls: Certificate and key; None: connections are plain.
        version: Medic's.
        announce: Takes the lines for whoever started Medic.
        stopping: Told that this Medic stands by.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        tls: ssl.SSLContext | None,
        version: str,
        announce: Callable[[str], None],
        stopping: Stopping,
    ) -> None:
        self._sockets = sockets
        self._tls = tls
        self._version = version
        self._announce = announce
        self._stopping = stopping
        self._active = ActiveMedic("", "", None)
        self._begun = trio.Event()
        self._over = trio.Event()

    def watch(self, sighting: Sighting) -> None:
        """Take note of the active Medic; the first time, say so and begin to answer."""
        self._active = ActiveMedic(sighting.name, sighting.address, sighting.since)
        if self._begun.is_set():
            return
        self._announce(
            f"Medic {self._version} stands by: {self._active.clause}. It takes over when that one ends. Stop: Ctrl-C"
        )
        self._stopping.enter(Stage.STANDING_BY)
        self._begun.set()

    def lead(self) -> None:
        """This Medic is the active one now; it still answers as one that is not ready."""
        self._stopping.enter(Stage.SERVING)
        if self._begun.is_set():
            self._announce("Medic takes over.")
            self._active = ActiveMedic("", "", None)

    def end(self) -> None:
        """The active Medic's own application accepts connections: stop."""
        self._over.set()

    async def run(self) -> None:
        """Answer from the first `watch` to `end`."""
        await self._begun.wait()
        app = create_standby_app(active=lambda: self._active, now=wall_now, version=self._version)
        copies = [opened.dup() for opened in self._sockets]
        await serve_standby(app, copies, tls=self._tls, over=self._over)


@asynccontextmanager
async def open_standby(
    sockets: Sequence[socket.socket],
    tls: ssl.SSLContext | None,
    version: str,
    announce: Callable[[str], None],
    stopping: Stopping,
) -> AsyncIterator[Standby]:
    """A `Standby` for the block."""
    async with trio.open_nursery() as nursery:
        standby = Standby(sockets, tls, version, announce, stopping)
        nursery.start_soon(standby.run)
        yield standby
        nursery.cancel_scope.cancel()
