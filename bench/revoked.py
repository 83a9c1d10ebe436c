"""How soon a key that was revoked by SQL works no more, beside keys that are read anew every second.

    python -m bench.revoked [--rounds 30]

Starts an embedded PostgreSQL of its own in a temporary directory. A round is a key that is put into the table, known to
two rings (one that listens, one that reads once a second), and revoked by one UPDATE of another session. The figure is
the time from the answer to that statement until the ring refuses the key.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

import trio

from bench.writer import StillClock
from medic.access.caller import MEDIC
from medic.access.keys import KeyDraft, KeyRing
from medic.access.scope import Scope
from medic.app.keys import OperatorKeys
from medic.app.logs import configure_logs
from medic.store.embedded.server import open_embedded_server
from medic.store.postgres.bridge import open_bridge
from medic.store.postgres.database import Database, open_database
from medic.store.postgres.migrate import migrate
from medic.store.tables.key_copy import KeyCopy
from medic.store.tables.key_log import KeyLog
from medic.store.tables.keys import PgKeyStore

LOOK_SECONDS = 0.0005
"""How often a ring is looked at: the figures are no finer."""


async def revoked_within(keys: OperatorKeys, key_id: str, begun: float) -> float:
    """Seconds from `begun` until this ring knows that the key was revoked."""
    while (key := keys.ring.by_id(key_id)) is None or key.revoked_at is None:  # noqa: ASYNC110 - a rival tells nobody
        await trio.sleep(LOOK_SECONDS)
    return perf_counter() - begun


async def read_every_second(keys: OperatorKeys) -> None:
    """The rival."""
    while True:
        await keys.follow()
        await trio.sleep(1)


async def measure(database: Database, directory: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of each round, by how the ring learns of it."""
    store = PgKeyStore(database, StillClock())
    rings = {name: OperatorKeys(store, KeyCopy(directory / name), KeyRing(), StillClock()) for name in ("told", "read")}
    taken: dict[str, list[float]] = {name: [] for name in rings}
    async with trio.open_nursery() as nursery:
        await nursery.start(KeyLog(database, rings["told"].follow).run)
        nursery.start_soon(read_every_second, rings["read"])
        for number in range(rounds):
            draft = KeyDraft(f"key-{number}", frozenset({Scope.READ}))
            key, _ = await rings["told"].create(draft, author=MEDIC)
            while rings["read"].ring.by_id(key.key_id) is None:  # noqa: ASYNC110
                await trio.sleep(LOOK_SECONDS)
            await trio.sleep((number % 10) / 10)  # anywhere within the rival's second
            await database.execute("UPDATE medic.api_keys SET revoked_at = now() WHERE key_id = $1", key.key_id)
            begun = perf_counter()
            for name, keys in rings.items():
                taken[name].append(await revoked_within(keys, key.key_id, begun))
        nursery.cancel_scope.cancel()
    return taken


async def run(rounds: int) -> None:
    """Measure, and print a table and a JSON line."""
    configure_logs(level="WARNING", as_json=False, debug=False)
    with tempfile.TemporaryDirectory(prefix="medic-bench-") as name:
        directory = Path(name)
        async with (
            open_bridge() as bridge,
            open_embedded_server(directory, bridge=bridge) as server,
            open_database(server.target, bridge=bridge) as database,
        ):
            await migrate(database)
            taken = await measure(database, directory, rounds)
    found = {
        how: {"median_ms": round(statistics.median(each) * 1e3, 2), "longest_ms": round(max(each) * 1e3, 2)}
        for how, each in taken.items()
    }
    for how, figures in found.items():
        print(f"{how:6} median {figures['median_ms']:8.2f} ms   longest {figures['longest_ms']:8.2f} ms")
    print(json.dumps({"bench": "revoked", "rounds": rounds, **found}))


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    trio.run(run, parser.parse_args().rounds)


if __name__ == "__main__":
    main()
