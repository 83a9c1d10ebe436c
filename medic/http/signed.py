"""Heartbeats that are signed instead of carrying a key: which requests are, and who sends them.

A signature is over the body. It is believed where the body says everything: on the paths of `SIGNED_PATHS`. Elsewhere
the name stands in the path and the status in the query, which whoever overheard the request could exchange.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from werkzeug.datastructures import Headers

from medic.access.caller import Caller
from medic.access.introduction import Introduction
from medic.access.scope import Scope
from medic.access.signed import HEADERS, SIGNATURE, WEBHOOK_KEY_ID
from medic.errors import MedicError, UnauthorizedError
from medic.http.heartbeats import note_refused
from medic.http.parts import ApiParts
from medic.http.route import Route
from medic.http.routes import BULK_PATH, HEARTBEAT_PATH

SIGNED_PATHS: Final = (HEARTBEAT_PATH, BULK_PATH)


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


def recognise_signed(parts: ApiParts, route: Route, signature: Mapping[str, str], body: bytes, address: str) -> Caller:
    """Who sends this heartbeat; one that is refused is counted.

    Raises:
        UnauthorizedError, RateLimitedError: the signature does not say so.
    """
    try:
        if route.path not in SIGNED_PATHS:
            error = UnauthorizedError(
                f"A signature says nothing of the path: signed heartbeats go to {' or '.join(SIGNED_PATHS)}, "
                "with the name in the body.",
                reason="signature_misplaced",
            )
            raise parts.gatekeeper.turn_away(error, address, key_id=WEBHOOK_KEY_ID)
        return parts.gatekeeper.recognise_signed(signature, body, address)
    except MedicError as error:
        note_refused(parts, error, name=None, address=address)
        raise
