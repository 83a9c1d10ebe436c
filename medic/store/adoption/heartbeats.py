"""Heartbeats into the partitions of their days, a batch a transaction, with the id up to which they are taken.

All of it happens within PostgreSQL: a million rows take some seconds, and none of them crosses the wire. Whatever ends
it in between, the next run goes on behind the last batch that was committed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from medic.store.adoption.earlier import EarlierTables
from medic.store.postgres.database import Database

BATCH_ROWS: Final = 50_000
"""Rows of one transaction: under a second, so that whoever stops it loses no more than that."""


async def take_heartbeats(
    database: Database, tables: EarlierTables, *, after: int, announce: Callable[[str], None]
) -> int:
    """Copy the heartbeats whose id is beyond `after`; how many were read.

    Those of services of which neither a row nor an alert is left are left behind: nobody could ask for them.
    """
    at, table = tables.moment("heartbeatEvents", "time"), tables.table("heartbeatEvents")
    part = (
        f"SELECT h.heartbeat_id, {at} AS at FROM {table} h WHERE h.heartbeat_id > $1::bigint"  # noqa: S608 - names of columns
        f" ORDER BY h.heartbeat_id LIMIT {BATCH_ROWS}"
    )
    bounds = (
        f"SELECT max(heartbeat_id)::bigint AS until, count(*) AS rows,"  # noqa: S608 - names of columns
        f" array_agg(DISTINCT (at AT TIME ZONE 'UTC')::date::text) AS days FROM ({part}) AS part"
    )
    taken = 0
    while True:
        async with database.transaction() as transaction:
            batch = await transaction.fetchrow(bounds, after, operation="adopt")
            if batch is None or batch["until"] is None:
                break
            for day in batch["days"]:
                await transaction.execute("SELECT medic.ensure_heartbeat_day($1::text::date)", day, operation="adopt")
            await transaction.execute(
                'INSERT INTO medic."heartbeatEvents" (heartbeat_id, "time", status, service_id, run_id)'  # noqa: S608 - names of columns
                f" SELECT h.heartbeat_id, {at}, h.status, h.service_id, {tables.value('heartbeatEvents', 'run_id')}"
                f" FROM {table} h WHERE h.heartbeat_id > $1::bigint AND h.heartbeat_id <= $2::bigint AND ("
                " EXISTS (SELECT FROM medic.services s WHERE s.service_id = h.service_id)"
                " OR EXISTS (SELECT FROM medic.deleted_services d WHERE d.service_id = h.service_id))",
                after,
                batch["until"],
                operation="adopt",
            )
            await transaction.execute(
                "UPDATE medic_before.adoption SET heartbeats_until = $1", batch["until"], operation="adopt"
            )
        taken += batch["rows"]
        after = batch["until"]
        announce(f"heartbeats: {taken}")
    await database.execute('ANALYZE medic."heartbeatEvents"', operation="adopt")
    return taken
