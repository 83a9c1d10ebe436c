from __future__ import annotations

from random import Random

import pytest

from medic.alerting.backoff import (
    BACKOFF_LEAST_SECONDS,
    BACKOFF_MAX_SECONDS,
    RETRY_AFTER_LEAST_SECONDS,
    RETRY_AFTER_MAX_SECONDS,
    backoff_seconds,
    http_date_instant,
    retry_after_seconds,
)
from medic.core.units import InstantMs

NOON = InstantMs(1_767_268_800_000)


@pytest.mark.parametrize(("attempts", "ceiling"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (10_000, 60)])
def test_waits_are_spread_over_a_span_that_doubles_up_to_a_minute(attempts, ceiling):
    rng = Random(7)
    waits = [backoff_seconds(attempts, rng) for _ in range(2_000)]
    assert min(waits) >= BACKOFF_LEAST_SECONDS
    assert max(waits) <= ceiling <= BACKOFF_MAX_SECONDS
    assert max(waits) > 0.98 * ceiling
    assert min(waits) < BACKOFF_LEAST_SECONDS + 0.02 * ceiling


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("30", 30.0),
        (" 30 ", 30.0),
        ("1.5", 1.5),
        ("0", RETRY_AFTER_LEAST_SECONDS),
        ("86400", RETRY_AFTER_MAX_SECONDS),
        ("Thu, 01 Jan 2026 12:00:20 GMT", 20.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", RETRY_AFTER_LEAST_SECONDS),
        ("Fri, 02 Jan 2026 12:00:00 GMT", RETRY_AFTER_MAX_SECONDS),
        ("Thursday, 01-Jan-26 12:00:20 GMT", 20.0),
        ("²", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date_and_bounded(value, seconds):
    assert retry_after_seconds(value, now=NOON) == seconds


def test_a_date_header_names_an_instant():
    assert http_date_instant("Thu, 01 Jan 2026 12:00:00 GMT") == NOON
    assert http_date_instant("Thu, 01 Jan 2026 12:00:00 -0000") == NOON
    assert http_date_instant("never") is None
    assert http_date_instant(None) is None
