"""One request as views see it: plain values, nothing of Quart. Also how paths and query strings are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, unquote_to_bytes

from medic.access.caller import Author, Caller
from medic.core.names import normal_name
from medic.errors import Fault, InvalidInputError
from medic.http.limits import ACTOR_MAX, PAGE_MAX, QUERY_PARAMETERS_MAX, QUOTED_MAX

NUMBER_DIGITS_MAX: Final = 32
"""Digits of a number in a path: twice those of the greatest id."""

NUL: Final = "\0"
"""The one character that PostgreSQL stores in no text: what is asked for with it is refused before."""

NOT_UTF_8: Final = "must be UTF-8, percent-encoded"
HAS_NUL: Final = "must not have the character U+0000 in it"

FLAGS: Final = {"0": False, "1": True, "false": False, "true": True}


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Attributes:
        method: GET where the client sent HEAD.
        places: What stands in the places of the path, still percent-encoded.
        query: The query's parameters, each given once.
        body: The whole body.
        author: Under whom a change is written down.
        caller: Who asks.
        accept, accept_encoding: These headers.
        raw_query: The query string.
        idempotency_key: That header, empty where it was not sent.
        headers: Those that the route names in `Route.headers` and that were sent, by that name. One that was sent
            twice is neither of the two.
    """

    method: str
    places: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    author: Author
    caller: Caller
    accept: str = ""
    accept_encoding: str = ""
    raw_query: bytes = b""
    idempotency_key: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """The caller's address."""
        return self.caller.address

    @property
    def actor(self) -> str:
        """Who does it, for people to read."""
        return self.author.name

    @property
    def name(self) -> str:
        """The heartbeat's name in the path, normalised. `%2F` in it is part of the name.

        Raises:
            InvalidInputError: it is no text that can be stored.
        """
        return normal_name(self.text("heartbeat_name"))

    def text(self, place: str) -> str:
        """What stands in that place of the path, decoded. `%2F` in it is part of it.

        Raises:
            InvalidInputError: it is no text that can be stored.
        """
        return read_place(place, self.places[place])

    def number(self, place: str) -> int:
        """The number in the path, which may be greater than any id.

        Raises:
            InvalidInputError: it is no number.
        """
        text = self.places[place]
        if not (text.isascii() and text.isdigit()) or len(text) > NUMBER_DIGITS_MAX:
            raise InvalidInputError((Fault(place, "must be a whole number"),))
        return int(text)

    def flag(self, name: str) -> bool | None:
        """A parameter that is 0 or 1, or None where it was left out.

        Raises:
            InvalidInputError: it is something else.
        """
        text = self.query.get(name)
        if text is None:
            return None
        if text not in FLAGS:
            raise InvalidInputError((Fault(name, "must be 0 or 1"),))
        return FLAGS[text]

    @property
    def limit(self) -> int | None:
        """How many a page shall hold, or None where that was left out.

        Raises:
            InvalidInputError: it is no number from 1 to `PAGE_MAX`.
        """
        text = self.query.get("limit")
        if text is None:
            return None
        if not (text.isascii() and text.isdigit()) or len(text) > 9 or not 1 <= int(text) <= PAGE_MAX:
            raise InvalidInputError((Fault("limit", f"must be a whole number from 1 to {PAGE_MAX}"),))
        return int(text)


def canonical_path(raw_path: bytes) -> str:
    """The path in one spelling, still percent-encoded, so that routes match it and `%2F` stays within its segment.

    `/%68ealth` is `/health`; the absolute form of a request target (`http://host/path`) is its path.
    """
    if not raw_path.startswith(b"/") and b"://" in raw_path:
        raw_path = b"/" + raw_path.partition(b"://")[2].partition(b"/")[2]
    segments = (quote(unquote_to_bytes(segment), safe="") for segment in raw_path.split(b"/"))
    return "/".join(segments) or "/"


def read_place(place: str, encoded: str) -> str:
    """What a place of the path says.

    Args:
        place: The name of the place, for the refusal.
        encoded: What stands there, percent-encoded.

    Raises:
        InvalidInputError: no UTF-8 (lone surrogates are none), or `NUL` in it.
    """
    try:
        text = unquote(encoded, errors="strict") if "%" in encoded else encoded
    except UnicodeDecodeError:
        raise InvalidInputError((Fault(place, NOT_UTF_8),)) from None
    if NUL in text:
        raise InvalidInputError((Fault(place, HAS_NUL),))
    return text


def read_query(raw: bytes, known: Sequence[str]) -> dict[str, str]:
    """The parameters of a query string.

    Args:
        raw: The query string.
        known: The parameters the route has. Another one is refused: a misspelt filter must not list everything.

    Raises:
        InvalidInputError: no UTF-8, `NUL` in a value, a parameter given twice or unknown, more than
            `QUERY_PARAMETERS_MAX`.
    """
    if not raw:
        return {}
    try:
        pairs = parse_qsl(
            raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=QUERY_PARAMETERS_MAX, separator="&"
        )
    except UnicodeDecodeError:
        raise InvalidInputError((Fault("query", NOT_UTF_8),)) from None
    except ValueError:
        raise InvalidInputError((Fault("query", f"must have at most {QUERY_PARAMETERS_MAX} parameters"),)) from None
    query = dict(pairs)
    if len(query) < len(pairs):
        names = [name for name, _ in pairs]
        twice = dict.fromkeys(name for name in names if names.count(name) > 1)
        raise InvalidInputError(tuple(Fault(name[:QUOTED_MAX], "must be given once") for name in twice))
    unknown = [name for name in query if name not in known]
    if unknown:
        sentence = f"is no parameter here; these are: {', '.join(known) or 'none'}"
        raise InvalidInputError(tuple(Fault(name[:QUOTED_MAX], sentence) for name in unknown))
    unfit = [name for name, value in pairs if NUL in value]
    if unfit:
        raise InvalidInputError(tuple(Fault(name, HAS_NUL) for name in unfit))
    return query


def read_actor(header: str | None, address: str) -> str:
    """Who does it: the label of `X-Actor`, or the caller's address where there is none.

    Args:
        header: The header's value as HTTP carries it, one character a byte; UTF-8 within.
        address: The caller's address.

    Raises:
        InvalidInputError: the label is too long, or not printable.
    """
    if header is None or not header.strip():
        return address
    try:
        label = header.encode("latin-1").decode().strip()
    except UnicodeError:
        label = header.strip()
    if len(label) > ACTOR_MAX or not label.isprintable():
        raise InvalidInputError((Fault("X-Actor", f"must be at most {ACTOR_MAX} printable characters"),))
    return label
