"""When a key's end is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medic.access.endings import KeyStatistics, count_keys, days_left, untold
from medic.access.keys import ApiKey
from medic.core.units import DAY_MS

NOW = 1_700_000_000_000
KEY = ApiKey("a" * 12, "hosts", frozenset(), bytes(32), 0)


def ending_in(days: float, **fields: object) -> ApiKey:
    return replace(KEY, expires_at=NOW + round(days * DAY_MS), **fields)


@pytest.mark.parametrize(
    ("days", "told"),
    [(15, None), (14.001, None), (14, 14), (3.001, 14), (3, 3), (1.001, 3), (1, 1), (0.001, 1), (0, None), (-1, None)],
)
def test_an_end_is_told_14_and_3_days_and_1_day_before(days, told):
    assert days_left(ending_in(days), NOW) == told


@pytest.mark.parametrize(
    ("lifetime", "days", "told"),
    [
        (14, 13.9, None),
        (14, 2, None),
        (14, 1, 1),
        (5, 1.001, None),
        (5, 1, 1),
        (1, 0.6, None),
        (1, 0.5, 1),
        (0.04, 0.03, None),
        (0.04, 0.02, 1),
        (14.001, 13.9, 14),
    ],
)
def test_a_key_made_for_a_short_time_is_about_to_end_in_its_last_day_or_half(lifetime, days, told):
    key = ending_in(days)
    assert days_left(replace(key, date_added=key.expires_at - round(lifetime * DAY_MS)), NOW) == told


def test_the_life_of_a_rotated_key_begins_with_its_rotation():
    key = ending_in(4.9)
    assert days_left(replace(key, rotated_at=key.expires_at - 5 * DAY_MS), NOW) is None


def test_a_key_without_an_end_and_one_that_was_revoked_have_none_to_tell():
    assert days_left(KEY, NOW) is None
    assert days_left(ending_in(2, revoked_at=NOW), NOW) is None


def test_each_number_of_days_is_told_once():
    keys = [ending_in(2), ending_in(2, told_days_left=14), ending_in(2, told_days_left=3), ending_in(20)]
    assert [(key.told_days_left, days) for key, days in untold(keys, NOW)] == [(None, 3), (14, 3)]


def test_keys_are_counted_that_work_and_that_are_about_to_end():
    keys = [KEY, ending_in(20), ending_in(2), ending_in(0), replace(KEY, revoked_at=1)]
    assert count_keys(keys, NOW) == KeyStatistics(working=3, ending=1)
