"""Whole days are kept, at least as many as was asked for."""

from __future__ import annotations

import pytest

from medic.core.units import DAY_MS
from medic.store.retention.ages import FOR_EVER, Retention, day_begins, kept_from

MIDNIGHT = 20_000 * DAY_MS


@pytest.mark.parametrize(
    ("now", "expected"),
    [(MIDNIGHT, MIDNIGHT), (MIDNIGHT + 1, MIDNIGHT), (MIDNIGHT - 1, MIDNIGHT - DAY_MS), (0, 0), (-1, -DAY_MS)],
)
def test_a_day_begins_at_midnight_in_utc(now, expected):
    assert day_begins(now) == expected


@pytest.mark.parametrize("now", [MIDNIGHT, MIDNIGHT + 1, MIDNIGHT + DAY_MS - 1])
def test_at_least_the_days_asked_for_are_kept_and_less_than_one_more(now):
    kept = kept_from(30, now)
    assert kept == MIDNIGHT - 30 * DAY_MS
    assert 30 * DAY_MS <= now - kept < 31 * DAY_MS


def test_for_ever_has_no_beginning():
    assert kept_from(FOR_EVER, MIDNIGHT) is None


@pytest.mark.parametrize(
    ("retention", "expected"),
    [
        (Retention(heartbeats=30, hours=92, days=1_100), 1_100),
        (Retention(heartbeats=2_000, hours=92, days=1_100), 2_000),
        (Retention(hours=FOR_EVER), FOR_EVER),
        (Retention(days=FOR_EVER), FOR_EVER),
    ],
)
def test_names_are_kept_as_long_as_anything_that_has_none_of_its_own(retention, expected):
    assert retention.names == expected
