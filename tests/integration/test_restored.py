"""A database that was put back to an older state: how a start knows it, and what it makes of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from medic.app.opening import open_stores
from medic.config.load import load_settings
from medic.core.author import Author
from medic.core.blind import RESTORED
from medic.core.draft import ServiceDraft
from medic.core.status import HeartbeatStatus
from medic.core.units import DAY_MS
from medic.errors import ConfigurationError
from medic.ports import Position
from medic.store.audit.chain import Head
from medic.store.audit.heads import AuditHeads
from medic.store.pairing import Gap
from medic.store.restored import free_name, is_copy, mark_copy, settle
from medic.store.tokens import TokenFile
from medic.store.watermark import Mark

INCARNATION = "SELECT incarnation, medic.incarnation_here() AS here FROM medic.medic_instance"


@asynccontextmanager
async def opened_on(target, folder: Path, gap: Gap = Gap.REFUSE):
    """As a start does, up to where HTTP would open."""
    variables = {
        "DB_HOST": target.host,
        "DB_PORT": str(target.port),
        "DB_NAME": target.database,
        "PG_USER": target.user,
    }
    settings = load_settings({**variables, "MEDIC_DATA_DIR": str(folder), "MEDIC_JOURNAL_RESERVE_BYTES": "0"})
    await trio.Path(folder).mkdir(exist_ok=True)
    async with open_stores(settings, lambda *_: None, lambda _: None, gap=gap) as opened:
        yield opened
        await opened.leadership.step_down()
        opened.stores.watermark.close()


async def keep_a_heartbeat(opened, number: int = 7) -> None:
    """Answer for one; the journal has it, and PostgreSQL has not."""
    async with trio.open_nursery() as nursery:
        journal = opened.stores.journal
        await nursery.start(journal.run)
        now = opened.clock.now()
        await journal.wait_durable(journal.append_heartbeat_nowait(1, now, now, number, HeartbeatStatus.UP))
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def copied(postgres, database):
    """Another database with the same in it, as a dump that was loaded is."""
    async with postgres.fresh_database(template=database.target.database) as (copy, _):
        yield copy


async def close_to_copy(database) -> None:
    await database.execute("UPDATE medic.medic_instance SET active_since = NULL")
    await database.aclose()


async def test_a_database_knows_where_it_is_and_a_copy_of_it_that_it_is_not_there(postgres, tmp_path):
    async with postgres.fresh_database() as (database, _):
        async with opened_on(database.target, tmp_path / "first") as opened:
            assert not opened.is_afresh
            await opened.leadership.end_inheriting()
        row = await database.fetchrow(INCARNATION)
        assert row["incarnation"] == row["here"] != ""
        draft = ServiceDraft(heartbeat_name="a", service_name="a", interval_ms=DAY_MS)
        async with opened_on(database.target, tmp_path / "first") as opened:
            await opened.stores.services.insert(draft, by=Author("ada"))
            drawn = opened.stores.ids.draw()
        await close_to_copy(database)
        async with copied(postgres, database) as copy:
            async with opened_on(copy.target, tmp_path / "second") as opened:
                assert opened.is_afresh
                assert opened.stores.ids.draw() > drawn + (1 << 39)
                assert opened.away is None, "no Medic ever wrote a heartbeat there"
            assert (await copy.fetchrow(INCARNATION))["incarnation"] == row["here"], (
                "it is a copy until all is taken over"
            )


async def test_all_time_since_a_backup_is_blind_and_deadlines_start_afresh(postgres, database, tmp_path):
    async with opened_on(database.target, tmp_path / "first") as opened:
        draft = ServiceDraft(heartbeat_name="a", service_name="a", interval_ms=DAY_MS)
        await opened.stores.services.insert(draft, by=Author("ada"))
        long_ago = opened.clock.now() - 400 * DAY_MS
    await database.execute(
        "INSERT INTO medic.journal_positions (journal_id, watermark_at, watermark_sighted) VALUES ('x', $1, $2)",
        long_ago,
        long_ago,
    )
    await close_to_copy(database)
    async with copied(postgres, database) as copy, opened_on(copy.target, tmp_path / "second") as opened:
        assert (opened.away.cause, opened.away.begun_at) == (RESTORED, long_ago)
        assert opened.away.duration_ms > 399 * DAY_MS
        assert opened.clock.sighted() == long_ago + 1


async def test_open_alerts_of_which_no_service_knows_are_closed(postgres, database, tmp_path):
    async with opened_on(database.target, tmp_path / "first") as opened:
        draft = ServiceDraft(heartbeat_name="a", service_name="a", interval_ms=DAY_MS)
        service, _ = await opened.stores.services.insert(draft, by=Author("ada"))
    await database.execute(
        "INSERT INTO medic.alerts (alert_id, alert_name, service_id, heartbeat_name, service_name, team, priority,"
        " reason, created_date) VALUES (9, '', $1, 'a', 'a', 't', 'p1', 'late', now())",
        service.service_id,
    )
    await database.execute("UPDATE medic.services SET down = 1")
    await close_to_copy(database)
    async with copied(postgres, database) as copy:
        async with opened_on(copy.target, tmp_path / "second"):
            pass
        row = await copy.fetchrow("SELECT active, closed_reason, (SELECT down FROM medic.services) FROM medic.alerts")
        assert tuple(row) == (0, "superseded", 0)


async def seen_token(folder: Path) -> None:
    tokens = TokenFile(folder)
    await tokens.see(tokens.tokens.newest_seen + 5)


async def seen_audit(folder: Path) -> None:
    await trio.lowlevel.checkpoint()
    AuditHeads(folder).keep(Head(99, bytes(32)), 1_790_000_000_000)


@pytest.mark.parametrize("seen", [seen_token, seen_audit], ids=["a token", "the audit"])
async def test_a_database_older_than_its_folder_is_refused_until_somebody_says_which_counts(database, tmp_path, seen):
    async with opened_on(database.target, tmp_path) as opened:
        mark = Mark(opened.clock.now(), opened.clock.sighted())
        await keep_a_heartbeat(opened)
        opened.stores.watermark.write(mark)
        directory = TokenFile(tmp_path).tokens.directory
    await seen(tmp_path)
    newest = TokenFile(tmp_path).tokens.newest_seen
    with pytest.raises(ConfigurationError, match=r"put back to before it.*--discard-journal"):
        async with opened_on(database.target, tmp_path):
            pass
    async with opened_on(database.target, tmp_path, Gap.DISCARD) as opened:
        assert opened.is_afresh
        assert opened.leadership.inherits
        assert opened.leadership.token > newest
        assert opened.stores.journal.newest == 0
        await opened.leadership.end_inheriting()
        await settle(database)
    assert TokenFile(tmp_path).tokens.directory == directory
    [aside] = tmp_path.glob("journal-discarded-*")
    assert (aside / "journal" / "identity").exists()
    assert (aside / "ids").exists()
    written = await database.fetch('SELECT heartbeat_id FROM medic."heartbeatEvents"')
    assert [row[0] for row in written] == [7], "it was answered 201"
    async with opened_on(database.target, tmp_path) as opened:
        assert not opened.leadership.inherits


async def test_who_accepts_what_is_missing_goes_on_with_the_folder(database, tmp_path):
    async with opened_on(database.target, tmp_path) as opened:
        await keep_a_heartbeat(opened)
        drawn = opened.stores.ids.draw()
    await seen_token(tmp_path)
    (tmp_path / "ids").unlink()
    async with opened_on(database.target, tmp_path, Gap.ACCEPT) as opened:
        assert not opened.is_afresh
        assert opened.stores.journal.newest > 0
        assert opened.stores.ids.draw() > drawn + (1 << 39)


async def test_a_folder_whose_journal_is_empty_needs_no_order(database, tmp_path):
    async with opened_on(database.target, tmp_path):
        pass
    await seen_token(tmp_path)
    async with opened_on(database.target, tmp_path) as opened:
        assert opened.is_afresh


async def test_an_order_to_discard_has_nothing_to_do_where_the_database_is_as_new(database, tmp_path):
    async with opened_on(database.target, tmp_path) as opened:
        await keep_a_heartbeat(opened)
    async with opened_on(database.target, tmp_path, Gap.DISCARD) as opened:
        assert not opened.is_afresh
        assert opened.stores.journal.newest > 0
    assert not list(tmp_path.glob("journal-discarded-*"))


async def test_a_journal_that_begins_behind_the_database_can_be_discarded_as_well(database, tmp_path):
    async with opened_on(database.target, tmp_path) as opened:
        opened.stores.journal.go_on_from(Position(9_000))
    min((tmp_path / "journal").glob("*.journal")).unlink()
    with pytest.raises(ConfigurationError, match="are in neither"):
        async with opened_on(database.target, tmp_path):
            pass
    async with opened_on(database.target, tmp_path, Gap.DISCARD) as opened:
        assert opened.is_afresh
        assert opened.stores.journal.newest == 0


async def test_a_role_that_may_not_ask_which_server_it_is_never_finds_a_copy(database):
    await database.execute(
        "CREATE OR REPLACE FUNCTION medic.incarnation_here() RETURNS text LANGUAGE plpgsql STABLE AS"
        " $$ BEGIN RAISE insufficient_privilege; END $$"
    )
    assert not await is_copy(database)
    await settle(database)
    assert not await is_copy(database)
    await mark_copy(database)
    assert await is_copy(database)


async def test_a_database_that_moved_with_its_folder_goes_on_as_it_was(postgres, database, tmp_path):
    async with opened_on(database.target, tmp_path) as opened:
        await keep_a_heartbeat(opened)
    await close_to_copy(database)
    async with copied(postgres, database) as copy:
        async with opened_on(copy.target, tmp_path) as opened:
            assert not opened.is_afresh
            assert opened.stores.journal.newest > 0
        row = await copy.fetchrow(INCARNATION)
        assert row["incarnation"] == row["here"]


def test_nothing_that_is_put_aside_replaces_anything(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        path = free_name(tmp_path, "aside", 1_790_000_000_000)
        path.mkdir()
        names.append(path.name)
    assert names == ["aside-20260921T141320Z", "aside-20260921T141320Z-2", "aside-20260921T141320Z-3"]
