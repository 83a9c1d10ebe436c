"""`GET|HEAD|POST /heartbeat/{heartbeat_name}`: a heartbeat in one line, for curl, cron and what can open an address.

    curl -fsS https://medic/heartbeat/nightly-backup
    nightly-backup || curl -fsS 'https://medic/heartbeat/nightly-backup?status=FAILED'

Every method does the same: a heartbeat is a fact that was observed, and a client that can only GET has one to tell as
well. So that nobody in between tells it for him, or keeps it to himself, the answer is `Cache-Control: no-store`; who
puts such an address where browsers prefetch has a service that never falls silent.

The status is UP where nothing else is said. That is why nothing that might say otherwise is passed over: a parameter
that is not known is refused (`?staus=DOWN` must not count as UP), and of a body that POST brings, a JSON object and a
form of these fields are read. Any other body (the output of a job, by `curl -d`) means nothing here. What the query
says stands before what the body says.
"""

from __future__ import annotations

import re
from typing import Final

from medic.access.caller import Caller
from medic.http.answers import Answer, JsonObject
from medic.http.bodies import BYTE_ORDER_MARK, read_json
from medic.http.call import Call, read_place, read_query
from medic.http.heartbeats import HeartbeatRead, answer_one, check_heartbeat, read_key
from medic.http.parts import ApiParts

NAMED_FIELDS: Final = ("status", "run_id", "time", "service_name", "idempotency_key")
"""What may stand beside the name, in the query or in a body."""

_DEFAULTS: Final = {"status": "UP"}
_SECONDS: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_FORM: Final = re.compile(rb"(?:%s)=" % "|".join(NAMED_FIELDS).encode())


async def take_named(
    parts: ApiParts, place: str, query: bytes, body: bytes, caller: Caller, idempotency_key: str = ""
) -> Answer:
    """Take the heartbeat of the name in the path, and answer it. Never raises what the caller could have caused.

    Args:
        parts: The parts of the API.
        place: The name as it stands in the path, percent-encoded; `%2F` in it is part of the name.
        query: The query string.
        body: The request's body.
        caller: Who sends it, and may come in.
        idempotency_key: That header, empty where it was not sent.
    """
    strict = parts.settings.strict_status
    return await answer_one(
        parts, caller, lambda: _read(place, query, body, strict_status=strict, idempotency_key=idempotency_key)
    )


async def send_heartbeat(parts: ApiParts, call: Call) -> Answer:
    """Take a heartbeat by GET; a body means nothing."""
    return await take_named(
        parts, call.places["heartbeat_name"], call.raw_query, b"", call.caller, call.idempotency_key
    )


async def post_named_heartbeat(parts: ApiParts, call: Call) -> Answer:
    """Take a heartbeat by POST."""
    place = call.places["heartbeat_name"]
    return await take_named(parts, place, call.raw_query, call.body, call.caller, call.idempotency_key)


def _read(place: str, query: bytes, body: bytes, *, strict_status: bool, idempotency_key: str) -> HeartbeatRead:
    key = read_key(idempotency_key) if idempotency_key else None
    name = read_place("heartbeat_name", place)
    given: JsonObject = {**_DEFAULTS, **read_named_body(body), **_read_fields(query)}
    # The path alone says whose it is.
    given["heartbeat_name"] = name
    return check_heartbeat(given, strict_status=strict_status, key=key)


def read_named_body(body: bytes) -> JsonObject:
    """What a body says beside the name: the fields of an object or of a form; nothing where it is neither.

    Raises:
        InvalidInputError: it begins like one of them and cannot be read.
    """
    text = body.removeprefix(BYTE_ORDER_MARK).lstrip()
    if text.startswith(b"{"):
        return read_json(text)
    return _read_fields(text.rstrip()) if _FORM.match(text) else {}


def _read_fields(encoded: bytes) -> JsonObject:
    fields: JsonObject = {}
    for name, value in read_query(encoded, NAMED_FIELDS).items():
        is_seconds = name == "time" and _SECONDS.fullmatch(value) is not None
        fields[name] = float(value) if is_seconds else value
    return fields
