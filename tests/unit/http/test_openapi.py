"""The API's description is whole: every route, every reference, every field explained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema

from medic.http.openapi import describe
from medic.http.routes import ROUTES

DESCRIPTION: Any = describe(ROUTES, version="1")


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def test_every_reference_leads_somewhere() -> None:
    known = {f"#/components/schemas/{name}" for name in DESCRIPTION["components"]["schemas"]}
    assert set(references(DESCRIPTION)) <= known


def test_every_schema_is_one() -> None:
    for schema in DESCRIPTION["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_operation_has_a_name_of_its_own_a_summary_and_answers() -> None:
    operations = [operation for methods in DESCRIPTION["paths"].values() for operation in methods.values()]
    named = [operation["operationId"] for operation in operations]
    assert len(named) == len(ROUTES)
    assert len(set(named)) == len(named)
    assert all(operation["summary"] and operation["responses"] for operation in operations)


def test_every_field_of_a_body_says_what_it_is() -> None:
    bodies = ("Registration", "ServiceUpdate", "HeartbeatBody", "NoteBody", "WebhookBody", "KeyBody", "RotationBody")
    for name in bodies:
        for field, schema in DESCRIPTION["components"]["schemas"][name]["properties"].items():
            said = [schema.get("description")] + [part.get("description") for part in schema.get("anyOf", [])]
            assert any(said), f"{name}.{field}"


def test_every_parameter_of_a_query_is_described() -> None:
    for route in ROUTES:
        operation = DESCRIPTION["paths"][route.path][route.method.lower()]
        described = {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "query"}
        assert described == {parameter.name for parameter in route.query or ()}
