"""A threshold above 1 costs memory, and all of it together is bounded."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from medic.core.author import Author
from medic.core.draft import ServiceDraft, ServiceEdit
from medic.core.units import MINUTE_MS
from medic.errors import InvalidInputError
from tests.actors.world import World


def draft(name: str, threshold: int) -> ServiceDraft:
    return ServiceDraft(heartbeat_name=name, service_name="s", interval_ms=MINUTE_MS, threshold=threshold)


async def test_thresholds_beyond_the_memory_for_them_are_refused_by_name(autojump_clock: MockClock) -> None:
    world = World()
    async with trio.open_nursery() as nursery:
        await world.start(nursery)
        await world.changes.register(draft("large", 1_000), by=Author("ann"))
        with pytest.raises(InvalidInputError, match="MEDIC_THRESHOLD_BYTES_MAX") as refused:
            await world.changes.register(draft("second", 1_000), by=Author("ann"))
        assert refused.value.faults[0].field == "threshold"
        await world.changes.register(draft("plain", 1), by=Author("ann"))
        with pytest.raises(InvalidInputError):
            await world.changes.update("plain", ServiceEdit(threshold=900), by=Author("ann"))
        await world.changes.update("large", ServiceEdit(threshold=999), by=Author("ann"))
        await world.changes.delete("large", by=Author("ann"))
        service = await world.changes.update("plain", ServiceEdit(threshold=900), by=Author("ann"))
        assert service.policy.threshold == 900
        nursery.cancel_scope.cancel()
