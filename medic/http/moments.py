"""Moments in a query string: dates, and times as ISO 8601 has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from medic.core.units import INSTANT_MAX, INSTANT_MIN, InstantMs, from_datetime
from medic.errors import Fault, InvalidInputError
from medic.http.call import Call

_DATE_LENGTH: Final = len("2026-01-31")


def read_moment(call: Call, name: str, day: timedelta) -> InstantMs | None:
    """A moment of the query; of a date alone its beginning, moved by `day`. Without a zone it is UTC.

    Raises:
        InvalidInputError: it is none, or of a year that Medic cannot say.
    """
    text = call.query.get(name)
    if not text:
        return None
    fault = InvalidInputError((Fault(name, "must be a date or a time as ISO 8601 has it; a `+` in it as `%2B`"),))
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        instant = from_datetime(moment + (day if len(text) <= _DATE_LENGTH else timedelta()))
    except (ValueError, OverflowError):
        raise fault from None
    if not INSTANT_MIN <= instant <= INSTANT_MAX:
        raise fault
    return instant
