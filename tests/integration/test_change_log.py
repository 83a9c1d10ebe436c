"""Rows changed by SQL reach whoever follows; Medic's own changes do not come back (HARD-CASES H20)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio

from medic.core.author import Author
from medic.core.draft import ServiceDraft
from medic.core.policy import Defaults
from medic.core.service import Mute, ServiceRow
from medic.core.units import DurationMs, ServiceId
from medic.errors import JournalRefusedError, UnknownServiceError
from medic.store.postgres.database import Database, RowRefusedError, open_database
from medic.store.tables.change_log import NOTES_AT_ONCE, ChangeLog
from medic.store.tables.services import PgServiceStore
from tests.fakes.ticking import CountedIds, HandClock
from tests.patience import PATIENCE_SECONDS

NAMED = "INSERT INTO services (heartbeat_name, service_name, alert_interval) VALUES ($1, 'label', 5)"
DAY_MS = 86_400_000


@dataclass
class Recorder:
    """A follower that writes down what it is told."""

    told: list[tuple[object, ...]] = field(default_factory=list)
    refusals: list[Exception] = field(default_factory=list)
    heard: trio.Event = field(default_factory=trio.Event)

    async def take_row(self, row: ServiceRow) -> None:
        if self.refusals:
            raise self.refusals.pop()
        self._note("row", row)

    async def take_deletion(self, service_id: ServiceId, *, by: Author) -> None:
        self._note("deletion", service_id, by.name)

    async def take_mute(self, service_id: ServiceId, mute: Mute | None) -> None:
        self._note("mute", service_id, mute)

    async def take_resolution(self, service_id: ServiceId, *, by: Author) -> None:
        self._note("resolution", service_id, by.name)

    def kinds(self) -> list[object]:
        return [told[0] for told in self.told]

    def row(self) -> ServiceRow:
        row = next(told[1] for told in reversed(self.told) if told[0] == "row")
        assert isinstance(row, ServiceRow)
        return row

    def mute(self) -> Mute | None:
        mute = next(told[2] for told in reversed(self.told) if told[0] == "mute")
        assert mute is None or isinstance(mute, Mute)
        return mute

    def _note(self, *told: object) -> None:
        self.told.append(told)
        self.heard.set()
        self.heard = trio.Event()


@pytest.fixture
async def sql(database: Database) -> AsyncIterator[Database]:
    """A session as an operator's psql has it: not Medic's own."""
    async with open_database(database.target, connections_max=1) as operator:
        await operator.execute("SET medic.writer = 'off'")
        yield operator


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def log(database: Database, recorder: Recorder) -> ChangeLog:
    return ChangeLog(database, recorder, defaults=Defaults(auto_unmute_ms=DurationMs(DAY_MS)), interval_seconds=60)


async def test_an_inserted_row_registers_with_the_defaults_of_the_table(
    sql: Database, log: ChangeLog, recorder: Recorder
) -> None:
    await sql.execute(NAMED, "by-sql")

    assert await log.follow_notes() == 1

    row = recorder.row()
    assert (row.heartbeat_name, row.service_name, row.interval_ms) == ("by-sql", "label", 300_000)
    assert (row.version, row.team, row.priority, row.changed_by) == (1, "site-reliability", "p3", "SQL")
    assert recorder.kinds() == ["row"]
    assert await log.follow_notes() == 0
    assert log.statistics().followed == 1


async def test_an_update_gives_the_next_version_and_several_give_one_note(
    sql: Database, log: ChangeLog, recorder: Recorder
) -> None:
    await sql.execute(NAMED, "by-sql")
    await sql.execute("UPDATE services SET team = 'payments'")
    await sql.execute("UPDATE services SET alert_interval = 0.2, changed_by = 'anna'")

    assert await log.follow_notes() == 1

    row = recorder.row()
    assert (row.version, row.team, row.interval_ms, row.changed_by) == (3, "payments", 12_000, "anna")


async def test_a_deleted_row_is_told_once_and_its_name_is_kept_for_history(
    sql: Database, log: ChangeLog, recorder: Recorder
) -> None:
    await sql.execute(NAMED, "by-sql")
    await log.follow_notes()
    await sql.execute("DELETE FROM services")

    assert await log.follow_notes() == 1

    kept = await sql.fetchrow("SELECT service_id, heartbeat_name FROM deleted_services")
    assert kept is not None
    assert recorder.told[-1] == ("deletion", kept["service_id"], "SQL")
    assert kept["heartbeat_name"] == "by-sql"


async def test_a_row_deleted_and_made_again_is_a_deletion_and_a_registration(
    sql: Database, log: ChangeLog, recorder: Recorder
) -> None:
    await sql.execute(NAMED, "by-sql")
    await log.follow_notes()
    await sql.execute("DELETE FROM services")
    await sql.execute(NAMED, "by-sql")

    await log.follow_notes()

    assert recorder.kinds() == ["row", "deletion", "row"]


async def test_what_medic_itself_stores_leaves_no_note(database: Database, log: ChangeLog, recorder: Recorder) -> None:
    store = PgServiceStore(database, CountedIds(), HandClock(), Defaults())
    row, _ = await store.insert(ServiceDraft("own", "label", DurationMs(60_000)), by=Author("anna"))
    await database.execute("UPDATE medic.services SET muted = 1, down = 1")
    await store.delete(row.service_id, by=Author("anna"))

    assert await log.follow_notes() == 0
    assert recorder.told == []


# -------------------------------------------------------------------------------------------------------- mute, down


@pytest.mark.parametrize(
    ("assignment", "lasts_ms"),
    [
        ("muted = 1", DAY_MS),
        ("muted = 1, mute_until = now() + interval '1 hour'", 3_600_000),
        ("muted = 1, mute_until = 'infinity'", None),
    ],
)
async def test_a_mute_by_sql_lasts_as_long_as_it_says_or_as_by_http(
    sql: Database, log: ChangeLog, recorder: Recorder, assignment: str, lasts_ms: int | None
) -> None:
    await sql.execute(NAMED, "by-sql")
    await sql.execute(f"UPDATE services SET {assignment}")

    await log.follow_notes()

    mute = recorder.mute()
    assert mute is not None
    assert (None if mute.until is None else mute.until - mute.muted_at) == lasts_ms
    assert mute.muted_by == "SQL"


async def test_an_unmute_by_sql_is_followed_and_clears_the_other_columns(
    sql: Database, log: ChangeLog, recorder: Recorder
) -> None:
    await sql.execute(NAMED, "by-sql")
    await sql.execute("UPDATE services SET muted = 1, mute_reason = 'quiet', muted_by = 'anna'")
    await sql.execute("UPDATE services SET muted = 0")

    await log.follow_notes()

    assert recorder.mute() is None
    row = await sql.fetchrow("SELECT date_muted, mute_until, mute_reason, muted_by FROM services")
    assert row is not None
    assert tuple(row) == (None, None, "", "")


async def test_an_edit_of_something_else_leaves_the_mute_to_the_actor(
    sql: Database, log: ChangeLog, recorder: Recorder
) -> None:
    await sql.execute(NAMED, "by-sql")
    await log.follow_notes()
    await sql.execute("UPDATE services SET team = 'payments'")

    await log.follow_notes()

    assert recorder.kinds() == ["row", "row"]


async def test_down_set_to_nought_resolves_and_set_to_one_is_refused(
    database: Database, sql: Database, log: ChangeLog, recorder: Recorder
) -> None:
    await sql.execute(NAMED, "by-sql")
    await log.follow_notes()
    await database.execute("UPDATE medic.services SET down = 1")
    await sql.execute("UPDATE services SET down = 0, changed_by = 'anna'")

    await log.follow_notes()

    assert recorder.told[-1] == ("resolution", recorder.row().service_id, "anna")
    with pytest.raises(RowRefusedError, match="down is what Medic finds"):
        await sql.execute("UPDATE services SET down = 1")


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE services SET heartbeat_name = 'other'", "cannot be renamed"),
        ("UPDATE services SET service_id = 77", "identifies a service for ever"),
        ("UPDATE services SET alert_interval = 0.01", "alert_interval_bounds"),
        ("UPDATE services SET threshold = 1001", "threshold_bounds"),
        ("UPDATE services SET priority = 'P1'", "priority_bounds"),
        ("UPDATE services SET runbook = 'ftp://x'", "runbook_bounds"),
        (
            "INSERT INTO services (heartbeat_name, service_name, alert_interval) VALUES ('BY-sql', 'x', 5)",
            "services_name",
        ),
        (
            "INSERT INTO services (heartbeat_name, service_name, alert_interval) VALUES (' x', 'x', 5)",
            "heartbeat_name_",
        ),
    ],
)
async def test_sql_that_no_actor_could_follow_is_refused(sql: Database, statement: str, why: str) -> None:
    await sql.execute(NAMED, "by-sql")

    with pytest.raises(RowRefusedError, match=why):
        await sql.execute(statement)


# -------------------------------------------------------------------------------------------------- running, failing


@asynccontextmanager
async def running(log: ChangeLog) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(log.run)
        yield
        nursery.cancel_scope.cancel()


async def test_a_change_is_followed_when_it_is_notified_not_at_the_next_interval(
    sql: Database, log: ChangeLog, recorder: Recorder
) -> None:
    async with running(log):
        await sql.execute(NAMED, "before")
        with trio.fail_after(PATIENCE_SECONDS):
            while len(recorder.told) < 1:
                await recorder.heard.wait()
            await sql.execute(NAMED, "after")
            while len(recorder.told) < 2:
                await recorder.heard.wait()

    assert recorder.row().heartbeat_name == "after"


async def test_more_notes_than_one_slice_are_all_followed_in_order(
    sql: Database, log: ChangeLog, recorder: Recorder
) -> None:
    many = 2 * NOTES_AT_ONCE + 1
    await sql.execute(
        "INSERT INTO services (heartbeat_name, service_name, alert_interval)"
        " SELECT 'n-' || n, 'x', 5 FROM generate_series(1, $1::int) n",
        many,
    )

    assert await log.follow_notes() == many

    names = [told[1].heartbeat_name for told in recorder.told if isinstance(told[1], ServiceRow)]
    assert names == [f"n-{number}" for number in range(1, many + 1)]


async def test_a_change_that_the_journal_refuses_is_followed_later(
    sql: Database, log: ChangeLog, recorder: Recorder
) -> None:
    await sql.execute(NAMED, "by-sql")
    recorder.refusals.append(JournalRefusedError("the journal is full"))

    with pytest.raises(JournalRefusedError):
        await log.follow_notes()

    assert await log.follow_notes() == 1
    assert recorder.kinds() == ["row"]


async def test_a_change_that_came_too_late_does_not_hold_up_the_next(
    sql: Database, log: ChangeLog, recorder: Recorder
) -> None:
    await sql.execute(NAMED, "gone")
    await sql.execute(NAMED, "there")
    recorder.refusals.append(UnknownServiceError("gone"))

    assert await log.follow_notes() == 2

    assert recorder.row().heartbeat_name == "there"


async def test_a_note_that_is_being_written_is_left_for_the_next_time(
    sql: Database, log: ChangeLog, recorder: Recorder
) -> None:
    await sql.execute(NAMED, "a")
    await sql.execute(NAMED, "b")
    async with sql.transaction() as transaction:
        await transaction.execute("UPDATE services SET team = 'later' WHERE heartbeat_name = 'a'")
        assert await log.follow_notes() == 1
        assert recorder.row().heartbeat_name == "b"

    assert await log.follow_notes() == 1
    assert (recorder.row().heartbeat_name, recorder.row().team) == ("a", "later")


async def test_a_database_that_is_away_is_tried_again(sql: Database, database: Database, recorder: Recorder) -> None:
    log = ChangeLog(database, recorder, defaults=Defaults(), interval_seconds=0.01)
    await sql.execute(NAMED, "first")
    async with running(log):
        with trio.fail_after(PATIENCE_SECONDS):
            while not recorder.told:
                await recorder.heard.wait()
            await sql.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await sql.execute(NAMED, "second")
            while recorder.row().heartbeat_name != "second":
                await recorder.heard.wait()


async def test_a_full_journal_is_waited_for_while_running(sql: Database, log: ChangeLog, recorder: Recorder) -> None:
    await sql.execute(NAMED, "by-sql")
    recorder.refusals.append(JournalRefusedError("the journal is full", retry_after_seconds=0))
    async with running(log):
        with trio.fail_after(PATIENCE_SECONDS):
            while not recorder.told:
                await recorder.heard.wait()


async def test_a_table_that_cannot_be_read_is_tried_again(
    database: Database, sql: Database, recorder: Recorder
) -> None:
    log = ChangeLog(database, recorder, defaults=Defaults(), interval_seconds=0.01)
    await database.execute("ALTER TABLE medic.service_changes RENAME TO away")
    async with running(log):
        with trio.fail_after(PATIENCE_SECONDS):
            while not database.statistics().connections_open:
                await trio.lowlevel.checkpoint()
            await database.execute("ALTER TABLE medic.away RENAME TO service_changes")
            await sql.execute(NAMED, "by-sql")
            while not recorder.told:
                await recorder.heard.wait()
