from __future__ import annotations

from math import inf

from hypothesis import given

from medic.core.draft import ServiceDraft
from medic.core.policy import Defaults
from medic.core.service import Service
from medic.store.tables import state_rows
from medic.store.tables.state_rows import STATE_EVERY_SECONDS, UNROWED_EVERY_SECONDS, DueStates, state_row
from tests import strategies


def test_nothing_is_due_where_nobody_was_heard_of():
    due = DueStates()
    assert (len(due), due.next_due(), due.take(inf)) == (0, inf, [])


def test_a_service_that_is_heard_of_all_the_time_is_due_a_minute_after_the_first_time():
    due = DueStates()
    for now in range(50):
        due.add_heard([7], float(now))
    assert len(due) == 1
    assert due.next_due() == STATE_EVERY_SECONDS
    assert due.take(STATE_EVERY_SECONDS - 0.1) == []
    assert due.take(STATE_EVERY_SECONDS) == [7]
    assert due.next_due() == inf


def test_a_changed_service_is_due_at_once_and_only_once():
    due = DueStates()
    due.add_heard([1, 2], 0.0)
    due.add_changed([2, 3])
    due.add_heard([3], 1.0)
    assert len(due) == 3
    assert due.next_due() == -inf
    assert due.take(0.0) == [2, 3]
    assert due.take(inf) == [1]


def test_a_sign_of_which_there_is_no_row_is_due_a_second_after_the_first_however_many_come():
    due = DueStates()
    due.add_heard([7, 8], 0.0)
    for number in range(50):
        due.add_unrowed([7], number / 100)
    due.add_heard([7], 0.6)
    assert (len(due), 7 in due, 8 in due, 9 in due) == (2, True, True, False)
    assert due.next_due() == UNROWED_EVERY_SECONDS
    assert due.take(UNROWED_EVERY_SECONDS - 0.1) == []
    assert due.take(UNROWED_EVERY_SECONDS) == [7]
    assert due.next_due() == STATE_EVERY_SECONDS


def test_a_change_goes_before_a_sign_of_which_there_is_no_row():
    due = DueStates()
    due.add_unrowed([1, 2], 0.0)
    due.add_changed([2])
    due.add_unrowed([2], 0.0)
    due.add_heard([1, 2, 3], 0.0)
    assert len(due) == 3
    assert due.take(0.0) == [2]
    assert due.take(UNROWED_EVERY_SECONDS) == [1]
    assert due.take(inf) == [3]


def test_one_transaction_takes_so_many_and_the_oldest_first(monkeypatch):
    monkeypatch.setattr(state_rows, "STATES_AT_ONCE_MAX", 3)
    due = DueStates()
    due.add_heard([4, 5, 6], 0.0)
    due.add_heard([1, 2], 1.0)
    due.add_changed([9])
    assert due.take(inf) == [9, 4, 5]
    assert due.take(inf) == [6, 1, 2]
    assert due.take(inf) == []


@given(strategies.services())
def test_a_row_says_what_the_service_says(service):
    row = state_row(service, 1_000)
    assert (row.service_id, row.version, row.shard) == (service.row.service_id, service.row.version, service.row.shard)
    assert row.position == service.position
    assert (row.last_heartbeat_at is None) == (not service.heard)
    assert "\x00" not in row.last_status


def test_a_service_that_cannot_become_late_has_no_deadline():
    row = ServiceDraft(heartbeat_name="a", service_name="a", interval_ms=60_000, active=False).row(1, 0, "")
    assert state_row(Service(row, row.policy(Defaults()), registered=0), 0).deadline_at is None
