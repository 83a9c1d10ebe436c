from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medic.core.blind import BLIND_MIN_MS
from medic.store.watermark import Mark, later, outage, resumes_at

HOUR = 3_600_000
MARK = Mark(at=1_000_000, sighted=900_000)


@pytest.mark.parametrize(
    ("now", "ended_at", "resumes"),
    [
        pytest.param(1_000_000, None, 900_001, id="no time at all"),
        pytest.param(1_000_999, None, 901_000, id="too short to matter: it simply elapsed"),
        pytest.param(1_001_000, 1_001_000, 900_001, id="a second"),
        pytest.param(1_000_000 + HOUR, 1_000_000 + HOUR, 900_001, id="as long as is credited"),
        pytest.param(1_000_000 + 3 * HOUR, 1_000_000 + HOUR, 900_001 + 2 * HOUR, id="longer: the rest elapsed"),
        pytest.param(400_000, None, 900_001, id="a wall clock that was set back"),
    ],
)
def test_an_outage_is_credited_up_to_its_bound(now, ended_at, resumes):
    span = outage(MARK, now, HOUR)
    assert (None if span is None else span.ended_at) == ended_at
    assert resumes_at(MARK, now, HOUR) == resumes
    if span is not None:
        assert (span.begun_at, span.sighted, span.cause) == (MARK.at, MARK.sighted, "down")


def test_a_clean_stop_is_blind_time_too():
    stopped = Mark(MARK.at, MARK.sighted, clean=True)
    assert outage(stopped, MARK.at + HOUR, HOUR) == outage(MARK, MARK.at + HOUR, HOUR)


def test_with_nothing_credited_everything_elapsed():
    assert outage(MARK, MARK.at + HOUR, 0) is None
    assert resumes_at(MARK, MARK.at + HOUR, 0) == MARK.sighted + 1 + HOUR


def test_a_new_directory_begins_with_wall_time():
    assert outage(None, 5, HOUR) is None
    assert resumes_at(None, 5, HOUR) == 5


@given(st.integers(0, 1 << 41), st.integers(0, 1 << 41), st.integers(0, 1 << 41), st.integers(0, 1 << 35))
def test_sighted_time_always_goes_on_after_the_mark_and_never_faster_than_the_wall(at, sighted, now, most):
    mark = Mark(at, sighted)
    resumed = resumes_at(mark, now, most)
    span = outage(mark, now, most)
    assert resumed > sighted
    assert resumed <= sighted + 1 + max(0, now - at)
    if span is not None:
        assert span.duration_ms >= BLIND_MIN_MS
        assert resumed == sighted + 1 + (now - at) - span.duration_ms


def test_what_the_journal_saw_last_moves_an_old_mark_on():
    assert later(MARK, at=5, sighted=MARK.sighted) is MARK
    assert later(MARK, at=1_000_100, sighted=900_100) == Mark(1_000_100, 900_100)
    assert later(None, at=7, sighted=3) == Mark(7, 3)
