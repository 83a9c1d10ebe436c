"""How a service was, on a real PostgreSQL: the same before and after what it is made of was counted and removed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medic.core.author import Author
from medic.core.availability import Span
from medic.core.draft import ServiceDraft
from medic.core.effects import EndMute, SetMute
from medic.core.policy import Defaults
from medic.core.service import Mute
from medic.core.units import DAY_MS, HOUR_MS, MINUTE_MS, DurationMs, ServiceId
from medic.errors import DatabaseUnavailableError
from medic.history import ServiceRecord
from medic.store.retention.ages import Retention
from medic.store.retention.records import PgServiceRecords
from medic.store.tables import history
from medic.store.tables.services import PgServiceStore
from tests.fakes.ticking import CountedIds, HandClock
from tests.integration.cleaning import NOW, TODAY, Cleaned, instant
from tests.integration.writing import World

ANNA = Author("anna")
NAME = "Zahlung-Nacht"
DRAFT = ServiceDraft(NAME, "payments", DurationMs(300_000), team="core")
MONTHS = Span(instant(60, 0), NOW)


class Roster:
    """Knows no service: of every one the newest record of the journal is waited for."""

    def by_id(self, _service_id: ServiceId) -> None:
        return None


class Watched(Cleaned):
    """A service in a database, and who answers how it was."""

    def __init__(self, world: World, retention: Retention | None = None) -> None:
        super().__init__(world.database, retention)
        self.world = world
        self.clock = HandClock()
        self.store = PgServiceStore(world.database, CountedIds(7_000), self.clock, Defaults())
        self.records = PgServiceRecords(world.database, world.journal, world.writer, Roster())

    async def register(self, at: int) -> ServiceId:
        self.clock.at = at
        self.row, _ = await self.store.insert(DRAFT, by=ANNA)
        return self.row.service_id

    async def edit(self, at: int, **changes: object) -> None:
        self.clock.at = at
        self.row = replace(self.row, version=self.row.version + 1, date_modified=at, **changes)
        assert await self.store.replace(self.row, by=ANNA)

    async def record(self, window: Span = MONTHS) -> ServiceRecord:
        found = await self.records.record(self.row.service_id, window)
        assert found is not None
        return found


@pytest.fixture
def world(database, tmp_path) -> World:
    return World(database, tmp_path)


async def fill(watched: Watched) -> ServiceId:
    """Two months of a service: heartbeats in several days, some outages, a pause, mutes."""
    service_id = await watched.register(instant(50, 6))
    await watched.edit(instant(20, 0), active=False)
    await watched.edit(instant(19, 0), active=True)
    await watched.alert(instant(45, 1), instant(45, 3), service_id, name=NAME.upper())
    await watched.alert(instant(31, 23.5), instant(30, 0.5), service_id, "reported_failed", name=NAME)
    await watched.alert(instant(0, 6), None, service_id, "never_heard", name=NAME)
    await watched.alert(instant(3, 6), instant(3, 7), 999, name=NAME)  # another one of that name, before
    for days_ago, status, times in ((45, "UP", 3), (31, "failed", 2), (2, "up", 4), (0, "läuft", 5)):
        await watched.beat(instant(days_ago, 4.25), service_id, status, times)
        await watched.beat(instant(days_ago, 4.25), 999, "UP", 1)
    mute = Mute(muted_at=instant(10, 0), until=instant(10, 6), reason="works", muted_by="anna")
    said = {"service_id": service_id, "sighted": 0, "author": ANNA}
    muted = SetMute(at=instant(10, 0), mute=mute, **said)
    again = SetMute(at=instant(5, 0), mute=replace(mute, muted_at=instant(5, 0), until=None), **said)
    await watched.world.write(muted, again, EndMute(at=instant(5, 2), by="ben", **said))
    await watched.written_until(NOW)
    return service_id


def facts(record: ServiceRecord) -> dict[str, object]:
    found = record.availability
    return {
        "watched": found.watched / HOUR_MS,
        "up": found.up / HOUR_MS,
        "late": found.late / HOUR_MS,
        "reported": found.reported / HOUR_MS,
        "muted": found.muted / HOUR_MS,
        "outages": found.outages,
        "heartbeats": {word: count for word, count in record.heartbeats.items() if count},
    }


HELD = {
    "watched": 50 * 24 + 1 - 24.0,
    "up": 50 * 24 + 1 - 24 - 3 - 1.0,
    "late": 3.0,
    "reported": 1.0,
    "muted": 8.0,
    "outages": 3,
    "heartbeats": {"UP": 7, "FAILED": 2, "OTHER": 5},
}


async def test_the_answer_is_the_same_before_and_after_everything_was_counted_folded_and_removed(world: World) -> None:
    watched = Watched(world, Retention(heartbeats=1, hours=35, alerts=40))
    await fill(watched)
    assert facts(await watched.record()) == HELD
    assert [round(outage.begins) for outage in (await watched.record()).outages] == [
        instant(0, 6), instant(31, 23.5), instant(45, 1)
    ]  # fmt: skip

    assert (await watched.cleanup.run()).left == []

    record = await watched.record()
    assert facts(record) == HELD
    assert [outage.begins for outage in record.outages] == [instant(0, 6), instant(31, 23.5)]
    assert record.outages_from == TODAY - 40 * DAY_MS
    assert (record.heartbeat_name, record.service_name, record.team) == (NAME, "payments", "core")
    await watched.database.execute('DELETE FROM "heartbeatEvents"')
    left = facts(await watched.record())
    assert left == {**HELD, "heartbeats": {"UP": 7, "FAILED": 2}}, "today's are not counted yet"


async def test_a_window_cuts_outages_to_the_millisecond_and_heartbeats_by_the_hours_that_begin_in_it(
    world: World,
) -> None:
    watched = Watched(world)
    await fill(watched)
    await watched.cleanup.run()
    window = Span(instant(31, 23.75), instant(30, 0.25))

    cut = await watched.record(window)

    assert (cut.availability.reported, cut.availability.outages) == (HOUR_MS // 2, 0)
    hour = instant(2, 4)
    for begins, ends, expected in (
        (hour, hour + 1, 4),
        (hour + 1, hour + HOUR_MS, 0),
        (hour - 1, hour, 0),
        (hour - MINUTE_MS, hour + MINUTE_MS, 4),
    ):
        assert (await watched.record(Span(begins, ends))).heartbeats.get("UP", 0) == expected


async def test_a_deleted_service_can_still_be_asked_for_and_one_that_never_was_cannot(world: World) -> None:
    watched = Watched(world)
    service_id = await fill(watched)
    watched.clock.at = NOW
    assert await watched.store.delete(service_id, by=ANNA)
    await watched.database.execute("UPDATE medic.deleted_services SET date_deleted = $1", instant(0, 5))

    record = await watched.record()

    assert record.heartbeat_name == NAME
    assert record.availability.watched == HELD["watched"] * HOUR_MS - 2 * HOUR_MS
    assert await watched.records.record(ServiceId(4711), MONTHS) is None


async def test_a_mute_that_only_the_row_tells_of_counts(world: World) -> None:
    """The beginning of the audit was removed, and somebody muted by SQL."""
    watched = Watched(world)
    await fill(watched)
    await watched.database.execute(
        "BEGIN; SET LOCAL medic.audit_retention = 'on'; DELETE FROM medic.audit_log; COMMIT;"
        f"UPDATE medic.services SET muted = 1, date_muted = to_timestamp({instant(1, 0)} / 1000),"
        f" mute_until = to_timestamp({instant(1, 9)} / 1000) WHERE service_id = {watched.row.service_id}"
    )
    assert facts(await watched.record())["muted"] == 9

    await watched.database.execute(
        f"UPDATE medic.services SET mute_until = 'infinity' WHERE service_id = {watched.row.service_id}"
    )
    assert facts(await watched.record())["muted"] == 31


async def test_while_postgresql_is_behind_nothing_untrue_is_said(world: World, monkeypatch) -> None:
    watched = Watched(world)
    await fill(watched)
    monkeypatch.setattr(history, "OWN_WRITES_SECONDS", 0.0)
    world.journal.append_nowait(EndMute(service_id=watched.row.service_id, at=NOW, sighted=NOW, by="ben", author=ANNA))

    with pytest.raises(DatabaseUnavailableError, match="too far behind"):
        await watched.record()
