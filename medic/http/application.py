"""The API on Quart: routes from their table, refusals from theirs. Views know nothing of Quart."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final
from urllib.parse import unquote

import structlog
from quart import Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from medic.access.caller import Author, Caller
from medic.access.entrance import FREE
from medic.access.scope import Scope
from medic.core.names import NAME_MAX
from medic.errors import MedicError, OverloadedError
from medic.http.answers import Answer, Headers, Stream, refusal
from medic.http.body_budget import BodyBudget
from medic.http.call import Call, read_actor, read_query
from medic.http.caller import caller_address
from medic.http.counting import count_request
from medic.http.heartbeats import note_refused
from medic.http.limits import BODY_BYTES_MAX, BULK_BYTES_MAX, HEARTBEAT_BYTES_MAX
from medic.http.parts import ApiParts
from medic.http.recognition import introduction_of
from medic.http.refusals import OWN_FAULT, refuse, refuse_framework
from medic.http.refused import INVALID, TOO_LARGE
from medic.http.requests import MedicQuart, Pieces, current_request_id
from medic.http.route import Route
from medic.http.routes import BULK_PATH, METRICS_PATHS, ROUTES, is_heartbeat_path
from medic.http.signed import recognise_signed, shown_signature

NAMED_IN_LOG: Final = ("heartbeat_name", "alert_id")
"""Places of a path that are fields of the log."""


def create_app(parts: ApiParts, *, bodies: BodyBudget | None = None) -> MedicQuart:
    """The application, ready to be served. It starts nothing.

    Args:
        parts: What it is built from.
        bodies: What the bodies of all requests may keep together; None: as much as the limits say.
    """
    app = MedicQuart("medic", static_folder=None)
    app.url_map.merge_slashes = False
    app.observe = parts.meter.observe
    app.body_bytes_max = _body_bytes_max
    app.cors = parts.settings.cors
    app.bodies = BodyBudget() if bodies is None else bodies
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
    entrance = route.entrance
    if parts.settings.metrics_open and route.path in METRICS_PATHS:
        entrance = FREE

    def refuse_unread(error: MedicError, address: str) -> Response:
        if is_heartbeat_path(request.path) and entrance.scope is Scope.HEARTBEAT:
            note_refused(parts, error, name=None, address=address)
        return as_response(refuse(error))

    async def view(**places: str) -> Response:
        structlog.contextvars.bind_contextvars(**_concerned(places))
        address = _address(parts)
        introduction = introduction_of(request.headers)
        signature = shown_signature(parts, route, request.headers, introduction)
        try:
            caller = parts.gatekeeper.recognise(introduction, address, entrance if signature is None else FREE)
        except MedicError as error:
            return refuse_unread(error, address)
        try:
            body = await request.get_data(cache=True, as_text=False, parse_form_data=False)
        except OverloadedError as error:
            return refuse_unread(error, address)
        stands: Headers = ()
        try:
            if signature is not None:
                caller = recognise_signed(parts, route, signature, body, address)
            call = _call(route, places, body, caller)
            stands = await count_request(parts, route, caller)
            answer = await route.view(parts, call)
        except MedicError as error:
            answer = refuse(error)
        return as_response(answer, stands)

    return view


def _concerned(places: dict[str, str]) -> dict[str, str]:
    """The service or alert in the path, as every line of the log says it that is written over this request."""
    named = {name: unquote(places[name], errors="replace") for name in NAMED_IN_LOG if name in places}
    return {name: text[:NAME_MAX] for name, text in named.items()}


def _address(parts: ApiParts) -> str:
    client = request.scope.get("client")
    return caller_address(
        client[0] if client else None,
        forwarded_for=request.headers.getlist("X-Forwarded-For"),
        forwarded=request.headers.getlist("Forwarded"),
        trusted=parts.settings.trusted_proxies,
    )


def _call(route: Route, places: dict[str, str], body: bytes, caller: Caller) -> Call:
    headers = request.headers
    raw_query = request.scope["query_string"]
    label = read_actor(headers.get("X-Actor"), "") if route.actor else ""
    return Call(
        method=route.method,
        places=places,
        query={} if route.query is None else read_query(raw_query, [parameter.name for parameter in route.query]),
        body=body,
        author=author_of(caller, label, current_request_id()),
        caller=caller,
        accept=headers.get("Accept", ""),
        accept_encoding=headers.get("Accept-Encoding", ""),
        raw_query=raw_query,
        idempotency_key=headers.get("Idempotency-Key", ""),
        headers={name: ",".join(headers.getlist(name)) for name in route.headers if name in headers},
    )


def author_of(caller: Caller, label: str, request_id: str) -> Author:
    """Under whom a change is written down: the key's name, where one was shown; what `X-Actor` says stands beside it.

    Args:
        caller: Who it is.
        label: What `X-Actor` says.
        request_id: Of the request.
    """
    if caller.key is None:
        return Author(label or caller.address, address=caller.address, request_id=request_id, label=label)
    return Author(caller.key.name, caller.key.key_id, caller.address, request_id, label)


def as_response(answer: Answer | Stream, beside: Headers = ()) -> Response:
    """What Quart sends for an answer of ours, and headers beside its own; within a request."""
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
    for name, value in (*beside, *answer.headers):
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
