"""What every ServiceStore does: the fake that other tests use, and the one on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from medic.core.author import Author
from medic.core.draft import ServiceDraft, ServiceEdit
from medic.core.policy import Defaults
from medic.core.units import DurationMs, InstantMs, ServiceId
from medic.errors import DatabaseUnavailableError
from medic.ports import ServiceStore
from medic.store.postgres.database import open_database
from medic.store.tables.services import PgServiceStore
from tests.fakes.services import MemoryServiceStore
from tests.fakes.ticking import CountedIds, HandClock
from tests.postgres_server import PostgresServer

NOW = 1_700_000_000_123
DRAFT = ServiceDraft(
    heartbeat_name="prod-Zahlläufe/nachts ✓",
    service_name="payments",
    interval_ms=DurationMs(20_000),
    grace_ms=DurationMs(1_500),
    threshold=3,
    recovery_ms=DurationMs(60_001),
    renotify_ms=DurationMs(0),
    team="platform",
    priority="p1",
    runbook="https://example.org/run?a=b",
    require_key=True,
)


@pytest.fixture
async def store(server: PostgresServer | None) -> AsyncIterator[ServiceStore]:
    if server is None:
        yield MemoryServiceStore(now=HandClock(NOW).now, draw=CountedIds(4_000_000_000).draw)
        return
    async with server.fresh_database() as (database, _):
        yield PgServiceStore(database, CountedIds(4_000_000_000), HandClock(NOW), Defaults())


async def test_an_inserted_service_is_read_back_as_it_was_drafted(store: ServiceStore) -> None:
    row, is_new = await store.insert(DRAFT, by=Author("anna"))

    assert is_new
    assert row == DRAFT.row(ServiceId(4_000_000_000), InstantMs(NOW), "anna")
    assert await store.read(row.service_id) == row


async def test_an_interval_keeps_its_milliseconds(store: ServiceStore) -> None:
    for interval_ms in (1_000, 1_001, 20_000, 100_000, 59_999, 60_000, 31_622_399_999, 31_622_400_000):
        name = f"every {interval_ms}"
        draft = replace(
            DRAFT, heartbeat_name=name, interval_ms=DurationMs(interval_ms), renotify_ms=DurationMs(interval_ms)
        )

        row, _ = await store.insert(draft, by=Author("anna"))

        stored = await store.read(row.service_id)
        assert stored is not None
        assert (stored.interval_ms, stored.renotify_ms) == (interval_ms, interval_ms)


async def test_a_name_that_is_taken_but_for_its_case_gives_the_row_that_has_it(store: ServiceStore) -> None:
    first, _ = await store.insert(replace(DRAFT, heartbeat_name="Nightly-Ä"), by=Author("anna"))

    again, is_new = await store.insert(replace(DRAFT, heartbeat_name="nightly-Ä", team="other"), by=Author("ben"))
    other, other_is_new = await store.insert(replace(DRAFT, heartbeat_name="nightly-ä"), by=Author("ben"))

    assert (again, is_new) == (first, False)
    assert other_is_new
    assert other.service_id != first.service_id


async def test_the_next_version_replaces_the_one_before(store: ServiceStore) -> None:
    row, _ = await store.insert(DRAFT, by=Author("anna"))
    edited = ServiceEdit(interval_ms=DurationMs(300_000), renotify_default=True, active=False, require_key=False).apply(
        row, InstantMs(NOW + 1), "ben"
    )

    assert await store.replace(edited, by=Author("ben")) == edited
    assert await store.read(row.service_id) == edited
    assert (edited.version, edited.changed_by, edited.renotify_ms) == (2, "ben", None)


async def test_a_version_that_is_not_the_next_changes_nothing(store: ServiceStore) -> None:
    row, _ = await store.insert(DRAFT, by=Author("anna"))
    await store.replace(replace(row, version=2, team="first", changed_by="anna"), by=Author("anna"))

    assert await store.replace(replace(row, version=2, team="second"), by=Author("ben")) is None
    assert await store.replace(replace(row, version=9, team="third"), by=Author("ben")) is None

    stored = await store.read(row.service_id)
    assert stored is not None
    assert (stored.version, stored.team) == (2, "first")


async def test_a_deleted_service_is_gone_and_its_name_is_free(store: ServiceStore) -> None:
    row, _ = await store.insert(DRAFT, by=Author("anna"))

    assert await store.delete(row.service_id, by=Author("ben"))
    assert not await store.delete(row.service_id, by=Author("ben"))
    assert await store.read(row.service_id) is None
    assert await store.replace(replace(row, version=2), by=Author("ben")) is None

    again, is_new = await store.insert(DRAFT, by=Author("anna"))
    assert is_new
    assert again.service_id != row.service_id


# ------------------------------------------------------------------------------------------- PostgreSQL does not answer


@asynccontextmanager
async def without_postgres(store: ServiceStore) -> AsyncIterator[ServiceStore]:
    """The same store, and nobody answers it."""
    if isinstance(store, MemoryServiceStore):
        store.available = False
        yield store
        return
    assert isinstance(store, PgServiceStore)
    nowhere = replace(store.database.target, host="/nonexistent")
    async with open_database(nowhere) as database:
        yield PgServiceStore(database, CountedIds(), HandClock(NOW), Defaults())


async def test_every_change_says_that_postgresql_is_away(store: ServiceStore) -> None:
    row, _ = await store.insert(DRAFT, by=Author("anna"))
    async with without_postgres(store) as away:
        with pytest.raises(DatabaseUnavailableError):
            await away.insert(DRAFT, by=Author("anna"))
        with pytest.raises(DatabaseUnavailableError):
            await away.replace(replace(row, version=2), by=Author("anna"))
        with pytest.raises(DatabaseUnavailableError):
            await away.read(row.service_id)
        with pytest.raises(DatabaseUnavailableError):
            await away.delete(row.service_id, by=Author("anna"))
        with pytest.raises(DatabaseUnavailableError):
            [entry async for entry in away.load()]

    if isinstance(store, MemoryServiceStore):
        store.available = True
    assert await store.read(row.service_id) == row
