"""What a Medic that stands by answers: it lives, it is not ready, and everything else has to go to the active one.

So a process manager leaves it alone, a load balancer passes it over, and whoever asks it by mistake reads whom to ask.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import orjson
from quart import Response
from werkzeug.exceptions import HTTPException

from medic.core.units import InstantMs, isoformat
from medic.http.answers import Answer, JsonObject, refusal
from medic.http.application import as_response
from medic.http.limits import BODY_BYTES_MAX
from medic.http.requests import MedicQuart

RETRY_AFTER_SECONDS: Final = "5"
"""A takeover is over by then, where the active one has just died."""


STANDS_BY: Final = "This Medic stands by"
"""How every message of it begins."""


@dataclass(frozen=True, slots=True)
class ActiveMedic:
    """Whom a Medic stands by. Empty and None where nobody is known to be active: this one is about to be."""

    name: str
    address: str
    since: InstantMs | None

    @property
    def clause(self) -> str:
        """What there is to say of it, for people."""
        if self.since is None:
            return "it is about to take over"
        return f"{self.name} at {self.address} is active since {isoformat(self.since)}"


def create_standby_app(*, active: Callable[[], ActiveMedic], now: Callable[[], InstantMs], version: str) -> MedicQuart:
    """The application of a Medic that stands by.

    Args:
        active: Whom it stands by now.
        now: Wall time.
        version: Medic's.
    """
    app = MedicQuart("medic-standby", static_folder=None)
    app.url_map.merge_slashes = False
    app.observe = _observe_nothing
    app.body_bytes_max = _body_bytes_max

    def probe(status: int, word: str, **beside: str) -> Answer:
        shown: JsonObject = {"status": word, "timestamp": isoformat(now()), "version": version, "role": "standby"}
        headers = () if status == 200 else (("Retry-After", RETRY_AFTER_SECONDS),)
        return Answer(status, orjson.dumps({**shown, **beside}), headers)

    async def live() -> Response:
        return as_response(probe(200, "alive"))

    async def ready() -> Response:
        found = active()
        return as_response(
            probe(503, "not_ready", reason=_sentence(found), active=found.name, active_address=found.address)
        )

    async def refuse(_: HTTPException) -> Response:
        return as_response(refusal(503, _sentence(active()), headers=(("Retry-After", RETRY_AFTER_SECONDS),)))

    views: dict[str, Callable[[], Awaitable[Response]]] = {"/health/live": live, "/health/ready": ready}
    for path, view in views.items():
        app.add_url_rule(path, endpoint=path, view_func=view, methods=["GET"])
    app.register_error_handler(HTTPException, refuse)
    return app


def _sentence(active: ActiveMedic) -> str:
    return f"{STANDS_BY}: {active.clause}."


def _observe_nothing(method: str, route: str, status: int, seconds: float) -> None:
    """There is nobody to tell: /metrics is not served here."""


def _body_bytes_max(_: str) -> int:
    return BODY_BYTES_MAX
