"""What a Medic that stands by answers: it lives, it is not ready, and everything else has to go to the active one.

So a process manager leaves it alone, a load balancer passes it over, and whoever asks it by mistake reads whom to ask.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import orjson
import trio
from quart import Quart, Response
from werkzeug.exceptions import HTTPException

from medic.core.units import InstantMs, isoformat
from medic.http.answers import Answer, JsonObject, refusal
from medic.http.application import as_response
from medic.http.body_budget import BodyBudget
from medic.http.caller import UNKNOWN_PEER
from medic.http.crowd import give_way
from medic.http.hypercorn_server import HypercornServer, PlainOrTls
from medic.http.limits import BODY_BYTES_MAX, HANDSHAKE_SECONDS_MAX
from medic.http.listening import connections_allowed, listen
from medic.http.requests import MedicQuart

RETRY_AFTER_SECONDS: Final = "5"
"""A takeover is over by then, where the active one has just died."""


DRAIN_SECONDS: Final = 1.0
"""Longest wait for the answers under way at the takeover: all of them are made from memory."""

STANDS_BY: Final = "This Medic stands by"
"""How every message of it begins."""


@dataclass(frozen=True, slots=True)
class ActiveMedic:
    """Whom a Medic stands by. Empty and None where nobody is known to be active: this one is about to be."""

    name: str
    address: str
    since: InstantMs | None

    @property
    def clause(self) -> str:
        """What there is to say of it, for people."""
        if self.since is None:
            return "it is about to take over"
        return f"{self.name} at {self.address} is active since {isoformat(self.since)}"


def create_standby_app(*, active: Callable[[], ActiveMedic], now: Callable[[], InstantMs], version: str) -> MedicQuart:
    """The application of a Medic that stands by.

    Args:
        active: Whom it stands by now.
        now: Wall time.
        version: Medic's.
    """
    app = MedicQuart("medic-standby", static_folder=None)
    app.url_map.merge_slashes = False
    app.observe = _observe_nothing
    app.body_bytes_max = _body_bytes_max
    app.bodies = BodyBudget()

    def probe(status: int, word: str, **beside: str) -> Answer:
        shown: JsonObject = {"status": word, "timestamp": isoformat(now()), "version": version, "role": "standby"}
        headers = () if status == 200 else (("Retry-After", RETRY_AFTER_SECONDS),)
        return Answer(status, orjson.dumps({**shown, **beside}), headers)

    async def live() -> Response:
        return as_response(probe(200, "alive"))

    async def ready() -> Response:
        found = active()
        return as_response(
            probe(503, "not_ready", reason=_sentence(found), active=found.name, active_address=found.address)
        )

    async def refuse(_: HTTPException) -> Response:
        return as_response(refusal(503, _sentence(active()), headers=(("Retry-After", RETRY_AFTER_SECONDS),)))

    views: dict[str, Callable[[], Awaitable[Response]]] = {"/health/live": live, "/health/ready": ready}
    for path, view in views.items():
        app.add_url_rule(path, endpoint=path, view_func=view, methods=["GET"])
    app.register_error_handler(HTTPException, refuse)
    return app


async def serve_standby(
    app: Quart, sockets: Sequence[socket.socket], *, tls: ssl.SSLContext | None, over: trio.Event
) -> None:
    """Serve the application on sockets of its own until `over` is set and connections have ended; the sockets close.

    Everything is Hypercorn's here: nobody sends heartbeats to a Medic that stands by for long.
    """
    listen(sockets)
    server = HypercornServer(app)
    connections_max = connections_allowed()
    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(opened)) for opened in sockets]

    async def serve_one(plain: trio.SocketStream) -> None:
        if server.open >= connections_max and not give_way(server.waiting(), connections_max):
            plain.socket.close()
            return
        stream: PlainOrTls = plain
        if tls is not None:
            stream = trio.SSLStream(plain, tls, server_side=True, https_compatible=True)
            try:
                with trio.fail_after(HANDSHAKE_SECONDS_MAX):
                    await stream.do_handshake()
            except (trio.BrokenResourceError, trio.TooSlowError):
                plain.socket.close()
                return
        await server.serve(server.admit(stream, _peer_of(plain)))

    async with trio.open_nursery() as lifespan:
        await lifespan.start(server.run_lifespan)
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                accepting.start_soon(_accept, serve_one, listeners, connections)
                await over.wait()
                accepting.cancel_scope.cancel()
            with trio.move_on_after(DRAIN_SECONDS):
                await server.drain()
            server.cut()
            connections.cancel_scope.cancel()
        lifespan.cancel_scope.cancel()


async def _accept(
    serve_one: Callable[[trio.SocketStream], Awaitable[None]],
    listeners: Sequence[trio.SocketListener],
    connections: trio.Nursery,
) -> None:
    await trio.serve_listeners(serve_one, list(listeners), handler_nursery=connections)


def _peer_of(plain: trio.SocketStream) -> str:
    try:
        return str(plain.socket.getpeername()[0])
    except OSError:  # it left already
        return UNKNOWN_PEER


def _sentence(active: ActiveMedic) -> str:
    return f"{STANDS_BY}: {active.clause}."


def _observe_nothing(method: str, route: str, status: int, seconds: float) -> None:
    """There is nobody to tell: /metrics is not served here."""


def _body_bytes_max(_: str) -> int:
    return BODY_BYTES_MAX
