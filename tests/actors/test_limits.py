"""Heartbeats beyond a limit: not stored, and signs of life and reports all the same, live and after a restart."""

from __future__ import annotations

import pytest
import trio

from medic.access.caller import NOBODY, Caller
from medic.core.effects import NoteHeartbeat, OpenAlert, RecordHeartbeat
from medic.core.status import OpenedReason, Status
from medic.core.units import InstantMs
from medic.errors import RateLimitedError, UnknownServiceError
from medic.ports import Beat
from medic.store.codec import pack_state
from tests.actors.test_supervisor import break_state
from tests.actors.world import World, recovered, settle


def take(world: World, name: str, status: str = "UP", **fields: object) -> RateLimitedError | None:
    try:
        world.intake.take_nowait(Beat(name, status, **fields))
    except RateLimitedError as refused:
        return refused
    return None


async def used_up(world: World, name: str, seconds: float = 3_600, *, limit: int = 2, **fields: object):
    """A service of which nothing more is stored in this minute."""
    world.limit(service=limit)
    service = await world.register(name, seconds, **fields)
    for _ in range(limit):
        assert take(world, name) is None
        await trio.sleep(0.001)
    assert take(world, name) is not None
    return service


async def test_a_refused_heartbeat_says_of_how_many_and_when_the_next_is_stored(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    await used_up(world, "flood", limit=60)
    refused = take(world, "flood")
    assert (refused.limit, refused.remaining, refused.retry_after_seconds) == (60, 0, 1)
    await trio.sleep(refused.retry_after_seconds)
    assert take(world, "flood") is None
    assert take(world, "flood") is not None
    assert len(world.effects(RecordHeartbeat)) == 61


async def test_a_refused_heartbeat_moves_the_deadline_and_is_not_stored(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    service = await used_up(world, "busy", 600)
    await trio.sleep(5)
    stored = len(world.effects(RecordHeartbeat))
    assert take(world, "busy", "COMPLETED").limit == 2
    assert len(world.effects(RecordHeartbeat)) == stored
    assert (service.last_status, service.last_sign) == ("COMPLETED", world.clock.sighted())
    await trio.sleep(599)
    assert service.status is Status.UP
    await trio.sleep(2)
    assert service.status is Status.LATE


async def test_a_restart_knows_what_was_refused(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    one = await used_up(world, "one", 3_600)
    three = await used_up(world, "three", 3_600, threshold=3)
    for status in ("UP", "STARTED", "on fire", "DEGRADED", "FAILED", "COMPLETED", "UP", "UP"):
        await trio.sleep(0.5)
        for name in ("one", "three"):
            assert take(world, name, status, run_id="7") is not None
    for service in (one, three):
        twin = recovered(world.journal.effects(), service.row.service_id, world.defaults)
        twin.position = service.position
        assert pack_state(twin) == pack_state(service)


@pytest.mark.parametrize(
    ("status", "reason"), [("DOWN", OpenedReason.REPORTED_DOWN), ("FAILED", OpenedReason.REPORTED_FAILED)]
)
async def test_a_refused_report_opens_the_alert(autojump_clock, nursery, status, reason):
    world = World()
    await world.start(nursery)
    service = await used_up(world, "broken")
    assert take(world, "broken", status) is not None
    await settle()
    assert service.alert.reason is reason
    assert world.ear.kinds() == ["trigger"]
    (opened,) = world.effects(OpenAlert)
    assert opened.alert == service.alert or opened.alert.alert_id == service.alert.alert_id
    assert take(world, "broken", "UP") is not None
    await settle()
    assert world.ear.kinds() == ["trigger", "resolve"]


async def test_a_flood_leaves_one_record_a_millisecond(mock_clock, nursery):
    world = World()
    world.limit(service=1)
    service = await world.register("flood", 3_600)
    for status in ("UP", "DOWN"):
        for _ in range(500):
            take(world, "flood", status)
    assert len(world.effects(RecordHeartbeat)) == 1
    assert len(world.effects(NoteHeartbeat)) <= 2
    assert service.status is Status.DOWN


async def test_history_that_is_refused_means_nothing_and_still_counts(mock_clock, nursery):
    world = World()
    world.limit(service=5)
    service = await world.register("relay", 600)
    long_ago = InstantMs(world.wall() - 700_000)
    refused = [take(world, "relay", "DOWN", said_at=long_ago) for _ in range(20)]
    assert [each is None for each in refused] == [True] * 5 + [False] * 15
    assert service.alert is None
    assert world.effects(NoteHeartbeat) == []


async def test_a_service_that_keeps_its_promise_is_never_refused(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    world.limit(service=1)
    await world.register("eager", 1, threshold=3)
    for _ in range(600):
        assert take(world, "eager") is None
        await trio.sleep(1 / 3)


async def test_a_callers_limit_counts_over_all_services_and_refuses_a_bulks_as_well(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    world.limit(caller=3)
    for name in ("a", "b"):
        await world.register(name, 60)
    here, there = Caller("192.0.2.1"), Caller("192.0.2.2")
    assert world.intake.take_plain_nowait([("a", "UP")])[0] == 0
    taken = [take(world, name, caller=here) is None for name in ("a", "b", "a", "b")]
    assert taken == [True, True, True, False]
    assert take(world, "b", caller=there) is None


async def test_names_that_are_not_registered_are_told_so_as_often_as_the_limit_says(autojump_clock, nursery):
    world = World()
    world.limit(unknown=2)
    for _ in range(2):
        with pytest.raises(UnknownServiceError):
            world.intake.take_nowait(Beat("typo", "UP", caller=NOBODY))
    with pytest.raises(RateLimitedError, match="RATE_LIMIT_UNKNOWN_REQUESTS"):
        world.intake.take_nowait(Beat("typo", "UP", caller=NOBODY))
    with pytest.raises(UnknownServiceError):
        world.intake.take_nowait(Beat("typo", "UP", caller=Caller("192.0.2.9")))


async def test_a_bulks_run_ends_at_the_first_that_is_refused(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    world.limit(service=3)
    await world.register("a", 60)
    take(world, "a")
    count, _ = world.intake.take_plain_nowait([("a", "UP")] * 10)
    assert count == 2
    assert take(world, "a").limit == 3
    assert len(world.effects(RecordHeartbeat)) == 3


async def test_a_service_that_is_being_rebuilt_takes_what_was_refused_afterwards(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    service = await used_up(world, "broken", 3_600)
    break_state(world, "broken")
    with pytest.raises(Exception, match="crashed"):
        world.intake.take_nowait(Beat("broken", "UP"))
    with pytest.raises(RateLimitedError):
        await world.intake.take(Beat("broken", "COMPLETED"))
    await trio.sleep(60)
    assert service.last_status == "COMPLETED"
    assert [note.status for note in world.effects(NoteHeartbeat)][-1] == "COMPLETED"
