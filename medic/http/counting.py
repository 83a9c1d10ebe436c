"""Requests that are counted for their caller: which, and what the answer says of it.

The headers `X-RateLimit-*` stand on every answer to a request that is counted, and on every 429. A heartbeat's 201 does
not have them: it is 170 bytes that are made once a second for everybody, and what is left of a service's limit is
nobody's concern until it is used up.
"""

from __future__ import annotations

from medic.access.caller import Caller
from medic.access.limits import Counted
from medic.access.scope import Scope
from medic.http.answers import Headers
from medic.http.parts import ApiParts
from medic.http.refusals import rate_headers
from medic.http.route import Route


def counted_as(route: Route) -> Counted | None:
    """What a request of this route is counted as; None: it is not, or its view counts it."""
    if not route.limited or route.scope is None or route.scope is Scope.HEARTBEAT:
        return None
    return Counted.READ if route.method == "GET" else Counted.MANAGEMENT


async def count_request(parts: ApiParts, route: Route, caller: Caller) -> Headers:
    """Count a request before it is looked at; the headers of its answer.

    Raises:
        RateLimitedError: it is one too many.
    """
    counted = counted_as(route)
    return () if counted is None else await count(parts, counted, caller)


async def count(parts: ApiParts, counted: Counted, caller: Caller) -> Headers:
    """Count one; the headers that say how the caller stands with it.

    Raises:
        RateLimitedError: it is one too many.
    """
    stands = await parts.request_limits.count(counted, caller)
    return () if stands is None else rate_headers(stands)
