"""The directory finds actors by name, id and alert, and counts what it indexes without ever walking over it."""

from __future__ import annotations

from array import array
from collections import Counter

import pytest
import trio
from structlog.testing import capture_logs

from medic.actors.actor import Actor
from medic.actors.directory import Directory
from medic.actors.supervisor import ActorCrashedError
from medic.core.author import Author
from medic.core.draft import ServiceEdit
from medic.core.policy import Defaults
from medic.core.service import Service
from medic.core.status import Status
from medic.core.units import InstantMs, SightedMs
from medic.errors import InvariantError
from tests.actors.world import ORIGIN, World, row


def actor(number: int, name: str) -> Actor:
    made = row(number, 60, name=name)
    return Actor.of(Service(made, made.policy(Defaults()), registered=SightedMs(ORIGIN)))


def names(directory, after=""):
    return [service.row.heartbeat_name for service in directory.services(after)]


def test_names_are_found_whatever_the_case_of_a_to_z():
    directory = Directory()
    directory.add(actor(1, "Nightly-Ä"))
    assert directory.find("NIGHTLY-Ä").row.service_id == 1
    assert directory.find("nightly-ä") is None
    assert len(directory) == 1


def test_a_name_or_an_id_is_taken_once():
    directory = Directory()
    directory.add(actor(1, "job"))
    with pytest.raises(InvariantError):
        directory.add(actor(2, "JOB"))
    with pytest.raises(InvariantError):
        directory.add(actor(1, "other"))
    with pytest.raises(InvariantError):
        directory.add_all([actor(3, "a"), actor(4, "A")])


def test_ids_are_found_in_whatever_order_they_came():
    directory = Directory()
    actors = {number: actor(number, f"job-{number}") for number in (30, 10, 20, 5, 40, 15)}
    directory.add_all([actors[30], actors[10]])
    for number in (20, 5, 40, 15):
        directory.add(actors[number])
    assert all(directory.actor_by_id(number) is actors[number] for number in actors)
    assert [directory.by_id(number) for number in (1, 12, 99)] == [None, None, None]
    for number in (5, 40, 20):
        directory.remove(actors[number])
        assert directory.by_id(number) is None
        assert not directory.holds(actors[number])
    assert [directory.actor_by_id(number) for number in (10, 15, 30)] == [actors[10], actors[15], actors[30]]
    assert len(directory) == 3


def test_an_actor_of_a_name_that_is_taken_again_is_not_held():
    directory = Directory()
    first, second = actor(1, "job"), actor(2, "job")
    directory.add(first)
    directory.remove(first)
    directory.add(second)
    assert (directory.holds(first), directory.holds(second)) == (False, True)


def test_services_are_listed_by_name_from_anywhere():
    directory = Directory()
    directory.add_all([actor(number, f"job-{number:04d}") for number in range(1_999, -1, -1)])
    directory.add(actor(5_000, "Job-0500a"))
    listed = names(directory)
    assert len(listed) == 2_001
    assert listed[499:503] == ["job-0499", "job-0500", "Job-0500a", "job-0501"]
    assert names(directory, "job-1997") == ["job-1998", "job-1999"]
    assert names(directory, "zzz") == []


def test_a_listing_goes_on_while_services_come_and_go():
    directory = Directory()
    actors = [actor(number, f"job-{number:04d}") for number in range(1_500)]
    directory.add_all(actors)
    listing = directory.services()
    seen = [next(listing).row.heartbeat_name for _ in range(600)]
    directory.remove(actors[100])
    directory.remove(actors[700])
    directory.remove(actors[1_400])
    directory.add(actor(9_001, "job-1450a"))
    directory.add(actor(9_002, "job-0000a"))
    seen += [service.row.heartbeat_name for service in listing]
    assert len(seen) == len(set(seen)) == 1_499
    assert "job-0700" not in seen
    assert "job-1400" not in seen
    assert "job-1450a" in seen


async def test_counts_follow_every_turn(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    for number in range(6):
        await world.register(f"job-{number}", 60)
    await world.beat("job-1")
    await world.beat("job-2", "DEGRADED")
    await world.beat("job-3", "DOWN")
    await world.changes.update("job-4", ServiceEdit(active=False), by=Author("test"))
    await world.changes.mute("job-3", until=InstantMs(world.wall() + 30_000), reason="", by=Author("test"))
    await trio.sleep(1)

    def expect() -> None:
        services = list(world.directory.services())
        statistics = world.directory.statistics()
        assert statistics.services == len(services)
        counted = Counter(service.status for service in services)
        assert statistics.by_status == {status: counted[status] for status in Status}
        assert statistics.muted == sum(service.mute is not None for service in services)
        assert statistics.alerts_active == sum(service.alert is not None for service in services)
        assert statistics.alerts_active_muted == sum(
            service.alert is not None and service.mute is not None for service in services
        )

    expect()
    assert world.directory.statistics().by_status == {
        Status.NEW: 2,
        Status.UP: 1,
        Status.DEGRADED: 1,
        Status.LATE: 0,
        Status.DOWN: 1,
        Status.INACTIVE: 1,
    }
    for _ in range(6):
        await trio.sleep(20)
        expect()
    await world.beat("job-0")
    await world.changes.delete("job-3", by=Author("test"))
    expect()


async def test_open_alerts_are_listed_oldest_first_and_found_by_id(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    for seconds in (30, 10, 20):
        await world.register(f"every-{seconds}", seconds)
    await trio.sleep(31)
    alerting = world.directory.open_alerts()
    assert [service.row.heartbeat_name for service in alerting] == ["every-10", "every-20", "every-30"]
    alert_id = alerting[1].alert.alert_id
    assert world.directory.by_alert(alert_id).row.heartbeat_name == "every-20"
    assert world.directory.by_id(alerting[1].row.service_id) is alerting[1]
    await world.beat("every-20")
    assert world.directory.by_alert(alert_id) is None
    assert len(world.directory.open_alerts()) == 2


async def test_only_who_waits_for_the_wall_clock_is_armed_anew_when_it_is_stepped(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    for number in range(3):
        await world.register(f"job-{number}", 60)
    assert world.directory.walled() == ()
    await world.changes.mute("job-1", until=InstantMs(world.wall() + 600_000), reason="", by=Author("test"))
    await world.changes.mute("job-2", until=None, reason="", by=Author("test"))
    assert [walled.service.row.heartbeat_name for walled in world.directory.walled()] == ["job-1"]
    await world.changes.unmute("job-1", by=Author("test"))
    assert world.directory.walled() == ()


async def test_a_service_that_is_being_rebuilt_is_not_in_order(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    service = await world.register("job", 60)
    service_id = service.row.service_id
    assert world.directory.in_order(service_id) is service
    service.ring = array("q")
    with capture_logs(), pytest.raises(ActorCrashedError):
        await world.beat("job")
    assert world.directory.by_id(service_id) is service
    assert world.directory.in_order(service_id) is None
    await trio.sleep(1)
    assert world.directory.in_order(service_id) is world.directory.find("job")
