"""Heartbeats taken in the caller's own turn."""

from __future__ import annotations

import pytest
import trio
from structlog.testing import capture_logs

from medic.actors.actor import Mailbox
from medic.actors.supervisor import ActorCrashedError
from medic.core.author import Author
from medic.core.effects import RecordHeartbeat
from medic.core.status import Status
from medic.errors import ActorBusyError, InactiveServiceError, JournalRefusedError, UnknownServiceError
from medic.ports import Beat
from medic.store.codec import pack_state
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


def up(*names):
    return iter([(name, "UP") for name in names])


async def world_of(nursery, *names):
    """Services that are up, an hour each."""
    world = World()
    await world.start(nursery)
    for name in names:
        await world.register(name, 3_600)
        await world.beat(name)
    return world


async def test_plain_heartbeats_are_taken_as_one_by_one(autojump_clock, nursery):
    world, twin = await world_of(nursery, "a", "b"), await world_of(nursery, "a", "b")
    await trio.sleep(100)
    said = [("a", "UP"), ("b", "STARTED"), ("A", "UP"), ("b", "COMPLETED")]
    turns = world.host.statistics().turns
    assert world.intake.take_plain_nowait(said) == (4, world.journal.newest)
    for name, status in said:
        twin.intake.take_nowait(Beat(name, status))
    assert world.journal.effects() == twin.journal.effects()
    assert world.outbox.statistics() == twin.outbox.statistics()
    assert world.host.statistics().turns == turns + 4
    for name in "ab":
        service, other = world.directory.find(name), twin.directory.find(name)
        assert pack_state(service) == pack_state(other)
        assert service.position == other.position
    assert world.directory.find("b").position == world.journal.newest


async def test_the_deadline_that_plain_heartbeats_moved_is_the_one_that_pages(autojump_clock, nursery):
    world = await world_of(nursery, "well")
    await trio.sleep(3_000)
    assert world.intake.take_plain_nowait(up("well", "well"))[0] == 2
    await trio.sleep(3_590)
    assert world.directory.find("well").status is Status.UP
    await trio.sleep(11)
    assert world.directory.find("well").status is Status.LATE


async def test_plain_heartbeats_end_at_the_first_that_has_to_be_looked_at_more_closely(autojump_clock, nursery):
    world = await world_of(nursery, "well", "muted", "down", "rebuilt")
    await world.register("new", 3_600)
    await world.register("twice", 3_600, threshold=2)
    await world.register("away", 3_600, active=False)
    await world.beat("down", "DOWN")
    await world.changes.mute("muted", until=None, reason="", by=Author("test"))
    world.directory.actor("rebuilt").mailbox = Mailbox()
    for name in ("new", "twice", "away", "down", "muted", "rebuilt", "nobody"):
        said = up("well", name, "well")
        newest = world.journal.newest
        assert world.intake.take_plain_nowait(said) == (1, world.journal.newest)
        assert world.journal.newest == world.directory.find("well").position > newest
        assert list(said) == [("well", "UP")]
    for status in ("DOWN", "FAILED", "DEGRADED", "up", "fine", ""):
        assert world.intake.take_plain_nowait([("well", status)]) == (0, 0)


async def test_no_more_are_taken_than_there_are_ids_and_none_where_none_may_be(autojump_clock, nursery):
    world = await world_of(nursery, "well")
    world.ids.many = 2
    said = up(*["well"] * 4)
    assert world.intake.take_plain_nowait(said)[0] == 2
    assert len(list(said)) == 2
    world.ids.used_up = True
    assert world.intake.take_plain_nowait(up("well")) == (0, 0)
    world.ids.used_up = False
    world.journal.intake_refusal = "The journal is full."
    assert world.intake.take_plain_nowait(up("well")) == (0, 0)


async def test_an_actor_that_crashes_over_a_plain_heartbeat_ends_the_run_and_is_rebuilt(autojump_clock, nursery):
    world = await world_of(nursery, "well", "broken")
    world.directory.find("broken").last_sign = "soon"
    with capture_logs():
        assert world.intake.take_plain_nowait(up("well", "broken", "well")) == (1, world.journal.newest)
    with pytest.raises(ActorBusyError):
        world.intake.take_nowait(Beat("broken", "UP"))
    assert (await world.intake.take(Beat("broken", "UP"))).heartbeats_total == 2
