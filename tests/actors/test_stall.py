"""The stall histogram under a real loop."""

from __future__ import annotations

import gc

import trio

from medic.metrics.stall import LoopStall


async def test_it_measures_the_loop_that_runs_it_and_leaves_nothing_behind(autojump_clock):
    stall = LoopStall()
    callbacks = list(gc.callbacks)
    async with trio.open_nursery() as nursery:
        await nursery.start(stall.run)
        for _ in range(5):
            await trio.sleep(1)
        gc.collect()
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    statistics = stall.statistics()
    assert statistics.other.count + statistics.gc.count >= 5
    assert statistics.collections[2] >= 1
    assert gc.callbacks == callbacks
    count = statistics.other.count
    await trio.sleep(1)
    assert stall.statistics().other.count == count
