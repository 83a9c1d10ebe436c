"""The table of the express lane: which requests are hot, and the function that answers each. Knows no socket.

The functions are those that the Quart views call, so that status and body are the same whichever way a request came.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from medic.access.caller import Caller
from medic.access.entrance import HEARTBEATS, HEARTBEATS_IN_ONE_LINE
from medic.http.answers import Answer
from medic.http.bulk import take_bulk
from medic.http.framing import HotHead, HotRoute
from medic.http.heartbeats import take_heartbeat
from medic.http.limits import BODY_SMALL_BYTES, HEARTBEAT_BYTES_MAX, REQUEST_SECONDS_MAX
from medic.http.named import take_named
from medic.http.parts import ApiParts
from medic.http.recognition import come_in
from medic.http.refusals import refuse_framework
from medic.http.refused import INVALID
from medic.http.routes import BULK_PATH, HEARTBEAT_PATH, NAMED_PATH

Take = Callable[[ApiParts, HotHead, bytes, str], Awaitable[Answer]]
"""Takes what a request brings (head, body, the caller's address) and answers it; never raises what a caller causes."""

HEARTBEAT: Final = HotRoute(("POST",), HEARTBEAT_PATH, HEARTBEAT_BYTES_MAX)
"""The one that is taken in the turn in which it is read."""

SAMPLED_HEARTBEAT: Final = replace(HEARTBEAT, sampled=True)
"""The same from a sender who has it traced: it takes a task. In the table only where Medic traces."""

BULK: Final = HotRoute(("POST",), BULK_PATH, BODY_SMALL_BYTES)
"""A larger one is Hypercorn's: there all bodies together have a budget, and the head is asked for a key first."""

NAMED: Final = HotRoute(("GET", "HEAD", "POST"), NAMED_PATH, HEARTBEAT_BYTES_MAX)


async def _heartbeat(parts: ApiParts, head: HotHead, body: bytes, address: str) -> Answer:
    async def take(caller: Caller) -> Answer:
        return await take_heartbeat(parts, body, caller, head.idempotency_key)

    return await come_in(parts, head, address, HEARTBEATS, take)


async def _bulk(parts: ApiParts, head: HotHead, body: bytes, address: str) -> Answer:
    async def take(caller: Caller) -> Answer:
        return await take_bulk(parts, body, caller, head.idempotency_key)

    return await come_in(parts, head, address, HEARTBEATS, take)


async def _named(parts: ApiParts, head: HotHead, body: bytes, address: str) -> Answer:
    said = body if head.method == "POST" else b""

    async def take(caller: Caller) -> Answer:
        return await take_named(parts, head.place, head.query, said, caller, head.idempotency_key)

    return await come_in(parts, head, address, HEARTBEATS_IN_ONE_LINE, take)


HOT_ROUTES: Final[Mapping[HotRoute, Take]] = MappingProxyType({HEARTBEAT: _heartbeat, BULK: _bulk, NAMED: _named})


def refuse_late(parts: ApiParts, head: HotHead) -> Answer:
    """The answer to a request whose body did not come in time; it is counted."""
    parts.meter.observe(head.method, head.route.path, 408, REQUEST_SECONDS_MAX)
    if head.method == "POST":
        parts.meter.refuse_heartbeat(INVALID)
    return refuse_framework(408, path=head.route.path, limit=head.route.body_bytes_max)
