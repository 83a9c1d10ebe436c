"""Taking over the earlier system's database, step by step, each of which a crash leaves done or not begun.

    moved         the tables go to schema `medic_before`, after one more look at what must be settled (one transaction).
                  From here on the earlier system finds nothing to write to, and Medic refuses to serve.
    made          Medic's own schema (`medic.store.postgres.migrate`)
    rows          services, alerts, snapshots (one transaction; `taking`)
    heartbeats    in batches, each with the id up to which they are taken (`heartbeats`)
    states        what Medic believes of each service, what was told, and whose turn it is (one transaction; `states`)

`medic_before.adoption` says how far it has come, and when the tables were moved: that moment is the end of the earlier
system's time, whatever happens in between.

The way back needs none of it undone: the old tables are as they were, and are put where they were. Medic's own go to
`medic_after`, so that nothing that was taken in since is lost by a mistake.

All of it happens under the lock of the active Medic, so neither beside one that serves, nor twice at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio

from medic.core.policy import Defaults
from medic.core.units import InstantMs
from medic.errors import ConfigurationError, DatabaseUnavailableError
from medic.store.adoption.earlier import AFTER, BEFORE, TABLES, Adoption, fault, standing, tables_in
from medic.store.adoption.heartbeats import take_heartbeats
from medic.store.adoption.plan import Plan, read_plan
from medic.store.adoption.states import JOURNAL, States, take_ids
from medic.store.adoption.taking import take_rows
from medic.store.postgres.database import Database, RowRefusedError, StatementRefusedError, Transaction
from medic.store.postgres.leadership import takes_lock
from medic.store.postgres.migrate import bring_forward, require_fit_server
from medic.store.postgres.session import SHOW_AS_OWN

STATEMENT_SECONDS: Final = 3_600.0
"""Longest statement: to look through a hundred million heartbeats takes minutes."""

LOCK_SECONDS: Final = 3.0
"""How long the lock of the active Medic is waited for: one that was killed a moment ago still has it."""

LOCK_AGAIN_SECONDS: Final = 0.2

MOVE_SECONDS: Final = 10.0
"""How long others may go on using the tables that are to be moved."""

NOTHING: Final = "this database holds no tables of the earlier system."

_INSUFFICIENT_PRIVILEGE: Final = "42501"

_PROGRESS: Final = """
CREATE TABLE medic_before.adoption (
    only_row         boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    found_in         text NOT NULL,
    adopted_at       timestamptz NOT NULL DEFAULT date_trunc('milliseconds', clock_timestamp()),
    zone             text NOT NULL,
    rows_taken       boolean NOT NULL DEFAULT false,
    heartbeats_until bigint NOT NULL DEFAULT -1,
    finished_at      timestamptz,
    unheard          text[] NOT NULL DEFAULT '{}',
    retention_days   integer NOT NULL DEFAULT 0,
    told_at          timestamptz
);
"""
_SUCCESSION: Final = """
UPDATE medic.medic_instance
SET token = token + 1, active_directory = $1, active_name = '', active_address = '', active_since = NULL
"""
_IS_UNTRIED: Final = "SELECT active_directory = $1 AS is_untried FROM medic.medic_instance"
_USERS: Final = """
SELECT DISTINCT l.pid FROM pg_locks l
JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname::text = ANY ($1::text[]) AND n.nspname IN ('medic', 'public') AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY 1
"""
_WATERMARK: Final = """
INSERT INTO medic.journal_positions (journal_id, position, watermark_at, watermark_sighted)
VALUES ($1, 0, $2, $3) ON CONFLICT (journal_id) DO NOTHING
"""
_FINISHED: Final = """
UPDATE medic_before.adoption SET finished_at = clock_timestamp(), unheard = $1, retention_days = $2
"""


class UnsettledError(ConfigurationError):
    """Something has to be settled first; nothing was changed."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(fault("something has to be settled before the earlier system's tables are taken over.").faults)
        self.plan = plan


@dataclass(frozen=True, slots=True)
class Adopted:
    """What was done.

    Attributes:
        plan: As it was read of the moved tables.
        at: When these were moved.
        snapshots_left: Snapshots that cannot be restored, and stay where they are; those that this run met.
        was_finished: Nothing was left to do.
    """

    plan: Plan | None
    at: InstantMs
    snapshots_left: int = 0
    was_finished: bool = False


@dataclass(frozen=True, slots=True)
class Returned:
    """What the way back leaves behind, in `medic_after`: what was taken in since."""

    place: str
    services: int
    heartbeats: int
    open_alerts: tuple[str, ...]


async def plan_adoption(database: Database, defaults: Defaults, *, zone: str, retention_days: int) -> Plan:
    """What taking over would do. Changes nothing.

    Raises:
        ConfigurationError: there is nothing to take over, or it is not possible here.
        DatabaseUnavailableError: PostgreSQL does not answer.
    """
    await require_fit_server(database)
    await _require_zone(database, zone)
    found = await standing(database)
    if found.place is None:
        raise fault(NOTHING if found.adoption is None else "the earlier system's tables were moved already.")
    await _require_room(database)
    return await read_plan(database, await tables_in(database, found.place, zone), defaults, retention_days)


async def adopt(
    database: Database, defaults: Defaults, *, zone: str, retention_days: int, announce: Callable[[str], None]
) -> Adopted:
    """Take over, from wherever an earlier run was ended.

    Args:
        database: With room for two connections, and patience.
        defaults: The environment's.
        zone: In which times without a zone are meant; that of the first run counts.
        retention_days: A service not heard of for so long is not paged for.
        announce: Told of each step.

    Raises:
        UnsettledError: something has to be settled first.
        ConfigurationError: there is nothing to take over, or it is not possible here.
        DatabaseUnavailableError: PostgreSQL does not answer. What was done stays done.
    """
    await require_fit_server(database)
    await _require_zone(database, zone)
    async with _alone(database):
        found = await standing(database)
        if found.adoption is None:
            if found.place is None:
                raise fault(NOTHING)
            await _require_room(database)
            async with _in_words(database):
                await _move(database, found.place, zone, defaults, retention_days)
            announce(f"moved the tables from schema {found.place} to {BEFORE}")
        adoption = await _progress(database)
        if adoption.finished_at is not None:
            return Adopted(None, adoption.adopted_at, was_finished=True)
        return await _go_on(database, adoption, defaults, retention_days, announce)


async def finish(database: Database) -> None:
    """Remove the old tables for good.

    Raises:
        ConfigurationError: there are none, not all of them were taken over, or no Medic ever began on it.
    """
    adoption = (await standing(database)).adoption
    if adoption is None:
        raise fault("no tables of the earlier system were taken over here, or they were removed already.")
    if adoption.finished_at is None:
        raise fault(
            "not all of the earlier system's tables were taken over yet: `medic migrate --adopt` goes on with it."
        )
    row = await database.fetchrow(_IS_UNTRIED, JOURNAL, operation="adopt")
    if row is not None and row["is_untried"]:
        raise fault(
            "no Medic was started on what was taken over yet. Without the old tables there is no way back: start it "
            "and look first."
        )
    await database.execute(f"DROP SCHEMA {BEFORE} CASCADE", operation="adopt")


async def go_back(database: Database) -> Returned:
    """Put the old tables where they were, and Medic's own into `medic_after`.

    Raises:
        ConfigurationError: there are none, or a Medic is active.
    """
    async with _alone(database):
        found = await standing(database)
        adoption = found.adoption
        if adoption is None:
            raise fault("no tables of the earlier system were taken over here, or they were removed already.")
        if found.left_over:
            raise fault(f"schema {AFTER} is in the way. If nothing in it is needed: DROP SCHEMA {AFTER} CASCADE")
        async with database.transaction() as transaction:
            left = await _what_is_left(transaction, adoption) if found.ours else (0, 0, ())
            if found.ours:
                await transaction.execute(f"ALTER SCHEMA medic RENAME TO {AFTER}", operation="adopt")
            await transaction.execute(_put_back(adoption.found_in), operation="adopt")
        return Returned(adoption.found_in, *left)


def _put_back(place: str) -> str:
    if place == "medic":
        return f"DROP TABLE {BEFORE}.adoption; ALTER SCHEMA {BEFORE} RENAME TO medic"
    moves = (f'ALTER TABLE IF EXISTS {BEFORE}."{name}" SET SCHEMA {place}' for name in TABLES)
    return "; ".join((*moves, f"DROP TABLE {BEFORE}.adoption", f"DROP SCHEMA {BEFORE}"))


async def _what_is_left(transaction: Transaction, adoption: Adoption) -> tuple[int, int, tuple[str, ...]]:
    """What Medic took in since: services, heartbeats, and the keys of alerts that it opened and that are open."""
    services = await transaction.fetchrow(
        'SELECT count(*) AS found FROM medic.services s WHERE NOT EXISTS (SELECT FROM medic_before."services" b'
        " WHERE b.service_id = s.service_id)",
        operation="adopt",
    )
    heartbeats = await transaction.fetchrow(
        'SELECT count(*) AS found FROM medic."heartbeatEvents" WHERE "time" > $1',
        adoption.adopted_at,
        operation="adopt",
    )
    alerts = await transaction.fetch(
        "SELECT external_reference_id AS key FROM medic.alerts a WHERE active = 1 AND EXISTS ("
        "SELECT FROM medic.notifications n WHERE n.alert_id = a.alert_id AND n.outcome = 'delivered')"
        ' AND NOT EXISTS (SELECT FROM medic_before."alerts" b WHERE b.alert_id = a.alert_id) ORDER BY 1',
        operation="adopt",
    )
    return (
        0 if services is None else services["found"],
        0 if heartbeats is None else heartbeats["found"],
        tuple(row["key"] for row in alerts),
    )


# --------------------------------------------------------------------------------------------------------------- steps


async def _move(database: Database, place: str, zone: str, defaults: Defaults, retention_days: int) -> None:
    async with database.transaction() as transaction:
        await transaction.execute(f"SET LOCAL lock_timeout = '{MOVE_SECONDS}s'", operation="adopt")
        if place == "medic":
            await transaction.execute(f"ALTER SCHEMA medic RENAME TO {BEFORE}", operation="adopt")
        else:
            there = (await tables_in(transaction, place, zone)).columns
            moves = (f'ALTER TABLE {place}."{name}" SET SCHEMA {BEFORE}' for name in TABLES if name in there)
            await transaction.execute("; ".join((f"CREATE SCHEMA {BEFORE}", *moves)), operation="adopt")
        locked = ", ".join(f'{BEFORE}."{name}"' for name in ("services", "heartbeatEvents", "alerts"))
        await transaction.execute(f"LOCK TABLE {locked} IN SHARE MODE", operation="adopt")
        plan = await read_plan(transaction, await tables_in(transaction, BEFORE, zone), defaults, retention_days)
        if not plan.is_settled:
            raise UnsettledError(plan)
        await transaction.execute(_PROGRESS, operation="adopt")
        await transaction.execute(
            "INSERT INTO medic_before.adoption (found_in, zone) VALUES ($1, $2)", place, zone, operation="adopt"
        )


async def _go_on(
    database: Database, adoption: Adoption, defaults: Defaults, retention_days: int, announce: Callable[[str], None]
) -> Adopted:
    for name in await bring_forward(database):
        announce(f"applied {name}")
    tables = await tables_in(database, BEFORE, adoption.zone)
    plan = await read_plan(database, tables, defaults, retention_days, at=adoption.adopted_at)
    snapshots_left = 0
    if not adoption.rows_taken:
        try:
            async with database.transaction() as transaction:
                await transaction.execute(SHOW_AS_OWN)
                snapshots_left = await take_rows(transaction, plan, adoption, defaults)
        except RowRefusedError as refused:
            raise fault(
                f"{refused.message}. Settle that in schema {BEFORE} and go on with `medic migrate --adopt`, or go back "
                "with `medic migrate --back`."
            ) from None
        announce(f"services: {len(plan.services)}; alerts: {plan.alerts}, {len(plan.open_alerts)} of them open")
    await take_heartbeats(database, tables, after=adoption.heartbeats_until, announce=announce)
    await _hand_over(database, plan, adoption, defaults, retention_days)
    return Adopted(plan, adoption.adopted_at, snapshots_left)


async def _hand_over(
    database: Database, plan: Plan, adoption: Adoption, defaults: Defaults, retention_days: int
) -> None:
    """Write what a Medic that ends leaves to the next one."""
    at = adoption.adopted_at
    unheard = {service.service_id: service.name for service in plan.unheard}
    async with database.transaction() as transaction:
        await transaction.execute(SHOW_AS_OWN)
        first_id = await take_ids(transaction, len(unheard))
        states = States(transaction, at, defaults, unheard=frozenset(unheard), first_id=first_id)
        await states.write_all()
        await transaction.execute(_WATERMARK, JOURNAL, at, int(at), operation="adopt")
        await transaction.execute(_SUCCESSION, JOURNAL, operation="adopt")
        await transaction.execute(_FINISHED, sorted(unheard.values()), retention_days, operation="adopt")


async def _progress(database: Database) -> Adoption:
    adoption = (await standing(database)).adoption
    if adoption is None:
        raise fault(NOTHING)
    return adoption


async def _require_zone(database: Database, zone: str) -> None:
    """Return if PostgreSQL knows the zone; Python knows a few more."""
    row = await database.fetchrow(
        "SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = $1) AS known", zone, operation="adopt"
    )
    if row is None or not row["known"]:
        raise fault(f"PostgreSQL knows no time zone {zone}.")


async def _require_room(database: Database) -> None:
    """Return if nothing stands where the tables go, and no service of Medic's own is here."""
    found = await standing(database)
    if found.taken:
        raise fault(f"schema {BEFORE} is in the way: the tables would be moved there.")
    if found.ours:
        row = await database.fetchrow("SELECT EXISTS (SELECT FROM medic.services) AS used", operation="adopt")
        if row is None or row["used"]:
            raise fault("Medic has services of its own in it. Take over into a database without any.")


@asynccontextmanager
async def _alone(database: Database) -> AsyncIterator[None]:
    """The lock of the active Medic for the block."""
    session = await database.open_session()
    try:
        until = trio.current_time() + LOCK_SECONDS
        while not await takes_lock(session):
            if trio.current_time() >= until:
                raise fault("a Medic is active on it. Stop it first.")
            await trio.sleep(LOCK_AGAIN_SECONDS)
        yield
    finally:
        session.end()


@asynccontextmanager
async def _in_words(database: Database) -> AsyncIterator[None]:
    """For the block, a right that is missing and tables that somebody uses are told in a sentence."""
    try:
        yield
    except StatementRefusedError as error:
        if error.sqlstate != _INSUFFICIENT_PRIVILEGE:
            raise
        raise fault(
            "its role may not move the earlier system's tables. Run this as their owner, who may create schemas."
        ) from None
    except DatabaseUnavailableError:
        users = [row["pid"] for row in await database.fetch(_USERS, list(TABLES), operation="adopt")]
        if not users:
            raise
        raise fault(
            f"the earlier system's tables are in use by other sessions (pid {', '.join(map(str, users))}). Stop it "
            "first."
        ) from None
