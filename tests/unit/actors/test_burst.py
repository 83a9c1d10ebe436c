"""The collector stays out of a burst, and only of a burst."""

from __future__ import annotations

import gc

import pytest

from medic.actors.burst import BURST_FIRINGS, Burst


@pytest.fixture(autouse=True)
def _collector():
    """Whatever a test freezes is given back."""
    was_enabled = gc.isenabled()
    gc.enable()
    yield
    gc.unfreeze()
    (gc.enable if was_enabled else gc.disable)()


def test_nothing_is_collected_between_the_beginning_of_a_burst_and_its_end():
    burst = Burst()
    burst.add(BURST_FIRINGS)
    assert gc.isenabled()
    frozen = gc.get_freeze_count()
    burst.add(1)
    assert not gc.isenabled()
    kept = [[number] for number in range(100)]
    burst.add(BURST_FIRINGS)
    burst.end()
    assert gc.isenabled()
    assert gc.get_freeze_count() >= frozen + len(kept)


def test_a_few_deadlines_are_no_burst():
    burst = Burst()
    frozen = gc.get_freeze_count()
    burst.add(1)
    burst.end()
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen


def test_a_collector_that_somebody_else_stopped_stays_stopped():
    gc.disable()
    burst = Burst()
    burst.add(BURST_FIRINGS + 1)
    burst.end()
    assert not gc.isenabled()
