"""Conversions at the border are exact, and give back what people wrote."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from medic.core.units import (
    INSTANT_MAX,
    INSTANT_MIN,
    DurationMs,
    InstantMs,
    from_datetime,
    isoformat,
    minutes_to_ms,
    ms_to_minutes,
    ms_to_seconds,
    seconds_to_ms,
    to_datetime,
)


@pytest.mark.parametrize(("minutes", "ms"), [(5, 300_000), (0.2, 12_000), (1 / 60, 1_000), (1.5, 90_000), (0.0001, 6)])
def test_minutes_become_whole_milliseconds(minutes, ms):
    assert minutes_to_ms(minutes) == ms
    assert seconds_to_ms(minutes * 60) == ms


@pytest.mark.parametrize(("ms", "shown"), [(300_000, "5"), (90_000, "1.5"), (12_000, "0.2"), (0, "0")])
def test_minutes_are_shown_without_a_fraction_when_whole(ms, shown):
    assert str(ms_to_minutes(DurationMs(ms))) == shown


@pytest.mark.parametrize(("ms", "shown"), [(2_000, "2"), (1_500, "1.5"), (1, "0.001")])
def test_seconds_are_shown_without_a_fraction_when_whole(ms, shown):
    assert str(ms_to_seconds(DurationMs(ms))) == shown


def test_times_are_iso_8601_in_utc_with_milliseconds():
    assert isoformat(InstantMs(1_767_225_600_007)) == "2026-01-01T00:00:00.007Z"
    assert isoformat(INSTANT_MIN) == "1970-01-01T00:00:00.000Z"
    assert isoformat(INSTANT_MAX) == "9999-12-31T23:59:59.999Z"


@given(st.integers(INSTANT_MIN, INSTANT_MAX))
@example(253_402_300_799_001)
def test_an_instant_survives_the_way_through_datetime(ms):
    assert from_datetime(to_datetime(InstantMs(ms))) == ms


def test_a_datetime_of_another_zone_is_the_same_instant():
    moment = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert from_datetime(moment) == from_datetime(datetime(2026, 1, 1, tzinfo=UTC)) == 1_767_225_600_000


def test_a_datetime_without_a_zone_names_no_instant():
    with pytest.raises(ValueError, match="names no instant"):
        from_datetime(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize(
    ("instant", "shown"), [(-1, "1970-01-01T00:00:00.000Z"), (1 << 62, "9999-12-31T23:59:59.999Z")]
)
def test_an_instant_nobody_can_say_is_shown_as_the_nearest_that_can_be_said(instant, shown):
    assert isoformat(InstantMs(instant)) == shown
