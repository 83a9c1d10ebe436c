"""A burst of deadlines is worked off in slices, so that everybody else is still served (HARD-CASES H7)."""

from __future__ import annotations

import pytest

from medic.actors.burst import BURST_FIRINGS
from medic.actors.host import SLICE_MOVES
from medic.core.policy import Defaults
from medic.core.service import Service
from medic.core.units import DurationMs, SightedMs
from tests.actors.world import ORIGIN, SteadyClock, World, row, until

BURST = 20_000

DEFAULTS = Defaults(first_heartbeat_ms=DurationMs(0), renotify_ms=DurationMs(0))


@pytest.mark.slow
async def test_twenty_thousand_deadlines_in_one_second_leave_room_for_heartbeats(autojump_clock, nursery):
    world = World(clock=SteadyClock)
    await world.start(nursery, sight=False)
    world.host.add_all(
        [
            Service(service_row, service_row.policy(DEFAULTS), registered=SightedMs(ORIGIN))
            for service_row in (row(number, 60 + number / BURST) for number in range(10_001, 10_001 + BURST))
        ]
    )
    await world.register("well", 3_600)

    between: list[int] = []
    beats = 0
    begun: list[int] = []
    calm_at: list[int] = []

    async def beat_on() -> None:
        nonlocal beats
        fired = 0
        while True:
            await world.beat("well")
            beats += 1
            now_fired = world.host.statistics().fired
            between.append(now_fired - fired)
            fired = now_fired
            if fired >= BURST:
                return
            if fired > BURST_FIRINGS and not begun:
                begun.append(fired)
                nursery.start_soon(give_way)

    async def give_way() -> None:
        await world.host.wait_calm()
        calm_at.append(world.host.statistics().fired)

    autojump_clock.jump(62)
    await beat_on()
    await until(lambda: bool(calm_at))
    assert calm_at == [BURST], "who gives way to a burst goes on once all of it is decided"
    assert world.directory.statistics().alerts_active == BURST
    assert max(between) <= 2 * SLICE_MOVES, "a heartbeat waits for its turn and for its record: two slices at most"
    assert beats >= BURST // SLICE_MOVES // 2
    await until(lambda: len(world.ear.told) == BURST)
