"""The writer against a real PostgreSQL: what a record becomes, and when."""

from __future__ import annotations

import json

import pytest
import trio

from medic.core.author import Author
from medic.core.blind import BlindSpan
from medic.core.deadline import late_deadline
from medic.core.effects import (
    AmendAlert,
    ChangeStatus,
    CloseAlert,
    CreditSigns,
    EndMute,
    OpenAlert,
    RecordBlindSpan,
    RemoveService,
    SetMute,
    SettleNotification,
    StoreService,
)
from medic.core.service import Mute
from medic.core.status import ClosedReason, HeartbeatStatus, Outcome, Status
from medic.core.units import isoformat
from medic.store.codec import decode, unpack_state
from medic.store.tables import writer as writer_module
from medic.store.tables.batch_tables import ROWS_AT_ONCE
from medic.store.tables.writer import ANSWER_MS
from tests.integration.writing import DAY, HEARTBEATS, MINUTE, NOW, World, alert, closed, heartbeat, notify, opened, row
from tests.patience import PATIENCE_SECONDS


@pytest.fixture
def world(database, tmp_path) -> World:
    return World(database, tmp_path)


async def test_heartbeats_arrive_as_they_were_sent_in_the_partition_of_their_day(world):
    await world.write(heartbeat(1, run_id="ß-1"), heartbeat(2, at=NOW - DAY), heartbeat(3, service_id=7))
    assert await world.rows(HEARTBEATS) == [
        (1, NOW, "läuft", 1, "ß-1", NOW - 1),
        (2, NOW - DAY, "läuft", 1, None, NOW - DAY - 1),
        (3, NOW, "läuft", 7, None, NOW - 1),
    ]
    partitions = await world.rows("SELECT count(*) FROM pg_inherits WHERE inhparent = '\"heartbeatEvents\"'::regclass")
    assert partitions == [(2,)]


async def test_plain_heartbeats_arrive_like_any_other_however_many_they_are(world):
    kinds = (HeartbeatStatus.UP, HeartbeatStatus.COMPLETED, HeartbeatStatus.DOWN)
    for number in range(12_000):
        world.journal.append_heartbeat_nowait(number % 7, NOW + number, NOW, number + 1, kinds[number % 3])
    await world.write(heartbeat(12_001))
    rows = await world.rows(HEARTBEATS)
    assert len(rows) == 12_001
    assert rows[:3] == [
        (1, NOW, "UP", 0, None, None),
        (2, NOW + 1, "COMPLETED", 1, None, None),
        (3, NOW + 2, "DOWN", 2, None, None),
    ]
    assert rows[11_999] == (12_000, NOW + 11_999, "DOWN", 11_999 % 7, None, None)


async def test_the_position_and_the_watermark_move_with_the_rows(world):
    await world.write(heartbeat(1))
    position = await world.rows(
        "SELECT journal_id, position, watermark_at, watermark_sighted FROM medic.journal_positions"
    )
    assert position == [(world.journal.journal_id, world.journal.newest, NOW - ANSWER_MS, NOW - 5_000 - ANSWER_MS)]
    statistics = world.writer.statistics()
    assert (statistics.committed, statistics.backlog_bytes) == (world.journal.newest, 0)
    assert (statistics.batches, statistics.rows, statistics.lag_seconds) == (1, 1, 0.0)


async def test_the_life_of_an_alert_is_one_row_and_every_moment_of_it(world):
    await world.register(1)
    acknowledged = alert(100, acknowledged_at=NOW + 1, acknowledged_by="Ann")
    await world.write(opened(1, 100))
    active = await world.rows("SELECT active, closed_date, alert_cycle, muted FROM medic.alerts")
    assert active == [(1, None, 1, 0)]
    assert await world.rows("SELECT down FROM medic.services") == [(1,)]
    await world.write(
        AmendAlert(
            service_id=1, at=NOW + 1, sighted=NOW, alert=acknowledged, change="acknowledged", by="Ann", note="me"
        ),
        CloseAlert(
            service_id=1,
            at=NOW + 60_000,
            sighted=NOW,
            alert=acknowledged,
            reason=ClosedReason.BY_HAND,
            cycle=3,
            by="Bob",
            note="fixed",
        ),
    )
    stored = await world.database.fetchrow("SELECT * FROM medic.alerts")
    assert {name: stored[name] for name in ("alert_id", "alert_name", "heartbeat_name", "service_name", "team")} == {
        "alert_id": 100,
        "alert_name": "Medic - Heartbeat failure for näme-1",
        "heartbeat_name": "näme-1",
        "service_name": "label-1",
        "team": "platform",
    }
    assert (stored["active"], stored["closed_date"], stored["closed_reason"]) == (0, NOW + 60_000, "by_hand")
    assert (stored["external_reference_id"], stored["alert_cycle"], stored["reason"]) == ("medic-näme-1", 3, "late")
    assert (stored["created_date"], stored["late_since"]) == (NOW, NOW - 10)
    assert (stored["acknowledged_date"], stored["acknowledged_by"]) == (NOW + 1, "Ann")
    moments = await world.rows("SELECT at, change, by, note FROM medic.alert_events ORDER BY moment_id")
    assert moments == [
        (NOW, "opened", "", "late"),
        (NOW + 1, "acknowledged", "Ann", "me"),
        (NOW + 60_000, "closed", "Bob", "by_hand: fixed"),
    ]
    audit = (
        "SELECT actor, action, service_id, subject FROM medic.audit_log WHERE action <> 'register' ORDER BY audit_id"
    )
    assert await world.rows(audit) == [("Ann", "acknowledge", 1, "näme-1"), ("Bob", "resolve", 1, "näme-1")]
    assert await world.rows("SELECT down FROM medic.services") == [(0,)]


async def test_alerts_that_follow_each_other_within_a_batch_never_stand_open_together(world):
    await world.register(1)
    await world.write(opened(1, 100))
    await world.write(closed(1, 100), opened(1, 101), closed(1, 101), opened(1, 102))
    states = await world.rows("SELECT alert_id, active FROM medic.alerts ORDER BY alert_id")
    assert states == [(100, 0), (101, 0), (102, 1)]
    assert await world.rows("SELECT down FROM medic.services") == [(1,)]
    assert world.writer.statistics().superseded == 0


async def test_an_older_open_alert_of_the_database_is_closed_as_superseded(world):
    await world.register(1)
    await world.write(opened(1, 100))
    await world.write(opened(1, 200, at=NOW + 5))
    states = "SELECT alert_id, active, closed_date, closed_reason FROM medic.alerts ORDER BY alert_id"
    assert await world.rows(states) == [(100, 0, NOW + 5, "superseded"), (200, 1, None, "")]
    assert world.writer.statistics().superseded == 1
    history = "SELECT change, note FROM medic.alert_events WHERE alert_id = 100 ORDER BY moment_id"
    assert await world.rows(history) == [("opened", "late"), ("closed", "superseded")]


async def test_a_storm_is_written_whole_though_no_statement_is_given_all_of_it(world):
    count = 2 * ROWS_AT_ONCE + 500
    services = range(1, count + 1)
    await world.database.execute(
        "INSERT INTO medic.services (service_id, heartbeat_name, service_name, alert_interval)"
        " SELECT n, 'name-' || n, 'label', 5 FROM generate_series(1, $1::int) n",
        count,
    )
    decided = [notify(f"{service_id}.0", "pagerduty", "slack", service_id=service_id) for service_id in services]
    await world.write(*[opened(service_id, 10_000 + service_id) for service_id in services], *decided)
    counts = "SELECT count(*), count(DISTINCT service_id), sum(active) FROM medic.alerts"
    assert await world.rows(counts) == [(count, count, count)]
    assert await world.rows("SELECT sum(down) FROM medic.services") == [(count,)]
    ended = [
        SettleNotification(NOW, NOW, f"{service_id}.0", service_id, "slack", Outcome.DELIVERED, 1)
        for service_id in services
    ]
    again = [opened(service_id, 20_000 + service_id, at=NOW + MINUTE) for service_id in services]
    await world.write(*[closed(service_id, 10_000 + service_id) for service_id in services], *again, *ended)
    assert await world.rows(counts) == [(2 * count, count, count)]
    assert await world.rows("SELECT sum(down) FROM medic.services") == [(count,)]
    assert await world.rows("SELECT count(*) FROM medic.alert_events") == [(3 * count,)]
    told = "SELECT target, outcome, count(*) FROM medic.notifications GROUP BY 1, 2 ORDER BY 1"
    assert await world.rows(told) == [("pagerduty", "", count), ("slack", "delivered", count)]
    statistics = world.writer.statistics()
    assert (statistics.superseded, statistics.rejected, statistics.batches) == (0, 0, 2)


async def test_an_alert_of_a_service_that_was_deleted_keeps_its_name(world):
    await world.register(1)
    await world.database.execute("DELETE FROM medic.services")
    await world.write(opened(1, 100), closed(1, 100, reason=ClosedReason.DELETED, by="Ann"))
    assert await world.rows("SELECT heartbeat_name, active FROM medic.alerts") == [("näme-1", 0)]


async def test_mutes_are_columns_of_the_service_and_of_its_open_alert(world):
    await world.register(1)
    mute = Mute(muted_at=NOW, until=NOW + MINUTE, reason="wärtung", muted_by="Ann")
    columns = "SELECT muted, date_muted, mute_until, mute_reason, muted_by, version FROM medic.services"
    await world.write(opened(1, 100), SetMute(service_id=1, at=NOW, sighted=NOW, mute=mute))
    assert await world.rows(columns) == [(1, NOW, NOW + MINUTE, "wärtung", "Ann", 1)]
    assert await world.rows("SELECT muted FROM medic.alerts") == [(1,)]
    await world.write(closed(1, 100), opened(1, 101), EndMute(service_id=1, at=NOW, sighted=NOW, by="Bob"))
    assert await world.rows(columns) == [(0, None, None, "", "", 1)]
    assert await world.rows("SELECT alert_id, muted FROM medic.alerts ORDER BY alert_id") == [(100, 1), (101, 0)]
    await world.write(
        SetMute(service_id=1, at=NOW, sighted=NOW, mute=Mute(muted_at=NOW, until=None)),
        EndMute(service_id=1, at=NOW, sighted=NOW, by=""),
    )
    audit = "SELECT actor, action FROM medic.audit_log WHERE action LIKE '%mute' ORDER BY audit_id"
    assert await world.rows(audit) == [("Ann", "mute"), ("Bob", "unmute"), ("", "mute")]
    assert await world.rows("SELECT count(*) FROM medic.service_changes WHERE mute_changed") == [(0,)]


async def test_the_audit_of_what_was_journaled_first_says_who_and_what_it_was_before(world):
    await world.register(1)
    anna = Author("Ann", key_id="k1", address="192.0.2.7", request_id="r1", label="ann@laptop")
    mute = Mute(muted_at=NOW, until=NOW + MINUTE, reason="works", muted_by="Ann")
    longer = Mute(muted_at=NOW, until=None, reason="more works", muted_by="Ann")
    times = {"service_id": 1, "at": NOW, "sighted": NOW}
    await world.write(SetMute(**times, mute=mute, author=anna))
    await world.write(SetMute(**times, mute=longer, author=anna), EndMute(**times, by="Bob"))
    acknowledged = alert(100, acknowledged_at=NOW, acknowledged_by="\x00")
    by_odd = Author("\x00", label="\x00")
    await world.write(
        opened(1, 100), AmendAlert(**times, alert=acknowledged, change="acknowledged", by="\x00", author=by_odd)
    )
    who = "SELECT actor, key_id, address, request_id, label FROM medic.audit_log WHERE action <> 'register'"
    assert await world.rows(f"{who} ORDER BY audit_id") == [
        ("Ann", "k1", "192.0.2.7", "r1", "ann@laptop"),
        ("Ann", "k1", "192.0.2.7", "r1", "ann@laptop"),
        ("Bob", "", "", "", ""),
        ("\ufffd", "", "", "", "\ufffd"),
    ]
    shown = "SELECT action, before, after FROM medic.audit_log WHERE action <> 'register' ORDER BY audit_id"
    ended, first = isoformat(NOW + MINUTE), {"muted": 1, "reason": "works"}
    assert [(action, json.loads(before), json.loads(after)) for action, before, after in await world.rows(shown)] == [
        ("mute", {"muted": 0}, first | {"until": ended}),
        ("mute", first | {"until": ended}, {"muted": 1, "reason": "more works", "until": None}),
        ("unmute", {"muted": 1, "reason": "more works", "until": None}, {"muted": 0}),
        ("acknowledge", {"alert_id": 100, "acknowledged": 0}, {"alert_id": 100, "acknowledged": 1, "note": ""}),
    ]


async def test_each_target_of_a_notification_has_a_row_that_its_outcome_ends(world):
    settled = SettleNotification(
        at=NOW + 9,
        sighted=NOW,
        notification_id="100.0",
        service_id=1,
        target="slack",
        outcome=Outcome.DELIVERED,
        attempts=2,
        detail="ok",
    )
    await world.write(notify("100.0", "slack", "webhook:7"), settled, notify("100.1"))
    await world.write(notify("100.0", "slack", "webhook:7"))
    rows = await world.rows(
        "SELECT target, kind, alert_id, decided_at, settled_at, attempts, outcome, detail"
        " FROM medic.notifications ORDER BY target"
    )
    assert rows == [
        ("slack", "trigger", 100, NOW, NOW + 9, 2, "delivered", "ok"),
        ("webhook:7", "trigger", 100, NOW, None, 0, "", ""),
    ]
    body = await world.database.fetchrow("SELECT body FROM medic.notifications LIMIT 1")
    assert decode(body["body"]) == notify("100.0", "slack", "webhook:7")


async def test_what_people_said_is_kept_although_postgresql_cannot_store_all_of_it(world):
    await world.register(1)
    odd = alert(100, acknowledged_at=NOW, acknowledged_by="A\x00B\\u0000")
    await world.write(
        SetMute(service_id=1, at=NOW, sighted=NOW, mute=Mute(NOW, None, reason="a\x00b", muted_by="c\x00d\\u0000")),
        OpenAlert(service_id=1, at=NOW, sighted=NOW, alert=odd),
        AmendAlert(service_id=1, at=NOW, sighted=NOW, alert=odd, change="acknowledged", by="\x00", note="\x00"),
        RecordBlindSpan(at=NOW, sighted=NOW, span=BlindSpan(NOW, NOW, NOW, "down")),
        CreditSigns(service_id=1, at=NOW, sighted=NOW, since=NOW),
    )
    assert world.writer.statistics().rejected == 0
    assert await world.rows("SELECT acknowledged_by FROM medic.alerts") == [("A\ufffdB\\u0000",)]
    assert await world.rows("SELECT mute_reason FROM medic.services") == [("a\ufffdb",)]


# -------------------------------------------------------------------------------------------------------------- states


async def test_a_state_is_written_at_once_where_something_changed_and_recovers_as_it_was(world):
    service = await world.register(1)
    service.status, service.alert = Status.LATE, alert(100)
    service.last_heartbeat_at, service.last_status, service.position = NOW - 7, "läuft", 1
    world.journal.append_nowait(
        ChangeStatus(service_id=1, at=NOW, sighted=NOW, previous=Status.UP, status=Status.LATE, reason="late")
    )
    async with world.writing():
        with trio.fail_after(PATIENCE_SECONDS):
            while not world.writer.statistics().states:
                await trio.lowlevel.checkpoint()
    stored = await world.database.fetchrow("SELECT * FROM medic.service_states")
    assert (stored["journal_id"], stored["position"], stored["version"]) == (world.journal.journal_id, 1, 1)
    assert (stored["status"], stored["last_heartbeat_at"], stored["last_status"]) == ("late", NOW - 7, "läuft")
    again = unpack_state(stored["hot"], service.row, service.policy)
    assert (again.status, again.alert) == (service.status, service.alert)


async def test_a_service_that_was_only_heard_of_waits_and_is_written_at_the_end(world):
    service = await world.register(1)
    for number in range(5):
        world.journal.append_nowait(heartbeat(number))
    service.position = world.journal.newest
    async with world.writing():
        with trio.fail_after(PATIENCE_SECONDS):
            await world.writer.wait_committed(world.journal.newest)
            assert world.writer.statistics().states_due == 1
            assert await world.rows("SELECT count(*) FROM medic.service_states") == [(0,)]
            await world.writer.finish()
    assert world.writer.statistics().states == 1
    deadline = late_deadline(service) + world.clock.skew
    rows = "SELECT deadline_at, position FROM medic.service_states"
    assert await world.rows(rows) == [(deadline, world.journal.newest)]


@pytest.mark.parametrize(("patience", "after"), [(3_600.0, [0, 0, 0]), (0.0, [2, 1, 0])])
async def test_states_let_the_records_go_first_while_the_writer_is_behind_but_not_for_ever(
    world, monkeypatch, patience, after
):
    monkeypatch.setattr(writer_module, "BATCH_RECORDS_MAX", 1)
    monkeypatch.setattr(writer_module, "STATES_WAIT_SECONDS", patience)
    changes = [
        ChangeStatus(service_id=number, at=NOW, sighted=NOW, previous=Status.UP, status=Status.LATE, reason="late")
        for number in (1, 2, 3)
    ]
    behind: list[int] = []

    def state_of(_service_id: int) -> None:
        behind.append(len(changes) - writer.statistics().batches)

    writer = world.another_writer(state_of=state_of)
    await world.write(*changes, writer=writer)
    assert behind == after


async def test_no_batch_ends_within_a_turn(world, monkeypatch):
    """Another Medic that takes over in between would find an alert closed and the telling of it undecided."""
    monkeypatch.setattr("medic.store.tables.writer.BATCH_RECORDS_MAX", 1)
    world.journal.append_nowait(heartbeat(1))
    turn = world.journal.append_turn_nowait([heartbeat(2), heartbeat(3), heartbeat(4)])
    async with world.writing():
        with trio.fail_after(PATIENCE_SECONDS):
            await world.writer.wait_committed(turn)
    assert (world.writer.statistics().batches, world.writer.statistics().rows) == (2, 4)


async def test_a_service_that_is_being_rebuilt_is_not_written(world):
    await world.write(heartbeat(1))
    assert await world.rows("SELECT count(*) FROM medic.service_states") == [(0,)]


async def test_the_state_of_a_removed_service_goes(world):
    await world.register(1)
    await world.write(StoreService(service_id=1, at=NOW, sighted=NOW, row=row(1)))
    assert await world.rows("SELECT count(*) FROM medic.service_states") == [(1,)]
    del world.services[1]
    await world.write(RemoveService(service_id=1, at=NOW, sighted=NOW, by="Ann"))
    assert await world.rows("SELECT count(*) FROM medic.service_states") == [(0,)]


async def test_a_state_waits_for_the_journal_that_it_is_of(world):
    service = await world.register(1)
    world.journal.append_nowait(StoreService(service_id=1, at=NOW, sighted=NOW, row=row(1)))
    world.journal.hold()
    world.journal.append_nowait(heartbeat(2))
    service.position = world.journal.newest
    async with world.writing():
        with trio.fail_after(PATIENCE_SECONDS):
            while not world.writer.statistics().batches:
                await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            assert await world.rows("SELECT count(*) FROM medic.service_states") == [(0,)]
            world.journal.release()
            await world.writer.finish()
    assert await world.rows("SELECT position FROM medic.service_states") == [(world.journal.newest,)]


# ----------------------------------------------------------------------------------------------------------- giving way


async def test_a_batch_gives_way_to_what_is_more_urgent_until_somebody_waits_for_it(world, monkeypatch):
    monkeypatch.setattr(writer_module, "GIVES_WAY_SECONDS", 3_600.0)
    asked = trio.Event()

    async def never_calm() -> None:
        asked.set()
        await trio.sleep_forever()

    writer = world.another_writer(calm=never_calm)
    async with world.writing(writer):
        position = world.journal.append_nowait(heartbeat(1))
        with trio.fail_after(PATIENCE_SECONDS):
            await asked.wait()
            assert writer.committed < position
            await writer.wait_committed(position)
            world.journal.append_nowait(heartbeat(2))
            await writer.finish()
    assert await world.rows(HEARTBEATS)


async def test_a_batch_does_not_give_way_for_ever(world, monkeypatch):
    monkeypatch.setattr(writer_module, "GIVES_WAY_SECONDS", 0.0)
    writer = world.another_writer(calm=trio.sleep_forever)
    async with world.writing(writer):
        world.journal.append_nowait(heartbeat(1))
        with trio.fail_after(PATIENCE_SECONDS):
            while not writer.statistics().batches:
                await trio.lowlevel.checkpoint()
