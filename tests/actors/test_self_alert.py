"""While heartbeats are refused nobody becomes late, what people wait for goes on, and Medic says so of itself, once."""

from __future__ import annotations

import pytest
import trio

from medic.actors.self_alert import SelfAlert
from medic.core.author import Author
from medic.core.effects import EndMute, Notify, OpenAlert
from medic.core.notification import SELF_KEY
from medic.errors import JournalRefusedError
from tests.actors.world import World, until

MINUTE = 60.0


def of_itself(world: World) -> list[tuple[str, str]]:
    return [(told.kind.value, told.text) for told in world.ear.told if told.key == SELF_KEY and told.alert_id]


async def test_the_alert_is_raised_once_and_resolved_when_heartbeats_are_taken_again(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    service = await world.register("job", MINUTE)
    await world.beat("job")
    world.journal.intake_refusal = "The disk is full."
    with pytest.raises(JournalRefusedError, match="The disk is full"):
        await world.beat("job")
    await trio.sleep(2)
    [(kind, text)] = of_itself(world)
    assert kind == "trigger"
    assert "The disk is full." in text
    await trio.sleep(3600)
    assert of_itself(world) == [(kind, text)]
    assert world.effects(OpenAlert) == []
    world.journal.intake_refusal = None
    await until(lambda: len(of_itself(world)) == 2)
    assert of_itself(world)[1] == ("resolve", "Medic takes heartbeats again.")
    ids = {told.alert_id for told in world.ear.told if told.key == SELF_KEY and told.alert_id}
    assert len(ids) == 1
    assert service.alert is None
    assert not world.self_alert.is_open


async def test_a_moment_without_room_is_no_alert(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    world.journal.intake_refusal = "The disk is full."
    await trio.sleep(0.5)
    world.journal.intake_refusal = None
    await trio.sleep(5)
    assert of_itself(world) == []


async def test_while_heartbeats_are_refused_reminders_come_mutes_end_and_people_resolve(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    for name in ("down", "muted"):
        await world.register(name, MINUTE, renotify_ms=60_000)
    down = await world.beat("down", "DOWN")
    until_wall = world.wall() + 90_000
    await world.changes.mute("muted", until=until_wall, reason="", by=Author("Ann"))
    world.journal.intake_refusal = "The disk is full."
    await trio.sleep(66)
    assert down.alert is not None
    [reminder] = [told for told in world.ear.told if told.kind == "reminder"]
    assert 0 <= reminder.at - (down.alert.opened_at + 60_000) <= 5_500
    await trio.sleep(30)
    [ended] = world.effects(EndMute)
    assert 0 <= ended.at - until_wall <= 5_500
    await world.changes.resolve(down.alert.alert_id, by=Author("Ann"), note="")
    assert down.alert is None
    await until(lambda: "resolve" in world.ear.kinds())


async def test_where_not_even_that_has_room_it_is_told_as_soon_as_there_is(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    world.journal.refuse("The disk fails.")
    await trio.sleep(60)
    assert of_itself(world) == []
    world.journal.take_again()
    world.journal.intake_refusal = "The disk is full."
    world.ids.used_up = True
    await trio.sleep(60)
    assert of_itself(world) == []
    world.ids.used_up = False
    await until(lambda: [kind for kind, _ in of_itself(world)] == ["trigger"])
    world.journal.refuse("The disk fails.")
    world.journal.intake_refusal = None
    await trio.sleep(60)
    assert world.self_alert.is_open
    world.journal.take_again()
    await until(lambda: not world.self_alert.is_open)


async def test_a_restart_in_between_resolves_what_the_process_before_told(autojump_clock, nursery):
    first = World()
    await first.start(nursery)
    first.journal.intake_refusal = "The disk is full."
    await trio.sleep(2)
    second = World()
    for effect in first.effects(Notify):
        second.outbox.ledger.fold(effect)
    second.self_alert = SelfAlert(clock=second.clock, ids=second.ids, outbox=second.outbox)
    assert second.self_alert.is_open
    await second.start(nursery, sight=False)
    second.self_alert.look()
    await until(lambda: [kind for kind, _ in of_itself(second)] == ["resolve"])
    [resolved] = [told for told in second.ear.told if told.key == SELF_KEY]
    assert resolved.alert_id == next(told.alert_id for told in first.ear.told if told.key == SELF_KEY)
