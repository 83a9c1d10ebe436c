"""The tables hold what CONTRACT 5 promises to operators' SQL, and what the writer relies on."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
import trio

from medic.store.postgres.database import Database, RowRefusedError
from medic.store.postgres.migrate import migrate
from tests.patience import PATIENCE_SECONDS
from tests.postgres_server import PostgresServer, find_tool

ALERT = (
    "INSERT INTO medic.alerts (alert_id, alert_name, service_id, heartbeat_name, service_name, team, priority, reason,"
    " created_date) VALUES ($1, 'x', $2, 'x', 'x', 'x', 'p1', 'late', now())"
)


async def shell(database: Database, line: str, folder: Path) -> str:
    """What a line of the runbook prints, run as `medic env` lets operators run it."""
    tools = {"PATH": f"{find_tool('psql').parent}:{os.environ['PATH']}", **database.target.environment()}
    done = await trio.run_process(["/bin/sh", "-ec", line], env=tools, cwd=folder, capture_stdout=True)
    return done.stdout.decode()


async def test_the_runbooks_deletion_and_backup_work_unqualified(postgres: PostgresServer, tmp_path: Path) -> None:
    async with postgres.fresh_database(template="template1") as (database, _):
        await migrate(database)
        for day in ("2026-01-01", "2026-01-02"):
            await database.execute(f"SELECT medic.ensure_heartbeat_day('{day}')")
            await database.execute(
                'INSERT INTO medic."heartbeatEvents" (heartbeat_id, "time", status, service_id)'
                f" VALUES (1, '{day} 12:00Z', 'UP', 7)"
            )
        await database.execute("SELECT medic.ensure_heartbeat_day(current_date)")
        await database.execute(
            'INSERT INTO medic."heartbeatEvents" (heartbeat_id, "time", status, service_id)'
            " VALUES (3, now(), 'UP', 7)"
        )
        deletion = """DELETE FROM "heartbeatEvents" WHERE time <= (NOW() - INTERVAL '30 days');"""

        assert await shell(database, f"psql -c {shlex.quote(deletion)}", tmp_path) == "DELETE 2\n"

        await shell(
            database, "pg_dump -h $DB_HOST -U $PG_USER -d $DB_NAME > medic_backup_$(date +%Y%m%d).sql", tmp_path
        )
        assert (await shell(database, "ls", tmp_path)).startswith("medic_backup_")
        async with postgres.fresh_database(template="template1") as (copy, _):
            await shell(copy, "psql -q -v ON_ERROR_STOP=1 -f medic_backup_*.sql", tmp_path)
            kept = await copy.fetch('SELECT heartbeat_id FROM medic."heartbeatEvents"')
            assert [row["heartbeat_id"] for row in kept] == [3]
            assert await migrate(copy) == []


async def test_days_are_made_once_however_many_ask(database: Database) -> None:
    made: list[bool] = []

    async def ask(day: int) -> None:
        row = await database.fetchrow(f"SELECT medic.ensure_heartbeat_day('2026-01-0{day}') AS made")
        assert row is not None
        made.append(row["made"])

    async with trio.open_nursery() as nursery:
        for day in (1, 1, 1, 2, 2, 1):
            nursery.start_soon(ask, day)

    assert sorted(made) == [False] * 4 + [True] * 2


async def test_a_day_is_made_while_others_write_and_read(database: Database) -> None:
    await database.execute("SELECT medic.ensure_heartbeat_day('2026-01-01')")
    async with database.transaction() as writing:
        await writing.copy_records(
            "heartbeatEvents", ("heartbeat_id", "time", "status", "service_id"), [(1, 1_767_268_800_000, "UP", 7)]
        )
        await writing.execute('LOCK TABLE medic."heartbeatEvents" IN ACCESS SHARE MODE')
        with trio.fail_after(PATIENCE_SECONDS):
            await database.execute("SELECT medic.ensure_heartbeat_day('2026-01-02')")


@pytest.mark.parametrize("day", ["1970-01-01", "9999-12-31"])
async def test_a_day_holds_its_first_and_its_last_millisecond(database: Database, day: str) -> None:
    await database.execute(f"SELECT medic.ensure_heartbeat_day('{day}')")
    for number, time in enumerate((f"{day} 00:00:00.000Z", f"{day} 23:59:59.999Z")):
        await database.execute(
            'INSERT INTO medic."heartbeatEvents" (heartbeat_id, "time", status, service_id)'
            f" VALUES ({number}, '{time}', 'UP', 7)"
        )


async def test_a_heartbeat_without_its_day_is_refused_not_put_elsewhere(database: Database) -> None:
    with pytest.raises(RowRefusedError, match="no partition"):
        await database.execute(
            'INSERT INTO medic."heartbeatEvents" (heartbeat_id, "time", status, service_id)'
            " VALUES (1, now(), 'UP', 7)"
        )


async def test_a_service_has_one_open_alert_at_most(database: Database) -> None:
    await database.execute(ALERT, 1, 7)

    with pytest.raises(RowRefusedError) as caught:
        await database.execute(ALERT, 2, 7)
    assert caught.value.constraint == "alerts_one_open"

    await database.execute("UPDATE medic.alerts SET active = 0, closed_date = now()")
    await database.execute(ALERT, 2, 7)


async def test_names_differ_as_medics_own_function_says(database: Database) -> None:
    same = [("Nightly", "nIGHTLY"), ("ÄB", "Äb")]
    different = [("Ä", "ä"), ("İ", "i"), ("I", "ı"), ("ß", "SS"), ("Ａ", "ａ"), ("Σ", "ς")]
    insert = "INSERT INTO medic.services (heartbeat_name, service_name, alert_interval) VALUES ($1, 'x', 5)"
    for number, (one, other) in enumerate((*same, *different)):
        await database.execute(insert, f"{number} {one}")
        if (one, other) in same:
            with pytest.raises(RowRefusedError, match="services_name"):
                await database.execute(insert, f"{number} {other}")
        else:
            await database.execute(insert, f"{number} {other}")


async def test_blocks_of_ids_are_given_once_and_never_those_of_sql(database: Database) -> None:
    taken: list[int] = []

    async def take() -> None:
        row = await database.fetchrow("SELECT medic.take_id_blocks(5) AS first")
        assert row is not None
        taken.append(row["first"])

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(take)
    by_sql = await database.fetchrow(
        "SELECT seqmax FROM pg_sequence WHERE seqrelid = 'medic.service_id_by_sql'::regclass"
    )

    assert sorted(taken) == list(range(1024, 1024 + 40, 5))
    assert by_sql is not None
    assert by_sql["seqmax"] < 1024 * 2**20


async def test_truncating_services_is_refused(database: Database) -> None:
    with pytest.raises(Exception, match="use DELETE"):
        await database.execute("TRUNCATE medic.services")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("heartbeat_name", "turned\u202earound"),
        ("heartbeat_name", "wide\u00a0space"),
        ("heartbeat_name", "line\nbreak"),
        ("service_name", "zero\u200bwidth"),
        ("team", "two\nteams"),
        ("runbook", 'https://a b "'),
        ("runbook", "https://a/" + "x" * 2_048),
        ("date_added", 300_000_000_000_000),
        ("date_modified", -1),
        ("mute_until", 300_000_000_000_000),
    ],
)
async def test_what_http_refuses_sql_refuses_as_well(database: Database, column: str, value: object) -> None:
    columns = {"heartbeat_name": "fine", "service_name": "s", "alert_interval": 5, column: value}
    places = ", ".join(f"${place}" for place in range(1, len(columns) + 1))
    with pytest.raises(RowRefusedError):
        await database.execute(
            f"INSERT INTO medic.services ({', '.join(columns)}) VALUES ({places})", *columns.values()
        )


async def test_names_that_people_use_are_taken(database: Database) -> None:
    for name in ("plain", "with space", "grüße", "心跳", "a/b:c@d#e", "émoji 🚀", "x" * 249):
        await database.execute(
            "INSERT INTO medic.services (heartbeat_name, service_name, alert_interval) VALUES ($1, $1, 5)", name
        )
