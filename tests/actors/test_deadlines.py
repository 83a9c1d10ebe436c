"""Deadlines come exactly when they are due, however far away, and a heartbeat moves them."""

from __future__ import annotations

import trio

from medic.actors.host import TICK_MS
from medic.core.author import Author
from medic.core.draft import ServiceEdit
from medic.core.effects import OpenAlert
from medic.core.status import Status
from tests.actors.world import ORIGIN, SteadyClock, World, row

TICK_SECONDS = TICK_MS / 1000


def opened_after(world) -> float:
    """Seconds from the beginning until the one alert opened."""
    [opened] = world.effects(OpenAlert)
    return (opened.at - ORIGIN) / 1000


async def test_a_service_goes_late_at_its_deadline_and_within_one_tick(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    await world.register("nightly", 60)
    await trio.sleep(59.999)
    assert world.directory.find("nightly").status is Status.NEW
    await trio.sleep(1)
    assert 60.0 <= opened_after(world) <= 60.0 + TICK_SECONDS
    assert world.ear.kinds() == ["trigger"]


async def test_no_deadline_fires_before_its_instant_whatever_its_length(autojump_clock, nursery):
    world = World(clock=SteadyClock)
    await world.start(nursery, sight=False)
    # Lengths on both sides of the wheel's levels and of whole ticks.
    lengths = [1.001, 1.009, 1.01, 1.011, 40.955, 40.96, 40.965, 2621.44, 2621.441, 90_000.005, 200_000.001]
    for number, seconds in enumerate(lengths):
        world.add(row(number + 1, seconds))
    for _ in range(3):
        await trio.sleep(86_000)
    opened = {effect.service_id: effect for effect in world.effects(OpenAlert)}
    assert len(opened) == len(lengths)
    for number, seconds in enumerate(lengths):
        late_by = opened[number + 1].at - ORIGIN - round(seconds * 1000)
        assert 0 <= late_by <= 11, (seconds, late_by)


async def test_a_heartbeat_moves_the_deadline(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    await world.register("job", 10)
    for _ in range(5):
        await trio.sleep(9)
        await world.beat("job")
    assert world.directory.find("job").status is Status.UP
    await trio.sleep(11)
    assert 55.0 <= opened_after(world) <= 55.0 + TICK_SECONDS
    assert world.directory.find("job").status is Status.LATE


async def test_a_shorter_interval_brings_the_deadline_forward_at_once(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    await world.register("hourly", 3_600)
    await world.beat("hourly")
    await trio.sleep(5)
    await world.changes.update("hourly", ServiceEdit(interval_ms=60_000), by=Author("test"))
    await trio.sleep(61)
    assert 65.0 <= opened_after(world) <= 65.0 + TICK_SECONDS


async def test_a_week_of_heartbeats_pages_for_the_silent_one_only(autojump_clock, nursery):
    world = World(clock=SteadyClock)
    await world.start(nursery, sight=False)
    for number in range(1, 11):
        world.add(row(number, 3_600))
    for _ in range(7 * 24 * 2):
        await trio.sleep(1_800)
        for number in range(1, 10):
            await world.beat(f"service-{number:06d}")
    assert [effect.service_id for effect in world.effects(OpenAlert)] == [10]
    assert world.host.statistics().timers_armed == 9
    assert world.outbox.statistics().heartbeats["UP"] == 7 * 24 * 2 * 9
