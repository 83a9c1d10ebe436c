"""Migrations on a real server: once each, one process at a time, found by operators' SQL."""

from __future__ import annotations

import pytest
import trio

from medic.access.signed import SECRET_BYTES, read_secret
from medic.errors import ConfigurationError
from medic.store.postgres import migrate as migrate_module
from medic.store.postgres.database import Database, StatementRefusedError, open_database
from medic.store.postgres.migrate import Migration, known_migrations, migrate
from medic.store.tables.webhooks import PgWebhookStore
from tests.fakes.ticking import HandClock
from tests.postgres_server import PostgresServer


async def test_an_empty_database_gets_every_migration_once(postgres: PostgresServer) -> None:
    async with postgres.fresh_database(template="template1") as (database, _):
        names = [migration.name for migration in known_migrations()]

        assert await migrate(database) == names
        assert await migrate(database) == []

        applied = await database.fetch("SELECT name FROM medic.migrations ORDER BY version")
        assert [row["name"] for row in applied] == names


async def test_unqualified_sql_of_another_session_finds_the_tables(postgres: PostgresServer) -> None:
    async with postgres.fresh_database(template="template1") as (database, _):
        await migrate(database)
        row = await database.fetchrow("SELECT setconfig FROM pg_db_role_setting WHERE setrole <> 0")

        assert row is not None
        assert row["setconfig"] == ["search_path=medic, public"]


async def test_two_processes_that_migrate_together_apply_each_migration_once(postgres: PostgresServer) -> None:
    applied: list[str] = []
    async with postgres.fresh_database(template="template1") as (database, bridge):

        async def apply() -> None:
            async with open_database(database.target, bridge=bridge) as own:
                applied.extend(await migrate(own))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(apply)

    # In turns, perhaps: which of them applied which is nobody's concern.
    assert sorted(applied) == [migration.name for migration in known_migrations()]


async def test_a_schema_from_the_future_is_refused_by_name(database: Database) -> None:
    await database.execute("INSERT INTO medic.migrations (version, name) VALUES (9001, '9001_later')")

    with pytest.raises(ConfigurationError, match="at migration 9001, this release of Medic knows them up to"):
        await migrate(database)


async def test_a_migration_that_fails_leaves_the_schema_as_it_was(database: Database) -> None:
    broken = Migration(9000, "9000_broken", "CREATE TABLE medic.half (x integer); SELECT 1 / 0")

    with pytest.raises(Exception, match="division by zero"):
        await migrate(database, [*known_migrations(), broken])

    row = await database.fetchrow("SELECT to_regclass('medic.half') IS NULL AS gone")
    assert row is not None
    assert row["gone"]
    assert await migrate(database) == []


async def test_webhooks_that_were_there_get_a_secret_each(postgres: PostgresServer) -> None:
    before = [migration for migration in known_migrations() if migration.version < 6]
    async with postgres.fresh_database(template="template1") as (database, _):
        await migrate(database, before)
        await database.execute("INSERT INTO medic.webhooks (url) VALUES ('https://a.example'), ('https://b.example')")
        await migrate(database)
        webhooks = await PgWebhookStore(database, HandClock(5)).all()

    secrets = {webhook.secret for webhook in webhooks}
    assert len(secrets) == 2
    assert {len(read_secret(secret)) for secret in secrets} == {SECRET_BYTES}


async def test_a_role_without_the_right_to_create_is_told_which_right_it_lacks(postgres: PostgresServer) -> None:
    async with postgres.fresh_database(template="template1") as (database, _):
        await database.execute("CREATE ROLE lowly")
        await database.execute("SET SESSION AUTHORIZATION lowly")
        try:
            with pytest.raises(ConfigurationError, match="GRANT CREATE ON DATABASE"):
                await migrate(database)
        finally:
            await database.execute("RESET SESSION AUTHORIZATION")
            await database.execute("DROP ROLE lowly")


async def test_a_database_in_another_encoding_is_refused(postgres: PostgresServer) -> None:
    async with postgres.fresh_database(template="template0 ENCODING 'LATIN1' LOCALE 'C'") as (database, _):
        with pytest.raises(ConfigurationError, match="its encoding is LATIN1; Medic needs a database made with"):
            await migrate(database)


async def test_an_old_server_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate_module, "SERVER_VERSION_MIN", 990_000)

    with pytest.raises(ConfigurationError, match=r"the server is PostgreSQL 18\.\d+; Medic needs 99 or newer"):
        await migrate(database)


async def test_a_fault_of_a_migration_itself_is_no_fault_of_the_operator(database: Database) -> None:
    broken = Migration(9000, "9000_broken", "SELECT nonsense")

    with pytest.raises(StatementRefusedError):
        await migrate(database, [*known_migrations(), broken])
