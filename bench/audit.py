"""What the audit's chain costs a registration, and how long it takes to verify and to read a million entries.

    python -m bench.audit [--quick]

Registrations a second on an embedded PostgreSQL that syncs each commit, with 1 and 8 at a time, medians of rounds that
take turns. Beside each other, in the same rounds:

* before: the schema of migration 3, entries without identity and without chain.
* sealed behind: as Medic does it, the sealer at work meanwhile.
* in the transaction: the seal is made by a trigger at the commit of each change, under a lock that is held until then.

Once more with a sync that takes 10 ms longer (`commit_delay`), as a network disk's does: what waits for what shows
there, however busy the machine is.

Then a million entries (a tenth of it with --quick): seconds to seal and to verify them, the memory that verifying took,
and milliseconds of the listings.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import trio

from medic.audit import AuditQuery
from medic.core.author import Author
from medic.core.blind import SIGHTED_ALWAYS, BlindLog
from medic.core.draft import ServiceDraft
from medic.core.policy import Defaults
from medic.core.units import DurationMs, EventId, InstantMs, ServiceId, SightedMs, SkewMs
from medic.ports import Position
from medic.store.audit.chain import DIGEST
from medic.store.audit.heads import AuditHeads
from medic.store.audit.log import PgAuditLog
from medic.store.audit.sealer import AuditSealer
from medic.store.audit.verify import verify
from medic.store.embedded.server import open_embedded_server
from medic.store.journal.memory_journal import MemoryJournal
from medic.store.postgres.bridge import Bridge, open_bridge
from medic.store.postgres.database import Database, open_database
from medic.store.postgres.migrate import known_migrations, migrate
from medic.store.postgres.target import ConnectionTarget
from medic.store.tables.services import PgServiceStore

BY = Author("bench", key_id="k1", address="192.0.2.7", request_id="0123456789abcdef", label="anna@laptop")
BEFORE, BEHIND, WITHIN = "before", "sealed behind", "in the transaction"
WAYS = (BEFORE, BEHIND, WITHIN)

FILLED_AT_ONCE = 20_000

CHAIN_WITHIN = f"""
DROP TRIGGER audit_log_note_unsealed ON medic.audit_log;
CREATE FUNCTION medic.seal_within() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last record;
    digest bytea;
BEGIN
    PERFORM pg_advisory_xact_lock(1296385097, 99);
    SELECT place, hash INTO last FROM medic.audit_seals ORDER BY place DESC LIMIT 1;
    SELECT {DIGEST} INTO digest FROM medic.audit_log a WHERE a.audit_id = NEW.audit_id;
    INSERT INTO medic.audit_seals VALUES (coalesce(last.place, 0) + 1, NEW.audit_id, now(),
        sha256(coalesce(last.hash, ''::bytea) || int8send(coalesce(last.place, 0) + 1) || digest));
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER seal_within AFTER INSERT ON medic.audit_log DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION medic.seal_within();
"""


class Clock:
    """The wall clock."""

    blind: BlindLog = SIGHTED_ALWAYS
    skew = SkewMs(0)

    def now(self) -> InstantMs:
        return InstantMs(int(time.time() * 1000))

    def sighted(self) -> SightedMs:
        return SightedMs(self.now())


class Ids:
    """A number after another."""

    in_hand = 1 << 20

    def __init__(self) -> None:
        self._numbers = count(1 << 31)

    def draw(self) -> EventId:
        return EventId(next(self._numbers))

    def draw_many(self, count: int) -> list[EventId]:
        return [self.draw() for _ in range(count)]


class Written:
    """A writer that is not behind."""

    committed = Position(0)

    async def wait_committed(self, position: Position) -> None:  # noqa: ARG002 - the port's signature
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def way_of(server: ConnectionTarget, bridge: Bridge, way: str, sync_ms: int = 0) -> AsyncIterator[Database]:
    """A database of its own for one way, each sync of which takes so much longer."""
    name = f"{way.replace(' ', '_')}_{sync_ms}"
    async with open_database(replace(server, database="postgres"), bridge=bridge) as admin:
        await admin.execute(f"CREATE DATABASE {name}")
        await admin.execute(f"ALTER DATABASE {name} SET commit_siblings = 0")
        await admin.execute(f"ALTER DATABASE {name} SET commit_delay = {sync_ms * 1000}")
    async with open_database(replace(server, database=name), bridge=bridge, connections_max=10) as database:
        await migrate(database, [m for m in known_migrations() if m.version <= 3] if way == BEFORE else None)
        if way == WITHIN:
            await database.execute(CHAIN_WITHIN)
        yield database


async def register(store: PgServiceStore, names: count[int], registrations: int, at_once: int) -> float:
    """Registrations a second."""

    async def some(number: int) -> None:
        for _ in range(number):
            name = f"service-{next(names)}"
            row, _ = await store.insert(ServiceDraft(name, "bench", DurationMs(60_000)), by=BY)
            assert row.service_id != ServiceId(0)

    begun = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(some, registrations // at_once)
    return registrations / (time.perf_counter() - begun)


async def measure_registrations(
    server: ConnectionTarget, bridge: Bridge, folder: Path, quick: bool, sync_ms: int
) -> dict[str, object]:
    """Registrations a second of each way, by how many at a time."""
    rounds, registrations = (3, 200) if quick else (7, 240)
    names = count()
    found: dict[str, dict[int, list[float]]] = {way: {1: [], 8: []} for way in WAYS}
    async with (
        way_of(server, bridge, BEFORE, sync_ms) as before,
        way_of(server, bridge, BEHIND, sync_ms) as behind,
        way_of(server, bridge, WITHIN, sync_ms) as within,
    ):
        databases = {BEFORE: before, BEHIND: behind, WITHIN: within}
        stores = {way: PgServiceStore(database, Ids(), Clock(), Defaults()) for way, database in databases.items()}
        heads = folder / f"heads-{sync_ms}"
        heads.mkdir()
        sealer = AuditSealer(behind, Clock(), AuditHeads(heads))
        for turn in range(rounds):
            for at_once in (1, 8):
                for way in WAYS if turn % 2 else reversed(WAYS):
                    async with trio.open_nursery() as nursery:
                        if way == BEHIND:
                            await nursery.start(sealer.run)
                        found[way][at_once].append(await register(stores[way], names, registrations, at_once))
                        nursery.cancel_scope.cancel()
        await sealer.seal_waiting()
        verdict = await verify(behind, ())
        assert verdict.wrong == 0
        assert verdict.seals == 2 * rounds * registrations
    return {
        way: {at_once: round(statistics.median(rates)) for at_once, rates in by.items()} for way, by in found.items()
    }


async def measure_a_million(server: ConnectionTarget, bridge: Bridge, folder: Path, entries: int) -> dict[str, object]:
    """Sealing, verifying and listing that many."""
    shown = "jsonb_build_object('team', 't', 'runbook', repeat('x', 200), 'alert_interval', n, 'active', 1)"
    async with way_of(server, bridge, "million") as database:
        for first in range(1, entries, FILLED_AT_ONCE):
            await database.execute(
                "INSERT INTO medic.audit_log"
                " (at, actor, key_id, address, action, service_id, subject, before, after)"
                " SELECT now() - n * interval '10 seconds', 'actor ' || n % 50, 'k1', '192.0.2.7', 'update', n % 5000,"
                f" 'service-' || n % 5000, {shown}, {shown}"
                f" FROM generate_series({first}, {first + FILLED_AT_ONCE - 1}) n",
                operation="fill",
            )
        await database.execute("ANALYZE medic.audit_log")
        begun = time.perf_counter()
        await AuditSealer(database, Clock(), AuditHeads(folder)).seal_waiting()
        sealing = time.perf_counter() - begun
        await database.execute("ANALYZE medic.audit_seals")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun, cpu = time.perf_counter(), time.process_time()
        verdict = await verify(database, ())
        verifying, own = time.perf_counter() - begun, time.process_time() - cpu
        assert (verdict.seals, verdict.wrong) == (entries, 0)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        log = PgAuditLog(database, MemoryJournal(), Written())
        listings = {
            "newest 50 of a service": AuditQuery(service_id=ServiceId(77)),
            "newest 50 of a name": AuditQuery(subject="Service-77"),
            "newest 50 of an actor": AuditQuery(actor="actor 7"),
            "newest 50 of all": AuditQuery(),
            "page at offset 100 000": AuditQuery(offset=100_000),
        }
        milliseconds: dict[str, float] = {}
        for what, query in listings.items():
            times = []
            for _ in range(5):
                begun = time.perf_counter()
                await log.page(query)
                times.append(time.perf_counter() - begun)
            milliseconds[what] = round(statistics.median(times) * 1000, 1)
        plan = await database.fetch(
            "EXPLAIN ANALYZE SELECT a.*, s.hash FROM medic.audit_log a LEFT JOIN medic.audit_seals s USING (audit_id)"
            " WHERE a.service_id = 77 ORDER BY a.at DESC, a.audit_id DESC LIMIT 50"
        )
    return {
        "entries": entries,
        "sealed in s": round(sealing, 1),
        "verified in s": round(verifying, 1),
        "of that CPU of our own, s": round(own, 1),
        "memory grown, MB": round(grown / 1024, 1),
        "listings, ms": milliseconds,
        "plan": [row[0] for row in plan],
    }


async def main(quick: bool, registrations_only: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="medic-audit-") as made:
        folder = Path(made)
        (folder / "million").mkdir()
        async with open_bridge() as bridge, open_embedded_server(folder / "data", bridge=bridge) as server:
            rates = {}
            for sync_ms in (0, 10):
                found = await measure_registrations(server.target, bridge, folder, quick, sync_ms)
                rates[f"sync + {sync_ms} ms"] = found
                print(f"Registrations a second, 1 and 8 at a time, a sync taking {sync_ms} ms more")
                for way, by in found.items():
                    print(f"  {way:<20} {by}", flush=True)
            large: dict[str, object] = {}
            if not registrations_only:
                large = await measure_a_million(
                    server.target, bridge, folder / "million", 100_000 if quick else 1_000_000
                )
    for what, value in large.items():
        if what == "plan" and isinstance(value, list):
            print("EXPLAIN of the newest 50 of a service", *value, sep="\n  ")
        else:
            print(f"{what:<28} {value}")
    print(json.dumps({"bench": "audit", "quick": quick, "registrations": rates, **large, "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a short form")
    parser.add_argument("--registrations-only", action="store_true", help="without the million entries")
    asked = parser.parse_args()
    trio.run(main, asked.quick, asked.registrations_only)
