"""Headers that have nothing to do with what is answered: for browsers, and for whoever looks for a request in a log.

`SAFETY_HEADERS` of `medic.http.answers` stand on every answer there is, those of the express lane included. What is
here is added by the Quart way, which has every request of a browser.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from medic.http.answers import Headers

REQUEST_ID: Final = "X-Request-Id"
"""On every answer of the Quart way, and on each that is a fault of Medic's own; the same id is in log and audit."""

REQUEST_ID_BYTES: Final = 8
"""Random bytes of a request's id: no two of a day are the same."""

ALLOWED_HEADERS: Final = "Authorization, Content-Type, Idempotency-Key, X-API-Key, X-Actor"
"""What a page of another origin may send: everything that Medic reads."""

EXPOSED_HEADERS: Final = (
    "Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-Request-Id, WWW-Authenticate"
)
"""What such a page may read of an answer, beside its body."""

PREFLIGHT_SECONDS: Final = 600
"""How long a browser need not ask again: as long as browsers believe such an answer at most."""


def new_request_id() -> str:
    """An id that no other request has."""
    return secrets.token_hex(REQUEST_ID_BYTES)


@dataclass(frozen=True, slots=True)
class Cors:
    """Which pages of other origins may read answers: `MEDIC_CORS_ORIGINS`.

    Keys are in headers, never in cookies, so no answer allows credentials.
    """

    origins: frozenset[str] = frozenset()

    def headers(self, origin: str, *, asks_method: str = "", methods: str = "") -> Iterator[tuple[str, str]]:
        """What an answer has for the page's browser.

        Args:
            origin: The request's Origin.
            asks_method: Its Access-Control-Request-Method: it asks whether the real one may come.
            methods: Those of the path.
        """
        if not self.origins:
            return
        yield "Vary", "Origin"
        if origin not in self.origins:
            return
        yield "Access-Control-Allow-Origin", origin
        yield "Access-Control-Expose-Headers", EXPOSED_HEADERS
        if asks_method:
            yield "Access-Control-Allow-Methods", methods
            yield "Access-Control-Allow-Headers", ALLOWED_HEADERS
            yield "Access-Control-Max-Age", str(PREFLIGHT_SECONDS)


NO_CORS: Final = Cors()

OVER_TLS: Final[Headers] = (("Strict-Transport-Security", "max-age=31536000"),)
"""A browser that came by TLS once comes by nothing else for a year."""
