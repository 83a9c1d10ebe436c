"""The cleanup on a real PostgreSQL: what goes and what stays, beside readers, writers, crashes and other cleanups."""

from __future__ import annotations

import pytest
import trio

from medic.cli.cleanup import clean_up
from medic.config.load import load_settings
from medic.core.units import DAY_MS
from medic.errors import ConfigurationError, UnavailableError
from medic.store.postgres.database import Database, LockedError, StatementRefusedError, open_database
from medic.store.retention import removing
from medic.store.retention.ages import Retention
from medic.store.retention.cleanup import CleanupBusyError
from medic.store.retention.expired import ALERTS, DAYS, NAMES, NEWS, SNAPSHOTS
from medic.store.retention.removing import MARK, removed_days
from tests.integration.cleaning import NOW, TODAY, Cleaned, day, instant, waiting_for_a_lock
from tests.patience import PATIENCE_SECONDS

READ_ALL = 'SELECT count(*) FROM medic."heartbeatEvents"'


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """One attempt at a day: what is held here is held until the test lets go."""
    monkeypatch.setattr(removing, "ATTEMPTS", 1)
    monkeypatch.setattr(removing, "PAUSE_SECONDS", 0.01)


@pytest.fixture
async def cleaned(database: Database) -> Cleaned:
    made = Cleaned(database)
    await made.written_until(NOW)
    return made


async def test_days_go_whole_once_all_of_them_is_older_and_not_before_the_writer_has_passed_them(
    cleaned: Cleaned,
) -> None:
    for days_ago in (32, 31, 30, 1, 0, -1):
        await cleaned.beat(instant(days_ago, 23.9))
    await cleaned.written_until(instant(31))
    assert (await cleaned.cleanup.run()).removed_days == []

    await cleaned.written_until(NOW)
    report = await cleaned.cleanup.run()

    assert report.removed_days == [day(32), day(31)]
    assert await cleaned.days() == [day(30), day(1), day(0), day(-1)]
    assert await cleaned.counted() == 4
    # Clocks that are wrong: that of who cleans up, and once that of a Medic of long ago.
    await cleaned.database.execute(
        "INSERT INTO medic.journal_positions (journal_id, watermark_at, updated_at)"
        " VALUES ('old', now() + interval '100 years', now() - interval '1 year')"
    )
    cleaned.now = NOW + 366 * DAY_MS
    assert (await cleaned.cleanup.run()).removed_days == []


async def test_a_writer_whose_clock_is_ahead_lets_nothing_be_counted_that_is_still_written_to(cleaned: Cleaned) -> None:
    await cleaned.beat(instant(0))
    await cleaned.written_until(NOW + 366 * DAY_MS)

    assert (await cleaned.cleanup.run()).counted == []
    assert (await cleaned.cleanup.plan()).to_count == []


async def test_without_a_watermark_nothing_is_touched(database: Database) -> None:
    cleaned = Cleaned(database)
    await cleaned.beat(instant(400))

    assert (await cleaned.cleanup.run()).left == []
    plan = await cleaned.cleanup.plan()

    assert await cleaned.days() == [day(400)]
    assert (plan.written_until, plan.to_count, plan.to_remove) == (None, [], [])
    assert [old.day for old in plan.waiting] == [day(400)]


async def test_a_reader_of_everything_keeps_no_writer_waiting_and_the_day_goes_once_it_is_done(
    cleaned: Cleaned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pg_dump holds on to every partition for an hour."""
    monkeypatch.setattr(removing, "ATTEMPTS", 2)
    for days_ago in (40, 33, 0):
        await cleaned.beat(instant(days_ago))
    async with cleaned.database.transaction() as reading:
        await reading.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert (await reading.fetchrow(READ_ALL))["count"] == 3
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, cleaned, left := [])
            await waiting_for_a_lock(cleaned.database)
            await cleaned.beat(instant(0))
            await cleaned.beat(instant(-1))
        assert left == [f"{day(40)} and what is after it is not removed: somebody reads it"]
        assert await cleaned.cleanup.last_success_at() is None
        # Whoever comes now does not see the day any more; whoever was there before still does.
        assert (await cleaned.database.fetchrow(READ_ALL))["count"] == 4
        assert (await reading.fetchrow(READ_ALL))["count"] == 3

    report = await cleaned.cleanup.run()

    assert (report.left, report.removed_days) == ([], [day(40), day(33)])
    assert await cleaned.days() == [day(0), day(-1)]
    assert await cleaned.counted() == 2


async def run(cleaned: Cleaned, left: list[str]) -> None:
    """Clean up; what was left."""
    left += (await cleaned.cleanup.run()).left


async def test_the_writer_finishes_a_removal_whose_day_it_needs_again(cleaned: Cleaned) -> None:
    await cleaned.beat(instant(40), times=2)
    async with cleaned.database.transaction() as reading:
        await reading.fetchrow(READ_ALL)
        assert (await cleaned.cleanup.run()).left
        with pytest.raises(LockedError):
            await cleaned.beat(instant(40))

    await cleaned.beat(instant(40))

    assert (await cleaned.database.fetchrow(READ_ALL))["count"] == 1
    await cleaned.cleanup.run()
    assert await cleaned.days() == []
    assert await cleaned.counted() == 3


async def test_a_crash_between_detaching_and_dropping_is_made_good_and_a_day_kept_by_hand_is_left_alone(
    cleaned: Cleaned,
) -> None:
    for days_ago in (42, 41, 40):
        await cleaned.beat(instant(days_ago))
    for days_ago, comment in ((42, MARK), (41, "kept for the auditors")):
        table = f'medic."heartbeatEvents_{day(days_ago):%Y%m%d}"'
        await cleaned.database.execute(f"COMMENT ON TABLE {table} IS '{comment}'")
        await cleaned.database.execute(f'ALTER TABLE medic."heartbeatEvents" DETACH PARTITION {table}')
    assert list(await removed_days(cleaned.database)) == [day(42)]

    report = await cleaned.cleanup.run()

    assert report.removed_days == [day(40)]
    assert list(await removed_days(cleaned.database)) == []
    tables = await cleaned.rows("SELECT relname FROM pg_class WHERE relname ~ '^heartbeatEvents_[0-9]+$'")
    assert tables == [(f"heartbeatEvents_{day(41):%Y%m%d}",)]


async def test_a_day_that_was_detached_and_is_read_by_somebody_is_dropped_by_the_next_run(cleaned: Cleaned) -> None:
    await cleaned.beat(instant(42))
    table = f'medic."heartbeatEvents_{day(42):%Y%m%d}"'
    await cleaned.database.execute(f"COMMENT ON TABLE {table} IS '{MARK}'")
    await cleaned.database.execute(f'ALTER TABLE medic."heartbeatEvents" DETACH PARTITION {table}')
    async with cleaned.database.transaction() as reading:
        await reading.fetchrow(f"SELECT count(*) FROM {table}")
        assert (await cleaned.cleanup.run()).left == [f"{day(42)} is not dropped: somebody reads it"]

    assert (await cleaned.cleanup.run()).left == []

    assert list(await removed_days(cleaned.database)) == []


async def test_only_one_cleanup_runs_at_a_time(cleaned: Cleaned) -> None:
    async with open_database(cleaned.database.target, connections_max=1) as other:
        session = await other.open_session()
        await session.execute("SELECT pg_advisory_lock(1296385097, 3)")
        with pytest.raises(CleanupBusyError):
            await cleaned.cleanup.run()
        with pytest.raises(UnavailableError, match="under way; nothing was done"):
            await clean_up(load_settings(cleaned.database.target.environment()))
        session.end()
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                try:
                    await cleaned.cleanup.run()
                except CleanupBusyError:
                    await trio.sleep(0.01)
                else:
                    break


async def test_a_database_without_the_schema_is_told_what_to_do(database: Database) -> None:
    await database.execute("DROP TABLE medic.cleanup")
    with pytest.raises(ConfigurationError, match="medic migrate"):
        await clean_up(load_settings(database.target.environment()))


async def test_closed_alerts_go_with_all_that_belongs_to_them_and_what_medic_goes_on_with_stays(
    database: Database,
) -> None:
    cleaned = Cleaned(database, Retention(alerts=40))
    await cleaned.written_until(NOW)
    old = await cleaned.alert(instant(50), instant(41, 23))
    kept = [
        await cleaned.alert(instant(50), instant(39)),
        await cleaned.alert(instant(50), None),
        pending := await cleaned.alert(instant(50), instant(45), 2),
    ]
    for alert_id, outcome in (
        (old, "delivered"),
        (kept[1], "delivered"),
        (pending, ""),
        (None, "delivered"),
        (None, ""),
    ):
        await cleaned.database.execute(
            "INSERT INTO medic.notifications (notification_id, target, kind, alert_id, decided_at, outcome)"
            " VALUES ($1, 'slack', 'trigger', $2, $3, $4)",
            f"n-{alert_id}-{outcome}",
            alert_id,
            instant(45),
            outcome,
        )
    for alert_id in (old, *kept):
        await cleaned.database.execute(
            "INSERT INTO medic.alert_events (alert_id, at, change) VALUES ($1, $2, 'opened')", alert_id, instant(50)
        )
    planned = (await cleaned.cleanup.plan()).rows
    assert planned.get(ALERTS, 0) == 0, "their outages are not counted yet"

    report = await cleaned.cleanup.run()

    assert (report.removed[ALERTS], report.removed[NEWS]) == (1, 1)
    assert await cleaned.rows("SELECT alert_id FROM medic.alerts ORDER BY 1") == [(alert_id,) for alert_id in kept]
    assert await cleaned.rows("SELECT alert_id FROM medic.alert_events ORDER BY 1") == [(one,) for one in kept]
    left = await cleaned.rows("SELECT notification_id FROM medic.notifications ORDER BY 1")
    assert set(left) == {("n-None-",), (f"n-{pending}-",), (f"n-{kept[1]}-delivered",)}
    [(outages,)] = await cleaned.rows("SELECT outages FROM medic.heartbeat_hours WHERE service_id = 1 AND outages > 0")
    assert outages == 3
    assert await cleaned.rows("SELECT alerts_from FROM medic.cleanup") == [(TODAY - 40 * DAY_MS,)]


async def test_snapshots_counts_and_names_go_by_their_own_times_and_nothing_that_is_kept_for_ever(
    database: Database,
) -> None:
    cleaned = Cleaned(database, Retention(hours=0, days=10, snapshots=5))
    await cleaned.written_until(NOW)
    await fill_old(cleaned)
    for_ever = Cleaned(database, Retention(hours=0, days=0, alerts=0, snapshots=0))

    report = await for_ever.cleanup.run()
    assert (report.removed, report.folded) == ({}, 0)
    report = await cleaned.cleanup.run()

    assert report.removed == {ALERTS: 0, NEWS: 0, SNAPSHOTS: 1, DAYS: 1}
    assert (await cleaned.cleanup.plan()).rows == {ALERTS: 0, NEWS: 0, SNAPSHOTS: 0, DAYS: 0}
    named = Cleaned(database, Retention(heartbeats=30, hours=20, days=10))
    assert (await named.cleanup.run()).removed[NAMES] == 1
    assert await cleaned.rows("SELECT service_id FROM medic.deleted_services") == [(6,)]


async def fill_old(cleaned: Cleaned) -> None:
    for number, days_ago in enumerate((31, 30), start=5):
        await cleaned.database.execute(
            "INSERT INTO medic.deleted_services"
            " (service_id, heartbeat_name, service_name, team, priority, date_deleted)"
            " VALUES ($1, 'x', 'x', 'x', 'p1', $2)",
            number,
            instant(days_ago),
        )
    for days_ago in (6, 5):
        await cleaned.database.execute(
            "INSERT INTO medic.service_snapshots"
            " (service_id, heartbeat_name, action_type, actor, created_at, snapshot_data)"
            " VALUES (5, 'x', 'edit', 'x', $1, '{}')",
            instant(days_ago),
        )
    for days_ago in (11, 10):
        await cleaned.database.execute(
            "INSERT INTO medic.heartbeat_days (service_id, day, up) VALUES (1, $1, 1)", day(days_ago)
        )


async def test_the_plan_says_what_a_run_would_do_and_does_nothing(cleaned: Cleaned) -> None:
    for days_ago in (40, 35, 2, 0):
        await cleaned.beat(instant(days_ago), times=3)
    await cleaned.written_until(instant(3))

    plan = await cleaned.cleanup.plan()

    assert plan.written_until == instant(3)
    assert [old.day for old in plan.to_count] == [day(40), day(35)]
    assert [old.day for old in plan.to_remove] == [day(40), day(35)]
    assert plan.waiting == []
    assert all(old.size > 0 for old in plan.to_remove)
    assert await cleaned.counted() == 0
    assert len(await cleaned.days()) == 4


async def test_a_schema_that_lost_a_piece_is_an_error_and_not_a_loss(cleaned: Cleaned) -> None:
    await cleaned.beat(instant(40))
    await cleaned.database.execute("ALTER TABLE medic.heartbeat_hours RENAME COLUMN up TO upwards")

    with pytest.raises(StatementRefusedError):
        await cleaned.cleanup.run()

    assert await cleaned.days() == [day(40)]
