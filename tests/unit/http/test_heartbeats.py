"""Reading a heartbeat from bytes: the quick way takes nothing that the thorough one refuses."""

from __future__ import annotations

import contextlib
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medic.errors import InvalidInputError
from medic.http import heartbeats
from medic.http.bodies import HeartbeatBody, check_fields
from medic.http.heartbeats import accepted, read_heartbeat
from medic.ports import Beat

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=260) | st.sampled_from(
    ["job", "UP", " job", "job ", "", "x" * 249, "x" * 250, "x" * 64, "x" * 65, "\u00a0", "e\u0301"]
)
VALUES = TEXTS | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.lists(st.integers())
BODIES = st.fixed_dictionaries(
    {"heartbeat_name": TEXTS, "status": TEXTS},
    optional={"service_name": VALUES, "run_id": VALUES, "time": VALUES, "idempotency_key": VALUES, "host": VALUES},
) | st.dictionaries(st.sampled_from(["heartbeat_name", "status", "service_name", "x"]), VALUES)


@given(BODIES)
def test_the_quick_way_agrees_with_the_thorough_one(given_fields: dict) -> None:
    beat = heartbeats.plain_beat(given_fields, None)
    if beat is not None:
        checked = check_fields(HeartbeatBody, given_fields)
        assert beat == Beat(name=checked.heartbeat_name, status=checked.status, run_id=checked.run_id)


@given(BODIES | VALUES)
def test_any_json_is_read_or_refused_by_field(value: object) -> None:
    body = json.dumps(value).encode()
    for strict in (False, True):
        with contextlib.suppress(InvalidInputError):
            read = read_heartbeat(body, strict_status=strict)
            assert 1 <= len(read.beat.name) <= 249
            assert 1 <= len(read.beat.status) <= 64


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(InvalidInputError):
        read_heartbeat(body, strict_status=False)


def test_of_a_field_given_twice_the_last_one_counts() -> None:
    body = b'{"heartbeat_name":"a","heartbeat_name":"b","status":"UP"}'
    assert read_heartbeat(body, strict_status=False).beat.name == "b"


def test_names_are_normalised() -> None:
    body = orjson.dumps({"heartbeat_name": "e\u0301", "status": "UP"})
    assert read_heartbeat(body, strict_status=False).beat.name == "\u00e9"


@pytest.mark.parametrize(("ignored", "message"), [
    ((), "Heartbeat Posted Successfully."),
    (("x",), "Heartbeat Posted Successfully. Ignored fields: x."),
    (("x" * 1_000,), f"Heartbeat Posted Successfully. Ignored fields: {'x' * 64}."),
])  # fmt: skip
def test_ignored_fields_are_named(ignored: tuple[str, ...], message: str) -> None:
    answer = accepted(ignored)
    assert (answer.status, orjson.loads(answer.body)["message"]) == (201, message)


def test_the_number_of_ignored_fields_named_is_bounded() -> None:
    assert len(accepted(tuple(f"field-{number}" for number in range(10_000))).body) < 1_000
