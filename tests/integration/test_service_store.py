"""Operators' changes on a real PostgreSQL: audit, lost commits, and what a start reads."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from medic.core.author import Author
from medic.core.draft import ServiceDraft
from medic.core.policy import Defaults
from medic.core.service import Alert, Mute
from medic.core.status import OpenedReason, Status
from medic.core.units import DurationMs, EventId, InstantMs, SightedMs, SkewMs
from medic.errors import DatabaseUnavailableError
from medic.store.postgres.database import CommitUnknownError, Database, open_database
from medic.store.tables.services import SLICE_ROWS, PgServiceStore
from medic.store.tables.state_rows import state_row, store_states
from tests.fakes.ticking import CountedIds, HandClock
from tests.integration.postgres_proxy import Fault, PostgresProxy, proxied

NOW = 1_700_000_000_123
DRAFT = ServiceDraft("nightly", "payments", DurationMs(20_000), threshold=3, runbook="https://example.org")


def store_on(database: Database) -> PgServiceStore:
    return PgServiceStore(database, CountedIds(7_000), HandClock(NOW, skew=5_000), Defaults())


@pytest.fixture
def store(database: Database) -> PgServiceStore:
    return store_on(database)


async def audit(database: Database) -> list[tuple[object, ...]]:
    rows = await database.fetch("SELECT actor, action, subject, before, after FROM medic.audit_log ORDER BY audit_id")
    versions = []
    for row in rows:
        before = None if row["before"] is None else orjson.loads(row["before"])["version"]
        after = None if row["after"] is None else orjson.loads(row["after"])["version"]
        versions.append((row["actor"], row["action"], row["subject"], before, after))
    return versions


async def test_each_change_has_one_audit_entry_with_the_row_before_and_after(
    store: PgServiceStore, database: Database
) -> None:
    row, _ = await store.insert(DRAFT, by=Author("anna"))
    await store.insert(DRAFT, by=Author("ben"))
    await store.replace(replace(row, version=2, team="platform"), by=Author("ben"))
    await store.replace(replace(row, version=2, team="late"), by=Author("carl"))
    await store.delete(row.service_id, by=Author("dora"))
    await store.delete(row.service_id, by=Author("emil"))

    assert await audit(database) == [
        ("anna", "register", "nightly", None, 1),
        ("ben", "update", "nightly", 1, 2),
        ("dora", "delete", "nightly", 2, None),
    ]


async def test_a_change_by_sql_is_audited_too(store: PgServiceStore, database: Database) -> None:
    row, _ = await store.insert(DRAFT, by=Author("anna"))
    async with database.transaction() as transaction:
        await transaction.execute("SET LOCAL medic.writer = 'off'")
        await transaction.execute("UPDATE medic.services SET team = 'platform'")

    assert (await audit(database))[-1] == ("SQL", "update", "nightly", 1, 2)
    stored = await store.read(row.service_id)
    assert stored is not None
    assert (stored.version, stored.changed_by) == (2, "SQL")


# --------------------------------------------------------------------------------------------------------- lost commits


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path for a socket."""
    made = Path(tempfile.mkdtemp(prefix="medic-"))
    yield made
    shutil.rmtree(made)


@asynccontextmanager
async def fragile(database: Database, folder: Path) -> AsyncIterator[tuple[PgServiceStore, PostgresProxy]]:
    """A store whose first transaction loses its connection at COMMIT; its next connection works."""
    async with (
        proxied(database.target, folder) as proxy,
        open_database(replace(database.target, host=str(folder))) as through,
    ):
        await through.fetch("SELECT 1")
        yield store_on(through), proxy


async def test_a_registration_that_was_committed_is_found_again(database: Database, folder: Path) -> None:
    async with fragile(database, folder) as (store, proxy):
        proxy.fault = Fault.ANSWER_LOST
        row, is_new = await store.insert(DRAFT, by=Author("anna"))

    assert is_new
    assert await store_on(database).read(row.service_id) == row


async def test_a_registration_that_was_not_committed_is_an_error(database: Database, folder: Path) -> None:
    async with fragile(database, folder) as (store, proxy):
        proxy.fault = Fault.COMMIT_LOST
        with pytest.raises(CommitUnknownError):
            await store.insert(DRAFT, by=Author("anna"))

    assert await audit(database) == []


@pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.COMMIT_LOST])
async def test_an_edit_and_a_deletion_are_read_back(database: Database, folder: Path, fault: Fault) -> None:
    row, _ = await store_on(database).insert(DRAFT, by=Author("anna"))
    edited = replace(row, version=2, team="platform", changed_by="ben")
    async with fragile(database, folder) as (store, proxy):
        proxy.fault = fault
        try:
            assert await store.replace(edited, by=Author("ben")) == edited
        except CommitUnknownError:
            assert fault is Fault.COMMIT_LOST
        proxy.fault = Fault.NONE
        assert await store.read(row.service_id) == (edited if fault is Fault.ANSWER_LOST else row)
        proxy.fault = fault
        try:
            assert await store.delete(row.service_id, by=Author("ben"))
        except CommitUnknownError:
            assert fault is Fault.COMMIT_LOST
        proxy.fault = Fault.NONE
        assert (await store.read(row.service_id) is None) == (fault is Fault.ANSWER_LOST)


# --------------------------------------------------------------------------------------------------- what a start reads


async def test_a_service_is_loaded_as_it_was_last_written(store: PgServiceStore, database: Database) -> None:
    row, _ = await store.insert(DRAFT, by=Author("anna"))
    stored = await store.load_one(row.service_id)
    assert stored is not None
    assert (stored.journal_id, stored.version) == ("", None)
    assert (stored.service.row, stored.service.last_sign) == (row, SightedMs(NOW - 5_000))
    service = stored.service
    service.status = Status.LATE
    service.heartbeats_total = 17
    service.last_heartbeat_at = InstantMs(NOW)
    service.position = 4_711
    service.mute = Mute(InstantMs(NOW), None, "quiet", "anna")
    service.alert = Alert(
        alert_id=EventId(99),
        reason=OpenedReason.LATE,
        opened_at=InstantMs(NOW),
        opened_sighted=SightedMs(NOW),
        late_since=InstantMs(NOW),
        priority="p3",
        team="platform",
        runbook="",
    )
    async with database.transaction() as transaction:
        await store_states(transaction, "journal-1", [state_row(service, SkewMs(5_000))], InstantMs(NOW))
    await store.replace(replace(row, version=2, team="other"), by=Author("ben"))

    loaded = [entry async for part in store.load() for entry in part]

    assert [(entry.journal_id, entry.version) for entry in loaded] == [("journal-1", 1)]
    found = loaded[0].service
    assert (found.row.version, found.status, found.heartbeats_total) == (2, Status.LATE, 17)
    assert (found.position, found.mute, found.alert) == (4_711, service.mute, service.alert)


async def test_many_services_come_in_slices(store: PgServiceStore, database: Database) -> None:
    await database.execute(
        "INSERT INTO medic.services (heartbeat_name, service_name, alert_interval)"
        " SELECT 'n-' || n, 'x', 5 FROM generate_series(1, $1::int) n",
        SLICE_ROWS + 1,
    )

    sizes = [len(part) async for part in store.load()]

    assert sizes == [SLICE_ROWS, 1]


async def test_a_load_that_is_interrupted_says_so(database: Database) -> None:
    async with open_database(replace(database.target, host="/nonexistent")) as away:
        with pytest.raises(DatabaseUnavailableError):
            [part async for part in store_on(away).load()]
