"""`docs/reference/api.md`, made from the API's own description: `python -m medic.http.reference` prints it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from medic.core.status import ClosedReason, OpenedReason, Outcome, Status
from medic.http.availability_routes import AvailabilityShape, HeartbeatCounts, OutageShape
from medic.http.bodies import (
    BulkBody,
    HeartbeatBody,
    NamedHeartbeatBody,
    NoteBody,
    Registration,
    RotateWebhookBody,
    ServiceUpdate,
    WebhookBody,
)
from medic.http.limits import (
    ACTOR_MAX,
    ALERTS_DEFAULT,
    BODIES_BYTES_MAX,
    BODY_BYTES_MAX,
    BODY_SECONDS_MAX,
    BULK_BYTES_MAX,
    BULK_HEARTBEATS_MAX,
    BULK_MARKS_MAX,
    CONNECTIONS_MAX,
    HEAD_BYTES_MAX,
    HEARTBEAT_BYTES_MAX,
    HEARTBEATS_MAX,
    IDEMPOTENCY_KEY_MAX,
    KEEP_ALIVE_SECONDS,
    PAGE_MAX,
    REFUSED_NAMES_MAX,
    WRITE_SECONDS_MAX,
)
from medic.http.openapi import ABOUT, answers_of, scope_needed
from medic.http.route import Route
from medic.http.routes import ROUTES
from medic.http.shapes import (
    AlertHistoryShape,
    AlertMomentShape,
    AlertShape,
    BulkTaken,
    DeliveryShape,
    HealthShape,
    HeartbeatShape,
    LastRefusal,
    NewWebhookShape,
    RefusedItem,
    RefusedNameShape,
    ServiceShape,
    WebhookShape,
)

REFUSALS: Final = """Refusals: 400 the request is faulty; 401 a key is needed, or the one shown is not valid; 403 the
key does not do, or an open Medic is called by a web page, through a proxy or by a name that nobody told it of; 404
there is no such thing, or it is not built yet; 405 with `Allow`; 409 it is closed already; 413, 408 and 431 it is too
large or too slow; 429 too many, with `Retry-After`; 503 with `Retry-After`, try again; 500 a fault of Medic's own. All
are the same JSON, those of what is no HTTP at all included (400, 431, and 501 for a Transfer-Encoding other than
chunked), and these end the connection; so does Transfer-Encoding beside Content-Length, with 400. Numbers must be JSON
numbers: `"5"` is refused. Of a field given twice the last one counts.

Every answer but those of the express lane has an `X-Request-Id`, and so has each 500; audit and log name it by that."""

LIMITS: Final = (
    ("request line and headers", f"{HEAD_BYTES_MAX} bytes", "431"),
    ("body of `POST /heartbeat`, `POST /heartbeat/{heartbeat_name}`", f"{HEARTBEAT_BYTES_MAX} bytes", "413"),
    ("body of `POST /v2/heartbeats`", f"{BULK_BYTES_MAX} bytes", "413"),
    ("heartbeats in it", str(BULK_HEARTBEATS_MAX), "400"),
    ("commas and opening brackets in it", str(BULK_MARKS_MAX), "400"),
    ("any other body", f"{BODY_BYTES_MAX} bytes", "413"),
    ("bodies that are kept, all together", f"{BODIES_BYTES_MAX} bytes", "503, Retry-After 5"),
    ("time for a body to arrive", f"{BODY_SECONDS_MAX} s", "408"),
    ("time for a client to read one piece of an answer", f"{WRITE_SECONDS_MAX} s", "the connection is cut"),
    ("silence between two requests", f"{KEEP_ALIVE_SECONDS} s", "the connection is closed"),
    ("open connections", str(CONNECTIONS_MAX), "503, Retry-After 1"),
    ("heartbeats of one answer", str(HEARTBEATS_MAX), "the newest of them"),
    ("alerts without `active` and `limit`", str(ALERTS_DEFAULT), "`next_cursor`"),
    ("`limit` of a page", str(PAGE_MAX), "400"),
    ("`Idempotency-Key`", f"{IDEMPOTENCY_KEY_MAX} characters", "400"),
    ("`X-Actor`", f"{ACTOR_MAX} characters", "400"),
    ("names remembered by `GET /v2/refused`", str(REFUSED_NAMES_MAX), "the oldest are forgotten"),
)

BODIES: Final[tuple[type[BaseModel], ...]] = (
    HeartbeatBody,
    NamedHeartbeatBody,
    Registration,
    ServiceUpdate,
    NoteBody,
    WebhookBody,
    RotateWebhookBody,
)
SHAPES: Final[tuple[type[BaseModel], ...]] = (
    ServiceShape,
    LastRefusal,
    AvailabilityShape,
    OutageShape,
    HeartbeatCounts,
    HeartbeatShape,
    AlertShape,
    AlertHistoryShape,
    AlertMomentShape,
    DeliveryShape,
    WebhookShape,
    NewWebhookShape,
    RefusedNameShape,
    BulkTaken,
    RefusedItem,
    HealthShape,
)

Schema = dict[str, object]

_WORDS: Final[dict[str, type[StrEnum]]] = {
    kind.__name__: kind for kind in (Status, OpenedReason, ClosedReason, Outcome)
}
"""Closed sets of words: spelt out, not linked."""


def reference() -> str:
    """The whole page."""
    return "\n".join([*_head(), *_routes(), *_fields(), ""])


def _head() -> Iterator[str]:
    yield "# HTTP API"
    yield ""
    yield "<!-- made by python -m medic.http.reference -->"
    yield ""
    yield ABOUT
    yield ""
    yield "The same description is served as OpenAPI at `/openapi.json`, and as a page at `/docs`."
    yield ""
    yield from REFUSALS.splitlines()
    yield ""
    yield "## Limits"
    yield ""
    yield from _table(("What", "Limit", "Past it"), LIMITS)


def _routes() -> Iterator[str]:
    for tag in dict.fromkeys(route.tag for route in ROUTES):
        yield ""
        yield f"## {tag}"
        for route in ROUTES:
            if route.tag == tag:
                yield from _route(route)


def _route(route: Route) -> Iterator[str]:
    yield ""
    yield f"### `{route.method} {route.path}`"
    yield ""
    yield " ".join(part for part in (f"{route.summary}.", route.about, scope_needed(route)) if part)
    if route.query:
        yield ""
        yield from _table(("Query", "Means"), ((f"`{parameter.name}`", parameter.summary) for parameter in route.query))
    if route.body is not None:
        yield ""
        optional = ", may be left out" if route.body_optional else ""
        many = route.body is BulkBody
        title = _title((HeartbeatBody if many else route.body).__name__)
        yield f"Body: {'a list of ' * many}[{title}](#{title.lower().replace(' ', '-')}){optional}."
    yield ""
    yield from _table(
        ("Status", "Means"),
        ((str(status), told.summary) for status, told in answers_of(route).items() if status not in {405, 500}),
    )


def _fields() -> Iterator[str]:
    bodies = dict(_definitions(BODIES, "validation"))
    answers = dict(_definitions(SHAPES, "serialization"))
    for chapter, definitions in (("Bodies", bodies), ("Answers", answers)):
        yield ""
        yield f"## {chapter}"
        for title, definition in definitions.items():
            yield ""
            yield f"### {title}"
            yield ""
            yield str(definition.get("description", ""))
            yield ""
            required = _listed(definition.get("required")) if chapter == "Bodies" else []
            fields = sorted(_named(definition.get("properties")), key=lambda pair: pair[0] not in required)
            rows = (_field(name, field, name in required) for name, field in fields)
            yield from _table(("Field (* required)" if required else "Field", "Kind", "Means"), rows)


def _definitions(models: Sequence[type[BaseModel]], mode: JsonSchemaMode) -> Iterator[tuple[str, Schema]]:
    _, whole = models_json_schema([(model, mode) for model in models])
    definitions: dict[str, Schema] = whole["$defs"]
    return ((_title(model.__name__), definitions[model.__name__]) for model in models)


def _field(name: str, schema: Schema, required: bool) -> tuple[str, str, str]:
    return (
        f"`{name}`{' *' if required else ''}",
        " or ".join(dict.fromkeys(_kinds(schema))),
        " ".join(dict.fromkeys(_said(schema))),
    )


def _kinds(schema: Schema) -> Iterator[str]:
    """What a field may be, one by one."""
    alternatives = _schemas(schema.get("anyOf"))
    if alternatives:
        for alternative in alternatives:
            yield from _kinds(alternative)
        return
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        title = _title(name)
        words = _WORDS.get(name)
        yield ", ".join(f"`{word}`" for word in words) if words else f"[{title}](#{title.lower().replace(' ', '-')})"
        return
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(values, list):
        yield ", ".join(f"`{value}`" for value in values)
        return
    kind = schema.get("type", "anything")
    items = schema.get("items")
    if kind == "array" and isinstance(items, dict):
        yield f"list of {' or '.join(_kinds(items))}"
        return
    yield from (str(one) for one in kind) if isinstance(kind, list) else (f"{kind}{_bounds(schema)}",)


def _bounds(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f", {least:.4g} to {most:g}" if isinstance(least, float) else f", {least} to {most}"
    shortest, longest = schema.get("minLength"), schema.get("maxLength")
    return f", {shortest} to {longest} characters" if longest is not None else ""


def _said(schema: Schema) -> Iterator[str]:
    if isinstance(schema.get("description"), str):
        yield str(schema["description"])
    for alternative in _schemas(schema.get("anyOf")):
        yield from _said(alternative)


def _schemas(value: object) -> list[Schema]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def _named(value: object) -> Iterator[tuple[str, Schema]]:
    if isinstance(value, dict):
        yield from ((name, schema) for name, schema in value.items() if isinstance(schema, dict))


def _listed(value: object) -> list[str]:
    return [str(part) for part in value] if isinstance(value, list) else []


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"


def _title(name: str) -> str:
    """`AlertHistoryShape` as `Alert history`."""
    words = re.findall(r"[A-Z][a-z]*", name.removesuffix("Shape"))
    return " ".join([words[0], *(word.lower() for word in words[1:])])


if __name__ == "__main__":
    sys.stdout.write(reference())
