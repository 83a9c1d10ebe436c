"""Reads of own writes (HARD-CASES H23): wait for the writer, then take the rest from the journal."""

from __future__ import annotations

import pytest
import trio

from medic.core.author import Author
from medic.core.effects import RecordHeartbeat
from medic.core.policy import Defaults
from medic.core.status import HeartbeatStatus
from medic.core.units import EventId, InstantMs, ServiceId, SightedMs
from medic.errors import DatabaseUnavailableError
from medic.ports import Position
from medic.store.journal.memory_journal import MemoryJournal
from medic.store.postgres.database import Database, open_database
from medic.store.tables import history as history_module
from medic.store.tables.history import PgHistory
from medic.store.tables.services import PgServiceStore
from tests.contract.test_history import NOON, service
from tests.fakes.ticking import CountedIds, HandClock
from tests.fakes.written import CaughtUp, FixedRoster, StuckAt
from tests.patience import PATIENCE_SECONDS

ONE, TWO = service(1, label="pay"), service(2, label="pay")
ROSTER = FixedRoster([ONE, TWO])


def beat(number: int, of: int = 1) -> RecordHeartbeat:
    return RecordHeartbeat(
        service_id=ServiceId(of),
        at=InstantMs(NOON + number),
        sighted=SightedMs(NOON + number),
        heartbeat_id=EventId(number),
        kind=HeartbeatStatus.UP,
        status="UP",
        run_id=None,
    )


@pytest.fixture
async def stored(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A database with the two services, where the writer stopped after heartbeats 1 and 2."""
    monkeypatch.setattr(history_module, "OWN_WRITES_SECONDS", 0.05)
    for one in (ONE, TWO):
        await database.execute(
            "INSERT INTO medic.services (service_id, heartbeat_name, service_name, alert_interval, team, priority)"
            " VALUES ($1, $2, $3, 1, $4, 'p2')",
            one.row.service_id,
            one.row.heartbeat_name,
            one.row.service_name,
            one.row.team,
        )
    await database.execute("SELECT medic.ensure_heartbeat_day('2026-01-01')")
    for number, of in ((1, 1), (2, 2)):
        await database.execute(
            'INSERT INTO medic."heartbeatEvents" (heartbeat_id, "time", status, service_id) VALUES ($1, $2, $3, $4)',
            number,
            NOON + number,
            "UP",
            of,
        )
    return database


@pytest.fixture
def journal() -> tuple[MemoryJournal, Position]:
    """Heartbeats 1 to 4, and the position at which the writer stopped."""
    journal = MemoryJournal()
    for number, of in ((1, 1), (2, 2)):
        committed = journal.append_nowait(beat(number, of))
    for number, of in ((3, 2), (4, 1)):
        journal.append_nowait(beat(number, of))
    return journal, committed


async def test_what_the_writer_has_not_brought_is_merged_in_once(
    stored: Database, journal: tuple[MemoryJournal, Position]
) -> None:
    records, committed = journal
    history = PgHistory(stored, records, StuckAt(committed), ROSTER)

    found = await history.heartbeats(service=None, service_name=None, limit=3)
    of_pay = await history.heartbeats(service=None, service_name="pay", limit=250)

    assert [row.heartbeat_id for row in found] == [4, 3, 2]
    assert [row.heartbeat_id for row in of_pay] == [4, 3, 2, 1]
    assert of_pay[0].heartbeat_name == ONE.row.heartbeat_name


async def test_a_service_waits_for_its_own_newest_record_only(
    stored: Database, journal: tuple[MemoryJournal, Position]
) -> None:
    records, committed = journal
    writer = StuckAt(committed)
    history = PgHistory(stored, records, writer, ROSTER)
    ONE.position = records.newest

    found = await history.heartbeats(service=ONE, service_name=None, limit=250)

    assert [row.heartbeat_id for row in found] == [4, 1]
    assert writer.waited_for == [records.newest]


async def test_nothing_is_taken_from_the_journal_where_the_writer_caught_up(stored: Database) -> None:
    records = MemoryJournal()
    records.append_nowait(beat(9))
    history = PgHistory(stored, records, CaughtUp(records), ROSTER)

    found = await history.heartbeats(service=None, service_name=None, limit=250)

    assert [row.heartbeat_id for row in found] == [2, 1]


async def test_postgresql_away_is_an_error_and_never_an_empty_list(
    stored: Database, journal: tuple[MemoryJournal, Position]
) -> None:
    records, committed = journal
    nowhere = type(stored.target)(host="/nonexistent", database="x", user="x")
    async with open_database(nowhere) as away:
        history = PgHistory(away, records, StuckAt(committed), ROSTER)
        with pytest.raises(DatabaseUnavailableError), trio.fail_after(PATIENCE_SECONDS):
            await history.heartbeats(service=ONE, service_name=None, limit=250)


async def test_a_deleted_service_does_not_hide_its_heartbeats(stored: Database) -> None:
    store = PgServiceStore(stored, CountedIds(), HandClock(), Defaults())
    records = MemoryJournal()
    history = PgHistory(stored, records, CaughtUp(records), FixedRoster())
    await store.delete(ServiceId(2), by=Author("anna"))

    found = await history.heartbeats(service=None, service_name="pay", limit=250)

    assert [row.heartbeat_id for row in found] == [2, 1]
