"""Nothing unjournaled leaves, and what the journal refuses is not decided."""

from __future__ import annotations

import pytest
import trio

from medic.core.effects import (
    ChangeStatus,
    CloseAlert,
    Notify,
    OpenAlert,
    RecordBlindSpan,
    RecordHeartbeat,
    SettleNotification,
    StoreService,
)
from medic.core.notification import Notification
from medic.core.status import NotificationKind, Outcome, Status
from medic.errors import JournalRefusedError
from medic.ports import Beat
from tests.actors.world import World, settle


async def late_world(nursery, *names, seconds=60):
    world = World()
    await world.start(nursery)
    for name in names:
        await world.register(name, seconds)
        await world.beat(name)
    return world


async def journaled_turns(world) -> list[list[type]]:
    """What stands in the journal, as it is given to a reader who asks for one record at a time."""
    turns, position = [], 0
    while entries := await world.journal.read_after(position, most=1):
        turns.append([type(entry.effect) for entry in entries])
        position = entries[-1].position
    return turns


async def test_nobody_is_told_before_the_record_is_durable(autojump_clock, nursery):
    world = await late_world(nursery, "job")
    world.journal.hold()
    await trio.sleep(60.5)
    assert world.directory.find("job").status is Status.LATE
    assert world.ear.told == []
    assert world.outbox.statistics().pending == 1
    world.journal.release()
    await settle()
    assert world.ear.kinds() == ["trigger"]
    assert world.outbox.statistics().pending == 0
    assert world.outbox.statistics().handed_on == 1


async def test_the_transition_and_the_alert_stand_before_the_notification(autojump_clock, nursery):
    world = await late_world(nursery, "job")
    await trio.sleep(61)
    kinds = [type(effect) for effect in world.journal.effects()]
    assert kinds[-3:] == [ChangeStatus, OpenAlert, Notify]


async def test_what_is_decided_in_one_turn_is_journaled_as_one(autojump_clock, nursery):
    world = await late_world(nursery, "job")
    await trio.sleep(61)
    await world.beat("job")
    turns = [[StoreService], [RecordHeartbeat, ChangeStatus], [ChangeStatus, OpenAlert, Notify]]
    turns += [[RecordHeartbeat, ChangeStatus, CloseAlert, Notify]]
    assert await journaled_turns(world) == turns


async def test_a_blind_span_and_what_is_told_of_it_are_one_turn(autojump_clock, nursery):
    world = await late_world(nursery, "job", seconds=3_600)
    world.journal.refuse("The disk is full.")
    await trio.sleep(60)
    world.journal.take_again()
    await trio.sleep(5)
    assert (await journaled_turns(world))[2:] == [[RecordBlindSpan, Notify]]


async def test_a_notification_is_journaled_with_the_targets_it_goes_to(autojump_clock, nursery):
    world = await late_world(nursery, "job")
    await trio.sleep(61)
    [journaled] = world.effects(Notify)
    assert journaled.notification.targets == ("pagerduty", "slack")
    assert world.ear.told == [journaled.notification]


async def test_notifications_leave_in_the_order_they_were_decided(autojump_clock, nursery):
    names = [f"job-{number}" for number in range(300)]
    world = await late_world(nursery, *names)
    world.journal.hold()
    await trio.sleep(61)
    world.journal.release()
    await settle()
    assert [told.notification_id for told in world.ear.told] == [
        effect.notification.notification_id for effect in world.effects(Notify)
    ]
    assert len(world.ear.told) == 300


async def test_a_journal_that_refuses_lets_nothing_be_decided(autojump_clock, nursery):
    world = await late_world(nursery, "job")
    recorded = len(world.journal.effects())
    world.journal.refuse("The disk is full.")
    with pytest.raises(JournalRefusedError):
        await world.beat("job")
    await trio.sleep(600)
    assert world.directory.find("job").status is Status.UP
    assert world.directory.find("job").heartbeats_total == 1
    assert len(world.journal.effects()) == recorded
    assert world.ear.told == []


async def test_time_in_which_the_journal_refused_is_blind_and_credited(autojump_clock, nursery):
    world = await late_world(nursery, "job")
    await trio.sleep(30)
    world.journal.refuse("The disk is full.")
    await trio.sleep(600)
    world.journal.take_again()
    await trio.sleep(1)
    [span] = world.clock.blind.spans
    assert span.cause == "journal"
    assert span.duration_ms == pytest.approx(600_000, abs=500)
    assert world.ear.kinds() == ["blind"]
    # The heartbeat was due within the span: one fresh interval, counted from where sighted time stood still.
    await trio.sleep(58)
    assert world.directory.find("job").status is Status.UP
    await trio.sleep(60)
    assert world.directory.find("job").status is Status.LATE
    assert world.ear.kinds() == ["blind", "trigger"]


async def test_a_deadline_that_came_while_the_journal_refused_comes_once_it_takes_again(autojump_clock, nursery):
    world = await late_world(nursery, "job", seconds=10)
    await trio.sleep(9.95)
    # Refusing for so short a time that it is not blindness.
    world.journal.refuse("The disk hangs.")
    await trio.sleep(0.5)
    assert world.directory.find("job").status is Status.UP
    world.journal.take_again()
    await trio.sleep(0.5)
    assert world.directory.find("job").status is Status.LATE
    assert world.clock.blind.spans == ()


async def test_a_heartbeat_after_the_refusal_counts_from_its_arrival(autojump_clock, nursery):
    world = await late_world(nursery, "job")
    world.journal.refuse("The disk is full.")
    await trio.sleep(3_600)
    world.journal.take_again()
    await world.beat("job")
    arrived = trio.current_time()
    await trio.sleep(61)
    assert world.directory.find("job").status is Status.LATE
    [opened] = world.effects(OpenAlert)
    assert opened.at / 1000 - world.wall() / 1000 + trio.current_time() - arrived == pytest.approx(60, abs=0.5)


async def test_the_watermark_rests_while_the_journal_refuses(autojump_clock, nursery):
    world = await late_world(nursery, "job")
    await trio.sleep(1)
    world.journal.refuse("The disk is full.")
    await trio.sleep(1)
    marks = len(world.marks)
    await trio.sleep(100)
    assert len(world.marks) == marks
    world.journal.take_again()
    await trio.sleep(1)
    assert len(world.marks) > marks


async def test_a_disk_that_fails_while_a_notification_waits_delays_it_and_journals_it_once(autojump_clock, nursery):
    world = await late_world(nursery, "job")
    world.journal.hold()
    await trio.sleep(60.5)
    world.journal.refuse("The disk fails.")
    await trio.sleep(5)
    assert world.ear.told == []
    assert world.outbox.statistics().journal_retries >= 5
    world.journal.take_again()
    world.journal.release()
    await trio.sleep(1)
    assert "trigger" in world.ear.kinds()
    assert len([effect for effect in world.effects(Notify) if effect.notification.alert_id is not None]) == 1


async def test_the_outbox_is_idle_once_all_is_handed_on(autojump_clock, nursery):
    world = await late_world(nursery, "job")
    await world.outbox.wait_idle()
    world.journal.hold()
    await trio.sleep(60.5)
    idle = trio.Event()

    async def wait_idle() -> None:
        await world.outbox.wait_idle()
        idle.set()

    nursery.start_soon(wait_idle)
    await settle()
    assert not idle.is_set()
    world.journal.release()
    await settle()
    assert idle.is_set()


async def test_outcomes_and_notifications_of_medics_own_are_journaled(autojump_clock, nursery):
    world = await late_world(nursery, "job")
    at, sighted = world.clock.now(), world.clock.sighted()
    settlement = SettleNotification(at, sighted, "7.0", 1, "slack", Outcome.DELIVERED, 1)
    world.outbox.settle_nowait(settlement)
    world.outbox.tell_nowait(
        Notification(notification_id="u.1", kind=NotificationKind.UNTOLD, key="medic-job", at=at, text="nobody knows")
    )
    await settle()
    assert world.effects(SettleNotification) == [settlement]
    assert world.ear.kinds() == ["untold"]


async def test_what_passes_through_is_counted(autojump_clock, nursery):
    world = await late_world(nursery, "job")
    await world.beat("job", "degraded")
    await world.beat("job", "whatever")
    await world.intake.take(Beat("job", "DOWN", said_at=0))
    await trio.sleep(61)
    await world.beat("job")
    statistics = world.outbox.statistics()
    assert statistics.heartbeats == {"UP": 2, "DEGRADED": 1, "OTHER": 1, "DOWN": 1}
    assert statistics.discounted == {"history": 1}
    assert statistics.alerts_opened == {("p3", "site-reliability"): 1}
    assert statistics.alerts_closed == 1
    assert sum(statistics.heartbeats.values()) == len(world.effects(RecordHeartbeat))
