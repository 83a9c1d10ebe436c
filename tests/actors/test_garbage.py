"""Garbage is collected while the loop is idle, and what came to stay is frozen."""

from __future__ import annotations

import gc

import pytest
import trio

from medic.app.garbage import FULL_EVERY, MIDDLE_EVERY, REGISTRATIONS, YOUNG, YOUNG_MAX, Garbage, return_freed_memory


@pytest.fixture
def collections():
    """The generations collected, as they are."""
    found: list[int] = []

    def note(phase: str, details: dict[str, int]) -> None:
        if phase == "start":
            found.append(details["generation"])

    gc.collect()
    gc.callbacks.append(note)
    yield found
    gc.callbacks.remove(note)
    gc.unfreeze()


class Fleet:
    services = 0


@pytest.fixture
async def garbage(nursery):
    fleet = Fleet()
    part = Garbage(lambda: fleet.services)
    part.fleet = fleet
    await nursery.start(part.run)
    return part


def litter(count: int) -> list[list[int]]:
    """New objects that stay while the test looks."""
    return [[number] for number in range(count)]


async def test_an_idle_loop_collects_young_objects_once_there_are_many(garbage, collections):
    kept = litter(YOUNG // 2)
    garbage.before_io_wait(1.0)
    assert collections == []
    kept += litter(YOUNG)
    garbage.before_io_wait(1.0)
    assert collections == [0]


async def test_a_busy_loop_is_left_alone_until_there_are_very_many(garbage, collections):
    kept = litter(YOUNG_MAX - YOUNG)
    garbage.before_io_wait(0.0)
    assert collections == []
    kept += litter(YOUNG)
    garbage.before_io_wait(0.0)
    assert collections == [0]


async def test_older_objects_are_looked_at_now_and_then(garbage, collections):
    for _ in range(FULL_EVERY):
        kept = litter(2 * YOUNG)
        garbage.before_io_wait(1.0)
        del kept
    assert collections.count(1) == FULL_EVERY // MIDDLE_EVERY - 1
    assert collections.count(2) == 1


async def test_a_loop_that_is_never_idle_freezes_what_survived_and_looks_at_no_older_ones(garbage, collections):
    kept = []
    frozen = gc.get_freeze_count()
    for _ in range(MIDDLE_EVERY):
        kept.append(litter(2 * YOUNG_MAX))
        garbage.before_io_wait(0.0)
    assert collections == [0] * MIDDLE_EVERY
    assert gc.get_freeze_count() >= frozen + MIDDLE_EVERY * 2 * YOUNG_MAX


async def test_nothing_is_collected_in_a_burst(nursery, collections):
    part = Garbage(lambda: 0, lambda: True)
    await nursery.start(part.run)
    kept = litter(2 * YOUNG_MAX)
    part.before_io_wait(0.0)
    part.before_io_wait(1.0)
    assert collections == []
    assert len(kept) == 2 * YOUNG_MAX


async def test_services_that_were_registered_are_frozen(garbage, collections):
    kept = litter(2 * YOUNG)
    frozen = gc.get_freeze_count()
    garbage.fleet.services = REGISTRATIONS - 1
    garbage.before_io_wait(1.0)
    assert gc.get_freeze_count() == frozen
    kept += litter(2 * YOUNG)
    garbage.fleet.services = REGISTRATIONS
    garbage.before_io_wait(1.0)
    assert gc.get_freeze_count() >= frozen + len(kept)


def test_giving_memory_back_harms_nothing():
    kept = litter(YOUNG)
    return_freed_memory()
    assert len(kept) == YOUNG


async def test_at_its_end_python_collects_again():
    async with trio.open_nursery() as nursery:
        await nursery.start(Garbage(lambda: 0).run)
        assert not gc.isenabled()
        nursery.cancel_scope.cancel()
    assert gc.isenabled()
