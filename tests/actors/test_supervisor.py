"""An actor that raises is rebuilt from what is stored, and nobody else notices."""

from __future__ import annotations

from array import array
from dataclasses import replace

import pytest
import trio
from structlog.testing import capture_logs

from medic.actors.actor import MAILBOX_EVENTS_MAX
from medic.actors.supervisor import PAUSE_FIRST_SECONDS, ActorCrashedError
from medic.core.effects import RecordHeartbeat
from medic.core.status import Status
from medic.errors import MailboxFullError, UnknownServiceError
from medic.store.codec import pack_state, unpack_state
from tests.actors.world import World, settle


def break_state(world, name):
    """Corrupt a service so that its next turn raises: its ring of signs is empty, which no effect can make it."""
    world.directory.find(name).ring = array("q")


def unhosted(service):
    """The same state, as recovery would make it: an actor belongs to the host that it has."""
    return unpack_state(pack_state(service), service.row, service.policy)


async def world_with(nursery, *names, seconds=3_600):
    world = World()
    await world.start(nursery)
    for name in names:
        await world.register(name, seconds)
        await world.beat(name)
    return world


async def test_the_actor_is_rebuilt_with_everything_the_journal_knows(autojump_clock, nursery):
    world = await world_with(nursery, "broken", "well")
    break_state(world, "broken")
    with capture_logs() as lines, pytest.raises(ActorCrashedError):
        await world.beat("broken")
    assert [line["heartbeat_name"] for line in lines if line["log_level"] == "error"] == ["broken"]
    assert world.supervisor.statistics().waiting == 1
    await trio.sleep(PAUSE_FIRST_SECONDS * 1.5)
    service = world.directory.find("broken")
    assert service.ring is None
    assert service.heartbeats_total == 1
    assert service.status is Status.UP
    await world.beat("broken")
    assert world.directory.find("broken").heartbeats_total == 2
    statistics = world.supervisor.statistics()
    assert (statistics.crashes, statistics.rebuilds, statistics.waiting) == (1, 1, 0)


async def test_the_others_never_notice(autojump_clock, nursery):
    world = await world_with(nursery, "broken", "well", seconds=10)
    break_state(world, "broken")
    world.rebuild_faults = 1_000
    with capture_logs(), pytest.raises(ActorCrashedError):
        await world.beat("broken")
    with capture_logs():
        for _ in range(20):
            await trio.sleep(9)
            await world.beat("well")
        assert world.directory.find("well").status is Status.UP
        await trio.sleep(11)
    assert world.directory.find("well").status is Status.LATE
    assert world.ear.kinds() == ["trigger"]


async def test_a_deadline_that_crashes_is_decided_after_the_rebuild(autojump_clock, nursery):
    world = await world_with(nursery, "broken", seconds=60)
    break_state(world, "broken")
    with capture_logs() as lines:
        await trio.sleep(60 + PAUSE_FIRST_SECONDS * 1.5)
    assert [line["event"] for line in lines if line["log_level"] == "error"] != []
    assert world.rebuilt == [world.directory.find("broken").row.service_id]
    assert world.directory.find("broken").status is Status.LATE
    assert world.ear.kinds() == ["trigger"]


async def test_letters_are_taken_in_the_order_they_came(autojump_clock, nursery):
    world = await world_with(nursery, "broken")
    break_state(world, "broken")
    with capture_logs(), pytest.raises(ActorCrashedError):
        await world.beat("broken")
    words = [f"step {number}" for number in range(20)]
    async with trio.open_nursery() as senders:
        for word in words:
            senders.start_soon(world.beat, "broken", word)
            await settle(2)
        assert world.directory.find("broken").last_status == "UP"
    recorded = [effect.status for effect in world.effects(RecordHeartbeat)]
    assert recorded == ["UP", *words]
    assert world.directory.find("broken").last_status == words[-1]


async def test_a_full_mailbox_refuses_and_keeps_what_it_has(autojump_clock, nursery):
    world = await world_with(nursery, "broken")
    break_state(world, "broken")
    with capture_logs(), pytest.raises(ActorCrashedError):
        await world.beat("broken")
    async with trio.open_nursery() as senders:
        for _ in range(MAILBOX_EVENTS_MAX):
            senders.start_soon(world.beat, "broken")
        await settle()
        with pytest.raises(MailboxFullError):
            await world.beat("broken")
    assert world.directory.find("broken").heartbeats_total == 1 + MAILBOX_EVENTS_MAX


async def test_a_rebuild_waits_for_what_is_stored_to_be_readable(autojump_clock, nursery):
    world = await world_with(nursery, "broken")
    break_state(world, "broken")
    world.rebuild_faults = 3
    with capture_logs() as lines:
        with pytest.raises(ActorCrashedError):
            await world.beat("broken")
        began = trio.current_time()
        await world.beat("broken")
    assert len([line for line in lines if line["log_level"] == "warning"]) == 3
    # 0.1, 0.2, 0.4 and 0.8 s: each pause is twice the one before.
    assert trio.current_time() - began == pytest.approx(15 * PAUSE_FIRST_SECONDS)


async def test_a_crash_over_a_letter_keeps_the_letters_behind_it(autojump_clock, nursery):
    world = await world_with(nursery, "broken")
    outcomes = []

    async def send(word):
        try:
            await world.beat("broken", word)
        except ActorCrashedError:
            outcomes.append((word, "crashed"))
        else:
            outcomes.append((word, "taken"))

    # What is rebuilt first has a word for a count: asked for its deadline it is well, over a heartbeat it raises.
    world.spoil = lambda service: setattr(service, "heartbeats_total", "many") if len(world.rebuilt) == 1 else None
    break_state(world, "broken")
    with capture_logs():
        async with trio.open_nursery() as senders:
            for word in ("first", "second", "third"):
                senders.start_soon(send, word)
                await settle(2)
    assert world.supervisor.statistics().crashes == 2
    assert world.supervisor.statistics().rebuilds == 2
    assert dict(outcomes) == {"first": "crashed", "second": "crashed", "third": "taken"}
    assert world.supervisor.statistics().waiting == 0


async def test_state_that_is_broken_as_stored_is_rebuilt_again_and_keeps_its_letters(autojump_clock, nursery):
    world = await world_with(nursery, "broken")
    world.spoil = lambda service: setattr(service, "ring", array("q")) if len(world.rebuilt) < 3 else None
    break_state(world, "broken")
    with capture_logs():
        with pytest.raises(ActorCrashedError):
            await world.beat("broken")
        await world.beat("broken", "patient")
    assert world.rebuilt == [world.directory.find("broken").row.service_id] * 3
    assert world.directory.find("broken").last_status == "patient"
    assert world.supervisor.statistics().waiting == 0


async def test_state_that_is_broken_as_stored_does_not_stop_a_start(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    well = unhosted(await World().register("well", 60))
    broken = unhosted(await World().register("broken", 60))
    broken.row = replace(broken.row, service_id=77)
    broken.ring = array("q")
    with capture_logs() as lines:
        world.host.add_all([well, broken])
    assert [line["heartbeat_name"] for line in lines if line["log_level"] == "error"] == ["broken"]
    await world.beat("well")
    await trio.sleep(1)
    # Nothing of it is in the journal of this world: it is no longer registered, and what waited for it learns that.
    assert world.directory.find("broken") is None
    with pytest.raises(UnknownServiceError):
        await world.beat("broken")


async def test_a_service_that_is_gone_when_its_actor_is_rebuilt_takes_its_letters_with_it(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    made = unhosted(await World().register("gone", 60))
    world.host.add_all([made])
    made.ring = array("q")
    with capture_logs(), pytest.raises(ActorCrashedError):
        await world.beat("gone")
    with pytest.raises(UnknownServiceError):
        await world.beat("gone")
    assert world.directory.find("gone") is None
    assert world.host.statistics().timers_armed == 0
