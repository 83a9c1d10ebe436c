"""What every History does: the fake that other tests use, and the one on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import pytest

from medic.access.reach import Reach
from medic.core.policy import Defaults
from medic.core.service import Service, ServiceRow
from medic.core.units import DurationMs, EventId, InstantMs, ServiceId, SightedMs
from medic.history import AlertHistory, AlertMoment, AlertQuery, AlertRow, Delivery, HeartbeatRow, History
from medic.store.journal.memory_journal import MemoryJournal
from medic.store.postgres.database import Database
from medic.store.tables.history import PgHistory
from tests.fakes.history import MemoryHistory
from tests.fakes.written import CaughtUp, FixedRoster
from tests.postgres_server import PostgresServer

NOON = 1_767_268_800_000
DAY = 86_400_000


def service(number: int, *, label: str = "label") -> Service:
    row = ServiceRow(
        service_id=ServiceId(number),
        version=1,
        heartbeat_name=f"Näme-{number}",
        service_name=label,
        active=True,
        interval_ms=DurationMs(60_000),
        grace_ms=DurationMs(0),
        threshold=1,
        recovery_ms=DurationMs(0),
        renotify_ms=None,
        team=f"team-{number}",
        priority="p2",
        runbook="",
        date_added=InstantMs(NOON),
        date_modified=InstantMs(NOON),
    )
    return Service(row, row.policy(Defaults()), registered=SightedMs(NOON))


def heartbeat(number: int, of: Service, at: int, *, status: str = "UP", run_id: str | None = None) -> HeartbeatRow:
    return HeartbeatRow(
        heartbeat_id=EventId(number),
        service_id=of.row.service_id,
        heartbeat_name=of.row.heartbeat_name,
        service_name=of.row.service_name,
        team=of.row.team,
        priority=of.row.priority,
        time=InstantMs(at),
        status=status,
        run_id=run_id,
        said_at=InstantMs(at - 1_000) if run_id else None,
    )


def alert(number: int, at: int, *, name: str = "nightly", team: str = "platform", closed: bool = False) -> AlertHistory:
    row = AlertRow(
        alert_id=EventId(number),
        service_id=ServiceId(number),
        heartbeat_name=name,
        service_name="label",
        team=team,
        priority="p1",
        runbook="https://example.org/run",
        reason="late",
        alert_cycle=3,
        created_date=InstantMs(at),
        closed_date=InstantMs(at + 5_000) if closed else None,
        closed_reason="recovered" if closed else "",
        acknowledged_date=InstantMs(at + 1_000),
        acknowledged_by="anna",
        muted=True,
        flapping=number % 2 == 1,
    )
    moments = [AlertMoment(InstantMs(at), "opened"), AlertMoment(InstantMs(at), "acknowledged", "anna", "mine")]
    deliveries = [
        Delivery(f"{number}.0", "pagerduty", "trigger", InstantMs(at), InstantMs(at + 300), 2, "delivered", "202"),
        Delivery(f"{number}.0", "slack", "trigger", InstantMs(at), None, 0, "", ""),
    ]
    return AlertHistory(row, moments, deliveries)


class Archive(Protocol):
    """A history, and a way to put into it what an earlier Medic left."""

    history: History

    async def keep_heartbeats(self, services: Sequence[Service], rows: Sequence[HeartbeatRow]) -> None: ...

    async def keep_alerts(self, histories: Sequence[AlertHistory]) -> None: ...

    async def forget(self, service: Service) -> None: ...


class FakeArchive:
    def __init__(self) -> None:
        self.history = MemoryHistory()

    async def keep_heartbeats(self, services: Sequence[Service], rows: Sequence[HeartbeatRow]) -> None:
        self.history.heartbeat_rows.extend(rows)

    async def keep_alerts(self, histories: Sequence[AlertHistory]) -> None:
        self.history.alert_histories.extend(histories)

    async def forget(self, service: Service) -> None:
        """History keeps name and id."""


class StoredArchive:
    def __init__(self, database: Database) -> None:
        self._database = database
        journal = MemoryJournal()
        self.history = PgHistory(database, journal, CaughtUp(journal), FixedRoster())

    async def keep_heartbeats(self, services: Sequence[Service], rows: Sequence[HeartbeatRow]) -> None:
        for one in services:
            await self._database.execute(
                "INSERT INTO medic.services (service_id, heartbeat_name, service_name, alert_interval, team, priority)"
                " VALUES ($1, $2, $3, 1, $4, $5)",
                one.row.service_id,
                one.row.heartbeat_name,
                one.row.service_name,
                one.row.team,
                one.row.priority,
            )
        for row in rows:
            await self._database.execute(
                "SELECT medic.ensure_heartbeat_day(($1::timestamptz AT TIME ZONE 'UTC')::date)", row.time
            )
        columns = ("heartbeat_id", "time", "status", "service_id", "run_id", "said_at")
        async with self._database.transaction() as transaction:
            records = [
                (row.heartbeat_id, row.time, row.status, row.service_id, row.run_id, row.said_at) for row in rows
            ]
            await transaction.copy_records("heartbeatEvents", columns, records)

    async def keep_alerts(self, histories: Sequence[AlertHistory]) -> None:
        for kept in histories:
            row = kept.alert
            await self._database.execute(
                "INSERT INTO medic.alerts (alert_id, alert_name, service_id, heartbeat_name, service_name, team,"
                " priority, runbook, active, alert_cycle, reason, created_date, closed_date, closed_reason,"
                " acknowledged_date, acknowledged_by, muted, flapping)"
                " VALUES ($1, '', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
                row.alert_id,
                row.service_id,
                row.heartbeat_name,
                row.service_name,
                row.team,
                row.priority,
                row.runbook,
                int(row.closed_date is None),
                row.alert_cycle,
                row.reason,
                row.created_date,
                row.closed_date,
                row.closed_reason,
                row.acknowledged_date,
                row.acknowledged_by,
                int(row.muted),
                int(row.flapping),
            )
            for moment in kept.moments:
                await self._database.execute(
                    "INSERT INTO medic.alert_events (alert_id, at, change, by, note) VALUES ($1, $2, $3, $4, $5)",
                    row.alert_id,
                    moment.at,
                    moment.change,
                    moment.by,
                    moment.note,
                )
            for told in kept.deliveries:
                await self._database.execute(
                    "INSERT INTO medic.notifications (notification_id, target, kind, alert_id, decided_at, settled_at,"
                    " attempts, outcome, detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                    told.notification_id,
                    told.target,
                    told.action,
                    row.alert_id,
                    told.decided_at,
                    told.settled_at,
                    told.attempts,
                    told.outcome,
                    told.detail,
                )

    async def forget(self, service: Service) -> None:
        await self._database.execute("DELETE FROM medic.services WHERE service_id = $1", service.row.service_id)


@pytest.fixture
async def archive(server: PostgresServer | None) -> AsyncIterator[Archive]:
    if server is None:
        yield FakeArchive()
        return
    async with server.fresh_database() as (database, _):
        yield StoredArchive(database)


# ----------------------------------------------------------------------------------------------------------- heartbeats


async def test_the_newest_heartbeats_of_a_service_come_first_over_days(archive: Archive) -> None:
    one, other = service(1), service(2)
    rows = [heartbeat(number, one, NOON - number * DAY // 2, run_id=f"run {number}") for number in range(5)]
    await archive.keep_heartbeats([one, other], [*rows, heartbeat(99, other, NOON)])

    assert list(await archive.history.heartbeats(service=one, service_name=None, limit=3)) == rows[:3]
    assert list(await archive.history.heartbeats(service=one, service_name=None, limit=250)) == rows


async def test_heartbeats_of_one_instant_are_ordered_by_id(archive: Archive) -> None:
    one = service(1)
    rows = [heartbeat(number, one, NOON) for number in (7, 6, 5)]
    await archive.keep_heartbeats([one], rows[::-1])

    assert list(await archive.history.heartbeats(service=one, service_name=None, limit=9)) == rows


async def test_a_label_gives_the_heartbeats_of_all_its_services(archive: Archive) -> None:
    one, two, three = service(1, label="pay"), service(2, label="pay"), service(3, label="other")
    rows = [heartbeat(number, of, NOON + number) for number, of in enumerate((one, two, three, one), 1)]
    await archive.keep_heartbeats([one, two, three], rows)

    found = await archive.history.heartbeats(service=None, service_name="pay", limit=2)

    assert list(found) == [rows[3], rows[1]]
    assert list(await archive.history.heartbeats(service=one, service_name="other", limit=9)) == []


async def test_all_heartbeats_are_listed_where_nothing_is_asked_for(archive: Archive) -> None:
    one, two = service(1), service(2)
    rows = [heartbeat(2, two, NOON + DAY, status="weird ✓"), heartbeat(1, one, NOON)]
    await archive.keep_heartbeats([one, two], rows)

    assert list(await archive.history.heartbeats(service=None, service_name=None, limit=250)) == rows


async def test_heartbeats_are_those_within_reach(archive: Archive) -> None:
    one, two, three = service(1, label="pay"), service(2, label="pay"), service(3)
    rows = [heartbeat(number, of, NOON + number) for number, of in enumerate((one, two, three), 1)]
    await archive.keep_heartbeats([one, two, three], rows)
    first = rows[0].heartbeat_name

    async def found(reach: Reach, label: str | None = None) -> list[HeartbeatRow]:
        return list(await archive.history.heartbeats(service=None, service_name=label, limit=9, reach=reach))

    assert await found(Reach(names=(first.replace("N", "n"),))) == [rows[0]]
    assert await found(Reach(names=("*",))) == rows[::-1]
    assert await found(Reach(names=("%", f"{first[:-1]}_"))) == []
    assert await found(Reach(teams=("team-2", "team-3"))) == [rows[2], rows[1]]
    assert await found(Reach(teams=("team-2", "team-3")), "pay") == [rows[1]]
    assert await found(Reach(names=(first,), teams=("team-2",))) == []


async def test_heartbeats_outlive_their_service_and_keep_its_name(archive: Archive) -> None:
    one = service(1, label="pay")
    rows = [heartbeat(1, one, NOON)]
    await archive.keep_heartbeats([one], rows)
    await archive.forget(one)

    assert list(await archive.history.heartbeats(service=None, service_name=None, limit=9)) == rows
    assert list(await archive.history.heartbeats(service=None, service_name="pay", limit=9)) == rows


# --------------------------------------------------------------------------------------------------------------- alerts


async def test_alerts_are_listed_newest_first_with_all_their_columns(archive: Archive) -> None:
    kept = [alert(number, NOON + number) for number in (3, 2, 1)]
    await archive.keep_alerts(kept[::-1])

    page, matching = await archive.history.alerts(AlertQuery())

    assert list(page) == [one.alert for one in kept]
    assert matching == 3


async def test_pages_follow_one_another_without_gap_or_repetition(archive: Archive) -> None:
    kept = [alert(number, NOON) for number in (5, 4, 3, 2, 1)]
    await archive.keep_alerts(kept)
    seen: list[AlertRow] = []
    before = None

    for _ in range(3):
        page, matching = await archive.history.alerts(AlertQuery(limit=2, before=before))
        seen.extend(page)
        before = (page[-1].created_date, page[-1].alert_id)
        assert matching == 5

    assert seen == [one.alert for one in kept]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (AlertQuery(active=True), [3, 1]),
        (AlertQuery(active=False), [2]),
        (AlertQuery(heartbeat_name="NIGHTLY"), [3, 2]),
        (AlertQuery(team="search"), [1]),
        (AlertQuery(heartbeat_name="nightly", active=True, team="platform"), [3]),
        (AlertQuery(heartbeat_name="unheard of"), []),
        (AlertQuery(reach=Reach(names=("NIGHT*",))), [3, 2]),
        (AlertQuery(reach=Reach(names=("*ly", "x"), teams=("search", "y"))), [1]),
        (AlertQuery(reach=Reach(names=("night%", "n_ghtly", "\\*", "weekl"))), []),
        (AlertQuery(heartbeat_name="weekly", reach=Reach(teams=("platform",))), []),
    ],
)
async def test_alerts_are_chosen_by_state_name_and_team(archive: Archive, query: AlertQuery, found: list[int]) -> None:
    await archive.keep_alerts(
        [
            alert(1, NOON, name="weekly", team="search"),
            alert(2, NOON + 1, closed=True),
            alert(3, NOON + 2, name="Nightly"),
        ]
    )

    page, matching = await archive.history.alerts(query)

    assert [row.alert_id for row in page] == found
    assert matching == len(found)


async def test_an_alert_comes_with_what_happened_and_whom_it_was_told(archive: Archive) -> None:
    kept = alert(1, NOON, closed=True)
    await archive.keep_alerts([kept, alert(2, NOON)])

    assert await archive.history.alert(EventId(1)) == kept
    assert await archive.history.alert(EventId(9)) is None
