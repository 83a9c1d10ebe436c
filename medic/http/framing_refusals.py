"""Refusals of what is no well-framed request, below the application and in the same JSON as above it.

h11 refuses a broken head by itself, and Hypercorn then answers with a status and nothing else, before the application
has heard of the request. `in_json` finds such an answer among the bytes that leave a connection, and gives it the body
every refusal has. It can be told from an answer of the application by one thing alone: the application has begun none.

A request that says its length twice, by Transfer-Encoding and by Content-Length, is read by h11 as chunked. Whoever
stands before Medic may have read it the other way, and then takes the rest for a request that nobody sent (RFC 9112,
6.1). So does one with Transfer-Encoding in HTTP/1.0, which has none. Neither is interpreted; both are refused, and the
connection ends.

So is a head that is too long. h11 counts only what it cannot read yet: of a head that arrives at once it takes four
times as much as of the same in pieces.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from medic.http.answers import SAFETY_HEADERS, Answer, Headers, refusal
from medic.http.limits import HEAD_BYTES_MAX
from medic.http.refusals import OWN_FAULT

if TYPE_CHECKING:
    from hypercorn.typing import HTTPScope, Scope

_MESSAGES: Final = {
    400: "This is no well-formed HTTP request.",
    431: f"The request line and the headers are too long: {HEAD_BYTES_MAX} bytes at most.",
    501: "The only Transfer-Encoding there is, is chunked.",
}

_TWO_LENGTHS: Final = "A request has either Content-Length or Transfer-Encoding, never both."
_CHUNKED_TOO_EARLY: Final = "HTTP/1.0 has no Transfer-Encoding: send Content-Length."

_AROUND_A_HEADER: Final = len(": \r\n")

_REFUSED: Final = re.compile(rb"HTTP/1\.1 ([45][0-9][0-9]) ")


def in_json(written: bytes | bytearray | memoryview) -> bytes | None:
    """The whole refusal in place of the one in these bytes, which is without a body; None where they are none."""
    found = _REFUSED.match(written)
    if found is None:
        return None
    status = int(found[1])
    message = OWN_FAULT if status == 500 else _MESSAGES.get(status, _MESSAGES[400])
    return as_bytes(refusal(status, message))


def as_bytes(answer: Answer) -> bytes:
    """The answer as HTTP/1.1 writes it, the last one of its connection."""
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in _headers(answer)]
    return "\r\n".join((*lines, "", "")).encode() + answer.body


def as_pairs(answer: Answer) -> list[tuple[bytes, bytes]]:
    """The headers of that last answer, as an application hands them to its server."""
    return [(name.lower().encode(), value.encode()) for name, value in _headers(answer)]


def refuse_unfinished() -> Answer:
    """The refusal of a head that was begun and does not go on, as Hypercorn refuses one."""
    return refusal(400, _MESSAGES[400])


def refuse_framing(scope: Scope) -> Answer | None:
    """The refusal of a request whose end two readers may find in two places, or whose head is too long; else None."""
    if scope["type"] != "http":
        return None
    if _head_bytes(scope) > HEAD_BYTES_MAX:
        return refusal(431, _MESSAGES[431])
    names = {name.lower() for name, _ in scope["headers"]}
    if b"transfer-encoding" not in names:
        return None
    if b"content-length" in names:
        return refusal(400, _TWO_LENGTHS)
    if scope["http_version"] == "1.0":
        return refusal(400, _CHUNKED_TOO_EARLY)
    return None


def _head_bytes(scope: HTTPScope) -> int:
    """About what the head of a request has: names, values and what stands between them."""
    target = len(scope["method"]) + len(scope["raw_path"]) + len(scope["query_string"])
    return target + sum(len(name) + len(value) + _AROUND_A_HEADER for name, value in scope["headers"])


def _headers(answer: Answer) -> Headers:
    length = str(len(answer.body))
    return (
        *SAFETY_HEADERS,
        *answer.headers,
        ("Content-Type", answer.content_type),
        ("Content-Length", length),
        ("Connection", "close"),
    )
