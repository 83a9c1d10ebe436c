"""The units Medic counts in, each a type of its own so that mypy keeps them apart.

Two time lines run through the whole system (see `medic.core.blind`):

* wall time (`InstantMs`) is what people named: the end of a mute, a reminder, a row in a table;
* sighted time (`SightedMs`) is awake time minus all time in which Medic could take no heartbeats. Arrivals and late
  deadlines live in it, so that crediting an outage is changing one number.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NewType

InstantMs = NewType("InstantMs", int)
"""A point of wall time: milliseconds since 1970-01-01T00:00:00Z."""

SightedMs = NewType("SightedMs", int)
"""A point of sighted time, in milliseconds.

Begins as wall time did when the data directory was made, then falls behind it by every blind span.
"""

DurationMs = NewType("DurationMs", int)
"""A length of time in milliseconds, never negative."""

SkewMs = NewType("SkewMs", int)
"""Wall time minus sighted time at one moment: `SightedMs(instant - skew)` converts an instant people named."""

ServiceId = NewType("ServiceId", int)
"""Identity of a service, 53 bits at most."""

EventId = NewType("EventId", int)
"""Identity of one thing that happened, 53 bits at most, unique over all of Medic.

A heartbeat's `heartbeat_id`, and the `alert_id` of the alert that an event opened.
"""

SECOND_MS = DurationMs(1_000)
MINUTE_MS = DurationMs(60_000)
HOUR_MS = DurationMs(3_600_000)
DAY_MS = DurationMs(86_400_000)

INSTANT_MIN = InstantMs(0)
INSTANT_MAX = InstantMs(253_402_300_799_999)
"""9999-12-31T23:59:59.999Z: later years are refused at HTTP, PostgreSQL and Python disagree about them."""


def minutes_to_ms(minutes: float) -> DurationMs:
    """The whole milliseconds nearest to `minutes`."""
    return DurationMs(round(minutes * MINUTE_MS))


def seconds_to_ms(seconds: float) -> DurationMs:
    """The whole milliseconds nearest to `seconds`."""
    return DurationMs(round(seconds * SECOND_MS))


def ms_to_minutes(duration: DurationMs) -> int | float:
    """Minutes as people gave them: without a fraction where the number is whole."""
    whole, rest = divmod(duration, MINUTE_MS)
    return whole if rest == 0 else duration / MINUTE_MS


def ms_to_seconds(duration: DurationMs) -> int | float:
    """Seconds as people gave them: without a fraction where the number is whole."""
    whole, rest = divmod(duration, SECOND_MS)
    return whole if rest == 0 else duration / SECOND_MS


def isoformat(instant: InstantMs) -> str:
    """ISO 8601 in UTC with milliseconds and `Z`, the form of every time in Medic's answers."""
    moment = to_datetime(instant)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def to_datetime(instant: InstantMs) -> datetime:
    """The instant as an aware datetime in UTC, exact to the millisecond.

    One before `INSTANT_MIN` or after `INSTANT_MAX` gives that bound: such instants are refused wherever they come in,
    and one that got in all the same must not end a listing of others.
    """
    seconds, rest = divmod(min(max(instant, INSTANT_MIN), INSTANT_MAX), 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000)


def from_datetime(moment: datetime) -> InstantMs:
    """The instant of an aware datetime, rounded down to the millisecond.

    Raises:
        ValueError: `moment` has no time zone.
    """
    if moment.tzinfo is None:
        msg = "a datetime without a time zone names no instant"
        raise ValueError(msg)
    return InstantMs((moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1))
