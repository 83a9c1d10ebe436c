"""The API on Quart: routes from their table, refusals from theirs. Views know nothing of Quart."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from functools import partial

import structlog
from quart import Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from medic.access.caller import Author, Caller
from medic.errors import MedicError
from medic.http.answers import SAFETY_HEADERS, Answer, Stream, refusal
from medic.http.call import Call, read_actor, read_query
from medic.http.caller import caller_address
from medic.http.limits import BODY_BYTES_MAX, BULK_BYTES_MAX, HEARTBEAT_BYTES_MAX
from medic.http.parts import ApiParts
from medic.http.refusals import OWN_FAULT, refuse, refuse_framework
from medic.http.refused import INVALID, TOO_LARGE
from medic.http.requests import MedicQuart, Pieces
from medic.http.route import Route
from medic.http.routes import BULK_PATH, ROUTES, is_heartbeat_path

_log = structlog.get_logger(__name__)


def create_app(parts: ApiParts) -> MedicQuart:
    """The application, ready to be served. It starts nothing and holds nothing but `parts`."""
    app = MedicQuart("medic", static_folder=None)
    app.url_map.merge_slashes = False
    app.observe = parts.meter.observe
    app.body_bytes_max = _body_bytes_max
    for route in ROUTES:
        app.add_url_rule(
            route.path.replace("{", "<").replace("}", ">"),
            endpoint=f"{route.method} {route.path}",
            view_func=_view(parts, route),
            methods=[route.method],
        )
    app.register_error_handler(HTTPException, partial(_refuse_framework, parts))
    return app


def _view(parts: ApiParts, route: Route) -> Callable[..., Awaitable[Response]]:
    async def view(**places: str) -> Response:
        body = await request.get_data(cache=True, as_text=False, parse_form_data=False)
        try:
            answer = await route.view(parts, _call(parts, route, places, body))
        except MedicError as error:
            answer = refuse(error)
        return as_response(answer)

    return view


def _call(parts: ApiParts, route: Route, places: dict[str, str], body: bytes) -> Call:
    headers = request.headers
    client = request.scope.get("client")
    address = caller_address(
        client[0] if client else None,
        forwarded_for=headers.getlist("X-Forwarded-For"),
        forwarded=headers.getlist("Forwarded"),
        trusted=parts.settings.trusted_proxies,
    )
    raw_query = request.scope["query_string"]
    label = read_actor(headers.get("X-Actor"), "") if route.actor else ""
    return Call(
        method=route.method,
        places=places,
        query={} if route.query is None else read_query(raw_query, [parameter.name for parameter in route.query]),
        body=body,
        author=Author(label or address, address=address, request_id=secrets.token_hex(8), label=label),
        caller=Caller(address),
        accept=headers.get("Accept", ""),
        accept_encoding=headers.get("Accept-Encoding", ""),
        raw_query=raw_query,
        idempotency_key=headers.get("Idempotency-Key", ""),
    )


def as_response(answer: Answer | Stream) -> Response:
    """What Quart sends for an answer of ours; within a request."""
    headers = [*SAFETY_HEADERS, *answer.headers]
    if isinstance(answer, Answer):
        response = Response(answer.body, answer.status, content_type=answer.content_type)
    elif request.method == "HEAD":
        response = Response(b"", answer.status, content_type=answer.content_type)
        response.headers.remove("Content-Length")
    else:
        response = Response(Pieces(answer.pieces), answer.status, content_type=answer.content_type)
    if answer.status == 204:
        response.headers.remove("Content-Length")
        response.headers.remove("Content-Type")
    for name, value in headers:
        response.headers.set(name, value)
    return response


async def _refuse_framework(parts: ApiParts, error: HTTPException) -> Response:
    """Quart's own refusals in Medic's words. Whatever raised what nobody expected comes here as a 500."""
    status = error.code or 500
    if status == 500:
        return as_response(refusal(500, OWN_FAULT))
    allow = ", ".join(sorted(error.valid_methods or ())) if isinstance(error, MethodNotAllowed) else ""
    limit = _body_bytes_max(request.path)
    if is_heartbeat_path(request.path) and request.method == "POST":
        parts.meter.refuse_heartbeat(TOO_LARGE if status == 413 else INVALID)
    return as_response(refuse_framework(status, path=request.path, limit=limit, allow=allow))


def _body_bytes_max(path: str) -> int:
    if path == BULK_PATH:
        return BULK_BYTES_MAX
    return HEARTBEAT_BYTES_MAX if is_heartbeat_path(path) else BODY_BYTES_MAX
