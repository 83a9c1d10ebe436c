"""What a view gives back: a status and bytes, or a status and pieces. Knows nothing of Quart.

Answers of `/heartbeat`, `/service`, `/alerts` and `/v2` stand in one envelope, `{"success", "message", "results"}`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import orjson

from medic.errors import Fault

JSON_TYPE: Final = "application/json"

SAFETY_HEADERS: Final = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
"""On every answer: what is true now is not true later, JSON is nothing else, no page may show or embed it, and an
address with a service's name in it is told to nobody. A page of ours has a policy of its own."""

JsonValue = str | int | float | bool | None | Sequence["JsonValue"] | Mapping[str, "JsonValue"]
"""What JSON can say."""

JsonObject = dict[str, JsonValue]
"""One object of an answer, its fields in the order they are shown."""

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes
    headers: Headers = ()
    content_type: str = JSON_TYPE


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that is sent piece by piece, so that a long listing takes bounded memory and never holds the loop."""

    pieces: AsyncIterator[bytes]
    status: int = 200
    headers: Headers = ()
    content_type: str = JSON_TYPE


def success(status: int, message: str, results: JsonValue, **beside: JsonValue) -> Answer:
    """The envelope of a success; `beside` are further fields, such as `next_cursor`."""
    return Answer(status, orjson.dumps({"success": True, "message": message, "results": results, **beside}))


def refusal(status: int, message: str, faults: Sequence[Fault] = (), headers: Headers = ()) -> Answer:
    """The envelope of a refusal: `results` is the empty string; `errors` names the faulty fields, if there are any."""
    fields: JsonObject = {"success": False, "message": message, "results": ""}
    if faults:
        fields["errors"] = [{"field": fault.field, "message": fault.message} for fault in faults]
    return Answer(status, orjson.dumps(fields), headers)


async def listing(pages: AsyncGenerator[Sequence[JsonObject], None]) -> AsyncIterator[bytes]:
    """The envelope of a listing whose objects come in portions; `total_count` is known at its end and stands there."""
    yield b'{"success":true,"message":"","results":['
    count = 0
    async with aclosing(pages):
        async for page in pages:
            if page:
                text = orjson.dumps(page)[1:-1]
                yield b"," + text if count else text
                count += len(page)
    yield b'],"next_cursor":null,"total_count":%d}' % count
