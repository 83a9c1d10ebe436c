"""The earlier system's database taken over by the real PostgreSQL: what is taken, and as what."""

from __future__ import annotations

import pytest

from medic.app.adopted import said_of
from medic.cli.adoption import plan_lines
from medic.cli.checks.database import look_at_schema
from medic.cli.checks.finding import Verdict
from medic.core.deadline import Cause
from medic.core.deadline import waits as core_waits
from medic.core.status import Status
from medic.core.units import HOUR_MS, MINUTE_MS, ServiceId, SkewMs
from medic.errors import ConfigurationError
from medic.store.adoption import adopt as steps
from medic.store.adoption import heartbeats as batches
from medic.store.adoption.adopt import UnsettledError
from medic.store.adoption.unheard import read_unheard
from medic.store.postgres.migrate import migrate
from medic.store.tables.services import PgServiceStore
from tests.earlier_system import schema, small_fleet
from tests.integration.adopting import DAYS, DEFAULTS, column, filled, look, take
from tests.integration.writing import StillClock
from tests.patience import PATIENCE_SECONDS

MANY = 100_000


@pytest.fixture(autouse=True)
def small_batches_and_patience(monkeypatch):
    """Several batches of a small table; and the lock of a run that was killed is waited for."""
    monkeypatch.setattr(batches, "BATCH_ROWS", 1_000)
    monkeypatch.setattr(steps, "LOCK_SECONDS", PATIENCE_SECONDS)


async def test_such_a_database_is_neither_served_nor_migrated_and_the_hint_says_how(earlier):
    with pytest.raises(ConfigurationError, match=r"schema medic.*medic migrate --plan.*medic migrate --adopt"):
        await migrate(earlier)
    assert await column(earlier, "SELECT count(*) FROM medic.services") == [9]
    [finding] = await look_at_schema(earlier)
    assert finding.verdict is Verdict.BAD
    assert "`medic migrate --adopt` does it" in finding.to_do


async def test_the_plan_says_what_would_happen_and_changes_nothing(earlier):
    plan = await look(earlier)
    assert (len(plan.services), plan.alerts, len(plan.open_alerts), plan.heartbeats.rows) == (9, 6, 5, 1_007)
    assert [service.name for service in plan.unheard] == ["given-up", "given-up-and-muted"]
    assert [(one.heartbeat_name, one.status) for one in plan.senders] == [("mail-queue", "DOWN"), ("mail-queue", "ok")]
    assert plan.is_settled
    said = "\n".join(plan_lines(plan, DAYS))
    assert "mail-queue: DOWN, 1 times" in said
    assert "opens an alert at once" in said
    assert "1 heartbeats are of services that are gone" in said
    assert await column(earlier, "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'medic%'") == ["medic"]


async def test_the_plan_says_who_else_is_connected_and_may_be_the_earlier_system(earlier):
    assert (await look(earlier)).sessions == []
    session = await earlier.open_session()
    try:
        await session.execute("SET application_name = 'gunicorn'")
        row = await session.fetchrow("SELECT pg_backend_pid() AS pid")
        plan = await look(earlier)
        assert plan.sessions == [row["pid"]]
        assert f"(pid {row['pid']}). Should one be the earlier system, stop it" in "\n".join(plan_lines(plan, DAYS))
    finally:
        session.end()


async def test_a_hundred_thousand_heartbeats_are_in_the_partitions_of_their_days_with_their_ids(postgres, monkeypatch):
    monkeypatch.setattr(batches, "BATCH_ROWS", 20_000)
    lines: list[str] = []
    async with filled(postgres, *small_fleet(count=MANY)) as database:
        await take(database, lines.append)
        # Two of a service that has an alert and no row are kept; one of a service nobody knows is not.
        [taken] = await column(database, 'SELECT count(*) FROM medic."heartbeatEvents"')
        assert taken == MANY + 6
        differing = await database.fetch(
            'SELECT heartbeat_id FROM medic_before."heartbeatEvents" b FULL JOIN medic."heartbeatEvents" n'
            " USING (heartbeat_id) WHERE (date_trunc('milliseconds', b.time), b.status, b.service_id)"
            " IS DISTINCT FROM (n.time, n.status, n.service_id)"
        )
        assert len(differing) == 1
        partitions = await column(
            database, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'medic.\"heartbeatEvents\"'::regclass"
        )
        assert partitions[0] >= 4
    assert [line for line in lines if line.startswith("heartbeats: ")][-1] == f"heartbeats: {MANY + 7}"
    assert len([line for line in lines if line.startswith("heartbeats: ")]) == 6


async def test_services_keep_their_ids_and_what_they_promise(adopted):
    rows = {row["service_id"]: row for row in await adopted.fetch("SELECT * FROM medic.services ORDER BY service_id")}
    assert list(rows) == list(range(1, 10))
    pay, elsewhere = rows[1], rows[4]
    assert (pay["heartbeat_name"], pay["service_name"], pay["interval_ms"], pay["team"], pay["priority"]) == (
        "pay-nightly",
        "pay",
        5 * MINUTE_MS,
        "payments",
        "p1",
    )
    assert pay["runbook"] == "https://runbooks.example/pay"
    assert elsewhere["service_name"] == "broken-elsewhere"
    assert [row["down"] for row in rows.values()] == [0, 0, 1, 1, 1, 1, 0, 1, 0]
    # What SQL inserts next, and what Medic draws next, is nobody's.
    assert await column(adopted, "SELECT nextval('medic.service_id_by_sql')") == [10]
    assert await column(adopted, "SELECT count(*) FROM medic.audit_log WHERE action = 'adopt'") == [10]


async def test_mutes_end_a_day_after_they_began_or_by_hand_where_nobody_was_heard(adopted):
    [at] = await column(adopted, "SELECT adopted_at FROM medic_before.adoption")
    [lately] = await adopted.fetch("SELECT date_muted, mute_until FROM medic.services WHERE service_id = 7")
    assert lately["mute_until"] - lately["date_muted"] == 24 * HOUR_MS
    assert at + 21 * HOUR_MS < lately["mute_until"] < at + 23 * HOUR_MS
    [for_long] = await adopted.fetch("SELECT muted, mute_until FROM medic.services WHERE service_id = 6")
    assert (for_long["muted"], for_long["mute_until"]) == (1, None)


async def test_a_mute_whose_day_is_over_begins_anew(postgres):
    statements = small_fleet()
    statements.append("UPDATE medic.services SET date_muted = now() - interval '3 days' WHERE service_id = 7")
    async with filled(postgres, *statements) as database:
        adopted = await take(database)
        assert await column(database, "SELECT mute_until FROM medic.services WHERE service_id = 7") == [
            adopted.at + 24 * HOUR_MS
        ]


async def test_alerts_keep_their_ids_and_keys_and_one_a_service_stays_open(adopted):
    rows = await adopted.fetch(
        "SELECT alert_id, active, external_reference_id AS key, closed_reason FROM medic.alerts WHERE alert_id < 100"
        " ORDER BY alert_id"
    )
    assert [tuple(row.values()) for row in rows] == [
        (1, 0, "medic-pay-nightly", "recovered"),
        (2, 1, "medic-broken", ""),
        (3, 0, "", "superseded"),
        (4, 1, "Q1ANOTHERKEY", ""),
        (5, 1, "medic-switched-off", ""),
        (6, 0, "medic-long-gone", "deleted"),
    ]
    # Of one whose service is gone, the end is still owed; of those that were told, it is known who knows.
    told = await adopted.fetch("SELECT notification_id, outcome FROM medic.notifications ORDER BY notification_id")
    assert [tuple(row.values()) for row in told] == [
        ("2.0", "delivered"),
        ("4.0", "delivered"),
        ("5.0", "delivered"),
        ("6.1", ""),
    ]


async def test_whom_nobody_heard_of_is_told_of_once_and_all_at_once(adopted):
    [at] = await column(adopted, "SELECT adopted_at FROM medic_before.adoption")
    unheard = await read_unheard(adopted)
    assert unheard is not None
    assert (unheard.names, unheard.retention_days, unheard.decided) == (("given-up", "given-up-and-muted"), DAYS, False)
    assert "2 services have not been heard of in 30 days" in said_of(unheard)
    rows = await adopted.fetch(
        "SELECT s.heartbeat_name, a.reason, a.created_date FROM medic.alerts a JOIN medic.services s USING (service_id)"
        " WHERE a.alert_id > 100 ORDER BY 1"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("given-up", "late", at),
        ("given-up-and-muted", "never_heard", at),
    ]


async def test_snapshots_can_be_restored_and_what_cannot_stays_behind(postgres):
    kept = (
        '{"service_id": 1, "heartbeat_name": "pay-nightly", "service_name": "pay", "active": 1, "alert_interval": 15,'
    )
    snapshots = (
        "INSERT INTO medic.service_snapshots (service_id, snapshot_data, action_type, actor) VALUES"
        f""" (1, '{kept} "threshold": 2, "team": "payments", "priority": "P2", "muted": 0}}', 'edit', 'kim'),"""
        f""" (1, '{kept} "threshold": 0, "team": "payments", "priority": "p2", "muted": 0}}', 'edit', NULL),"""
        f""" (1, '{kept} "threshold": 1.5, "team": "payments", "priority": "p2", "muted": 0}}', 'edit', NULL),"""
        " (1, '[]', 'edit', NULL), (1, '{\"alert_interval\": \"often\"}', 'edit', NULL)"
    )
    async with filled(postgres, *small_fleet(), snapshots) as database:
        adopted = await take(database)
        assert adopted.snapshots_left == 4
        [row] = await database.fetch("SELECT * FROM medic.service_snapshots")
        assert (row["snapshot_id"], row["actor"], row["action_type"]) == (1, "kim", "edit")
        assert '"interval_ms": 900000' in row["snapshot_data"]
        assert '"priority": "p2"' in row["snapshot_data"]
        # The next one that Medic takes has an id of its own.
        await database.execute("UPDATE medic.services SET alert_interval = 7 WHERE service_id = 1")
        assert await column(database, "SELECT max(snapshot_id) FROM medic.service_snapshots") == [2]


WRONG = """
INSERT INTO medic.services (service_id, heartbeat_name, alert_interval) VALUES
    (20, 'PAY-nightly', 5), (21, 'zero', 0), (22, 'many', 5), (23, 'urgent', 5), (24, 'wiki', 5),
    (25, E'tab\\there', 5), (26, 'flag', 5), (27, 'grace', 5), (28, 'early', 5);
UPDATE medic.services SET threshold = 5000 WHERE service_id = 22;
UPDATE medic.services SET priority = 'urgent' WHERE service_id = 23;
UPDATE medic.services SET runbook = 'see the wiki' WHERE service_id = 24;
UPDATE medic.services SET active = 7 WHERE service_id = 26;
UPDATE medic.services SET grace_period_seconds = -5 WHERE service_id = 27;
UPDATE medic.services SET date_added = '1871-01-01Z' WHERE service_id = 28;
INSERT INTO medic."heartbeatEvents" (service_id, "time", status) VALUES
    (1, '1969-07-20Z', 'UP'), (1, now() + interval '3 days', 'UP'), (1, now(), ''), (1, now(), repeat('x', 99));
INSERT INTO medic.alerts (alert_id, service_id, active, alert_cycle, created_date) VALUES (90, 1, 0, 1, 'infinity');
ALTER TABLE medic.alerts ALTER service_id DROP NOT NULL;
INSERT INTO medic.alerts (alert_id, service_id, active, alert_cycle, created_date) VALUES (91, NULL, 1, 1, now());
INSERT INTO medic."heartbeatEvents" (heartbeat_id, service_id, "time", status) VALUES (-7, 1, now(), 'UP')
"""


async def test_what_is_out_of_bounds_is_listed_refused_and_settled_by_the_sql_beside_it(postgres):
    async with filled(postgres, *small_fleet(), WRONG) as database:
        plan = await look(database)
        assert len(plan.unsettled) == 9 + 5
        assert "does not tell apart" in " ".join(one.what for one in plan.unsettled)
        with pytest.raises(UnsettledError) as refused:
            await take(database)
        assert len(refused.value.plan.unsettled) == len(plan.unsettled)
        # Nothing was changed: the tables are where they were.
        assert await column(database, "SELECT count(*) FROM medic.services") == [18]
        for one in plan.unsettled:
            await database.execute(one.sql)
        assert (await look(database)).unsettled == []
        await take(database)
        names = await column(database, "SELECT heartbeat_name FROM medic.services WHERE service_id = 20")
        assert names == ["PAY-nightly-20"]
        # What came after the last id of 32 bits is behind all others.
        assert await column(database, 'SELECT max(heartbeat_id) FROM "heartbeatEvents"') == [(1 << 32) - 7]


async def test_an_alert_ends_not_before_it_began(postgres):
    # As where its dates were written in local time, on the night when clocks are put back.
    dates = (
        "INSERT INTO medic.alerts (alert_id, service_id, active, alert_cycle, created_date, closed_date)"
        " VALUES (90, 1, 0, 1, '2025-11-02T01:50Z', '2025-11-02T01:10Z')"
    )
    async with filled(postgres, *small_fleet(), dates) as database:
        await take(database)
        lasted = "SELECT closed_date - created_date = '0' FROM medic.alerts WHERE alert_id = 90"
        assert await column(database, lasted) == [True]


async def test_times_without_a_zone_are_read_in_the_zone_that_is_said(postgres):
    statements = (
        schema("public", moment="timestamp", late=False),
        "INSERT INTO public.services (heartbeat_name, alert_interval, date_added) VALUES ('o', 5, '2025-07-01 12:00')",
        "INSERT INTO public.\"heartbeatEvents\" (\"time\", status, service_id) VALUES ('2025-07-01 12:00:00', 'UP', 1)",
    )
    async with filled(postgres, *statements) as database:
        plan = await look(database)
        assert "heartbeatEvents.time" in plan.tables.zoneless()
        assert "America/Chicago" in "\n".join(plan_lines(plan, DAYS))
        await take(database)
        at = await column(database, 'SELECT "time"::text FROM medic."heartbeatEvents"')
        assert at == ["2025-07-01 17:00:00+00"]
        assert await column(database, "SELECT date_added::text FROM medic.services") == ["2025-07-01 17:00:00+00"]


async def test_a_zone_that_postgresql_does_not_know_is_refused(earlier):
    with pytest.raises(ConfigurationError, match="knows no time zone Mars/Olympus"):
        await look(earlier, "Mars/Olympus")


async def test_dates_of_alerts_that_were_written_in_chicagos_time_are_found(postgres):
    statements = small_fleet()
    statements.append("UPDATE medic.alerts SET created_date = created_date - interval '5 hours' WHERE alert_id = 4")
    async with filled(postgres, *statements) as database:
        said = "\n".join(plan_lines(await look(database), DAYS))
        assert "1 open alerts say that they opened before their service's last heartbeat" in said
        [sql] = [line for line in said.splitlines() if line.strip().startswith('UPDATE medic."alerts"')]
        await database.execute(sql)
        assert "say that they opened before" not in "\n".join(plan_lines(await look(database), DAYS))


async def test_nothing_is_due_before_a_whole_interval_has_passed(adopted):
    """However late the first start is, time stands still until then: so this holds for what it finds."""
    [at] = await column(adopted, "SELECT adopted_at FROM medic_before.adoption")
    store = PgServiceStore(adopted, None, StillClock(), DEFAULTS)
    services = {
        one.service.row.service_id: one.service for part in [part async for part in store.load()] for one in part
    }
    assert [services[number].status for number in range(1, 10)] == [
        Status.UP,
        Status.UP,
        Status.LATE,
        Status.LATE,
        Status.LATE,
        Status.LATE,
        Status.UP,
        Status.LATE,
        Status.NEW,
    ]
    waits = {
        (number, wait.cause): wait.instant - at
        for number, service in services.items()
        for wait in core_waits(service, SkewMs(0))
    }
    hour = DEFAULTS.renotify_ms
    reminders = {number: waits.pop((number, Cause.REMINDER)) for number in (3, 4, 8)}
    assert all(hour < instant <= 2 * hour for instant in reminders.values())
    day = waits.pop((7, Cause.MUTE_END))
    assert 21 * HOUR_MS < day < 23 * HOUR_MS
    assert waits == {
        (1, Cause.LATE): 5 * MINUTE_MS,
        (2, Cause.LATE): 10 * MINUTE_MS,
        (7, Cause.LATE): 5 * MINUTE_MS,
        (9, Cause.LATE): 60 * MINUTE_MS,
    }
    assert services[1].heartbeats_total == 500
    assert services[3].alert is not None
    assert (services[4].alert.key, services[3].alert.key) == ("Q1ANOTHERKEY", "")


async def test_an_alert_that_everybody_gave_up_reminds_nobody_and_is_resolved_all_the_same(postgres):
    long_dead = (
        "INSERT INTO medic.services (service_id, heartbeat_name, alert_interval) VALUES (10, 'long-dead', 5);"
        "INSERT INTO medic.alerts (alert_id, service_id, alert_name, external_reference_id, alert_cycle, created_date)"
        " VALUES (10, 10, 'n', 'medic-long-dead', 9, now() - interval '90 days')"
    )
    async with filled(postgres, *small_fleet(), long_dead) as database:
        await take(database)
        unheard = await read_unheard(database)
        assert unheard is not None
        assert unheard.names == ("given-up", "given-up-and-muted", "long-dead")
        found = await PgServiceStore(database, None, StillClock(), DEFAULTS).load_one(ServiceId(10))
        assert found is not None
        alert = found.service.alert
        assert alert is not None
        assert (alert.alert_id, alert.told, alert.acknowledged_by) == (10, True, "the earlier system")
        assert core_waits(found.service, SkewMs(0)) == ()
        assert await column(database, "SELECT acknowledged_by FROM medic.alerts WHERE alert_id = 10") == [
            "the earlier system"
        ]
