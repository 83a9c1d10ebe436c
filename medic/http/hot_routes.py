"""The table of the express lane: which requests are hot, and the function that answers each. Knows no socket.

The functions are those that the Quart views call, so that status and body are the same whichever way a request came.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

from medic.http.answers import Answer
from medic.http.framing import HotHead, HotRoute
from medic.http.heartbeats import take_heartbeat
from medic.http.limits import HEARTBEAT_BYTES_MAX
from medic.http.parts import ApiParts

Take = Callable[[ApiParts, HotHead, bytes, str], Awaitable[Answer]]
"""Takes what a request brings (head, body, the caller's address) and answers it; never raises what a caller causes."""

HEARTBEAT: Final = HotRoute(("POST",), "/heartbeat", HEARTBEAT_BYTES_MAX)
"""The one that is taken in the turn in which it is read."""


async def _heartbeat(parts: ApiParts, head: HotHead, body: bytes, address: str) -> Answer:  # noqa: ARG001
    return await take_heartbeat(parts, body, address)


HOT_ROUTES: Final[Mapping[HotRoute, Take]] = MappingProxyType({HEARTBEAT: _heartbeat})
