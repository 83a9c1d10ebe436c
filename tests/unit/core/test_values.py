"""What is written out field by field says the same as what looks the fields up."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests import strategies


@given(strategies.alerts)
def test_an_alert_with_one_notification_more_is_otherwise_the_same(alert):
    assert alert.with_notification() == replace(alert, notifications=alert.notifications + 1)


@given(strategies.notifications, st.lists(strategies.texts, max_size=3).map(tuple))
def test_an_addressed_notification_is_otherwise_the_same(notification, targets):
    addressed = replace(notification)
    addressed.address(targets)
    assert addressed == replace(notification, targets=targets)


@given(strategies.alerts)
def test_equal_values_have_equal_hashes(alert):
    assert hash(replace(alert)) == hash(alert)
