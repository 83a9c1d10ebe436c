"""What one active Medic a database costs, and how long nobody watches when it is gone.

    python -m bench.standby [--quick]

Starts an embedded PostgreSQL of its own in a temporary directory.

* fence: a transaction that shows its token in the round trip of its BEGIN, beside one that shows none: an empty one,
  for the worst ratio there is, and one that writes a row. In turn, medians.
* killed: seconds from `kill -9` of the active Medic until the one that stands by is ready for heartbeats.
* stopped: the same from SIGTERM, the orderly end of the active one included.
* restarted: without another one: from `kill -9` until the same Medic, started again at once, is ready.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import socket
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Final

import trio

from medic.store.embedded.server import open_embedded_server
from medic.store.postgres.bridge import open_bridge
from medic.store.postgres.database import Database, open_database
from medic.store.postgres.migrate import migrate

TRANSACTIONS: Final = 500
ROUNDS: Final = 3
LOOK_SECONDS: Final = 0.01
"""How often a Medic is asked whether it is ready; the figures are no finer than this."""

READY: Final = b"GET /health/ready HTTP/1.1\r\nHost: medic\r\nConnection: close\r\n\r\n"
LIVE: Final = READY.replace(b"ready", b"live")


class Served:
    """`medic serve` on a data directory and a port of its own, started again and again."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        ours = {"PORT": str(self._port), "MEDIC_DATA_DIR": str(folder), "LOG_LEVEL": "ERROR"}
        self._environment = {**os.environ, **environment, **ours}
        self._child: trio.Process | None = None

    async def start(self, nursery: trio.Nursery) -> None:
        """Start the process; it is ready or stands by some time later."""
        nothing = os.open(os.devnull, os.O_WRONLY)

        async def run(task_status: trio.TaskStatus[trio.Process]) -> None:
            command = [sys.executable, "-m", "medic", "serve"]
            await trio.run_process(
                command, env=self._environment, stdout=nothing, stderr=nothing, check=False, task_status=task_status
            )
            os.close(nothing)

        self._child = await nursery.start(run)

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._child is not None:
            self._child.send_signal(number)

    async def wait(self, request: bytes) -> None:
        """Return once it answers 200."""
        while True:
            with suppress(OSError, trio.BrokenResourceError):
                stream = await trio.open_tcp_stream("127.0.0.1", self._port)
                async with stream:
                    await stream.send_all(request)
                    if (await stream.receive_some(64)).startswith(b"HTTP/1.1 200"):
                        return
            await trio.sleep(LOOK_SECONDS)


async def measure(folder: Path, rounds: int, transactions: int) -> dict[str, float]:
    """All figures."""
    figures: dict[str, float] = {}
    async with (
        open_bridge() as bridge,
        open_embedded_server(folder / "database", bridge=bridge) as server,
        open_database(server.target, bridge=bridge) as plain,
        open_database(server.target, bridge=bridge) as fenced,
    ):
        await migrate(plain)
        fenced.fence(0)
        figures |= await measure_fence(plain, fenced, transactions)
        environment = dict(server.target.environment())
        figures |= await measure_takeovers([Served(folder / name, environment) for name in ("a", "b")], rounds)
    return figures


async def measure_fence(plain: Database, fenced: Database, transactions: int) -> dict[str, float]:
    """Milliseconds of an empty transaction, with and without its token."""
    await plain.execute("CREATE TABLE public.kept (number integer)")
    spent: dict[str, list[float]] = {}
    for sql, kind in (("", "empty"), ("INSERT INTO public.kept VALUES (1)", "of one row")):
        for _ in range(transactions):
            for name, database in (("plain", plain), ("fenced", fenced)):
                begun = perf_counter()
                async with database.transaction() as transaction:
                    if sql:
                        await transaction.execute(sql)
                spent.setdefault(f"{name} {kind}, ms", []).append((perf_counter() - begun) * 1000)
    return {name: statistics.median(times) for name, times in spent.items()}


async def measure_takeovers(pair: Sequence[Served], rounds: int) -> dict[str, float]:
    """Seconds in which nobody was ready."""
    spent: dict[str, list[float]] = {"killed": [], "stopped": [], "restarted": []}
    active, other = pair
    async with trio.open_nursery() as nursery:
        await active.start(nursery)
        await active.wait(READY)
        for _ in range(rounds):
            for how, number in (("killed", signal.SIGKILL), ("stopped", signal.SIGTERM)):
                await other.start(nursery)
                await other.wait(LIVE)
                begun = perf_counter()
                active.tell(number)
                await other.wait(READY)
                spent[how].append(perf_counter() - begun)
                active, other = other, active
            begun = perf_counter()
            active.tell(signal.SIGKILL)
            await active.start(nursery)
            await active.wait(READY)
            spent["restarted"].append(perf_counter() - begun)
        active.tell(signal.SIGTERM)
    return {f"{how}, s": statistics.median(times) for how, times in spent.items()}


def report(figures: Mapping[str, float]) -> None:
    """Print the table and the JSON line."""
    rivals = {
        "fenced empty, ms": "plain empty, ms",
        "fenced of one row, ms": "plain of one row, ms",
        "killed, s": "restarted, s",
        "stopped, s": "restarted, s",
    }
    print(f"{'':<28}{'median':>12}  beside")
    for name, figure in figures.items():
        rival = rivals.get(name)
        beside = f"{figure / figures[rival]:.2f} of {rival.rpartition(',')[0]}" if rival else ""
        print(f"{name:<28}{figure:>12.3f}  {beside}")
    machine = {"python": platform.python_version(), "cpus": os.cpu_count()}
    print("\n" + json.dumps({"bench": "standby", "machine": machine, "figures": figures}))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one round, a fifth of the transactions")
    options = parser.parse_args(arguments)
    rounds, transactions = (1, TRANSACTIONS // 5) if options.quick else (ROUNDS, TRANSACTIONS)
    with tempfile.TemporaryDirectory(prefix="medic-bench-") as directory:
        report(trio.run(measure, Path(directory), rounds, transactions))


if __name__ == "__main__":
    main()
