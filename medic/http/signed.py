"""Heartbeats that are signed instead of carrying a key: which requests are, and who sends them."""

from __future__ import annotations

from collections.abc import Mapping

from werkzeug.datastructures import Headers

from medic.access.caller import Caller
from medic.access.introduction import Introduction
from medic.access.scope import Scope
from medic.access.signed import HEADERS, SIGNATURE
from medic.errors import MedicError
from medic.http.heartbeats import note_refused
from medic.http.parts import ApiParts
from medic.http.route import Route


def shown_signature(
    parts: ApiParts, route: Route, headers: Headers, introduction: Introduction
) -> Mapping[str, str] | None:
    """The headers of the scheme, where this request is to be known by them; None where it is one like any other.

    A key that is shown beside a signature is what counts: whoever sends one meant it for Medic.
    """
    if route.scope is not Scope.HEARTBEAT or route.method != "POST" or not parts.gatekeeper.verifies_signatures:
        return None
    if SIGNATURE not in headers or introduction.authorization or introduction.api_key:
        return None
    # One that is given twice is neither of the two.
    return {name: ",".join(headers.getlist(name)) for name in HEADERS if name in headers}


def recognise_signed(parts: ApiParts, signature: Mapping[str, str], body: bytes, address: str) -> Caller:
    """Who sends this heartbeat; one that is refused is counted.

    Raises:
        UnauthorizedError, RateLimitedError: the signature does not say so.
    """
    try:
        return parts.gatekeeper.recognise_signed(signature, body, address)
    except MedicError as error:
        note_refused(parts, error, name=None, address=address)
        raise
