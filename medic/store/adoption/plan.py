"""What taking over would do, and what stands against it: read, and nothing changed.

The same reading is done once more within the transaction that moves the tables, when nobody can change them any more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from medic.core.heartbeat_words import kind_of
from medic.core.policy import Defaults
from medic.core.status import REPORTS_FAILURE, HeartbeatStatus
from medic.core.units import DAY_MS, MINUTE_MS, SECOND_MS, InstantMs
from medic.store.adoption.bounds import COLUMNS, EarlierService, Unsettled, unsettled_in, unsettled_names
from medic.store.adoption.earlier import Asked, EarlierTables

SLICE_ROWS: Final = 5_000

LATELY_DAYS: Final = 7
"""Statuses of the last week are listed: long enough for what runs weekly."""

NAMED_MAX: Final = 20
"""Names in one line of the plan; the rest is counted."""

FUTURE_DAYS: Final = 1
"""A heartbeat that came later than tomorrow did not come."""

STATUS_MAX: Final = 64
"""Characters of a status, as at HTTP."""

UNWATCHED: Final = "fakeservice"
"""Services with this `service_name` the earlier system did not look at."""

_NUMBERS: Final = frozenset({"service_id", "active", "threshold", "muted", "max_duration_ms"})
_FRACTIONS: Final = frozenset({"alert_interval", "grace_period_seconds"})
_MOMENTS: Final = frozenset({"date_added", "date_modified", "date_muted"})


@dataclass(frozen=True, slots=True)
class Sender:
    """A service that sent a status lately that Medic takes otherwise than the earlier system did."""

    heartbeat_name: str
    status: str
    times: int
    newest: InstantMs

    @property
    def meaning(self) -> str:
        """What Medic makes of it."""
        kind = kind_of(self.status)
        if kind in REPORTS_FAILURE:
            return "opens an alert at once"
        return "counts as UP; with MEDIC_STRICT_STATUS=1 it is refused"


@dataclass(frozen=True, slots=True)
class OpenAlertRow:
    """An alert that the earlier system has open."""

    alert_id: int
    service_id: int
    key: str
    created: InstantMs | None


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """What `"heartbeatEvents"` holds; `last_heard` and `orphans` count services that are there, and that are not."""

    rows: int
    oldest: InstantMs | None
    newest: InstantMs | None
    last_heard: Mapping[int, InstantMs]
    orphans: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is, what has to be settled first, and what changes for people."""

    tables: EarlierTables
    at: InstantMs
    services: Sequence[EarlierService]
    heartbeats: Heartbeats
    alerts: int
    open_alerts: Sequence[OpenAlertRow]
    senders: Sequence[Sender]
    unsettled: Sequence[Unsettled]
    unheard: Sequence[EarlierService]
    views: Sequence[str]
    sessions: Sequence[int]

    @property
    def is_settled(self) -> bool:
        """Whether it can be done."""
        return not self.unsettled


async def read_plan(
    database: Asked, tables: EarlierTables, defaults: Defaults, retention_days: int, *, at: InstantMs | None = None
) -> Plan:
    """Read all of it, as of `at` or now: some seconds for a million heartbeats.

    Raises:
        DatabaseUnavailableError: PostgreSQL went away meanwhile.
    """
    if at is None:
        clock = await database.fetchrow("SELECT now() AS at", operation="adopt")
        at = InstantMs(0 if clock is None else clock["at"])
    services = [service async for service in read_services(database, tables)]
    heartbeats = await _heartbeats(database, tables, {service.service_id for service in services})
    open_alerts = await read_open_alerts(database, tables)
    counted = await database.fetchrow(f"SELECT count(*) AS alerts FROM {tables.table('alerts')}", operation="adopt")  # noqa: S608 - names of tables
    table = tables.table("services")
    unsettled = [
        *unsettled_in(services, table),
        *unsettled_names(services, table, heartbeats.last_heard),
        *[one async for one in _unsettled_rows(database, tables)],
    ]
    return Plan(
        tables=tables,
        at=at,
        services=services,
        heartbeats=heartbeats,
        alerts=0 if counted is None else counted["alerts"],
        open_alerts=open_alerts,
        senders=await _senders(database, tables),
        views=await _views(database, tables),
        sessions=await _sessions(database),
        unsettled=unsettled,
        unheard=[
            service
            for service in services
            if is_unheard(service, heartbeats.last_heard.get(service.service_id), at, defaults, retention_days)
        ],
    )


def is_unheard(
    service: EarlierService, last: InstantMs | None, at: InstantMs, defaults: Defaults, retention_days: int
) -> bool:
    """Whether an active service was not heard of in the retained days, although it has been there for long enough."""
    if service.active != 1:
        return False
    if last is not None:
        return last < at - retention_days * DAY_MS
    interval = round((service.alert_interval or 0) * MINUTE_MS) + round((service.grace_period_seconds or 0) * SECOND_MS)
    added = service.date_added or service.date_modified or InstantMs(0)
    return added + max(interval, defaults.first_heartbeat_ms) < at


async def _read_some(database: Asked, tables: EarlierTables, after: int) -> list[EarlierService]:
    expressions = ", ".join(f"{_expression(tables, column)} AS {column}" for column in COLUMNS)
    rows = await database.fetch(
        f"SELECT {expressions} FROM {tables.table('services')} s WHERE s.service_id > $1::bigint"  # noqa: S608 - names of columns
        f" ORDER BY s.service_id LIMIT {SLICE_ROWS}",
        after,
        operation="adopt",
    )
    return [EarlierService(**{column: row[column] for column in COLUMNS}) for row in rows]


async def read_services(database: Asked, tables: EarlierTables) -> AsyncIterator[EarlierService]:
    """Every service, by id."""
    after = -(1 << 62)
    while services := await _read_some(database, tables, after):
        for service in services:
            yield service
        after = services[-1].service_id


def _expression(tables: EarlierTables, column: str) -> str:
    if column in _MOMENTS:
        return tables.moment("services", column)
    kind = "bigint" if column in _NUMBERS else "float8" if column in _FRACTIONS else "text"
    return tables.value("services", column, kind)


async def read_open_alerts(database: Asked, tables: EarlierTables) -> list[OpenAlertRow]:
    """The alerts that are open, the one of a service that stays open first: one that was told, else the newest."""
    key = key_expression(tables)
    rows = await database.fetch(
        f"SELECT a.alert_id::bigint AS alert_id, a.service_id::bigint AS service_id, {key} AS key,"  # noqa: S608 - names of columns
        f" {tables.moment('alerts', 'created_date')} AS created FROM {tables.table('alerts')} a WHERE a.active = 1"
        f" ORDER BY a.service_id, ({key}) = '', a.alert_id DESC",
        operation="adopt",
    )
    return [OpenAlertRow(row["alert_id"], row["service_id"], row["key"], row["created"]) for row in rows]


def key_expression(tables: EarlierTables) -> str:
    """The key under which PagerDuty knows an alert; empty where it was not told. Some rows say NULL in letters."""
    key = tables.value("alerts", "external_reference_id")
    return f"CASE WHEN {key} IS NULL OR {key} IN ('', 'NULL') THEN '' ELSE {key} END"


async def _heartbeats(database: Asked, tables: EarlierTables, known: set[int]) -> Heartbeats:
    at = tables.moment("heartbeatEvents", "time")
    rows = await database.fetch(
        f"SELECT h.service_id::bigint AS service_id, count(*) AS heartbeats, min({at}) AS oldest, max({at}) AS newest"  # noqa: S608 - names of columns
        f" FROM {tables.table('heartbeatEvents')} h GROUP BY 1",
        operation="adopt",
    )
    oldest = [row["oldest"] for row in rows if row["oldest"] is not None]
    newest = [row["newest"] for row in rows if row["newest"] is not None]
    return Heartbeats(
        rows=sum(row["heartbeats"] for row in rows),
        oldest=min(oldest, default=None),
        newest=max(newest, default=None),
        last_heard={
            row["service_id"]: row["newest"] for row in rows if row["service_id"] in known and row["newest"] is not None
        },
        orphans=sum(row["heartbeats"] for row in rows if row["service_id"] not in known),
    )


async def _unsettled_rows(database: Asked, tables: EarlierTables) -> AsyncIterator[Unsettled]:
    """Heartbeats and alerts that Medic cannot keep, all of a kind at once."""
    for rule in _row_rules(tables):
        row = await database.fetchrow(f"SELECT count(*) AS found {rule.found}", operation="adopt")
        if row is not None and row["found"]:
            yield Unsettled(f"{row['found']} {rule.what}", rule.sql)


@dataclass(frozen=True, slots=True)
class _RowRule:
    """What is wrong with rows, the FROM and WHERE that find them, and SQL that settles it."""

    what: str
    found: str
    sql: str


def _row_rules(tables: EarlierTables) -> Iterator[_RowRule]:
    heartbeats, alerts = f"{tables.table('heartbeatEvents')} h", f"{tables.table('alerts')} a"
    at = tables.moment("heartbeatEvents", "time")
    # A serial that was let go on below zero when its 32 bits were used up. Those came last.
    yield _RowRule(
        "heartbeats whose id is negative",
        f"FROM {heartbeats} WHERE h.heartbeat_id < 0",
        f"ALTER TABLE {tables.table('heartbeatEvents')} ALTER heartbeat_id TYPE bigint; "  # noqa: S608 - names of tables
        f"UPDATE {heartbeats} SET heartbeat_id = heartbeat_id + {1 << 32} WHERE h.heartbeat_id < 0;",
    )
    wrong = f"WHERE {at} IS NULL OR {at} < '1970-01-01T00:00:00Z' OR {at} >= now() + interval '{FUTURE_DAYS} day'"
    yield _RowRule(
        f"heartbeats whose time is before 1970 or more than {FUTURE_DAYS} day ahead",
        f"FROM {heartbeats} {wrong}",
        f"DELETE FROM {heartbeats} {wrong};",  # noqa: S608 - names of columns
    )
    wrong = f"WHERE h.status IS NULL OR char_length(h.status) NOT BETWEEN 1 AND {STATUS_MAX}"
    settled = f"coalesce(nullif(left(h.status, {STATUS_MAX}), ''), 'UP')"
    yield _RowRule(
        f"heartbeats whose status has no letter, or more than {STATUS_MAX}",
        f"FROM {heartbeats} {wrong}",
        f"UPDATE {heartbeats} SET status = {settled} {wrong};",  # noqa: S608 - names of columns
    )
    yield _RowRule(
        "alerts of no service",
        f"FROM {alerts} WHERE a.service_id IS NULL",
        f"DELETE FROM {alerts} WHERE a.service_id IS NULL;",  # noqa: S608 - names of tables
    )
    moments = (tables.moment("alerts", "created_date"), tables.moment("alerts", "closed_date"))
    wrong = "WHERE " + " OR ".join(
        f"{moment} < '1970-01-01T00:00:00Z' OR {moment} >= '10000-01-01T00:00:00Z'" for moment in moments
    )
    settled = "created_date = now(), closed_date = CASE WHEN active = 1 THEN NULL ELSE now() END"
    yield _RowRule(
        "alerts whose dates are before 1970 or after 9999",
        f"FROM {alerts} {wrong}",
        f"UPDATE {alerts} SET {settled} {wrong};",  # noqa: S608 - names of columns
    )


async def _senders(database: Asked, tables: EarlierTables) -> list[Sender]:
    at = tables.moment("heartbeatEvents", "time")
    usual = ", ".join(f"'{kind}'" for kind in HeartbeatStatus if kind not in {*REPORTS_FAILURE, HeartbeatStatus.OTHER})
    rows = await database.fetch(
        f"SELECT s.heartbeat_name, h.status, count(*) AS times, max({at}) AS newest"  # noqa: S608 - names of columns
        f" FROM {tables.table('heartbeatEvents')} h JOIN {tables.table('services')} s USING (service_id)"
        f" WHERE {at} >= now() - interval '{LATELY_DAYS} days' AND upper(h.status) NOT IN ({usual})"
        " GROUP BY 1, 2 ORDER BY 1, 2",
        operation="adopt",
    )
    return [Sender(row["heartbeat_name"], row["status"], row["times"], row["newest"]) for row in rows]


async def _views(database: Asked, tables: EarlierTables) -> list[str]:
    """Views of others over the old tables: they go on reading these, and go with them."""
    rows = await database.fetch(
        """
        SELECT DISTINCT n.nspname || '.' || v.relname AS name
        FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class
        JOIN pg_namespace n ON n.oid = v.relnamespace JOIN pg_class t ON t.oid = d.refobjid
        WHERE d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_rewrite'::regclass AND v.oid <> t.oid
          AND t.relnamespace = to_regnamespace($1) AND t.relname::text = ANY ($2::text[]) ORDER BY 1
        """,
        tables.place,
        list(tables.columns),
        operation="adopt",
    )
    return [row["name"] for row in rows]


async def _sessions(database: Asked) -> list[int]:
    """Process ids of other sessions in this database: the earlier system's may be among them."""
    rows = await database.fetch(
        """
        SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND coalesce(backend_type, 'client backend') = 'client backend'
          AND coalesce(application_name, '') <> 'medic' ORDER BY 1
        """,
        operation="adopt",
    )
    return [row["pid"] for row in rows]
