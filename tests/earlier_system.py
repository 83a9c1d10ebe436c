"""A database as the earlier system leaves it: its tables, in the schema and with the kinds of columns that it had.

The facts: services with a serial id and minutes, heartbeats with a 32-bit id, alerts that remember PagerDuty's key,
snapshots as JSON, and a table of migrations; later releases added run ids, grace and the longest run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

SERVICES: Final = """
CREATE TABLE {place}.services (
    service_id serial PRIMARY KEY, heartbeat_name text NOT NULL UNIQUE, service_name text,
    active integer NOT NULL DEFAULT 1, alert_interval integer NOT NULL, threshold integer NOT NULL DEFAULT 1,
    team text NOT NULL DEFAULT 'site-reliability', priority text NOT NULL DEFAULT 'p3',
    muted integer NOT NULL DEFAULT 0, down integer NOT NULL DEFAULT 0, runbook text,
    date_added {moment}, date_modified {moment}, date_muted {moment}{late_columns});
CREATE TABLE {place}."heartbeatEvents" (
    heartbeat_id serial PRIMARY KEY, "time" {moment} NOT NULL, status text NOT NULL,
    service_id integer NOT NULL{run_id});
CREATE INDEX ON {place}."heartbeatEvents" (service_id);
CREATE TABLE {place}.alerts (
    alert_id serial PRIMARY KEY, alert_name text, service_id integer NOT NULL, active integer NOT NULL DEFAULT 1,
    external_reference_id text, alert_cycle integer NOT NULL, created_date {moment}, closed_date {moment});
CREATE TABLE {place}.schema_migrations (version varchar(255) PRIMARY KEY, applied_at timestamptz DEFAULT now());
INSERT INTO {place}.schema_migrations (version) VALUES ('000');
"""
SNAPSHOTS: Final = """
CREATE TABLE {place}.service_snapshots (
    snapshot_id serial PRIMARY KEY, service_id integer NOT NULL, snapshot_data jsonb NOT NULL,
    action_type text NOT NULL, actor text, created_at timestamptz NOT NULL DEFAULT now(), restored_at timestamptz);
"""


def schema(place: str = "medic", *, moment: str = "timestamptz", late: bool = True) -> str:
    """The SQL that makes it all; `late`: as the newest release had it."""
    begin = "" if place == "public" else f"CREATE SCHEMA {place};"
    columns = ", grace_period_seconds integer NOT NULL DEFAULT 0, max_duration_ms integer" if late else ""
    made = SERVICES.format(place=place, moment=moment, late_columns=columns, run_id=", run_id text" if late else "")
    return begin + made + (SNAPSHOTS.format(place=place) if late else "")


def heartbeats(place: str, service_ids: Sequence[int], count: int, *, days: float = 3.0) -> str:
    """`count` heartbeats of these services by turns, spread over the last days; the newest came a minute ago."""
    ids = ", ".join(map(str, service_ids))
    seconds = days * 86_400 / count
    return (
        f'INSERT INTO {place}."heartbeatEvents" ("time", status, service_id)'
        f" SELECT now() - interval '1 minute' - ({count} - n) * interval '{seconds:.6f} seconds', 'UP',"
        f" (ARRAY[{ids}])[1 + n % {len(service_ids)}] FROM generate_series(1, {count}) AS n"
    )


A_SMALL_FLEET: Final = """
INSERT INTO {place}.services
    (service_id, heartbeat_name, service_name, alert_interval, team, priority, active, muted, date_added) VALUES
    (1, 'pay-nightly', 'pay', 5, 'payments', 'P1', 1, 0, now() - interval '1 year'),
    (2, 'mail-queue', 'mail', 10, 'site-reliability', 'p3', 1, 0, now() - interval '1 year'),
    (3, 'broken', 'broken', 5, 'site-reliability', 'p2', 1, 0, now() - interval '1 year'),
    (4, 'broken-elsewhere', NULL, 5, 'site-reliability', 'p2', 1, 0, now() - interval '1 year'),
    (5, 'given-up', 'old', 5, 'site-reliability', 'p1', 1, 0, now() - interval '1 year'),
    (6, 'given-up-and-muted', 'old', 5, 'site-reliability', 'p1', 1, 1, now() - interval '1 year'),
    (7, 'muted-lately', 'm', 5, 'site-reliability', 'p3', 1, 1, now() - interval '1 year'),
    (8, 'switched-off', 'off', 5, 'site-reliability', 'p3', 0, 0, now() - interval '1 year'),
    (9, 'newcomer', 'new', 60, 'site-reliability', 'p3', 1, 0, now());
UPDATE {place}.services SET runbook = 'https://runbooks.example/pay' WHERE service_id = 1;
UPDATE {place}.services SET date_modified = now() - interval '1 day' WHERE service_id = 8;
UPDATE {place}.services SET date_muted = now() - interval '90 days' WHERE service_id = 6;
UPDATE {place}.services SET date_muted = now() - interval '2 hours' WHERE service_id = 7;
SELECT setval('{place}.services_service_id_seq', 9);
"""
"""Services of every kind: well, down, given up, muted, inactive, new."""

ITS_ALERTS: Final = """
INSERT INTO {place}.alerts
    (alert_id, service_id, alert_name, active, external_reference_id, alert_cycle, created_date, closed_date) VALUES
    (1, 1, 'pay-nightly', 0, 'medic-pay-nightly', 12, now() - interval '9 days', now() - interval '8 days'),
    (2, 3, 'broken', 1, 'medic-broken', 700, now() - interval '3 hours', NULL),
    (3, 3, 'broken', 1, NULL, 700, now() - interval '3 hours', NULL),
    (4, 4, 'broken-elsewhere', 1, 'Q1ANOTHERKEY', 4, now() - interval '1 hour', NULL),
    (5, 8, 'switched-off', 1, 'medic-switched-off', 90, now() - interval '2 days', NULL),
    (6, 77, 'long-gone', 1, 'medic-long-gone', 90, now() - interval '2 days', NULL);
UPDATE {place}.alerts SET alert_name = 'Medic - Heartbeat failure for ' || alert_name;
SELECT setval('{place}.alerts_alert_id_seq', 6);
"""
"""What it told of them: closed, open, open twice, under a key that PagerDuty gave, of one that is gone."""

ITS_HEARTBEATS: Final = """
INSERT INTO {place}."heartbeatEvents" (service_id, "time", status) VALUES
    (3, now() - interval '4 hours', 'UP'), (4, now() - interval '2 hours', 'UP'),
    (5, now() - interval '40 days', 'UP'), (7, now() - interval '10 seconds', 'UP'),
    (2, now() - interval '2 days', 'DOWN'), (2, now() - interval '1 day', 'ok'), (88, now() - interval '1 day', 'UP');
"""


def small_fleet(place: str = "medic", *, count: int = 1_000) -> list[str]:
    """Statements that make and fill it: `count` heartbeats of the two that are well, and a few of the others."""
    return [
        schema(place),
        A_SMALL_FLEET.format(place=place),
        ITS_ALERTS.format(place=place),
        ITS_HEARTBEATS.format(place=place),
        heartbeats(place, (1, 2), count),
    ]
