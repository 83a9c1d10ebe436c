"""How fast the journal reaches PostgreSQL: the writer, beside an INSERT for each heartbeat and beside executemany.

    python -m bench.writer [--quick]

Starts an embedded PostgreSQL of its own in a temporary directory, with the settings and the schema that Medic gives it.
Contenders, in turn, round by round:

* writer: `medic.store.tables.writer` as it is while it keeps up. The records are in memory; rows, COPY, position,
  commits and all, in batches of up to 20 000, each record exactly once.
* catching up: the same after an hour without PostgreSQL. The journal's files are read and decoded as well.
* executemany: the driver's, in one transaction for each 20 000 rows; it is given the rows.
* one by one: an INSERT and a commit for each row, as the earlier system did.
* states: `service_states` of so many distinct services, inserted and then updated (HARD-CASES H19).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter, process_time

import trio

from bench.journal import NOW, heartbeat
from medic.core.blind import SIGHTED_ALWAYS, BlindLog
from medic.core.draft import ServiceDraft
from medic.core.policy import Defaults
from medic.core.service import Service
from medic.core.units import DurationMs, InstantMs, ServiceId, SightedMs, SkewMs
from medic.store.embedded.server import open_embedded_server
from medic.store.journal.file_journal import FileJournal
from medic.store.journal.statistics import Sync
from medic.store.postgres.bridge import Bridge, open_bridge
from medic.store.postgres.database import Database, open_database
from medic.store.postgres.migrate import migrate
from medic.store.tables.state_rows import STATES_AT_ONCE_MAX, state_row, store_states
from medic.store.tables.writer import BATCH_RECORDS_MAX, Writer

HEARTBEATS = 40_000
STATES = 10_000
ONE_BY_ONE = 200
INSERT = 'INSERT INTO medic."heartbeatEvents" (heartbeat_id, "time", status, service_id) VALUES ($1, $2, $3, $4)'


class StillClock:
    """A clock that stands."""

    blind: BlindLog = SIGHTED_ALWAYS
    skew = SkewMs(0)

    def now(self) -> InstantMs:
        return InstantMs(NOW)

    def sighted(self) -> SightedMs:
        return SightedMs(NOW)


async def by_writer(database: Database, directory: Path, count: int, *, from_files: bool) -> tuple[float, float]:
    """Seconds, and seconds of this process's CPU, until the journal's records are in PostgreSQL."""
    journal = FileJournal(directory / "journal", sync=Sync.INTERVAL)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        for number in range(count):
            journal.append_nowait(heartbeat(number))
        await journal.wait_durable(journal.newest)
        nursery.cancel_scope.cancel()
    if from_files:
        journal = FileJournal(directory / "journal")
    writer = Writer(
        database=database,
        journal=journal,
        clock=StillClock(),
        state_of=lambda _service_id: None,
        rejected=directory / "rejected",
    )
    begun, cpu = perf_counter(), process_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(writer.run)
        await writer.wait_committed(journal.durable)
        nursery.cancel_scope.cancel()
    return perf_counter() - begun, process_time() - cpu


async def by_executemany(database: Database, bridge: Bridge, count: int) -> tuple[float, float]:
    """The same, by the driver's executemany."""
    rows = [(number, NOW + number, "UP", number % 10_000) for number in range(count)]
    begun, cpu = perf_counter(), process_time()
    for first in range(0, count, BATCH_RECORDS_MAX):
        async with database.transaction() as transaction:
            connection = transaction._connection  # noqa: SLF001 - the rival is the driver itself
            await bridge.call(connection.executemany, INSERT, rows[first : first + BATCH_RECORDS_MAX])
    return perf_counter() - begun, process_time() - cpu


async def by_inserts(database: Database, count: int) -> tuple[float, float]:
    """The same, by a statement and a commit for each row."""
    begun, cpu = perf_counter(), process_time()
    for number in range(count):
        await database.execute(INSERT, number, NOW + number, "UP", number % 10_000)
    return perf_counter() - begun, process_time() - cpu


async def states(database: Database, count: int) -> tuple[float, float]:
    """Seconds to insert and seconds to update the hot states of so many services, packing included."""
    draft = ServiceDraft(heartbeat_name="a", service_name="a", interval_ms=DurationMs(60_000))
    services = []
    for number in range(count):
        row = draft.row(ServiceId(number), InstantMs(NOW), "")
        services.append(Service(row, row.policy(Defaults()), registered=SightedMs(NOW)))
    spent = []
    for _ in range(2):
        begun = perf_counter()
        for first in range(0, count, STATES_AT_ONCE_MAX):
            part = [state_row(service, SkewMs(0)) for service in services[first : first + STATES_AT_ONCE_MAX]]
            async with database.transaction() as transaction:
                await store_states(transaction, "bench", part, InstantMs(NOW))
        spent.append(perf_counter() - begun)
    return spent[0], spent[1]


async def measure(directory: Path, rounds: int, count: int) -> dict[str, float]:
    """Medians: rows a second by contender, and microseconds of Medic's own CPU a row."""
    rates: dict[str, list[float]] = {"writer": [], "catching up": [], "executemany": [], "one by one": []}
    cpu: dict[str, list[float]] = {name: [] for name in rates}
    inserted: list[float] = []
    updated: list[float] = []
    async with (
        open_bridge() as bridge,
        open_embedded_server(directory / "server", bridge=bridge) as server,
        open_database(server.target, bridge=bridge) as database,
    ):
        await migrate(database)
        await database.execute("SELECT medic.ensure_heartbeat_day(to_timestamp($1)::date)", NOW // 1000)
        for number in range(rounds):
            for name in ("writer", "catching up"):
                place = directory / f"{name}-{number}"
                await trio.Path(place).mkdir()
                seconds, own = await by_writer(database, place, count, from_files=name == "catching up")
                rates[name].append(count / seconds)
                cpu[name].append(own / count * 1e6)
                await database.execute('TRUNCATE medic."heartbeatEvents", medic.service_states')
            seconds, own = await by_executemany(database, bridge, count)
            rates["executemany"].append(count / seconds)
            cpu["executemany"].append(own / count * 1e6)
            await database.execute('TRUNCATE medic."heartbeatEvents"')
            seconds, own = await by_inserts(database, ONE_BY_ONE)
            rates["one by one"].append(ONE_BY_ONE / seconds)
            cpu["one by one"].append(own / ONE_BY_ONE * 1e6)
            await database.execute('TRUNCATE medic."heartbeatEvents"')
            insert, update = await states(database, STATES)
            inserted.append(STATES / insert)
            updated.append(STATES / update)
    medians = {f"{name}, rows/s": statistics.median(found) for name, found in rates.items()}
    return medians | {
        "states inserted, rows/s": statistics.median(inserted),
        "states updated, rows/s": statistics.median(updated),
        **{f"{name}, own CPU µs/row": statistics.median(found) for name, found in cpu.items()},
    }


def report(figures: dict[str, float]) -> None:
    """The table, and the line for programs."""
    rival = figures["one by one, rows/s"]
    print(f"{'':<28}{'median':>12}{'beside one by one':>20}")
    for name, figure in figures.items():
        times = f"{figure / rival:.1f}x" if name.endswith("rows/s") else ""
        print(f"{name:<28}{figure:>12,.1f}{times:>20}".replace(",", " "))
    machine = {"python": platform.python_version(), "cpus": os.cpu_count()}
    print("\n" + json.dumps({"bench": "writer", "machine": machine, "figures": figures}))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one round of a tenth of the rows")
    options = parser.parse_args(arguments)
    rounds, count = (1, HEARTBEATS // 10) if options.quick else (2, HEARTBEATS)
    with tempfile.TemporaryDirectory(prefix="medic-bench-") as directory:
        report(trio.run(measure, Path(directory), rounds, count))


if __name__ == "__main__":
    main()
