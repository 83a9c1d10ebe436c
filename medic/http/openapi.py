"""The API's description, OpenAPI 3.1, made from the table of routes and the models that check bodies.

Why it is made here and not by a library: docs/decisions/0007-openapi.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from medic.http.answers import JSON_TYPE, JsonObject, JsonValue
from medic.http.counting import counted_as
from medic.http.limits import ACTOR_MAX, IDEMPOTENCY_KEY_MAX
from medic.http.route import Parameter, Route, Told
from medic.http.shapes import Refusal

ABOUT: Final = """Medic watches services: each sends heartbeats, and when they stop, somebody is told.

Bodies are read as JSON whatever the Content-Type. Answers of `/heartbeat`, `/service`, `/alerts` and `/v2` are
`{"success", "message", "results"}`; a refusal has `"results": ""` and names faulty fields in `errors`. Times are ISO
8601 in UTC. Names are compared without regard to the case of A-Z, and answered as they were registered; in a path they
are percent-encoded, `/` as `%2F`. A query parameter that a route does not have is refused.

`MEDIC_AUTH` says whether an API key is needed: `Authorization: Bearer KEY` or `X-API-Key: KEY`. The scope it needs
stands with each route; `write` includes `read`, `admin` includes all. For a key that is restricted to names or teams,
nothing else is there."""

PLACES: Final = {
    "heartbeat_name": ("string", "Name of the service, percent-encoded."),
    "service_id": ("integer", "Id of the service."),
    "alert_id": ("integer", "Id of the alert."),
    "webhook_id": ("integer", "Id of the webhook."),
    "snapshot_id": ("integer", "Id of the snapshot."),
    "key_id": ("string", "Id of the key: the part of it between the underscores."),
    "secret_name": ("string", "Name of the secret."),
}

EVERYWHERE: Final = {
    405: Told("The path does not take this method; `Allow` names those it takes.", Refusal),
    500: Told("A fault of Medic's own; its log says more.", Refusal),
}
ASKING: Final = {
    401: Told("A key is needed, or the one shown is not valid.", Refusal),
    403: Told(
        "The key does not do for this; or Medic is open, and this came from a web page of others, through a proxy that "
        "was not named, or by a name that Medic does not know.",
        Refusal,
    ),
    429: Told("Too many; Retry-After says when to come again.", Refusal),
}
"""What a route that asks for something answers to who has not got it."""

SCHEMES: Final[JsonObject] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same, in a header of its own."},
    "basic": {"type": "http", "scheme": "basic", "description": "The key as user name or as password."},
}

READING: Final = {400: Told("Refused; `errors` names each faulty field and its bounds.", Refusal)}
COUNTED: Final = {
    429: Told(
        "Too many in a minute; Retry-After says when the next one is taken. Other answers say how many are left.",
        Refusal,
    )
}
WITH_BODY: Final = {
    408: Told("The body did not arrive in time.", Refusal),
    413: Told("The body is too large.", Refusal),
}

_REFERENCE: Final = "#/components/schemas/{model}"


def describe(routes: Sequence[Route], *, version: str) -> JsonObject:
    """The whole description."""
    pairs = {(model, mode) for route in routes for model, mode in _models(route)}
    ordered = sorted(pairs, key=lambda pair: (pair[0].__name__, pair[1]))
    made, definitions = models_json_schema(ordered, ref_template=_REFERENCE)
    references: References = {pair: made[pair] for pair in ordered}
    paths: dict[str, JsonValue] = {}
    for path in dict.fromkeys(route.path for route in routes):
        paths[path] = {route.method.lower(): _operation(route, references) for route in routes if route.path == path}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Medic", "version": version, "description": ABOUT, "license": {"name": "MIT"}},
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {"schemas": definitions.get("$defs", {}), "securitySchemes": SCHEMES},
    }


def answers_of(route: Route) -> dict[int, Told]:
    """Every answer of a route, those included that it has because of what it reads."""
    refusals = dict(EVERYWHERE)
    if route.scope is not None:
        refusals |= ASKING
    if route.body is not None:
        refusals |= WITH_BODY
    if route.body is not None or route.query or route.actor or "{" in route.path:
        refusals |= READING
    if counted_as(route) is not None:
        refusals |= COUNTED
    return dict(sorted({**refusals, **route.answers}.items()))


def _models(route: Route) -> Iterable[tuple[type[BaseModel], JsonSchemaMode]]:
    if route.body is not None:
        yield route.body, "validation"
    for told in answers_of(route).values():
        if told.shape is not None:
            yield told.shape, "serialization"


References = dict[tuple[type[BaseModel], JsonSchemaMode], dict[str, JsonValue]]


def _operation(route: Route, references: References) -> JsonObject:
    operation: dict[str, JsonValue] = {
        "tags": [route.tag],
        "summary": route.summary,
        "operationId": route.view.__name__,
    }
    about = " ".join(part for part in (route.about, scope_needed(route)) if part)
    if about:
        operation["description"] = about
    operation["security"] = _security(route)
    parameters = [*_places(route.path), *(_parameter(parameter) for parameter in route.query or ())]
    if route.actor:
        parameters.append(_actor())
    if route.keyed:
        parameters.append(_key())
    parameters += [{"name": name, "in": "header", "schema": {"type": "string"}} for name in route.headers]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        schema = references[route.body, "validation"]
        operation["requestBody"] = {
            "required": not route.body_optional,
            "content": {route.body_type: {"schema": schema}},
        }
    operation["responses"] = {str(status): _told(told, references) for status, told in answers_of(route).items()}
    return operation


def scope_needed(route: Route) -> str:
    """The sentence that says what a key needs for it; empty where nobody is asked."""
    return "" if route.scope is None else f"Scope: `{route.scope.value}`."


def _security(route: Route) -> JsonValue:
    """One of these, or nothing: whether nothing does, the mode says."""
    if route.scope is None:
        return []
    names = ("bearer", "key", "basic") if route.basic else ("bearer", "key")
    return [*({name: []} for name in names), {}]


def _told(told: Told, references: References) -> JsonObject:
    answer: dict[str, JsonValue] = {"description": told.summary}
    content: JsonObject = {}
    if told.shape is not None:
        content[told.content_type] = {"schema": references[told.shape, "serialization"]}
    elif told.content_type != JSON_TYPE:
        content[told.content_type] = {"schema": {"type": "string"}}
    content |= {kind: {"schema": {"type": "string"}} for kind in told.also}
    if content:
        answer["content"] = content
    return answer


def _places(path: str) -> Iterable[JsonObject]:
    for place in re.findall(r"\{(\w+)\}", path):
        kind, about = PLACES[place]
        schema: JsonObject = {"type": "integer", "minimum": 0} if kind == "integer" else {"type": kind}
        yield {"name": place, "in": "path", "required": True, "description": about, "schema": schema}


def _parameter(parameter: Parameter) -> JsonObject:
    schema: dict[str, JsonValue] = {"type": parameter.kind}
    if parameter.kind == "flag":
        schema = {"enum": [0, 1, False, True]}
    if parameter.least is not None:
        schema["minimum"] = parameter.least
    if parameter.most is not None:
        schema["maximum"] = parameter.most
    return {"name": parameter.name, "in": "query", "description": parameter.summary, "schema": schema}


def _key() -> JsonObject:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The same for what is sent again because its answer was lost: answered again, counted once.",
        "schema": {"type": "string", "maxLength": IDEMPOTENCY_KEY_MAX},
    }


def _actor() -> JsonObject:
    return {
        "name": "X-Actor",
        "in": "header",
        "description": "Who does it, for history and audit; the caller's address where it is left out.",
        "schema": {"type": "string", "maxLength": ACTOR_MAX},
    }
