"""Brings the schema forward: numbered SQL files, each in a transaction of its own, one process at a time.

`medic.migrations` says which have been applied. There is no way back, and a schema newer than this release is refused
rather than guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

import structlog

from medic.errors import ConfigurationError, Fault
from medic.store.adoption.earlier import require_no_earlier
from medic.store.postgres.database import Database, StatementRefusedError, Transaction
from medic.store.postgres.session import SHOW_AS_OWN

_log = structlog.get_logger(__name__)

MIGRATION_SECONDS: Final = 3_600.0
"""Longest migration, and longest wait for another process that is migrating."""

SERVER_VERSION_MIN: Final = 140_000
"""PostgreSQL 14: the first that detaches partitions concurrently and notices a client that went away."""

_LOCK: Final = "pg_advisory_xact_lock(1296385097, 0)"
"""1296385097 is "MEDI" in ASCII; Medic's advisory locks all have it as their first key."""

_FILE_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_INSUFFICIENT_PRIVILEGE: Final = "42501"

_BOOTSTRAP: Final = """
CREATE SCHEMA IF NOT EXISTS medic;
CREATE TABLE IF NOT EXISTS medic.migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""

_SET_SEARCH_PATH: Final = """
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_db_role_setting
        WHERE setrole = (SELECT oid FROM pg_roles WHERE rolname = current_user)
          AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND 'search_path=medic, public' = ANY (setconfig)
    ) THEN
        EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET search_path = medic, public', current_database());
    END IF;
END
$$
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered SQL file."""

    version: int
    name: str
    sql: str


def known_migrations() -> Sequence[Migration]:
    """The migrations of this release, in order."""
    folder = resources.files("medic.store.postgres") / "migrations"
    found = ((_FILE_NAME.fullmatch(file.name), file) for file in folder.iterdir())
    named = [
        Migration(int(match[1]), file.name.removesuffix(".sql"), file.read_text("utf-8"))
        for match, file in found
        if match is not None
    ]
    return sorted(named, key=lambda migration: migration.version)


async def migrate(database: Database, migrations: Sequence[Migration] | None = None) -> list[str]:
    """Apply what is missing; the names of those that were.

    Also sets the search_path of the connecting role in this database, so that the unqualified SQL of operators finds
    schema medic (HARD-CASES H24).

    Raises:
        ConfigurationError: the schema is newer than this release, the server is too old, the database is not in UTF8,
            the role may not do it, or the earlier system's tables are in the way. Nothing was changed.
        DatabaseUnavailableError: PostgreSQL does not answer. What was applied so far stays applied.
    """
    await require_fit_server(database)
    await require_no_earlier(database)
    return await bring_forward(database, migrations)


async def bring_forward(database: Database, migrations: Sequence[Migration] | None = None) -> list[str]:
    """As `migrate`, whatever else is in the database: for whoever has seen to that."""
    wanted = known_migrations() if migrations is None else migrations
    applied: list[str] = []
    try:
        while (name := await _apply_next(database, wanted)) is not None:
            applied.append(name)
            _log.info("migrated", migration=name)
    except StatementRefusedError as error:
        if error.sqlstate != _INSUFFICIENT_PRIVILEGE:
            raise
        grant = "its role may not create what Medic needs. Let it own the database, or GRANT CREATE ON DATABASE to it."
        raise _fault(grant) from None
    return applied


async def _apply_next(database: Database, wanted: Sequence[Migration]) -> str | None:
    async with database.transaction() as transaction:
        await transaction.execute(f"SET LOCAL lock_timeout = 0; SELECT {_LOCK}", seconds=MIGRATION_SECONDS)
        version = await _version(transaction)
        newest = wanted[-1].version
        if version > newest:
            raise _fault(
                f"its schema is at migration {version:04d}, this release of Medic knows them up to {newest:04d}. "
                "Start the newer release again."
            )
        due = next((migration for migration in wanted if migration.version > version), None)
        if due is not None:
            await transaction.execute(due.sql, operation="migrate", seconds=MIGRATION_SECONDS)
            await transaction.execute(
                "INSERT INTO medic.migrations (version, name) VALUES ($1, $2)", due.version, due.name
            )
        await transaction.execute(_SET_SEARCH_PATH)
        # This connection may have been made before there was a word to show.
        await transaction.execute(SHOW_AS_OWN)
    return None if due is None else due.name


async def _version(transaction: Transaction) -> int:
    table = await transaction.fetchrow("SELECT to_regclass('medic.migrations') IS NOT NULL AS made")
    if table is None or not table["made"]:
        await transaction.execute(_BOOTSTRAP)
    newest = await transaction.fetchrow("SELECT coalesce(max(version), 0) AS version FROM medic.migrations")
    return 0 if newest is None else int(newest["version"])


async def require_fit_server(database: Database) -> None:
    """Return if the server is new enough, and the database in UTF8.

    Raises:
        ConfigurationError: it is not.
    """
    row = await database.fetchrow(
        "SELECT current_setting('server_version_num')::integer AS version, current_setting('server_version') AS shown,"
        " current_setting('server_encoding') AS encoding"
    )
    if row is None or row["version"] < SERVER_VERSION_MIN:
        shown = "unknown" if row is None else row["shown"]
        raise _fault(f"the server is PostgreSQL {shown}; Medic needs {SERVER_VERSION_MIN // 10_000} or newer.")
    if row["encoding"] != "UTF8":
        raise _fault(f"its encoding is {row['encoding']}; Medic needs a database made with ENCODING 'UTF8'.")


def _fault(message: str) -> ConfigurationError:
    return ConfigurationError((Fault("database", message),))
