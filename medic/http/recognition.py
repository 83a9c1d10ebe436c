"""Who sends a request: its headers, read the same way on both ways into Medic, and the gatekeeper's answer to them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from werkzeug.datastructures import Headers

from medic.access.caller import Caller
from medic.access.entrance import HEARTBEATS, Entrance
from medic.access.introduction import RELAY_HEADERS, Introduction
from medic.errors import MedicError
from medic.http.answers import Answer
from medic.http.caller import caller_address
from medic.http.framing import HotHead
from medic.http.heartbeats import note_refused
from medic.http.lane_connection import LaneConnection
from medic.http.parts import ApiParts
from medic.http.refusals import refuse


def introduction_of(headers: Headers) -> Introduction:
    """What the headers of a request that Quart takes say of its sender. `HotHead.introduction` is the lane's."""
    return Introduction(
        authorization=_all(headers, "Authorization"),
        api_key=_all(headers, "X-API-Key"),
        host=headers.get("Host", "").strip(),
        is_relayed=any(name.lower() in RELAY_HEADERS for name in headers.keys()),  # noqa: SIM118 - werkzeug's pairs
        origin=headers.get("Origin", "").strip(),
        fetch_site=headers.get("Sec-Fetch-Site", "").strip().lower(),
    )


def address_of(parts: ApiParts, head: HotHead, peer: str) -> str:
    """The caller's address: the connection's other end, or whom trusted proxies name."""
    return caller_address(
        peer, forwarded_for=head.forwarded_for, forwarded=head.forwarded, trusted=parts.settings.trusted_proxies
    )


def recognise_again(parts: ApiParts, connection: LaneConnection, head: HotHead, now: float) -> Caller:
    """Who sends a heartbeat on a connection that may have sent others. Costs two comparisons if it has.

    Args:
        parts: The parts of the API.
        connection: Remembers who it was.
        head: Of the heartbeat.
        now: Instant of trio's clock.

    Raises:
        UnauthorizedError, ForbiddenError, RateLimitedError: they may not come in.
    """
    gatekeeper, known = parts.gatekeeper, connection.known
    if (
        known is not None
        and head.introduction is known.introduction
        and known.version == gatekeeper.version
        and now < known.until
    ):
        if head.is_direct:
            return known.caller
        return Caller(address_of(parts, head, connection.caller.address), known.caller.key)
    address = connection.caller.address if head.is_direct else address_of(parts, head, connection.caller.address)
    caller = gatekeeper.recognise(head.introduction, address, HEARTBEATS)
    connection.known = gatekeeper.remember(head.introduction, caller, now)
    return caller


async def come_in(
    parts: ApiParts, head: HotHead, address: str, entrance: Entrance, take: Callable[[Caller], Awaitable[Answer]]
) -> Answer:
    """What `take` answers to whoever may come in, or the refusal of who may not; a heartbeat that it is, is counted."""
    try:
        caller = parts.gatekeeper.recognise(head.introduction, address, entrance)
    except MedicError as error:
        note_refused(parts, error, name=None, address=address)
        return refuse(error)
    return await take(caller)


def _all(headers: Headers, name: str) -> tuple[str, ...]:
    return tuple(value.strip() for value in headers.getlist(name))
