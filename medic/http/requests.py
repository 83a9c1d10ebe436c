"""How Quart takes a request here: routing over the raw path, a body within its route's limit, one place that measures.

Quart's own way is changed where a promise needs it. It routes over the decoded path, in which the `%2F` of a name is a
`/` like any other: here the path stays encoded. It makes the URL adapter from the Host header, and raises outside of
any error handler where that is odd: here the header has no say. It answers before the body was read (404, 413), and the
client sees a reset instead of the answer: here the rest is read and thrown away, up to a limit. It takes only async
generators for streams: here any async iterator is one. And at the end of each answer quart-trio cancels the task in
which Hypercorn is about to make the connection idle (it takes the end of the exchange for a client that left), so that
no connection that ever had a request becomes idle, times out or drains: here the end of an answer is shielded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Final

import structlog
import trio
from quart import Response
from quart.globals import request_ctx
from quart.utils import encode_headers
from quart.wrappers.response import ResponseBody
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers import TrioRequest
from quart_trio.wrappers.request import TrioBody
from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge

from medic.errors import InvariantError, OverloadedError
from medic.http.answers import SAFETY_HEADERS, refusal
from medic.http.body_budget import BodyBudget, Share
from medic.http.call import canonical_path
from medic.http.headers import NO_CORS, OVER_TLS, REQUEST_ID, Cors, new_request_id
from medic.http.limits import BODY_DISCARD_MAX, BODY_SECONDS_MAX, LINGER_SECONDS

if TYPE_CHECKING:
    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, WebsocketScope
    from quart.wrappers.base import BaseRequestWebsocket
    from werkzeug.routing import MapAdapter

CLIENT_GONE: Final = 499
"""Stands for the status of a request whose client left before it was answered."""

NO_WEBSOCKETS: Final = "There are no websockets here."

NO_ROOM: Final = "Too many large bodies are on their way to Medic at this moment. Try again."
NO_ROOM_RETRY_SECONDS: Final = 5
"""Some of the bodies that are on their way have come by then, or run out of time."""

Observe = Callable[[str, str, int, float], None]
"""Takes method, route, status and seconds of an answered request."""


class Body(TrioBody):
    """A request's body. Beyond its limit, or that of all, it is read on and thrown away, and refused at its end.

    Attributes:
        share: What it keeps of the budget of all bodies; one of its own until it is given one.
    """

    def __init__(self, expected_content_length: int | None, max_content_length: int | None) -> None:
        super().__init__(None, max_content_length)
        self.share = BodyBudget().share()
        self._most = BODY_DISCARD_MAX if max_content_length is None else max_content_length
        self._refusal: Exception | None = None
        self._discarded = 0
        if expected_content_length is not None and expected_content_length > self._most + BODY_DISCARD_MAX:
            self._refuse()

    def append(self, data: bytes) -> None:
        """Take what arrived."""
        whole = len(self._data) + len(data)
        if self._refusal is None and whole > self._most:
            self._discard(RequestEntityTooLarge())
        elif self._refusal is None and not self.share.keep(whole):
            self._discard(OverloadedError(NO_ROOM, retry_after_seconds=NO_ROOM_RETRY_SECONDS))
        if self._refusal is None:
            self._data.extend(data)
            self._has_data.set()
            return
        self._discarded += len(data)
        if self._discarded > self._most + BODY_DISCARD_MAX:
            self._refuse()

    def set_complete(self) -> None:
        """It arrived whole."""
        if self._refusal is not None:
            self._must_raise = self._refusal
        super().set_complete()

    def let_go(self) -> None:
        """Its request is answered: what was kept is not, and what still comes is thrown away."""
        if self._refusal is None:
            self._discard(RequestEntityTooLarge())

    def _discard(self, refusal: Exception) -> None:
        """Keep nothing from now on, and refuse it so at its end."""
        self._refusal = refusal
        self._discarded = len(self._data)
        self._data.clear()
        self.share.give_back()

    async def wait_end(self) -> None:
        """Return once it arrived whole, or more of it than is worth reading."""
        await self._complete.wait()

    def _refuse(self) -> None:
        self._must_raise = RequestEntityTooLarge()
        super().set_complete()


class Pieces(ResponseBody):
    """A response's body that is an async iterator, closed however the response ends."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces

    async def __aenter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        close = getattr(self._pieces, "aclose", None)
        if close is not None:
            with trio.CancelScope(shield=True):
                await close()


class RawPathRequest(TrioRequest):
    """A request with Medic's body, and an id by which people find it again.

    The id is ours whatever the client sends: it stands in the audit, where nobody else's word is worth anything.
    """

    body: Body
    body_class = Body

    @cached_property
    def request_id(self) -> str:
        """The id."""
        return new_request_id()


def current_request_id() -> str:
    """That of the request being answered."""
    found = request_ctx.request
    if not isinstance(found, RawPathRequest):
        raise InvariantError(f"a request is a {type(found).__name__}")
    return found.request_id


class RawPathConnection(TrioASGIHTTPConnection):
    """One request and its response, from the server's side."""

    app: MedicQuart
    _share: Share

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Take the request and answer it; then it keeps nothing of the budget of bodies."""
        with self.app.bodies.share() as self._share:
            await super().__call__(receive, send)

    def _create_request_from_scope(self, send: ASGISendCallable) -> RawPathRequest:  # noqa: ARG002 - Quart's signature
        headers = Headers()
        for name, value in self.scope["headers"]:
            headers.add(name.decode("latin-1"), value.decode("latin-1"))
        path = canonical_path(_raw_path(self.scope))
        request = RawPathRequest(
            self.scope["method"],
            self.scope["scheme"],
            path,
            b"",
            headers,
            "",
            self.scope["http_version"],
            self.scope,
            max_content_length=self.app.body_bytes_max(path),
            body_timeout=BODY_SECONDS_MAX,
            send_push_promise=_push_nothing,
        )
        request.body.share = self._share
        return request

    async def handle_request(  # type: ignore[override]  # quart-trio's signature differs from Quart's
        self, nursery: trio.Nursery, request: RawPathRequest, send: ASGISendCallable
    ) -> None:
        """Answer the request, and let the measure know. What is logged in this task, and those it starts, names it."""
        began, status = trio.current_time(), CLIENT_GONE
        structlog.contextvars.bind_contextvars(request_id=request.request_id)
        try:
            response = await self.app.handle_request(request)
            if not isinstance(response, Response):
                raise InvariantError(f"a view gave a {type(response).__name__}")
            request.body.let_go()
            if response.status_code != 408:
                with trio.move_on_after(LINGER_SECONDS):
                    await request.body.wait_end()
            self._complete(request, response)
            await self._write(send, response)
            status = response.status_code
        finally:
            route = getattr(request.url_rule, "endpoint", "").partition(" ")[2]
            self.app.observe(request.method, route, status, trio.current_time() - began)
        nursery.cancel_scope.cancel()

    def _complete(self, request: RawPathRequest, response: Response) -> None:
        """Add what every answer has; what the view said itself stands."""
        always = (*SAFETY_HEADERS, *(OVER_TLS if request.scheme == "https" else ()))
        for name, value in (*always, (REQUEST_ID, request.request_id)):
            response.headers.setdefault(name, value)
        for name, value in self.app.cors.headers(
            request.headers.get("Origin", ""),
            asks_method=request.headers.get("Access-Control-Request-Method", "") if request.method == "OPTIONS" else "",
            methods=response.headers.get("Allow", ""),
        ):
            if name == "Vary":
                response.vary.add(value)
            else:
                response.headers.set(name, value)

    async def _write(self, send: ASGISendCallable, response: Response) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": response.status_code,
                "headers": encode_headers(response.headers),
            }
        )
        async with response.response as pieces:
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        with trio.CancelScope(shield=True):
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class RefusedWebsocket:
    """Answers whoever asks for a websocket: there is none anywhere."""

    def __init__(self, app: MedicQuart, scope: WebsocketScope) -> None:
        self._app = app
        self._scope = scope

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Refuse with the same JSON as everything else."""
        await receive()
        answer = refusal(400, NO_WEBSOCKETS)
        own = (("content-type", answer.content_type), ("content-length", str(len(answer.body))))
        headers = [(name.lower().encode(), value.encode()) for name, value in (*SAFETY_HEADERS, *own)]
        await send({"type": "websocket.http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": answer.body, "more_body": False})
        self._app.observe("GET", "", answer.status, 0.0)


class MedicQuart(QuartTrio):
    """Quart, with the changes above. `observe`, `body_bytes_max`, `cors` and `bodies` are set by `create_app`."""

    asgi_http_class = RawPathConnection
    asgi_websocket_class = RefusedWebsocket  # type: ignore[assignment]  # it is only constructed and called
    request_class = RawPathRequest

    observe: Observe
    body_bytes_max: Callable[[str], int]
    cors: Cors = NO_CORS
    bodies: BodyBudget

    async def make_default_options_response(self) -> Response:
        """OPTIONS: the methods of the path."""
        adapter = request_ctx.url_adapter
        methods = () if adapter is None else adapter.allowed_methods()
        response = Response(b"", 204, {"Allow": ", ".join(sorted(methods))})
        response.headers.remove("Content-Length")
        response.headers.remove("Content-Type")
        return response

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        """An adapter over path and method alone."""
        if request is None:
            return None
        return self.url_map.bind("medic", default_method=request.method, path_info=request.path)


def _raw_path(scope: HTTPScope) -> bytes:
    return scope["raw_path"] or scope["path"].encode()


async def _push_nothing(path: str, headers: Headers) -> None:
    """Medic pushes nothing."""
