"""Which limit applies to what, and what whoever is over one is told.

A heartbeat counts for its service, and where `RATE_LIMIT_HEARTBEAT_CALLER_REQUESTS` is set for its caller too; one for
a name that is not registered counts for its caller. Every other request is a change or a read of its caller, but for
those that nobody must be kept from: registering what is registered (a fleet does it at each start), health and
metrics. A caller is the API key, else the peer's address.

A service that keeps its promise is never limited: its limit is at least three times what interval and threshold ask
for (`Policy.heartbeats_a_minute`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from medic.access.caller import Caller
from medic.access.gcra import SECOND_US, Limit, standing
from medic.core.service import Service
from medic.core.units import InstantMs, SightedMs
from medic.errors import RateLimitedError


class Counted(Enum):
    """What is counted together. The values are words of the names in Redis."""

    SERVICE = "service"
    CALLER = "caller"
    UNKNOWN = "unknown"
    MANAGEMENT = "management"
    READ = "read"


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests a minute and caller; 0 is no limit. That of a service is in its policy."""

    caller: int = 0
    unknown: int = 0
    management: int = 0
    reads: int = 0

    def of(self, counted: Counted) -> Limit | None:
        """The limit of one kind of request; None: there is none."""
        requests = {
            Counted.SERVICE: 0,
            Counted.CALLER: self.caller,
            Counted.UNKNOWN: self.unknown,
            Counted.MANAGEMENT: self.management,
            Counted.READ: self.reads,
        }[counted]
        return Limit(requests) if requests else None


_SENTENCES: Final = {
    Counted.SERVICE: "This service may send {limit} heartbeats a minute (RATE_LIMIT_HEARTBEAT_REQUESTS). This one "
    "counts as a sign of life and is not stored.",
    Counted.CALLER: "You may send {limit} heartbeats a minute (RATE_LIMIT_HEARTBEAT_CALLER_REQUESTS). This one counts "
    "as a sign of life and is not stored.",
    Counted.UNKNOWN: "You may name {limit} services a minute that are not registered (RATE_LIMIT_UNKNOWN_REQUESTS). "
    "POST them to /service first.",
    Counted.MANAGEMENT: "You may make {limit} changes a minute (RATE_LIMIT_MANAGEMENT_REQUESTS).",
    Counted.READ: "You may read {limit} times a minute (RATE_LIMIT_READ_REQUESTS).",
}


def name_of(caller: Caller) -> str:
    """Under which name a caller is counted: the id of a key cannot be an address."""
    return caller.address if caller.key is None else f"key:{caller.key.key_id}"


def refusal(counted: Counted, limit: Limit, wait_us: int) -> RateLimitedError:
    """What somebody is told of whom nothing is taken for so long."""
    stands = standing(limit, limit.burst_us - limit.emission_us + wait_us)
    return RateLimitedError(
        _SENTENCES[counted].format(limit=limit.requests),
        limit=limit.requests,
        reset_seconds=stands.reset_seconds,
        retry_after_seconds=max(1, -(-wait_us // SECOND_US)),
    )


def service_refusal(service: Service, wait_us: int) -> RateLimitedError:
    """What the sender of a heartbeat is told where no more of the service's are stored for so long."""
    return refusal(Counted.SERVICE, Limit(service.policy.heartbeats_a_minute), wait_us)


class Unlimited:
    """Implements `HeartbeatLimits` and `RequestLimits` where nothing is limited."""

    counts_callers = False

    def refuse_heartbeat(self, service: Service, at: InstantMs, sighted: SightedMs, caller: Caller) -> None:
        """One more is stored."""

    def heartbeat_wait_us(self, service: Service, at: InstantMs, sighted: SightedMs) -> int:  # noqa: ARG002
        """One more is stored."""
        return 0

    def refuse_unknown(self, caller: Caller) -> None:
        """The caller may be told."""

    async def count(self, counted: Counted, caller: Caller) -> None:
        """There is no limit."""


UNLIMITED: Final = Unlimited()
