"""What a start goes on from: PostgreSQL, a snapshot, both, or a snapshot alone until PostgreSQL is found."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from medic.actors.clock import wall_now
from medic.app import opening
from medic.app.opening import open_stores
from medic.config.load import load_settings
from medic.core.author import Author
from medic.core.blind import SIGHTED_ALWAYS
from medic.core.draft import ServiceDraft
from medic.core.ledger import NotificationLedger
from medic.core.status import HeartbeatStatus
from medic.errors import DatabaseUnavailableError
from medic.ports import Position
from medic.store.snapshot.keeper import SnapshotKeeper
from medic.store.watermark import Mark
from tests.integration.postgres_proxy import PostgresProxy
from tests.patience import PATIENCE_SECONDS


class NoServices:
    key_rules = 0

    def services(self, after=""):
        yield from ()


async def nobody(_service_id):
    await trio.lowlevel.checkpoint()


@asynccontextmanager
async def opened_on(target, folder):
    variables = {
        "DB_HOST": target.host,
        "DB_PORT": str(target.port),
        "DB_NAME": target.database,
        "PG_USER": target.user,
    }
    settings = load_settings({**variables, "MEDIC_DATA_DIR": str(folder), "MEDIC_JOURNAL_RESERVE_BYTES": "0"})
    async with open_stores(settings, lambda _operation, _seconds: None, lambda _sighting: None) as opened:
        yield opened
        await opened.leadership.step_down()
        opened.stores.watermark.close()


async def keep_a_snapshot(opened) -> Position:
    """As a process does that found no services; where the snapshot stands."""
    stores = opened.stores
    keeper = SnapshotKeeper(
        files=stores.snapshots,
        journal=stores.journal,
        roster=NoServices(),
        in_order=lambda _: None,
        rebuild=nobody,
        ledger=NotificationLedger(),
        clock=opened.clock,
        committed=lambda: Position(0),
    )
    assert opened.clock.blind == SIGHTED_ALWAYS
    assert await keeper.write()
    return stores.journal.newest


async def test_a_snapshot_is_gone_on_from_unless_another_medic_has_worked_since(database, tmp_path):
    async with opened_on(database.target, tmp_path) as opened:
        assert (opened.database_was_there, opened.snapshot) == (True, None)
        await keep_a_snapshot(opened)
    async with opened_on(database.target, tmp_path) as opened:
        assert opened.snapshot is not None
        assert opened.snapshot.services == 0
    async with opened_on(database.target, tmp_path / "another") as opened:
        assert opened.leadership.inherits
    async with opened_on(database.target, tmp_path) as opened:
        assert opened.snapshot is None
        assert not opened.stores.snapshots.any_kept


async def test_a_journal_shorter_than_its_snapshot_goes_on_behind_it(database, tmp_path):
    async with opened_on(database.target, tmp_path) as opened:
        opened.stores.journal.go_on_from(Position(5_000))
        assert await keep_a_snapshot(opened) == 5_000
    for path in (tmp_path / "journal").glob("*.journal"):
        path.unlink()
    async with opened_on(database.target, tmp_path) as opened:
        assert opened.stores.journal.newest == 5_000
        assert opened.snapshot is not None


async def test_where_the_journal_lost_its_end_nothing_was_heard_since_its_last_record(database, tmp_path):
    now = wall_now()
    heard, lost, mark = now - 60_000, now - 40_000, now - 30_000
    async with opened_on(database.target, tmp_path) as opened, trio.open_nursery() as nursery:
        journal = opened.stores.journal
        await nursery.start(journal.run)
        for number, at in enumerate((heard, lost)):
            position = journal.append_heartbeat_nowait(1, at, at, number, HeartbeatStatus.UP)
            await journal.wait_durable(position)
        nursery.cancel_scope.cancel()
        opened.stores.watermark.write(Mark(mark, mark))
    async with opened_on(database.target, tmp_path) as opened:
        assert opened.away.begun_at == opened.awake_until == mark
    [segment] = (tmp_path / "journal").glob("*.journal")
    os.truncate(segment, segment.stat().st_size - 1)
    async with opened_on(database.target, tmp_path) as opened:
        assert opened.away.begun_at == heard
        assert opened.awake_until == mark, "what was lost may have been answered"
        assert opened.clock.sighted() < lost


async def test_postgresql_is_joined_when_it_is_found_and_away_for_everybody_before(
    postgres, database, tmp_path, monkeypatch
):
    monkeypatch.setattr(opening, "JOIN_EVERY_SECONDS", 0.01)
    async with opened_on(database.target, tmp_path / "data") as opened:
        await keep_a_snapshot(opened)
        webhook = await opened.stores.webhooks.insert(
            url="https://a.example", heartbeat_name=None, headers=(), by=Author("")
        )
    socket_folder = tmp_path / "socket"
    socket_folder.mkdir()
    away = replace(database.target, host=str(socket_folder))
    async with opened_on(away, tmp_path / "data") as opened, trio.open_nursery() as nursery:
        assert not opened.database_was_there
        assert opened.webhooks == (webhook,)
        assert opened.stores.ids.draw() > 0
        with pytest.raises(DatabaseUnavailableError, match="not there when Medic started"):
            await opened.stores.webhooks.all()
        nursery.start_soon(opened.join)
        await nursery.start(PostgresProxy(database.target, socket_folder).serve)
        with trio.fail_after(PATIENCE_SECONDS):
            while opened.stores.database.statistics().reachable is False:
                await trio.sleep(0.01)
                try:
                    await opened.stores.webhooks.all()
                except DatabaseUnavailableError:
                    continue
        draft = ServiceDraft(heartbeat_name="a", service_name="a", interval_ms=60_000)
        assert (await opened.stores.services.insert(draft, by=Author("")))[1]
        nursery.cancel_scope.cancel()


async def test_without_postgresql_and_without_a_snapshot_there_is_nothing_to_watch(tmp_path, database):
    away = replace(database.target, host=str(tmp_path))
    with pytest.raises(DatabaseUnavailableError, match="The first start needs PostgreSQL"):
        async with opened_on(away, tmp_path / "data"):
            pass
