"""Heartbeats taken in the caller's own turn."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from medic.actors.supervisor import ActorCrashedError
from medic.core.effects import RecordHeartbeat
from medic.core.status import Status
from medic.errors import ActorBusyError, InactiveServiceError, JournalRefusedError, UnknownServiceError
from medic.ports import Beat
from tests.actors.test_supervisor import break_state
from tests.actors.world import World


async def test_the_record_has_its_position_and_the_deadline_has_moved_before_anybody_else_runs(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    service = await world.register("well", 60)
    world.journal.hold()
    before = world.journal.newest
    position = world.intake.take_nowait(Beat("well", "up"))
    assert before < position == world.journal.newest == service.position
    assert world.journal.durable == before
    assert service.status is Status.UP
    assert (service.heartbeats_total, service.last_status) == (1, "up")
    assert [record.status for record in world.effects(RecordHeartbeat)] == ["up"]


async def test_what_cannot_be_taken_is_refused_and_leaves_nothing(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    await world.register("away", 60, active=False)
    await world.register("well", 60)
    newest = world.journal.newest
    with pytest.raises(UnknownServiceError):
        world.intake.take_nowait(Beat("nobody", "UP"))
    with pytest.raises(InactiveServiceError):
        world.intake.take_nowait(Beat("away", "UP"))
    world.journal.refuse()
    with pytest.raises(JournalRefusedError):
        world.intake.take_nowait(Beat("well", "UP"))
    assert world.journal.newest == newest


async def test_a_service_that_is_being_rebuilt_is_waited_for_by_who_can_wait(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    await world.register("broken", 3_600)
    break_state(world, "broken")
    with capture_logs(), pytest.raises(ActorCrashedError):
        world.intake.take_nowait(Beat("broken", "UP"))
    with pytest.raises(ActorBusyError):
        world.intake.take_nowait(Beat("broken", "UP"))
    assert (await world.intake.take(Beat("broken", "UP"))).heartbeats_total == 1
