"""Cursors say where the next page begins, and nothing else is one."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medic.core.units import INSTANT_MAX, EventId, InstantMs
from medic.errors import InvalidInputError
from medic.http.cursor import ID_MAX, after_alert, after_service, read_alert_cursor, read_service_cursor
from tests import strategies

NAMES = strategies.names


@given(NAMES)
def test_a_service_cursor_comes_back(key: str) -> None:
    cursor = after_service(key)
    assert cursor.isascii()
    assert read_service_cursor(cursor) == key


@given(st.integers(0, INSTANT_MAX), st.integers(0, ID_MAX))
def test_an_alert_cursor_comes_back(created: int, alert_id: int) -> None:
    assert read_alert_cursor(after_alert(InstantMs(created), EventId(alert_id))) == (created, alert_id)


@given(st.text(max_size=60))
def test_whatever_else_is_refused(text: str) -> None:
    for read in (read_service_cursor, read_alert_cursor):
        with contextlib.suppress(InvalidInputError):
            read(text)


@pytest.mark.parametrize(("created", "alert_id"), [(INSTANT_MAX + 1, 1), (1, ID_MAX + 1), (10**20, 1), (1, 10**20)])
def test_a_cursor_beyond_what_there_can_be_is_refused(created: int, alert_id: int) -> None:
    with pytest.raises(InvalidInputError):
        read_alert_cursor(after_alert(InstantMs(created), EventId(alert_id)))


@pytest.mark.parametrize("key", ["", "x" * 250])
def test_a_service_cursor_holds_a_name(key: str) -> None:
    with pytest.raises(InvalidInputError):
        read_service_cursor(after_service(key))


def test_a_cursor_of_another_listing_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        read_service_cursor(after_alert(InstantMs(1), EventId(1)))
    with pytest.raises(InvalidInputError):
        read_alert_cursor(after_service("1.1"))
