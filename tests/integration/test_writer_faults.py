"""The writer against a real PostgreSQL: every record once, whatever happens in between."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import trio

from medic.core.effects import (
    EndMute,
    SetMute,
    StoreService,
)
from medic.core.service import Mute
from medic.core.status import HeartbeatStatus
from medic.errors import OvertakenError
from medic.store.journal.file_journal import FileJournal
from medic.store.postgres.database import CommitUnknownError, Database, open_database
from medic.store.tables import rejected
from medic.store.tables import writer as writer_module
from medic.store.tables.writer import ANSWER_MS
from tests.integration.writing import DAY, HEARTBEATS, NOW, World, closed, heartbeat, notify, opened, row
from tests.patience import PATIENCE_SECONDS

WATERMARK = "SELECT watermark_at, watermark_sighted FROM medic.journal_positions"


@pytest.fixture
def world(database, tmp_path) -> World:
    return World(database, tmp_path)


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
        with trio.fail_after(PATIENCE_SECONDS):
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
    await world.database.execute("UPDATE medic.medic_instance SET token = 7")
    world.database.fence(7)
    await world.write(heartbeat(1))
    await world.database.execute("UPDATE medic.medic_instance SET token = 8")
    with pytest.RaisesGroup(pytest.RaisesExc(OvertakenError, match="token 7")):
        await world.write(heartbeat(2))
    assert [one[0] for one in await world.rows(HEARTBEATS)] == [1]


async def test_where_nothing_comes_the_watermark_moves_all_the_same(world, monkeypatch):
    monkeypatch.setattr(writer_module, "WATERMARK_SECONDS", 0.02)
    await world.write(heartbeat(1))
    async with world.writing():
        for later in (10_000, 20_000):
            world.clock.at = NOW + later
            expected = [(world.clock.at - ANSWER_MS, world.clock.sighted() - ANSWER_MS)]
            with trio.fail_after(PATIENCE_SECONDS):
                while await world.rows(WATERMARK) != expected:
                    await trio.lowlevel.checkpoint()
    assert world.writer.statistics().batches == 1


async def test_the_watermark_rests_while_the_journal_refuses(world, monkeypatch):
    monkeypatch.setattr(writer_module, "WATERMARK_SECONDS", 0.001)
    await world.write(heartbeat(1))
    world.clock.at = NOW + 60_000
    world.journal.refuse("full")
    async with world.writing():
        await trio.sleep(0.05)  # dozens of chances to move it
    assert await world.rows(WATERMARK) == [(NOW - ANSWER_MS, NOW - 5_000 - ANSWER_MS)]


async def test_a_writer_that_is_behind_marks_what_it_has_written_and_not_the_clock(world, monkeypatch):
    monkeypatch.setattr(writer_module, "BATCH_RECORDS_MAX", 2)
    marks = []
    lock = writer_module.Writer._lock

    async def looking_lock(writer, transaction):
        marks.extend(await world.rows(WATERMARK))
        return await lock(writer, transaction)

    monkeypatch.setattr(writer_module.Writer, "_lock", looking_lock)
    world.clock.at = NOW + 3_600_000
    await world.write(*(heartbeat(number, at=NOW + number) for number in range(5)))
    assert (NOW + 1, NOW + 1 - 5_000) in marks
    assert await world.rows(WATERMARK) == [(NOW + 3_600_000 - ANSWER_MS, NOW + 3_600_000 - 5_000 - ANSWER_MS)]


async def test_states_that_somebody_waits_for_are_written_at_once(world):
    service = await world.register(1)
    await world.register(2)
    async with world.writing():
        with trio.fail_after(PATIENCE_SECONDS):
            await world.writer.write_states([1, 2])
            await world.writer.write_states([])
    assert await world.rows("SELECT service_id FROM medic.service_states ORDER BY 1") == [(1,), (2,)]
    assert service.position == 0


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


async def test_a_record_that_no_row_can_say_is_kept_aside_as_well(world):
    for heartbeat_id in (1, 1 << 63, 3):
        world.journal.append_heartbeat_nowait(1, NOW, NOW, heartbeat_id, HeartbeatStatus.UP)
    await world.write(heartbeat(4))
    assert [one[0] for one in await world.rows(HEARTBEATS)] == [1, 3, 4]
    assert world.writer.statistics().rejected == 1


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
        with trio.fail_after(PATIENCE_SECONDS):
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
            with trio.fail_after(PATIENCE_SECONDS):
                await writer.finish()
        nursery.cancel_scope.cancel()
    assert [one[0] for one in await world.rows(HEARTBEATS)] == [1, 2]


async def test_who_waits_for_a_record_wakes_the_writer(world, monkeypatch):
    monkeypatch.setattr(writer_module, "BATCH_SECONDS", 1_000)
    async with world.writing():
        with trio.fail_after(PATIENCE_SECONDS):
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
