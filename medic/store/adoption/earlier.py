"""The earlier system's tables: whether they are in this database, where, and which columns they have.

That system kept its tables in schema `medic` or, where they were made by hand, in `public`; its releases added columns
one by one. So what is there is looked up, and what is missing reads as NULL. Medic's own `services` is told apart by a
column that the earlier one never had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from medic.core.units import InstantMs
from medic.errors import ConfigurationError, Fault
from medic.store.postgres.database import Row

BEFORE: Final = "medic_before"
"""Where the tables stay until `--finish`."""

AFTER: Final = "medic_after"
"""Where Medic's own tables go by `--back`."""

TABLES: Final = ("services", "heartbeatEvents", "alerts", "service_snapshots", "schema_migrations")
"""What is moved out of `public`; of a schema of their own, all of it is."""

_PLACES: Final = ("medic", "public")
_NEEDED: Final = {
    "services": {"service_id", "heartbeat_name", "alert_interval", "threshold", "muted"},
    "heartbeatEvents": {"heartbeat_id", "time", "status", "service_id"},
    "alerts": {"alert_id", "service_id", "active", "external_reference_id"},
}
_OUR_OWN: Final = "interval_ms"

_ZONELESS: Final = "timestamp without time zone"

_COLUMNS: Final = """
SELECT n.nspname::text AS place, c.relname::text AS name, a.attname::text AS column_name,
       format_type(a.atttypid, NULL) AS kind
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname::text = ANY ($1::text[]) AND c.relname::text = ANY ($2::text[]) AND c.relkind IN ('r', 'p')
  AND a.attnum > 0 AND NOT a.attisdropped
"""
_MADE: Final = """
SELECT to_regclass('medic_before.adoption') IS NOT NULL AS begun, to_regclass('medic.migrations') IS NOT NULL AS ours,
       to_regnamespace('medic_before') IS NOT NULL AS taken, to_regnamespace('medic_after') IS NOT NULL AS left_over
"""
_ADOPTION: Final = """
SELECT found_in, adopted_at, zone, rows_taken, heartbeats_until, finished_at FROM medic_before.adoption
"""


class Asked(Protocol):
    """A database, or a transaction in it."""

    async def fetch(self, sql: str, *args: object, operation: str = "") -> list[Row]:
        """All rows."""
        ...

    async def fetchrow(self, sql: str, *args: object, operation: str = "") -> Row | None:
        """The first row, or None."""
        ...


@dataclass(frozen=True, slots=True)
class EarlierTables:
    """The earlier system's tables in one schema.

    Attributes:
        place: The schema they are in now.
        columns: Of each table the columns it has, and their types.
        zone: The time zone in which times without one are meant.
    """

    place: str
    columns: Mapping[str, Mapping[str, str]]
    zone: str

    def table(self, name: str) -> str:
        """The table, qualified and quoted."""
        return f'{self.place}."{name}"'

    def has(self, name: str) -> bool:
        """Whether the table is there."""
        return name in self.columns

    def value(self, table: str, column: str, kind: str = "text") -> str:
        """An expression for a column of the table, which is called as its first letter; NULL where it has none."""
        if column not in self.columns[table]:
            return f"NULL::{kind}"
        return f'{table[0]}."{column}"::{kind}'

    def moment(self, table: str, column: str) -> str:
        """The same for an instant, to the millisecond."""
        kind = self.columns[table].get(column)
        if kind is None:
            return "NULL::timestamptz"
        said = f'{table[0]}."{column}"'
        if kind == _ZONELESS:
            said = f"{said} AT TIME ZONE {literal(self.zone)}"
        return f"date_trunc('milliseconds', ({said})::timestamptz)"

    def zoneless(self) -> list[str]:
        """The columns that say no time zone."""
        return [
            f"{table}.{column}"
            for table, columns in sorted(self.columns.items())
            for column, kind in columns.items()
            if kind == _ZONELESS and table != "schema_migrations"
        ]


@dataclass(frozen=True, slots=True)
class Adoption:
    """How far taking over has come.

    Attributes:
        found_in: The schema the tables were in.
        adopted_at: When they were moved: the end of the earlier system's time.
        zone: In which times without a zone are meant.
        rows_taken: Services, alerts and snapshots are in Medic's tables.
        heartbeats_until: Heartbeats up to this id are.
        finished_at: When all was; None while it is not.
    """

    found_in: str
    adopted_at: InstantMs
    zone: str
    rows_taken: bool
    heartbeats_until: int
    finished_at: InstantMs | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What a database holds.

    Attributes:
        place: Of the earlier system's tables that were not moved, or None.
        adoption: What was begun, or None.
        ours: Medic's own schema is there.
        taken: The schema `medic_before` is there.
        left_over: The schema `medic_after` is there.
    """

    place: str | None
    adoption: Adoption | None
    ours: bool
    taken: bool
    left_over: bool


async def standing(database: Asked) -> Standing:
    """Look at what there is."""
    made = await _one(database, _MADE)
    adoption = None
    if made["begun"]:
        row = await _one(database, _ADOPTION)
        adoption = Adoption(
            found_in=row["found_in"],
            adopted_at=row["adopted_at"],
            zone=row["zone"],
            rows_taken=row["rows_taken"],
            heartbeats_until=row["heartbeats_until"],
            finished_at=row["finished_at"],
        )
    place = await _place(database) if adoption is None else None
    return Standing(place, adoption, made["ours"], made["taken"], made["left_over"])


async def tables_in(database: Asked, place: str, zone: str) -> EarlierTables:
    """The earlier system's tables in that schema."""
    return EarlierTables(place, (await _columns(database, (place,))).get(place, {}), zone)


async def require_no_earlier(database: Asked) -> None:
    """Return where Medic may make or use its own schema here.

    Raises:
        ConfigurationError: the earlier system's tables wait to be taken over, or were begun to be.
    """
    found = await standing(database)
    if found.adoption is not None and found.adoption.finished_at is None:
        raise fault(
            "the earlier system's tables were begun to be taken over, and are not all. Go on with `medic migrate "
            "--adopt`, or back with `medic migrate --back`."
        )
    if found.place is not None and not found.ours:
        raise fault(
            f"it holds the earlier system's tables (schema {found.place}). `medic migrate --plan` says what taking "
            "them over would do, `medic migrate --adopt` does it; docs/migrating.md tells the whole way."
        )


def fault(sentence: str) -> ConfigurationError:
    """What the operator has to do about the database first."""
    return ConfigurationError((Fault("database", sentence),))


def literal(said: str) -> str:
    """A text in SQL."""
    return "'" + said.replace("'", "''") + "'"


async def _place(database: Asked) -> str | None:
    columns = await _columns(database, _PLACES)
    return next((place for place in _PLACES if _is_earlier(columns.get(place, {}))), None)


async def _columns(database: Asked, places: tuple[str, ...]) -> dict[str, dict[str, dict[str, str]]]:
    found: dict[str, dict[str, dict[str, str]]] = {}
    for row in await database.fetch(_COLUMNS, list(places), list(TABLES), operation="adopt"):
        found.setdefault(row["place"], {}).setdefault(row["name"], {})[row["column_name"]] = row["kind"]
    return found


async def _one(database: Asked, sql: str) -> Row:
    row = await database.fetchrow(sql, operation="adopt")
    if row is None:
        raise fault("medic_before.adoption has lost its one row.")
    return row


def _is_earlier(columns: Mapping[str, Mapping[str, str]]) -> bool:
    return _OUR_OWN not in columns.get("services", {}) and all(
        needed <= columns.get(name, {}).keys() for name, needed in _NEEDED.items()
    )
