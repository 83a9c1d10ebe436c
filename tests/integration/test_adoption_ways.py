"""The taking over in the real PostgreSQL: ended at any step, gone back from, refused."""

from __future__ import annotations

import pytest

from medic.actors.clock import wall_now
from medic.errors import ConfigurationError
from medic.store.adoption import adopt as steps
from medic.store.adoption import heartbeats as batches
from medic.store.adoption.adopt import finish, go_back
from medic.store.adoption.unheard import read_unheard
from medic.store.postgres.database import Database, open_database
from medic.store.postgres.migrate import migrate
from medic.store.retention.ages import day_begins
from medic.store.retention.counting import count_outages
from tests.earlier_system import A_SMALL_FLEET, schema, small_fleet
from tests.integration.adopting import column, filled, look, take
from tests.patience import PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def small_batches_and_patience(monkeypatch):
    """Several batches of a small table; and the lock of a run that was killed is waited for."""
    monkeypatch.setattr(batches, "BATCH_ROWS", 1_000)
    monkeypatch.setattr(steps, "LOCK_SECONDS", PATIENCE_SECONDS)


@pytest.mark.parametrize("place", ["medic", "public"])
async def test_the_way_back_puts_everything_where_it_was(postgres, place):
    async with filled(postgres, *small_fleet(place)) as database:
        before = await database.fetch(f"SELECT * FROM {place}.services ORDER BY service_id")
        adopted = await take(database)
        assert await column(database, f"SELECT to_regclass('{place}.services') IS NULL") == [place == "public"]
        await database.execute(
            "INSERT INTO medic.services (heartbeat_name, service_name, alert_interval) VALUES ('since', 's', 5)"
        )
        returned = await go_back(database)
        assert (returned.place, returned.services) == (place, 1)
        assert await database.fetch(f"SELECT * FROM {place}.services ORDER BY service_id") == before
        # It works there as it did: the serial goes on, and nothing of Medic's is in the way.
        await database.execute(
            f"INSERT INTO {place}.services (heartbeat_name, service_name, alert_interval) VALUES ('more', 'm', 5)"
        )
        assert await column(database, f"SELECT max(service_id) FROM {place}.services") == [10]
        assert await column(database, "SELECT count(*) FROM medic_after.services") == [10]
        with pytest.raises(ConfigurationError, match="DROP SCHEMA medic_after CASCADE"):
            await again(database)
        await database.execute("DROP SCHEMA medic_after CASCADE")
        second = await take(database)
        assert second.at > adopted.at
        assert await column(database, "SELECT count(*) FROM medic.services") == [10]


async def again(database: Database) -> None:
    await take(database)
    await go_back(database)


async def test_after_the_end_there_is_no_way_back_and_the_old_tables_are_gone(earlier, adopted):
    with pytest.raises(ConfigurationError, match="no tables of the earlier system were taken over"):
        await finish(earlier)
    assert (await take(adopted)).was_finished
    with pytest.raises(ConfigurationError, match="no Medic was started on what was taken over yet"):
        await finish(adopted)
    await adopted.execute("UPDATE medic.medic_instance SET active_directory = 'of a Medic'")
    await finish(adopted)
    assert await column(adopted, "SELECT to_regnamespace('medic_before') IS NULL") == [True]
    with pytest.raises(ConfigurationError, match="removed already"):
        await go_back(adopted)
    assert await migrate(adopted) == []
    assert await read_unheard(adopted) is None


class _Killed(BaseException):
    """As a kill would end it."""


@pytest.mark.parametrize("after", ["moved", "schema", "rows", "a batch", "all batches"])
async def test_a_crash_at_any_step_can_be_gone_on_with(postgres, monkeypatch, after):
    async with filled(postgres, *small_fleet(count=3_000)) as database:
        lines = {"moved": "moved the tables", "schema": "applied", "rows": "services:", "a batch": "heartbeats: 1000"}
        begins = lines.get(after, "heartbeats: 3007")

        def die(line: str) -> None:
            if line.startswith(begins):
                raise _Killed

        with pytest.raises(_Killed):
            await take(database, die)
        if after != "moved":
            with pytest.raises(ConfigurationError, match="Go on with `medic migrate --adopt`"):
                await migrate(database)
            with pytest.raises(ConfigurationError, match="not all of the earlier system's tables were taken over yet"):
                await finish(database)
        await take(database)
        assert await column(database, 'SELECT count(*) FROM medic."heartbeatEvents"') == [3_006]
        assert await column(database, "SELECT count(*) FROM medic.services") == [9]
        assert await column(database, "SELECT count(*) FROM medic.service_states") == [9]
        assert await column(database, "SELECT count(*) FROM medic.alerts WHERE active = 1") == [5]


async def test_halfway_there_is_a_way_back_too(earlier):
    def die(line: str) -> None:
        if line.startswith("moved"):
            raise _Killed

    with pytest.raises(_Killed):
        await take(earlier, die)
    assert (await go_back(earlier)).services == 0
    assert await column(earlier, "SELECT count(*) FROM medic.services") == [9]
    assert (await look(earlier)).is_settled


async def test_it_is_not_done_beside_a_medic_that_is_active(earlier, monkeypatch):
    monkeypatch.setattr(steps, "LOCK_SECONDS", 0)
    session = await earlier.open_session()
    try:
        await session.execute("SELECT pg_advisory_lock(1296385097, 1)")
        with pytest.raises(ConfigurationError, match="a Medic is active on it"):
            await take(earlier)
    finally:
        session.end()


async def test_where_there_is_nothing_to_take_over_that_is_said(database, postgres):
    with pytest.raises(ConfigurationError, match="no tables of the earlier system"):
        await look(database)
    with pytest.raises(ConfigurationError, match="no tables of the earlier system"):
        await take(database)


async def test_a_medic_with_services_of_its_own_takes_nothing_over(postgres):
    async with postgres.fresh_database() as (database, _):
        await database.execute(schema("public"))
        await database.execute(A_SMALL_FLEET.format(place="public"))
        # Without services of its own it would: somebody started Medic here before.
        assert (await look(database)).is_settled
        await database.execute(
            "INSERT INTO medic.services (heartbeat_name, service_name, alert_interval) VALUES ('own', 'own', 5)"
        )
        with pytest.raises(ConfigurationError, match="services of its own"):
            await take(database)


async def test_where_a_medic_was_tried_before_the_outages_of_the_earlier_system_are_counted_all_the_same(postgres):
    async with postgres.fresh_database() as (database, _):
        await database.execute("UPDATE medic.cleanup SET outages_until = now()")
        for statement in small_fleet("public"):
            await database.execute(statement)
        await take(database)
        await count_outages(database, day_begins(wall_now()))
        counted = "SELECT outages FROM medic.heartbeat_hours WHERE service_id = 1 AND outages > 0"
        assert await column(database, counted) == [1]


async def test_a_schema_in_the_way_is_named(earlier):
    await earlier.execute("CREATE SCHEMA medic_before")
    with pytest.raises(ConfigurationError, match="schema medic_before is in the way"):
        await take(earlier)


async def test_tables_that_somebody_uses_are_not_moved_and_it_is_said_who(earlier, monkeypatch):
    monkeypatch.setattr(steps, "MOVE_SECONDS", 0.1)
    async with earlier.transaction() as user:
        await user.execute("INSERT INTO medic.schema_migrations (version) VALUES ('1'); SELECT 1 FROM medic.services")
        await user.execute("UPDATE medic.services SET down = 0")
        with pytest.raises(ConfigurationError, match=r"in use by other sessions \(pid \d+\). Stop it first"):
            await take(earlier)
    await take(earlier)


async def test_a_row_that_breaks_a_rule_nobody_knew_of_is_told_and_can_be_settled(postgres):
    # As a rule would be that the plan does not know of: it is broken once the plan has looked.
    async with filled(postgres, *small_fleet()) as database:

        def stop(line: str) -> None:
            if line.startswith("moved"):
                raise _Killed

        with pytest.raises(_Killed):
            await take(database, stop)
        await database.execute("UPDATE medic_before.services SET threshold = 4000 WHERE service_id = 1")
        with pytest.raises(ConfigurationError, match=r"threshold_bounds.*Settle that in schema medic_before"):
            await take(database)
        await database.execute("UPDATE medic_before.services SET threshold = 4 WHERE service_id = 1")
        await take(database)
        assert await column(database, "SELECT threshold FROM medic.services WHERE service_id = 1") == [4]


async def test_a_role_that_may_not_move_the_tables_is_told(earlier):
    await earlier.execute("CREATE ROLE humble")
    await earlier.execute("GRANT USAGE ON SCHEMA medic TO humble; GRANT SELECT ON ALL TABLES IN SCHEMA medic TO humble")
    async with open_database(earlier.target, connections_max=2) as database:
        session = await database.open_session()
        session.end()
        await earlier.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {earlier.target.database} SET role = humble")
        try:
            with pytest.raises(ConfigurationError, match="its role may not move the earlier system's tables"):
                await take(database)
        finally:
            await earlier.execute(f"ALTER ROLE SESSION_USER IN DATABASE {earlier.target.database} RESET role")
    await earlier.execute("DROP OWNED BY humble; DROP ROLE humble")
