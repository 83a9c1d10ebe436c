"""The pool and its bridge: whatever is done to a query, the next one gets its own answer; errors say who must act."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
import trio

from medic.core.units import InstantMs
from medic.errors import DatabaseUnavailableError, InvariantError
from medic.store.postgres import database as database_module
from medic.store.postgres.bridge import open_bridge
from medic.store.postgres.database import (
    FOREVER,
    CommitUnknownError,
    Database,
    Limits,
    RowRefusedError,
    StatementRefusedError,
    open_database,
)
from tests.integration.postgres_proxy import Fault, PostgresProxy, proxied
from tests.patience import PATIENCE_SECONDS

INSTANTS = (0, 1, 999, 1_700_000_000_123, 253_402_300_799_999)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path for a socket."""
    made = Path(tempfile.mkdtemp(prefix="medic-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
async def proxy(database: Database, folder: Path) -> AsyncIterator[PostgresProxy]:
    async with proxied(database.target, folder) as made:
        yield made


@pytest.fixture
async def table(database: Database) -> Database:
    await database.execute("CREATE TABLE medic.kept (number bigint PRIMARY KEY, at timestamptz, said text)")
    return database


async def numbers(database: Database) -> list[int]:
    return [row["number"] for row in await database.fetch("SELECT number FROM medic.kept ORDER BY number")]


# --------------------------------------------------------------------------------------------------------------- values


async def test_instants_cross_as_milliseconds_both_ways(table: Database) -> None:
    for number, instant in enumerate((*INSTANTS, FOREVER)):
        await table.execute("INSERT INTO medic.kept VALUES ($1, $2)", number, instant)

    rows = await table.fetch("SELECT at, at::text AS shown FROM medic.kept ORDER BY number")

    assert [row["at"] for row in rows] == [*INSTANTS, FOREVER]
    assert rows[3]["shown"] == "2023-11-14 22:13:20.123+00"
    assert rows[5]["shown"] == "infinity"


async def test_every_session_is_known_as_medics_own(database: Database) -> None:
    row = await database.fetchrow("SELECT medic.is_own_session() AS is_own, current_setting('TimeZone') AS zone")

    assert row is not None
    assert tuple(row) == (True, "UTC")


# --------------------------------------------------------------------------------------------------------- cancellation


async def test_a_cancelled_query_ends_on_the_server_and_costs_only_its_connection(database: Database) -> None:
    await database.fetch("SELECT 1")
    with trio.move_on_after(0.05) as scope:
        await database.fetch("SELECT pg_sleep(1_000)")
    assert scope.cancelled_caught
    assert database.statistics().connections_open == 0
    assert database.statistics().connection_errors == 0

    with trio.fail_after(PATIENCE_SECONDS):
        while await database.fetch("SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(1_000)'"):
            await trio.lowlevel.checkpoint()


async def test_wherever_a_query_is_cancelled_the_next_gets_its_own_answer(database: Database) -> None:
    finished = 0
    for step in range(60):
        with trio.move_on_after(0.0002 * 1.2**step):  # from before it is sent until long after its answer
            await database.fetch("SELECT n, repeat('x', 100) FROM generate_series(1, 500) n")
            finished += 1
        row = await database.fetchrow("SELECT $1::int AS number", step)
        assert row is not None
        assert row["number"] == step
        assert database.statistics().connections_busy == 0

    assert finished > 0


async def test_a_cancelled_transaction_leaves_nothing(table: Database) -> None:
    with trio.CancelScope() as scope:
        async with table.transaction() as transaction:
            await transaction.execute("INSERT INTO medic.kept VALUES (1)")
            scope.cancel()
            await trio.lowlevel.checkpoint()

    assert await numbers(table) == []
    assert table.statistics().connections_busy == 0


# --------------------------------------------------------------------------------------------------------- transactions


async def test_a_transaction_that_is_left_by_an_exception_is_undone_and_its_connection_kept(table: Database) -> None:
    async def fail() -> None:
        async with table.transaction() as transaction:
            await transaction.execute("INSERT INTO medic.kept VALUES (1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await numbers(table) == []
    assert table.statistics().connections_open == 1


async def test_a_failure_that_was_hidden_within_a_transaction_is_not_taken_for_a_commit(table: Database) -> None:
    async def hide() -> None:
        async with table.transaction() as transaction:
            await transaction.execute("INSERT INTO medic.kept VALUES (1)")
            with pytest.raises(RowRefusedError):
                await transaction.execute("INSERT INTO medic.kept VALUES (1)")

    with pytest.raises(InvariantError):
        await hide()
    assert await numbers(table) == []


@pytest.mark.parametrize(("fault", "stored"), [(Fault.COMMIT_LOST, []), (Fault.ANSWER_LOST, [1])])
async def test_a_connection_lost_during_commit_is_said_to_be_unknown(
    table: Database, proxy: PostgresProxy, fault: Fault, stored: list[int]
) -> None:
    async with open_database(replace(table.target, host=str(proxy.folder))) as fragile:
        await fragile.fetch("SELECT 1")
        proxy.fault = fault
        with pytest.raises(CommitUnknownError):
            async with fragile.transaction() as transaction:
                await transaction.execute("INSERT INTO medic.kept VALUES (1)")

    assert await numbers(table) == stored


async def test_a_commit_that_the_server_refuses_is_not_an_unknown_one(table: Database) -> None:
    await table.execute(
        "CREATE FUNCTION medic.fail() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'later' USING ERRCODE = '40001'; END $$;"
        " CREATE CONSTRAINT TRIGGER fails AFTER INSERT ON medic.kept DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION medic.fail()"
    )

    async def insert() -> None:
        async with table.transaction() as transaction:
            await transaction.execute("INSERT INTO medic.kept VALUES (1)")

    with pytest.raises(DatabaseUnavailableError, match="SQLSTATE 40001") as caught:
        await insert()
    assert not isinstance(caught.value, CommitUnknownError)
    assert await numbers(table) == []
    assert table.statistics().connections_open == 1


async def test_a_rollback_that_nobody_answers_closes_the_connection(
    table: Database, proxy: PostgresProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "CLOSE_SECONDS", 0.2)
    async with open_database(replace(table.target, host=str(proxy.folder))) as fragile:

        async def fail() -> None:
            async with fragile.transaction() as transaction:
                await transaction.execute("INSERT INTO medic.kept VALUES (1)")
                proxy.fault = Fault.SILENCE
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert fragile.statistics().connections_open == 0


async def test_connections_that_do_not_say_farewell_are_closed_all_the_same(
    table: Database, proxy: PostgresProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "CLOSE_SECONDS", 0.2)
    with trio.fail_after(PATIENCE_SECONDS):
        async with open_database(replace(table.target, host=str(proxy.folder))) as fragile:
            await fragile.fetch("SELECT 1")
            proxy.fault = Fault.SILENCE


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("sql", "args", "sqlstate"),
    [
        ("INSERT INTO medic.kept VALUES (NULL)", (), "23502"),
        ("INSERT INTO medic.kept VALUES ($1)", (2**63,), "22000"),
        ("INSERT INTO medic.kept VALUES (1, NULL, $1)", ("nul \x00",), "22021"),
        ("INSERT INTO medic.kept VALUES (1, NULL, $1)", ("lone \ud800",), "22000"),
        ("SELECT 1 / 0", (), "22012"),
    ],
)
async def test_values_that_will_never_be_taken_are_told_apart(
    table: Database, sql: str, args: tuple[object, ...], sqlstate: str
) -> None:
    with pytest.raises(RowRefusedError) as caught:
        await table.execute(sql, *args)

    assert caught.value.sqlstate == sqlstate
    assert table.statistics().connections_open == 1


async def test_a_violated_constraint_is_named_without_the_values(table: Database) -> None:
    await table.execute("INSERT INTO medic.kept VALUES (4711)")

    with pytest.raises(RowRefusedError) as caught:
        await table.execute("INSERT INTO medic.kept VALUES (4711)")

    assert caught.value.constraint == "kept_pkey"
    assert "4711" not in str(caught.value)


async def test_a_statement_that_is_wrong_is_medics_own_fault(database: Database) -> None:
    with pytest.raises(StatementRefusedError) as caught:
        await database.execute("SELECT nonsense")

    assert not isinstance(caught.value, RowRefusedError)
    assert caught.value.sqlstate == "42703"


@pytest.mark.parametrize(
    "wrong",
    [{"host": "/nonexistent/sesame"}, {"user": "sesame"}, {"database": "sesame"}, {"host": "127.0.0.1", "port": 1}],
    ids=str,
)
async def test_a_connection_that_cannot_be_made_gives_nothing_away(
    database: Database, wrong: dict[str, object]
) -> None:
    async with open_database(replace(database.target, password="sesame", **wrong)) as elsewhere:
        with pytest.raises(DatabaseUnavailableError) as caught:
            await elsewhere.fetch("SELECT 1")

        assert "sesame" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert elsewhere.statistics().connection_errors == 1
        assert elsewhere.statistics().reachable is False
    assert "password" not in repr(elsewhere.target)


async def test_a_locked_row_is_worth_another_try(table: Database) -> None:
    await table.execute("INSERT INTO medic.kept VALUES (1)")
    async with table.transaction() as transaction:
        await transaction.execute("SELECT FROM medic.kept FOR UPDATE")
        with pytest.raises(DatabaseUnavailableError, match="SQLSTATE 55P03"):
            await table.execute("SELECT FROM medic.kept FOR UPDATE NOWAIT")


# ------------------------------------------------------------------------------------------ PostgreSQL away, slow, back


async def test_postgresql_may_come_later_and_go_and_come_again(database: Database, folder: Path) -> None:
    async with open_database(replace(database.target, host=str(folder))) as patient:
        with pytest.raises(DatabaseUnavailableError):
            await patient.fetch("SELECT 1")
        for _ in range(2):
            async with proxied(database.target, folder):
                assert await patient.fetch("SELECT 1")
                assert patient.statistics().reachable is True
            with pytest.raises(DatabaseUnavailableError):
                await patient.fetch("SELECT 1")


async def test_a_connection_that_fails_while_it_is_set_up_is_not_kept(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise ConnectionResetError

    async with open_database(database.target) as other:
        with monkeypatch.context() as broken:
            broken.setattr(asyncpg.Connection, "set_type_codec", fail)
            with pytest.raises(DatabaseUnavailableError):
                await other.fetch("SELECT 1")
        assert other.statistics().connections_open == 0
        assert await other.fetch("SELECT 1")


async def test_connections_that_the_server_ended_cost_one_failure_at_most(database: Database) -> None:
    async with open_database(database.target) as other:
        async with AsyncExitStack() as held:
            for _ in range(4):
                await held.enter_async_context(other.transaction())
        assert other.statistics().connections_open == 4
        await database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        failures = 0
        for _ in range(5):
            try:
                await other.fetch("SELECT 1")
            except DatabaseUnavailableError:
                failures += 1
        assert failures <= 1


async def test_a_server_that_says_nothing_is_given_up_on(table: Database, proxy: PostgresProxy) -> None:
    async with open_database(replace(table.target, host=str(proxy.folder))) as patient:
        await patient.fetch("SELECT 1")
        limits, patient._limits = patient._limits, Limits(acquire_seconds=1, operation_seconds=0.3)
        proxy.fault = Fault.SILENCE
        with trio.fail_after(PATIENCE_SECONDS):
            with pytest.raises(DatabaseUnavailableError, match="timed out"):
                await patient.execute("SELECT 1")
            with pytest.raises(DatabaseUnavailableError, match="timed out"):
                await patient.fetch("SELECT 1")
        patient._limits = limits
        proxy.fault = Fault.NONE

        assert await patient.fetch("SELECT 1")


async def test_a_copy_that_hangs_can_be_cancelled(table: Database, proxy: PostgresProxy) -> None:
    async with open_database(replace(table.target, host=str(proxy.folder))) as patient:
        with trio.move_on_after(0.3) as scope:
            async with patient.transaction() as transaction:
                proxy.fault = Fault.SILENCE
                await transaction.copy_records("kept", ("number", "said"), ((n, "x" * 1000) for n in range(20_000)))
        assert scope.cancelled_caught
        proxy.fault = Fault.NONE
        assert await patient.fetch("SELECT 1")


async def test_a_pool_in_use_says_so(database: Database) -> None:
    async with open_database(database.target, connections_max=1) as small, small.transaction() as transaction:
        await transaction.execute("SELECT 1")
        small._limits = Limits(connections=1, acquire_seconds=0.1)
        with pytest.raises(DatabaseUnavailableError, match="every connection to PostgreSQL is in use"):
            await small.fetch("SELECT 1")


async def test_a_closed_database_takes_no_more_queries(database: Database) -> None:
    async with open_database(database.target) as other:
        await other.fetch("SELECT 1")

    with pytest.raises(DatabaseUnavailableError, match="closing"):
        await other.fetch("SELECT 1")
    assert other.statistics().connections_busy == 0


# ---------------------------------------------------------------------------------------------- many rows, notification


async def test_copy_lets_others_run_and_stores_every_row(table: Database) -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        async with table.transaction() as transaction:
            records = ((n, InstantMs(n), None) for n in range(20_000))
            assert await transaction.copy_records("kept", ("number", "at", "said"), records) == 20_000
        nursery.cancel_scope.cancel()

    assert turns > 20
    assert await numbers(table) == list(range(20_000))


@pytest.mark.parametrize("bad", [(1, 0, "nul \x00"), (1, 0, "lone \udfff"), (1, 2**70, "")], ids=repr)
async def test_a_copy_with_a_row_that_cannot_be_stored_stores_none(table: Database, bad: tuple[object, ...]) -> None:
    with pytest.raises(RowRefusedError):
        async with table.transaction() as transaction:
            await transaction.copy_records("kept", ("number", "at", "said"), [(7, 0, "good"), bad])

    assert await numbers(table) == []


async def test_a_stream_comes_in_slices_and_gives_its_connection_back(table: Database) -> None:
    sql = "SELECT n FROM generate_series(1, $1::int) n"

    slices = [len(part) async for part in table.stream(sql, 25, rows=10)]
    async with aclosing(table.stream(sql, 25, rows=10)) as parts:
        async for part in parts:
            assert [row["n"] for row in part] == list(range(1, 11))
            break

    assert slices == [10, 10, 5]
    assert table.statistics().connections_busy == 0
    assert await table.fetch("SELECT 1")


async def test_every_operation_is_observed_also_where_it_fails(database: Database) -> None:
    seen: list[tuple[str, bool]] = []
    async with open_database(database.target, observe=lambda name, seconds: seen.append((name, seconds >= 0))) as other:
        await other.fetch("SELECT 1")
        await other.fetch("SELECT 1", operation="one")
        with pytest.raises(RowRefusedError):
            await other.execute("INSERT INTO medic.webhooks (url) VALUES (NULL)")
        async with other.transaction() as transaction:
            await transaction.execute("SELECT 1")

    assert [name for name, _ in seen] == ["select", "one", "insert", "begin", "select", "commit"]
    assert all(counted for _, counted in seen)


async def test_a_listener_hears_what_is_notified_and_that_its_connection_is_lost(database: Database) -> None:
    async with open_database(database.target) as other, other.listening("news") as listener:
        for _ in range(2):
            await database.execute("NOTIFY news")
            with trio.fail_after(PATIENCE_SECONDS):
                await listener.wait()

        await database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with trio.fail_after(PATIENCE_SECONDS), pytest.raises(DatabaseUnavailableError):
            await listener.wait()


# --------------------------------------------------------------------------------------------------------------- bridge


async def test_the_bridge_may_be_crossed_from_outside_its_task_tree(database: Database) -> None:
    answers: list[int] = []
    async with trio.open_nursery() as outer:
        ready = trio.Event()

        async with open_bridge() as bridge, open_database(database.target, bridge=bridge) as other:

            async def ask() -> None:
                row = await other.fetchrow("SELECT 42 AS answer")
                assert row is not None
                answers.append(row["answer"])
                ready.set()

            outer.start_soon(ask)
            await ready.wait()

    assert answers == [42]


async def test_what_leaves_the_bridges_block_arrives_as_itself() -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_bridge():
            raise ZeroDivisionError
