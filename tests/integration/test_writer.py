"""The writer against a real PostgreSQL: everything once, in order, whatever happens in between."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from medic.core.blind import SIGHTED_ALWAYS, BlindSpan
from medic.core.deadline import late_deadline
from medic.core.effects import (
    AmendAlert,
    ChangeStatus,
    CloseAlert,
    CreditSigns,
    EndMute,
    Notify,
    OpenAlert,
    RecordBlindSpan,
    RecordHeartbeat,
    RemoveService,
    SetMute,
    SettleNotification,
    StoreService,
)
from medic.core.notification import Notification
from medic.core.policy import Defaults
from medic.core.service import Alert, Mute, Service, ServiceRow
from medic.core.status import ClosedReason, HeartbeatStatus, NotificationKind, OpenedReason, Outcome, Status
from medic.store import rejected
from medic.store import writer as writer_module
from medic.store.codec import decode, unpack_state
from medic.store.database import CommitUnknownError, Database, open_database
from medic.store.journal_file import FileJournal
from medic.store.journal_memory import MemoryJournal
from medic.store.writer import OvertakenError, Writer

NOW = 1_790_000_000_000
MINUTE = 60_000
DAY = 86_400_000


class StillClock:
    """A clock that stands where a test puts it. Sighted time is five seconds behind."""

    blind = SIGHTED_ALWAYS
    skew = 5_000

    def __init__(self) -> None:
        self.at = NOW

    def now(self):
        return self.at

    def sighted(self):
        return self.at - self.skew


def row(service_id: int, name: str = "", version: int = 1) -> ServiceRow:
    return ServiceRow(
        service_id=service_id,
        version=version,
        heartbeat_name=name or f"näme-{service_id}",
        service_name=f"label-{service_id}",
        active=True,
        interval_ms=5 * MINUTE,
        grace_ms=0,
        threshold=1,
        recovery_ms=0,
        renotify_ms=None,
        team="platform",
        priority="p2",
        runbook="https://example.org/run",
        date_added=NOW,
        date_modified=NOW,
    )


def alert(alert_id: int, **changes) -> Alert:
    values = {
        "alert_id": alert_id,
        "reason": OpenedReason.LATE,
        "opened_at": NOW,
        "opened_sighted": NOW - 5_000,
        "late_since": NOW - 10,
        "priority": "p2",
        "team": "platform",
        "runbook": "https://example.org/run",
        "told": True,
        "told_priority": "p2",
    }
    return Alert(**(values | changes))


def heartbeat(number: int, service_id: int = 1, *, at: int = NOW, run_id: str | None = None) -> RecordHeartbeat:
    return RecordHeartbeat(
        service_id=service_id,
        at=at,
        sighted=at - 5_000,
        heartbeat_id=number,
        kind=HeartbeatStatus.OTHER,
        status="läuft",
        run_id=run_id,
        said_at=at - 1,
    )


def opened(service_id: int, alert_id: int, at: int = NOW) -> OpenAlert:
    return OpenAlert(service_id=service_id, at=at, sighted=at, alert=alert(alert_id, opened_at=at))


def closed(service_id: int, alert_id: int, at: int = NOW + 60_000, **changes) -> CloseAlert:
    values = {"reason": ClosedReason.RECOVERED, "cycle": 3} | changes
    return CloseAlert(service_id=service_id, at=at, sighted=at, alert=alert(alert_id), **values)


def notify(notification_id: str, *targets: str, service_id: int = 1) -> Notify:
    notification = Notification(
        notification_id=notification_id,
        kind=NotificationKind.TRIGGER,
        key="medic-x",
        at=NOW,
        service_id=service_id,
        alert_id=100,
        targets=targets,
    )
    return Notify(at=NOW, sighted=NOW, notification=notification)


class World:
    """A database, a journal in memory, and a writer between them."""

    def __init__(self, database: Database, tmp_path) -> None:
        self.database = database
        self.journal = MemoryJournal()
        self.clock = StillClock()
        self.services: dict[int, Service] = {}
        self.rejected = tmp_path / "rejected"
        self.writer = self.another_writer()

    def another_writer(self, **changes) -> Writer:
        values = {
            "database": self.database,
            "journal": self.journal,
            "clock": self.clock,
            "state_of": self.services.get,
            "rejected": self.rejected,
        }
        return Writer(**(values | changes))

    async def register(self, service_id: int) -> Service:
        await self.database.execute(
            "INSERT INTO medic.services (service_id, heartbeat_name, service_name, alert_interval, team, priority)"
            " VALUES ($1, $2, $3, 5, 'platform', 'p2')",
            service_id,
            row(service_id).heartbeat_name,
            row(service_id).service_name,
        )
        service = Service(row(service_id), row(service_id).policy(Defaults()), registered=NOW)
        self.services[service_id] = service
        return service

    @asynccontextmanager
    async def writing(self, writer: Writer | None = None):
        async with trio.open_nursery() as nursery:
            await nursery.start((writer or self.writer).run)
            yield
            nursery.cancel_scope.cancel()

    async def write(self, *effects, writer: Writer | None = None) -> None:
        """Journal the effects, and return once PostgreSQL has them."""
        for effect in effects:
            self.journal.append_nowait(effect)
        writing = writer or self.writer
        async with self.writing(writing):
            with trio.fail_after(20):
                await writing.finish()

    async def rows(self, sql: str, *args):
        return [tuple(record) for record in await self.database.fetch(sql, *args)]


@pytest.fixture
def world(database, tmp_path) -> World:
    return World(database, tmp_path)


HEARTBEATS = (
    'SELECT heartbeat_id, time, status, service_id, run_id, said_at FROM "heartbeatEvents" ORDER BY heartbeat_id'
)


async def test_heartbeats_arrive_as_they_were_sent_in_the_partition_of_their_day(world):
    await world.write(heartbeat(1, run_id="ß-1"), heartbeat(2, at=NOW - DAY), heartbeat(3, service_id=7))
    assert await world.rows(HEARTBEATS) == [
        (1, NOW, "läuft", 1, "ß-1", NOW - 1),
        (2, NOW - DAY, "läuft", 1, None, NOW - DAY - 1),
        (3, NOW, "läuft", 7, None, NOW - 1),
    ]
    partitions = await world.rows("SELECT count(*) FROM pg_inherits WHERE inhparent = '\"heartbeatEvents\"'::regclass")
    assert partitions == [(2,)]


async def test_the_position_and_the_watermark_move_with_the_rows(world):
    await world.write(heartbeat(1))
    position = await world.rows(
        "SELECT journal_id, position, watermark_at, watermark_sighted FROM medic.journal_positions"
    )
    assert position == [(world.journal.journal_id, world.journal.newest, NOW, NOW - 5_000)]
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
        with trio.fail_after(20):
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
        with trio.fail_after(20):
            await world.writer.wait_committed(world.journal.newest)
            assert world.writer.statistics().states_due == 1
            assert await world.rows("SELECT count(*) FROM medic.service_states") == [(0,)]
            await world.writer.finish()
    assert world.writer.statistics().states == 1
    deadline = late_deadline(service) + world.clock.skew
    rows = "SELECT deadline_at, position FROM medic.service_states"
    assert await world.rows(rows) == [(deadline, world.journal.newest)]


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
        with trio.fail_after(20):
            while not world.writer.statistics().batches:
                await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            assert await world.rows("SELECT count(*) FROM medic.service_states") == [(0,)]
            world.journal.release()
            await world.writer.finish()
    assert await world.rows("SELECT position FROM medic.service_states") == [(world.journal.newest,)]


# -------------------------------------------------------------------------------------------------------- exactly once


async def test_a_second_writer_goes_on_where_the_first_one_stopped(world):
    await world.write(heartbeat(1), heartbeat(2))
    await world.write(heartbeat(3), writer=world.another_writer())
    assert [one[0] for one in await world.rows(HEARTBEATS)] == [1, 2, 3]


async def test_whatever_becomes_of_a_commits_answer_every_record_is_there_once(world, monkeypatch):
    """Of four commits, one never arrives and one arrives and is never answered."""
    monkeypatch.setattr(writer_module, "BATCH_RECORDS_MAX", 3)
    monkeypatch.setattr(writer_module, "PAUSE_FIRST_SECONDS", 0.001)
    monkeypatch.setattr(writer_module, "PAUSE_MAX_SECONDS", 0.01)
    commit = Database._commit
    commits = itertools.count()

    async def lossy_commit(database, connection):
        number = next(commits) % 4
        if number == 1:
            connection.terminate()
        await commit(database, connection)
        if number == 3:
            connection.terminate()
            raise CommitUnknownError("PostgreSQL does not answer; whether it was committed is not known")

    monkeypatch.setattr(Database, "_commit", lossy_commit)
    await world.write(*(heartbeat(number) for number in range(40)), opened(1, 100), closed(1, 100))
    assert next(commits) > 15
    assert world.writer.statistics().rejected == 0
    assert [one[0] for one in await world.rows(HEARTBEATS)] == list(range(40))
    assert await world.rows("SELECT change FROM medic.alert_events ORDER BY moment_id") == [("opened",), ("closed",)]


async def test_postgresql_away_keeps_the_order_and_nothing_is_lost(world, monkeypatch):
    monkeypatch.setattr(writer_module, "PAUSE_FIRST_SECONDS", 0.01)
    monkeypatch.setattr(writer_module, "PAUSE_MAX_SECONDS", 0.05)
    name = world.database.target.database

    async def away(*, allow: bool):
        await elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {'true' if allow else 'false'}")
        if not allow:
            await elsewhere.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

    async with open_database(replace(world.database.target, database="postgres")) as elsewhere, world.writing():
        with trio.fail_after(30):
            await world.writer.wait_committed(world.journal.append_nowait(heartbeat(1)))
            await away(allow=False)
            for number in range(2, 50):
                world.journal.append_nowait(heartbeat(number))
            while world.writer.statistics().failing is None:
                await trio.lowlevel.checkpoint()
            world.clock.at += 7_000
            assert world.writer.statistics().lag_seconds == 7.0
            assert world.writer.statistics().backlog_bytes > 0
            await away(allow=True)
            await world.writer.finish()
            assert world.writer.statistics().failing is None
    assert [one[0] for one in await world.rows(HEARTBEATS)] == list(range(1, 50))


async def test_a_position_that_somebody_set_back_is_gone_on_from(world):
    first = world.journal.append_nowait(heartbeat(1))
    await world.write(heartbeat(2))
    await world.database.execute('TRUNCATE medic."heartbeatEvents"')
    await world.database.execute("UPDATE medic.journal_positions SET position = $1", first)
    await world.write(heartbeat(3))
    assert [one[0] for one in await world.rows(HEARTBEATS)] == [2, 3]


async def test_a_process_whose_token_was_overtaken_writes_nothing_more(world):
    writer = world.another_writer(token=0)
    await world.write(heartbeat(1), writer=writer)
    await world.database.execute("UPDATE medic.medic_instance SET token = token + 1")
    with pytest.RaisesGroup(pytest.RaisesExc(OvertakenError, match="token 1, this process has 0")):
        await world.write(heartbeat(2), writer=writer)
    assert [one[0] for one in await world.rows(HEARTBEATS)] == [1]


# ------------------------------------------------------------------------------------------------------ what is refused


async def test_a_record_postgresql_will_never_take_is_kept_aside_and_the_rest_goes_on(world):
    poison = {17: "\x00", 40: "a\x00b"}
    await world.write(*(heartbeat(number, run_id=poison.get(number)) for number in range(64)))
    assert [one[0] for one in await world.rows(HEARTBEATS)] == [number for number in range(64) if number not in poison]
    assert world.writer.statistics().rejected == 2
    kept = sorted(world.rejected.glob("*.json"))
    assert len(kept) == 2
    assert '"heartbeat_id": 17' in kept[0].read_text()
    assert "invalid byte sequence" in kept[0].read_text()


async def test_beyond_so_many_rejected_records_they_are_only_counted(world, monkeypatch):
    monkeypatch.setattr(rejected, "REJECTED_FILES_MAX", 2)
    await world.write(*(heartbeat(number, run_id="\x00") for number in range(4)), heartbeat(9))
    assert world.writer.statistics().rejected == 4
    assert len(list(world.rejected.glob("*.json"))) == 2
    assert [one[0] for one in await world.rows(HEARTBEATS)] == [9]


async def test_a_hot_state_that_is_refused_holds_up_no_record(world):
    await world.register(1)
    await world.database.execute("ALTER TABLE medic.service_states ADD CONSTRAINT never CHECK (version < 0)")
    await world.write(StoreService(service_id=1, at=NOW, sighted=NOW, row=row(1)), heartbeat(1))
    assert [one[0] for one in await world.rows(HEARTBEATS)] == [1]
    assert (world.writer.statistics().states, world.writer.statistics().states_due) == (0, 0)


async def test_days_are_remembered_up_to_a_bound(world, monkeypatch):
    monkeypatch.setattr(writer_module, "DAYS_KNOWN_MAX", 2)
    await world.write(*(heartbeat(number, at=NOW - number * DAY) for number in range(5)))
    assert len(await world.rows(HEARTBEATS)) == 5
    assert len(world.writer._days) <= 2


async def test_a_day_that_was_dropped_since_is_made_again(world):
    await world.write(heartbeat(1))
    dropped = await world.rows(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'medic.\"heartbeatEvents\"'::regclass"
    )
    await world.database.execute(f"DROP TABLE {dropped[0][0]}")
    await world.write(heartbeat(2))
    assert [one[0] for one in await world.rows(HEARTBEATS)] == [2]
    assert world.writer.statistics().rejected == 0


async def test_a_schema_that_is_not_medics_is_waited_for(world, monkeypatch):
    monkeypatch.setattr(writer_module, "PAUSE_FIRST_SECONDS", 0.01)
    world.journal.append_nowait(opened(1, 100))
    await world.database.execute("ALTER TABLE medic.alerts RENAME TO alerts_elsewhere")
    async with world.writing():
        with trio.fail_after(20):
            while world.writer.statistics().failing is None:
                await trio.lowlevel.checkpoint()
            assert "alerts" in world.writer.statistics().failing
            await world.database.execute("ALTER TABLE medic.alerts_elsewhere RENAME TO alerts")
            await world.writer.finish()
    assert await world.rows("SELECT alert_id FROM medic.alerts") == [(100,)]


async def test_a_stretch_of_the_journal_that_cannot_be_read_is_passed_over(world, tmp_path):
    path = tmp_path / "journal"
    journal = FileJournal(path)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        for number in range(3):
            await journal.wait_durable(journal.append_nowait(heartbeat(number)))
        nursery.cancel_scope.cancel()
    file = next(path.glob("*.journal"))
    content = bytearray(file.read_bytes())
    content[64 + 20] ^= 0xFF
    file.write_bytes(content)
    journal = FileJournal(path)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        writer = world.another_writer(journal=journal)
        async with world.writing(writer):
            with trio.fail_after(20):
                await writer.finish()
        nursery.cancel_scope.cancel()
    assert [one[0] for one in await world.rows(HEARTBEATS)] == [1, 2]


async def test_who_waits_for_a_record_wakes_the_writer(world, monkeypatch):
    monkeypatch.setattr(writer_module, "BATCH_SECONDS", 1_000)
    async with world.writing():
        with trio.fail_after(10):
            await world.writer.wait_committed(world.journal.append_nowait(heartbeat(1)))
            await world.writer.wait_committed(world.journal.append_nowait(heartbeat(2)))
    assert len(await world.rows(HEARTBEATS)) == 2


@pytest.mark.parametrize("batch", [1, 2, 7, 1_000])
async def test_the_tables_are_the_same_however_the_journal_is_divided(world, monkeypatch, batch):
    monkeypatch.setattr(writer_module, "BATCH_RECORDS_MAX", batch)
    await world.register(1)
    await world.register(2)
    mute = Mute(muted_at=NOW, until=None, reason="r", muted_by="Ann")
    await world.write(
        heartbeat(1),
        opened(1, 100),
        opened(2, 101),
        SetMute(service_id=2, at=NOW, sighted=NOW, mute=mute),
        notify("100.0", "slack"),
        closed(2, 101),
        opened(2, 102),
        closed(1, 100, at=NOW + 1),
        opened(1, 103),
        EndMute(service_id=2, at=NOW, sighted=NOW, by="Bob"),
        closed(1, 103, at=NOW + 2),
        heartbeat(2, service_id=2),
    )
    alerts = "SELECT alert_id, service_id, active, muted, alert_cycle FROM medic.alerts ORDER BY alert_id"
    assert await world.rows(alerts) == [(100, 1, 0, 0, 3), (101, 2, 0, 1, 3), (102, 2, 1, 0, 1), (103, 1, 0, 0, 3)]
    services = "SELECT service_id, down, muted FROM medic.services ORDER BY service_id"
    assert await world.rows(services) == [(1, 0, 0), (2, 1, 0)]
    moments = "SELECT alert_id, change FROM medic.alert_events ORDER BY moment_id"
    assert await world.rows(moments) == [
        (100, "opened"),
        (101, "opened"),
        (101, "closed"),
        (102, "opened"),
        (100, "closed"),
        (103, "opened"),
        (103, "closed"),
    ]
    assert len(await world.rows(HEARTBEATS)) == 2
