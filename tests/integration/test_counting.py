"""Heartbeats and outages are counted by the hour, each exactly once, whatever comes late and whoever removes rows."""

from __future__ import annotations

import pytest
import trio

from medic.core.units import DAY_MS, HOUR_MS
from medic.store.postgres.database import Database
from medic.store.retention import counting
from medic.store.retention.ages import Retention
from tests.integration.cleaning import COUNTS, NOW, OUTAGES, TODAY, Cleaned, day, instant, waiting_for_a_lock


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is locked here stays locked until the test lets go."""
    monkeypatch.setattr(counting, "LOCK_SECONDS", 1)


@pytest.fixture
async def cleaned(database: Database) -> Cleaned:
    made = Cleaned(database)
    await made.written_until(NOW)
    return made


async def test_a_day_is_counted_by_service_hour_and_word_in_any_case(cleaned: Cleaned) -> None:
    words = {"UP": 1, "Up": 1, "down": 2, "DEGRADED": 3, "started": 4, "Completed": 5, "FAILED": 6, "läuft": 7, "ﬀ": 1}
    for word, times in words.items():
        await cleaned.beat(instant(1, 3.999), 7, word, times)
    await cleaned.beat(instant(1, 4), 7)
    await cleaned.beat(instant(1, 0), 8)
    await cleaned.beat(instant(1, 23.9999), 8)

    report = await cleaned.cleanup.run()

    assert [(counted.day, counted.hours) for counted in report.counted] == [(day(1), 4)]
    assert await cleaned.rows(COUNTS) == [
        (7, instant(1, 3), 2, 2, 3, 4, 5, 6, 8),
        (7, instant(1, 4), 1, 0, 0, 0, 0, 0, 0),
        (8, instant(1, 0), 1, 0, 0, 0, 0, 0, 0),
        (8, instant(1, 23), 1, 0, 0, 0, 0, 0, 0),
    ]


async def test_what_comes_late_into_a_day_that_is_counted_is_added_as_it_comes(cleaned: Cleaned) -> None:
    await cleaned.beat(instant(1), times=5)
    await cleaned.cleanup.run()

    await cleaned.beat(instant(1), times=2)
    await cleaned.beat(instant(1, 20), status="weird")
    await cleaned.cleanup.run()

    assert await cleaned.rows(COUNTS) == [
        (1, instant(1), 7, 0, 0, 0, 0, 0, 0),
        (1, instant(1, 20), 0, 0, 0, 0, 0, 0, 1),
    ]


async def test_what_is_counted_stays_when_rows_are_removed_by_hand_and_late_ones_still_add(cleaned: Cleaned) -> None:
    await cleaned.beat(instant(1), times=5)
    await cleaned.cleanup.run()
    await cleaned.database.execute('DELETE FROM "heartbeatEvents"')
    await cleaned.cleanup.run()
    assert await cleaned.counted() == 5

    await cleaned.beat(instant(1), times=3)
    await cleaned.cleanup.run()

    assert await cleaned.counted() == 8


async def test_a_day_that_was_removed_and_comes_again_is_counted_in_its_turn(cleaned: Cleaned) -> None:
    await cleaned.beat(instant(40), times=5)
    await cleaned.cleanup.run()
    assert await cleaned.days() == []

    await cleaned.beat(instant(40), times=2)
    report = await cleaned.cleanup.run()

    assert report.removed_days == [day(40)]
    assert await cleaned.counted() == 7


async def test_a_day_is_not_counted_before_the_writer_has_passed_it(cleaned: Cleaned) -> None:
    await cleaned.beat(instant(1))
    await cleaned.beat(instant(0, 5))
    await cleaned.beat(instant(-3))
    await cleaned.written_until(TODAY - 1)
    assert (await cleaned.cleanup.run()).counted == []

    await cleaned.written_until(TODAY)
    report = await cleaned.cleanup.run()

    assert [counted.day for counted in report.counted] == [day(1)]
    assert await cleaned.days() == [day(1), day(0), day(-3)]


async def test_a_day_that_somebody_writes_to_is_left_for_later_and_not_half_counted(cleaned: Cleaned) -> None:
    await cleaned.beat(instant(1), times=5)
    async with cleaned.database.transaction() as writing:
        await writing.copy_records(
            "heartbeatEvents", ("heartbeat_id", "time", "status", "service_id"), [(999, instant(1), "UP", 1)]
        )
        report = await cleaned.cleanup.run()
    assert report.left == [f"{day(1)} is not counted: somebody writes to it"]
    assert await cleaned.counted() == 0
    assert await cleaned.cleanup.last_success_at() is None

    assert (await cleaned.cleanup.run()).left == []

    assert await cleaned.counted() == 6
    assert await cleaned.cleanup.last_success_at() is not None


async def test_a_late_heartbeat_waits_for_the_count_and_is_added_to_it(cleaned: Cleaned) -> None:
    await cleaned.beat(instant(1), times=5)
    async with trio.open_nursery() as nursery, cleaned.database.transaction() as counting:
        await counting.execute(
            f'LOCK TABLE ONLY medic."heartbeatEvents_{day(1):%Y%m%d}" IN SHARE ROW EXCLUSIVE MODE;'
            "INSERT INTO medic.heartbeat_hours (service_id, hour, up)"
            f" SELECT 1, to_timestamp({instant(1)} / 1000), count(*)"
            f' FROM medic."heartbeatEvents_{day(1):%Y%m%d}"'
        )
        nursery.start_soon(cleaned.beat, instant(1))
        await waiting_for_a_lock(cleaned.database)
        await counting.execute(
            f'CREATE TRIGGER count_late_heartbeat AFTER INSERT ON medic."heartbeatEvents_{day(1):%Y%m%d}" FOR EACH ROW'
            " EXECUTE FUNCTION medic.count_late_heartbeat()"
        )

    assert await cleaned.counted() == 6


async def test_outages_are_counted_by_the_hour_and_a_day_without_heartbeats_has_them_too(cleaned: Cleaned) -> None:
    await cleaned.alert(instant(2, 22.5), instant(1, 1.25))
    await cleaned.alert(instant(1, 3), instant(1, 3), reason="reported_down")
    await cleaned.alert(instant(1, 5), None, 2, reason="reported_failed")
    await cleaned.alert(instant(0, 1), instant(0, 2))

    assert (await cleaned.cleanup.run()).left == []

    quarter = HOUR_MS // 4
    assert await cleaned.rows(OUTAGES + "") == [
        (1, instant(2, 22), 2 * quarter, 0, 1),
        (1, instant(2, 23), HOUR_MS, 0, 0),
        (1, instant(1, 0), HOUR_MS, 0, 0),
        (1, instant(1, 1), quarter, 0, 0),
        (1, instant(1, 3), 0, 0, 1),
        *((2, instant(1, hour), 0, HOUR_MS, int(hour == 5)) for hour in range(5, 24)),
    ]


async def test_alerts_that_lie_on_top_of_each_other_are_down_time_once(cleaned: Cleaned) -> None:
    await cleaned.alert(instant(2, 23), instant(1, 1.5))
    await cleaned.alert(instant(2, 23.5), instant(1, 0.5), reason="reported_down")
    await cleaned.alert(instant(1, 0.75), instant(1, 2))
    await cleaned.alert(instant(1, 1), instant(1, 2), 2)

    await cleaned.cleanup.run()

    assert await cleaned.rows(OUTAGES) == [
        (1, instant(2, 23), HOUR_MS, 0, 2),
        (1, instant(1, 0), HOUR_MS, 0, 1),
        (1, instant(1, 1), HOUR_MS, 0, 0),
        (2, instant(1, 1), HOUR_MS, 0, 1),
    ]


async def test_outages_are_counted_once_however_often_it_runs(cleaned: Cleaned) -> None:
    await cleaned.alert(instant(1, 5), None)
    for _ in range(3):
        await cleaned.cleanup.run()
    cleaned.now = NOW + DAY_MS
    await cleaned.written_until(cleaned.now)
    await cleaned.cleanup.run()

    [(late, outages)] = await cleaned.rows("SELECT sum(late_ms), sum(outages) FROM medic.heartbeat_hours")
    assert (late, outages) == ((19 + 24) * HOUR_MS, 1)


async def test_old_hours_are_folded_into_days_and_late_ones_once_more(database: Database) -> None:
    cleaned = Cleaned(database, Retention(hours=10))
    await cleaned.written_until(NOW)
    for hour in (0, 5.5, 23):
        await cleaned.beat(instant(11, hour), times=2)
    await cleaned.beat(instant(10))
    await cleaned.alert(instant(11, 5), instant(11, 7), reason="reported_down")

    await cleaned.cleanup.run()
    await cleaned.beat(instant(11, 5))
    await cleaned.cleanup.run()

    assert await cleaned.rows("SELECT service_id, day, up, reported_ms, outages FROM medic.heartbeat_days") == [
        (1, day(11), 7, 2 * HOUR_MS, 1)
    ]
    assert await cleaned.rows(COUNTS) == [(1, instant(10), 1, 0, 0, 0, 0, 0, 0)]
