"""What each field of a request may be: one check a kind of field.

A check takes whatever JSON held and gives Medic's own value, or refuses with the end of a sentence that begins with the
field's name and names its bounds. Numbers must be JSON numbers: the earlier system refused numbers in quotes, so no
working client sends them, and "5" might have been meant for another field.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from pydantic_core import PydanticCustomError

from medic.access.references import fault_in
from medic.access.signed import HEADERS as SIGNED_HEADERS
from medic.core.draft import PRIORITIES, TEAM_MAX
from medic.core.names import NAME_MAX, name_fault, normal_name
from medic.core.policy import THRESHOLD_MAX
from medic.core.units import (
    DAY_MS,
    HOUR_MS,
    INSTANT_MAX,
    INSTANT_MIN,
    MINUTE_MS,
    DurationMs,
    InstantMs,
    from_datetime,
    minutes_to_ms,
    ms_to_minutes,
    ms_to_seconds,
    seconds_to_ms,
)
from medic.http.limits import (
    IDEMPOTENCY_KEY_MAX,
    QUOTED_MAX,
    RUN_ID_MAX,
    RUNBOOK_MAX,
    STATUS_MAX,
    WEBHOOK_HEADER_VALUE_MAX,
    WEBHOOK_HEADERS_MAX,
)

FRAMING_HEADERS: Final = frozenset(
    {"connection", "content-length", "content-type", "host", "transfer-encoding", *SIGNED_HEADERS}
)
"""Headers of a webhook that Medic sets itself."""

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9\-_.!#$%&'*+^`|~]{1,128}")
_HEADER_VALUE: Final = re.compile(r"(?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?")


def wrong(sentence: str) -> PydanticCustomError:
    """The refusal of one field: the end of a sentence that begins with its name."""
    # Braces would be read as placeholders.
    return PydanticCustomError("refused", "{sentence}", {"sentence": sentence})


def check_name(value: object, *, longest: int = NAME_MAX) -> str:
    """A name in NFC."""
    bounds = f"must be a string of 1 to {longest} printable characters without a space at either end"
    if not isinstance(value, str):
        raise wrong(bounds)
    name = normal_name(value)
    fault = name_fault(name, longest=longest)
    if fault is not None:
        raise wrong(f"{bounds}: it {fault}")
    return name


def check_team(value: object) -> str:
    """A team in NFC."""
    return check_name(value, longest=TEAM_MAX)


def check_environment(value: object) -> str:
    """An environment, which becomes the prefix of a name; the empty string stands for none."""
    return "" if value == "" else check_name(value)


def check_priority(value: object) -> str:
    """p1 to p5, in lower case."""
    if not isinstance(value, str) or value.lower() not in PRIORITIES:
        raise wrong(f"must be one of {', '.join(PRIORITIES)}")
    return value.lower()


def check_flag(value: object) -> bool:
    """0, 1, false or true."""
    if isinstance(value, bool):
        return value
    if value not in (0, 1):
        raise wrong("must be 0 or 1")
    return value == 1


def check_down(value: object) -> bool:
    """0: an operator can resolve an alert, and has no way to open one but a heartbeat that reports it."""
    if check_flag(value):
        raise wrong("can only be set to 0, which resolves an open alert; POST a heartbeat with status DOWN to open one")
    return False


def check_runbook(value: object) -> str:
    """A http or https address, or the empty string."""
    return "" if value == "" else check_address(value)


def check_address(value: object) -> str:
    """A http or https address with a host."""
    bounds = f"must be a http or https address of at most {RUNBOOK_MAX} characters"
    if not isinstance(value, str) or len(value) > RUNBOOK_MAX or not value.isprintable() or " " in value:
        raise wrong(bounds)
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise wrong(bounds) from None
    if parts.scheme not in {"http", "https"} or not host:
        raise wrong(bounds)
    return value


def check_threshold(value: object) -> int:
    """A whole number of signs of life."""
    bounds = f"must be a whole number from 1 to {THRESHOLD_MAX}"
    number = _number(value, bounds)
    if number != math.floor(number) or not 1 <= number <= THRESHOLD_MAX:
        raise wrong(bounds)
    return int(number)


def check_status(value: object) -> str:
    """Any string of 1 to 64 characters."""
    return check_text(value, shortest=1, longest=STATUS_MAX)


def check_run_id(value: object) -> str | None:
    """A run's name or number; None where there is none."""
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return check_text(value, shortest=0, longest=RUN_ID_MAX)


def check_idempotency_key(value: object) -> str | None:
    """What recognises a heartbeat that is sent again; None where there is none."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > IDEMPOTENCY_KEY_MAX or not value.isprintable():
        raise wrong(f"must be a string of at most {IDEMPOTENCY_KEY_MAX} printable characters")
    return value


def check_said_at(value: object) -> InstantMs | None:
    """The sender's own time: ISO 8601, UTC where it names no zone, or seconds since 1970; None where there is none."""
    bounds = "must be a time in ISO 8601, or seconds since 1970, in the years 1970 to 9999"
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return _instant_of(value, bounds)
    seconds = _number(value, bounds)
    if not 0 <= seconds <= INSTANT_MAX / 1000:
        raise wrong(bounds)
    return InstantMs(int(seconds * 1000))


def _instant_of(text: str, bounds: str) -> InstantMs:
    try:
        moment = datetime.fromisoformat(text)
        instant = from_datetime(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise wrong(bounds) from None
    if not INSTANT_MIN <= instant <= INSTANT_MAX:
        raise wrong(bounds)
    return instant


def check_webhook_headers(value: object) -> tuple[tuple[str, str], ...]:
    """Names and values of HTTP headers that a webhook may set."""
    if value is None:
        return ()
    if not isinstance(value, dict) or len(value) > WEBHOOK_HEADERS_MAX:
        raise wrong(f"must be an object of at most {WEBHOOK_HEADERS_MAX} headers, each a name and a string")
    for name, text in value.items():
        if not isinstance(name, str) or _HEADER_NAME.fullmatch(name) is None or name.lower() in FRAMING_HEADERS:
            raise wrong(
                f"must not have the header {str(name)[:QUOTED_MAX]!r}: a name has 1 to 128 letters, digits and marks "
                f"of RFC 9110, and {', '.join(sorted(FRAMING_HEADERS))} are Medic's to set"
            )
        if not isinstance(text, str) or len(text) > WEBHOOK_HEADER_VALUE_MAX or _HEADER_VALUE.fullmatch(text) is None:
            raise wrong(
                f"must have printable ASCII of at most {WEBHOOK_HEADER_VALUE_MAX} characters as the value of {name}"
            )
        fault = fault_in(text)
        if fault is not None:
            raise wrong(f"{fault}; the header {name} does not")
    return tuple(value.items())


def check_text(value: object, *, shortest: int, longest: int) -> str:
    """A string within a length. NUL, which PostgreSQL cannot hold, is refused."""
    if not isinstance(value, str) or not shortest <= len(value) <= longest or "\0" in value:
        raise wrong(f"must be a string of {shortest} to {longest} characters without NUL")
    return value


def _number(value: object, bounds: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise wrong(bounds)
    return value


def _duration(
    to_ms: Callable[[float], DurationMs], least: DurationMs, most: DurationMs, bounds: str, *, zero: bool = False
) -> Callable[[object], DurationMs]:
    longest = most / 1000  # no unit of this API is shorter than a second, so a longer number is out of bounds

    def check(value: object) -> DurationMs:
        number = _number(value, bounds)
        duration = to_ms(number) if 0 <= number <= longest else DurationMs(-1)
        if not (least <= duration <= most or (zero and number == 0)):
            raise wrong(bounds)
        return duration

    return check


def minutes_between(least: DurationMs, most: DurationMs, *, zero: bool = False) -> Callable[[object], DurationMs]:
    """A check for minutes within bounds, fractions allowed; with `zero`, 0 is allowed as well."""
    bounds = (
        f"must be a number of minutes from {least / MINUTE_MS:.4g} ({ms_to_seconds(least)} s) "
        f"to {ms_to_minutes(most)} ({most // DAY_MS} days)"
    )
    return _duration(minutes_to_ms, least, most, f"{bounds}, or 0 for none" if zero else bounds, zero=zero)


def hours_up_to(most: DurationMs) -> Callable[[object], DurationMs]:
    """A check for hours from 0, fractions allowed."""
    bounds = f"must be a number of hours from 0 to {most // HOUR_MS} ({most // DAY_MS} days)"
    return _duration(lambda hours: DurationMs(round(hours * HOUR_MS)), DurationMs(0), most, bounds)


def seconds_up_to(most: DurationMs) -> Callable[[object], DurationMs]:
    """A check for seconds from 0, fractions allowed."""
    bounds = f"must be a number of seconds from 0 to {ms_to_seconds(most)} ({most // DAY_MS} days)"
    return _duration(seconds_to_ms, DurationMs(0), most, bounds)
