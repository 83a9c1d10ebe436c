"""The arithmetic of waiting between attempts: pure, each with a table of cases in its tests."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random
from typing import Final

from medic.core.units import InstantMs, from_datetime

BACKOFF_FIRST_SECONDS: Final = 1.0
BACKOFF_MAX_SECONDS: Final = 60.0
"""A page is tried at least once a minute for as long as its alert is open."""
BACKOFF_LEAST_SECONDS: Final = 0.05
"""Full jitter may come out as nothing; a loop around a vendor that fails at once must still breathe."""

RETRY_AFTER_LEAST_SECONDS: Final = 0.1
RETRY_AFTER_MAX_SECONDS: Final = 300.0
"""A vendor that asks for an hour is asked again after five minutes: it may have meant it, but pages are waiting."""


def backoff_seconds(attempts: int, rng: Random) -> float:
    """How long to wait after the `attempts`-th attempt failed: exponential, with full jitter.

    Source: Marc Brooker, "Exponential Backoff And Jitter": full jitter spreads clients that failed in the same instant
    over the whole span, where equal steps would bring them back together.
    """
    ceiling = min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2.0 ** min(attempts - 1, 16))
    return max(BACKOFF_LEAST_SECONDS, rng.uniform(0.0, ceiling))


def bounded_retry_after(seconds: float) -> float:
    """What a vendor asked for, within reason."""
    return min(max(seconds, RETRY_AFTER_LEAST_SECONDS), RETRY_AFTER_MAX_SECONDS)


def retry_after_seconds(value: str | None, *, now: InstantMs) -> float | None:
    """Seconds a Retry-After header asks for: a number, or an HTTP date measured against `now`. None: not readable."""
    if value is None:
        return None
    stripped = value.strip()
    if stripped.isascii() and stripped.replace(".", "", 1).isdecimal():
        return bounded_retry_after(float(stripped))
    moment = _http_date(stripped)
    return None if moment is None else bounded_retry_after((moment - now) / 1000)


def http_date_instant(value: str | None) -> InstantMs | None:
    """The instant of an HTTP date such as the header Date, or None."""
    return None if value is None else _http_date(value)


def _http_date(value: str) -> InstantMs | None:
    try:
        moment: datetime = parsedate_to_datetime(value)
    except ValueError:
        return None
    return from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
