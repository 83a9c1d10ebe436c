"""What it costs to count a day of ten million heartbeats before it goes, and to let it go.

    python -m bench.retention [--quick]

An embedded PostgreSQL, a day of heartbeats as the writer stores them, three ways to count it in turn, medians:

* counted: as Medic does it, an hour at a time, into `medic.heartbeat_hours`.
* plain: one GROUP BY service, hour and status over the day, of which nothing is kept: the least it could cost.
* plain, kept: the same into a table with the same columns and key: the least it could cost with something to show.

CPU is that of the PostgreSQL backend, which gets no others to help it. Two fleets: one in which every service is heard
of every quarter of an hour (many rows), one in which it is about once a minute (few). Then the hours are folded into a
day, and the day is removed, beside a DELETE of the same rows that is rolled back.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import trio

from medic.core.units import DAY_MS, InstantMs
from medic.store.embedded.server import open_embedded_server
from medic.store.postgres.bridge import open_bridge
from medic.store.postgres.database import Database, open_database
from medic.store.postgres.migrate import migrate
from medic.store.retention.counting import COUNT_SECONDS, GROUPS_MEMORY, count_day, fold_hours, partition_of
from medic.store.retention.removing import days_of, remove_day

DAY: Final = dt.date(2026, 1, 1)
FILLED_AT_ONCE: Final = 250_000
ROUNDS: Final = 3
TICKS: Final = os.sysconf("SC_CLK_TCK")
FLEETS: Final = {"every quarter of an hour": 96, "once a minute": 1_440}

MEMORY: Final = f"SET LOCAL work_mem = '{GROUPS_MEMORY}'; SET LOCAL max_parallel_workers_per_gather = 0"
GROUPED: Final = (
    "SELECT service_id, date_trunc('hour', \"time\") AS hour, status, count(*) AS heartbeats"
    f" FROM {partition_of(DAY)} GROUP BY 1, 2, 3"
)
PLAIN: Final = f"{MEMORY}; SELECT count(*) FROM ({GROUPED}) AS grouped"
PLAIN_KEPT: Final = (
    f"{MEMORY}; CREATE TABLE kept (LIKE medic.heartbeat_hours INCLUDING DEFAULTS, PRIMARY KEY (service_id, hour));"
    " INSERT INTO kept (service_id, hour, up, other) SELECT service_id, hour,"
    " coalesce(sum(heartbeats) FILTER (WHERE status = 'UP'), 0),"
    " coalesce(sum(heartbeats) FILTER (WHERE status <> 'UP'), 0)"
    f" FROM ({GROUPED}) AS grouped GROUP BY 1, 2"
)
UNDONE: Final = f"TRUNCATE medic.heartbeat_hours; DROP TRIGGER count_late_heartbeat ON {partition_of(DAY)}"
SIZES: Final = (
    "SELECT (SELECT count(*) FROM medic.heartbeat_hours) AS hours,"
    " pg_total_relation_size('medic.heartbeat_hours') AS hour_bytes"
)


def cpu_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Measured:
    """Seconds and CPU seconds of each way, round by round, on a database of one connection."""

    def __init__(self, database: Database, pid: int) -> None:
        self._database = database
        self._pid = pid
        self._found: dict[str, list[tuple[float, float]]] = {}

    async def take(self, way: str, act: Callable[[], Awaitable[object]]) -> None:
        """Do it once."""
        await self._database.execute("CHECKPOINT")
        begun, cpu = time.perf_counter(), cpu_seconds(self._pid)
        await act()
        self._found.setdefault(way, []).append((time.perf_counter() - begun, cpu_seconds(self._pid) - cpu))

    def medians(self) -> dict[str, dict[str, float]]:
        """By way."""
        return {
            way: {
                "seconds": round(statistics.median(seconds for seconds, _ in rounds), 2),
                "cpu_seconds": round(statistics.median(cpu for _, cpu in rounds), 2),
            }
            for way, rounds in self._found.items()
        }


async def run(database: Database, sql: str) -> None:
    """A transaction of these statements."""
    async with database.transaction() as transaction:
        await transaction.execute(sql, seconds=COUNT_SECONDS)


async def fill(database: Database, heartbeats: int, services: int) -> None:
    """A day of heartbeats in the order of their arrival. Indexed afterwards, as that is faster."""
    await run(database, f'CREATE TABLE {partition_of(DAY)} (LIKE medic."heartbeatEvents" INCLUDING DEFAULTS)')
    gap = 86_400 / heartbeats
    for first in range(0, heartbeats, FILLED_AT_ONCE):
        last = min(first + FILLED_AT_ONCE, heartbeats) - 1
        await run(
            database,
            f'INSERT INTO {partition_of(DAY)} (heartbeat_id, "time", status, service_id)'
            f" SELECT n, '{DAY}T00:00:00Z'::timestamptz + n * {gap} * interval '1 second',"
            " CASE WHEN n % 97 = 0 THEN 'DEGRADED' WHEN n % 89 = 0 THEN 'up' ELSE 'UP' END,"
            f" (n::bigint * 7919) % {services} FROM generate_series({first}, {last}) AS n",
        )
    await run(
        database,
        f'ALTER TABLE medic."heartbeatEvents" ATTACH PARTITION {partition_of(DAY)}'
        f" FOR VALUES FROM ('{DAY}T00:00:00Z') TO ('{DAY + dt.timedelta(days=1)}T00:00:00Z');"
        f" ANALYZE {partition_of(DAY)}",
    )


async def count_in_turn(database: Database) -> tuple[dict[str, dict[str, float]], int, int]:
    """Seconds by way; how many hours it came to, and their bytes. The last count stays."""
    row = await database.fetchrow("SELECT pg_backend_pid() AS pid")
    assert row is not None
    measured = Measured(database, row["pid"])
    ways: dict[str, Callable[[], Awaitable[object]]] = {
        "plain": lambda: run(database, PLAIN),
        "plain, kept": lambda: run(database, PLAIN_KEPT),
        "counted": lambda: count_day(database, DAY),
    }
    for turn in range(ROUNDS):
        if turn:
            await run(database, UNDONE)
        for way in ways if turn % 2 == 0 else reversed(ways):
            await measured.take(way, ways[way])
            if way == "plain, kept":
                await run(database, "DROP TABLE kept")
    sizes = await database.fetchrow(SIZES)
    assert sizes is not None
    return measured.medians(), sizes["hours"], sizes["hour_bytes"]


async def remove(database: Database) -> dict[str, float]:
    """Seconds to fold the hours, to delete the rows of the day, which is undone, and to let it go."""
    begun = time.perf_counter()
    await fold_hours(database, InstantMs((DAY - dt.date(1970, 1, 1)).days * DAY_MS + DAY_MS))
    folded = time.perf_counter() - begun
    begun = time.perf_counter()
    await run(database, f"SAVEPOINT before; DELETE FROM {partition_of(DAY)}; ROLLBACK TO before")
    deleted = time.perf_counter() - begun
    [day] = await days_of(database)
    session = await database.open_session()
    begun = time.perf_counter()
    assert await remove_day(session, day)
    removed = time.perf_counter() - begun
    session.end()
    return {
        "hours folded in s": round(folded, 2),
        "rows deleted in s": round(deleted, 2),
        "day removed in s": round(removed, 3),
    }


async def main(quick: bool) -> None:
    heartbeats = 1_000_000 if quick else 10_000_000
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="medic-retention-") as made:
        async with open_bridge() as bridge, open_embedded_server(Path(made) / "data", bridge=bridge) as server:
            for fleet, a_day in FLEETS.items():
                async with open_database(server.target, bridge=bridge, connections_max=1) as database:
                    await migrate(database)
                    await run(database, "TRUNCATE medic.heartbeat_hours")
                    await fill(database, heartbeats, heartbeats // a_day)
                    [day] = await days_of(database)
                    ways, hours, hour_bytes = await count_in_turn(database)
                    removed = await remove(database)
                results[fleet] = {
                    "services": heartbeats // a_day,
                    "hours": hours,
                    "bytes of heartbeats": day.size,
                    "bytes of hours": hour_bytes,
                    **ways,
                    **removed,
                }
                print(fleet, json.dumps(results[fleet], indent=2), flush=True)
    print(json.dumps({"bench": "retention", "heartbeats": heartbeats, **results, "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a million heartbeats")
    trio.run(main, parser.parse_args().quick)
