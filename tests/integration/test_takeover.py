"""What a takeover finds in PostgreSQL, and what becomes of a journal that was overtaken."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from medic.core.effects import CreditSigns, NoteHeartbeat, Notify, SettleNotification
from medic.core.fold import fold
from medic.core.policy import Defaults
from medic.core.status import HeartbeatStatus, NotificationKind, Outcome
from medic.errors import DatabaseUnavailableError
from medic.ports import Position
from medic.store import takeover
from medic.store.journal.file_journal import FileJournal
from medic.store.pairing import pair
from medic.store.recovery import Inheritance, recover
from medic.store.tables import state_rows
from medic.store.tables.services import PgServiceStore
from medic.store.takeover import HEARD_WINDOW_MS, heard_since, set_aside, told_so_far
from medic.store.watermark import Mark
from tests.integration.writing import HEARTBEATS, NOW, StillClock, World, closed, heartbeat, notify, opened
from tests.patience import PATIENCE_SECONDS

MARK = Mark(NOW, NOW - 5_000)
OURS = "another journal"


@pytest.fixture
def world(database, tmp_path) -> World:
    return World(database, tmp_path)


async def collected(slices) -> list[object]:
    return [one async for part in slices for one in part]


async def recovered(world: World):
    """As a Medic with an empty journal of its own finds it."""
    journal = FileJournal(world.rejected.parent / "journal")
    store = PgServiceStore(world.database, None, StillClock(), Defaults())
    inheritance = Inheritance(heard_since(world.database, MARK, OURS), told_so_far(world.database))
    return await recover(store, journal, Defaults(), inheritance=inheritance)


async def test_heartbeats_after_the_state_was_written_are_heard_of_and_older_ones_not_again(world):
    service = await world.register(1)
    service.last_heartbeat_at = NOW - 3_000
    service.last_sign = NOW - 3_000 - 5_000
    world.journal.append_nowait(heartbeat(9, at=NOW - 3_000))
    await world.write(heartbeat(7, at=NOW - 3_000), heartbeat(8, at=NOW - 1_000, run_id="r"))
    await world.database.execute("UPDATE medic.service_states SET last_heartbeat_at = $1", NOW - 3_000)
    [heard] = await collected(heard_since(world.database, MARK, OURS))
    assert heard == replace(heartbeat(8, at=NOW - 1_000, run_id="r"), sighted=NOW - 6_000)
    found = await recovered(world)
    assert found.heard == (1,)
    [known] = found.services
    assert (known.last_heartbeat_at, known.last_sign, known.position) == (NOW - 1_000, NOW - 6_000, 0)
    assert await collected(heard_since(world.database, MARK, world.journal.journal_id)) == []


async def test_a_heartbeat_behind_the_watermark_is_no_sign_of_a_time_that_was_not_reached(world):
    await world.register(1)
    await world.write(heartbeat(1, at=NOW - 9_000), heartbeat(2, at=NOW + 1_500))
    await world.database.execute("UPDATE medic.service_states SET last_heartbeat_at = NULL")
    heard = await collected(heard_since(world.database, MARK, OURS))
    assert [one.sighted for one in heard] == [NOW - 14_000, MARK.sighted]


async def test_heartbeats_long_before_the_watermark_are_not_looked_at(world):
    await world.register(1)
    await world.write(heartbeat(1, at=NOW - HEARD_WINDOW_MS), heartbeat(2, at=NOW - HEARD_WINDOW_MS + 1))
    await world.database.execute("UPDATE medic.service_states SET last_heartbeat_at = NULL")
    assert [one.heartbeat_id for one in await collected(heard_since(world.database, MARK, OURS))] == [2]


async def test_a_heartbeat_of_a_service_without_a_state_is_left_to_its_registration(world):
    await world.write(heartbeat(1, service_id=77))
    assert await collected(heard_since(world.database, MARK, OURS)) == []


@pytest.mark.parametrize(
    "sign",
    [
        NoteHeartbeat(service_id=1, at=NOW + 9, sighted=NOW + 9, kind=HeartbeatStatus.UP, status="UP"),
        CreditSigns(service_id=1, at=NOW + 9, sighted=NOW + 9, since=NOW + 9, fresh_interval=True),
    ],
    ids=["a refused heartbeat", "a fresh interval"],
)
async def test_a_sign_of_life_of_which_there_is_no_row_is_found_without_an_end_in_order(world, monkeypatch, sign):
    monkeypatch.setattr(state_rows, "UNROWED_EVERY_SECONDS", 0.0)
    service = await world.register(1)
    await world.write(heartbeat(7))
    writer = world.another_writer()  # the first one was told to finish
    service.position = world.journal.append_nowait(sign)
    fold(service, sign)
    async with world.writing(writer):
        with trio.fail_after(PATIENCE_SECONDS):
            while not writer.statistics().states:
                await trio.lowlevel.checkpoint()
    [known] = (await recovered(world)).services
    assert known.last_sign == NOW + 9


async def test_what_is_pending_and_what_is_told_of_open_alerts_is_known_again(world):
    await world.register(1)
    await world.write(
        opened(1, 100),
        notify("told", "pagerduty", "slack"),
        SettleNotification(NOW, NOW, "told", 1, "pagerduty", Outcome.DELIVERED, 1),
        SettleNotification(NOW, NOW, "told", 1, "slack", Outcome.REFUSED, 1, "403"),
        notify("half", "pagerduty", "slack"),
        SettleNotification(NOW, NOW, "half", 1, "slack", Outcome.DELIVERED, 2),
    )
    ledger = (await recovered(world)).ledger
    assert [(one.notification_id, one.targets) for one in ledger.pending()] == [("half", ("pagerduty",))]
    assert dict(ledger.delivered(100)) == {"pagerduty": "told", "slack": "half"}


async def test_what_was_told_of_an_alert_that_is_closed_is_history(world):
    await world.register(1)
    await world.write(
        opened(1, 100),
        notify("told", "slack"),
        SettleNotification(NOW, NOW, "told", 1, "slack", Outcome.DELIVERED, 1),
        closed(1, 100),
    )
    assert await collected(told_so_far(world.database)) == []


async def test_a_resolve_that_nobody_took_yet_is_still_told(world):
    await world.register(1)
    resolve = notify("end", "slack")
    resolve = Notify(NOW, NOW, replace(resolve.notification, kind=NotificationKind.RESOLVE))
    await world.write(opened(1, 100), closed(1, 100), resolve)
    assert [one.notification_id for one in (await recovered(world)).ledger.pending()] == ["end"]


@asynccontextmanager
async def overtaken(world: World, *effects):
    """A directory with a journal of which PostgreSQL has nothing."""
    directory = world.rejected.parent / "journal"
    journal = FileJournal(directory)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        for effect in effects:
            journal.append_nowait(effect)
        await journal.wait_durable(journal.newest)
        nursery.cancel_scope.cancel()
    yield directory, FileJournal(directory)


async def test_an_overtaken_journals_heartbeats_are_history_and_its_alerts_are_not(world):
    await world.register(1)
    await world.write(opened(1, 100), closed(1, 100))
    before = await world.rows("SELECT watermark_at FROM medic.journal_positions")
    tail = [*(opened(1, number) for number in range(200, 203)), heartbeat(5), closed(1, 200), heartbeat(6)]
    async with overtaken(world, *tail) as (directory, journal):
        pairing = await pair(world.database, journal, directory.parent)
        await set_aside(journal, directory, database=world.database, mark=pairing.mark, after=pairing.committed)
    assert [one[0] for one in await world.rows(HEARTBEATS)] == [5, 6]
    assert await world.rows("SELECT alert_id FROM medic.alerts") == [(100,)]
    assert not directory.exists()
    assert list((directory.parent / "journal-overtaken").glob("*.journal"))
    assert max(await world.rows("SELECT watermark_at FROM medic.journal_positions")) == before[0]
    assert FileJournal(directory).newest == 0


async def test_a_journal_that_postgresql_has_whole_is_put_aside_in_place_of_the_one_before(world):
    for number in (5, 6):
        async with overtaken(world, heartbeat(number)) as (directory, journal):
            await set_aside(journal, directory, database=world.database, mark=None, after=journal.newest)
    assert await world.rows(HEARTBEATS) == []
    kept = FileJournal(directory.parent / "journal-overtaken")
    assert [entry.effect.heartbeat_id for entry in await kept.read_after(Position(0), most=9)] == [6]


async def test_while_the_tail_cannot_be_written_the_journal_stays_where_it_is(world, monkeypatch):
    monkeypatch.setattr(takeover, "TAIL_SECONDS", 0.05)
    await world.database.execute("ALTER TABLE medic.journal_positions RENAME TO gone")
    async with overtaken(world, heartbeat(5)) as (directory, journal):
        with pytest.raises(DatabaseUnavailableError):
            await set_aside(journal, directory, database=world.database, mark=MARK, after=Position(0))
    assert FileJournal(directory).newest > 0
