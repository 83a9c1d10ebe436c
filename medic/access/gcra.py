"""The arithmetic of a rate limit: the generic cell rate algorithm, in whole microseconds.

A limit of n requests a minute gives one request (a cell) every `emission_us`, and lets n of them come at once. All that
has to be kept for it is one number, the theoretical arrival time: the instant from which on n may come at once again.
The time from now until then is the `backlog_us`; each request that is taken adds one emission to it, time takes it
away again, and a request is refused that would make it longer than n emissions.

Compared with counting by the minute it has no edge at which twice the limit passes within a second, and it says to the
microsecond when the next request will be taken. Redis does the same in `medic.store.redis.script`; a test holds the two
against each other and both against a naive log of instants.

Source: ITU-T I.371; the form with one number is that of brandur.org/rate-limiting.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests a minute.

    Attributes:
        requests: At least 1. Beyond 60 millions a request takes no measurable time, and they are as good as no limit.
        emission_us: How far apart requests are that come evenly and are just taken.
        burst_us: The longest backlog: `requests` at once.
    """

    requests: int
    emission_us: int = field(init=False, compare=False)
    burst_us: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        emission_us = max(1, MINUTE_US // self.requests)
        object.__setattr__(self, "emission_us", emission_us)
        object.__setattr__(self, "burst_us", emission_us * self.requests)


def take(limit: Limit, backlog_us: int, wanted: int) -> int:
    """How many of `wanted` requests may come now; each makes the backlog longer by one emission."""
    fits = (limit.burst_us - backlog_us) // limit.emission_us
    return max(0, min(wanted, fits))


def wait_us(limit: Limit, backlog_us: int) -> int:
    """How long until one request may come; 0: it may now."""
    return max(0, backlog_us + limit.emission_us - limit.burst_us)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a caller stands with a limit, as the headers `X-RateLimit-*` and `Retry-After` say it.

    Attributes:
        limit: Requests a minute.
        remaining: How many would be taken at once now.
        reset_seconds: Until all of them would be.
        retry_after_seconds: Until one would be; 0: now.
    """

    limit: int
    remaining: int
    reset_seconds: int
    retry_after_seconds: int


def standing(limit: Limit, backlog_us: int) -> Standing:
    """How somebody with this backlog stands. Seconds are rounded up: whoever waits for them is not refused again."""
    return Standing(
        limit=limit.requests,
        remaining=take(limit, backlog_us, limit.requests),
        reset_seconds=-(-max(0, backlog_us) // SECOND_US),
        retry_after_seconds=-(-wait_us(limit, backlog_us) // SECOND_US),
    )
