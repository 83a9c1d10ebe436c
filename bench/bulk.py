"""What a heartbeat costs in a bulk of 1 000, from the bytes of the body to the bytes of the answer.

    python -m bench.bulk [--quick]

CPU time of this process, medians of several rounds, in microseconds a heartbeat, the journal's committer and its sync
(`always`) included; and heartbeats a second of wall time with one bulk after the other, and with four at a time, so
that one is read while others wait for the disk. HTTP is not in it. Beside it stand, in the same round:

* one by one: the same heartbeats, each a body of its own, read and taken as `POST /heartbeat` does, and one wait for
  all of them. What a bulk spares.
* naive: one `orjson.loads` and a dict from name to instant and status, neither durable nor watched.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import orjson
import trio

from bench.turn import SERVICES, World
from medic.access.caller import Caller
from medic.access.keyless import KeylessRules
from medic.access.keys import KeyRing
from medic.access.mode import AuthMode
from medic.access.uses import KeyUses
from medic.http.bulk import take_bulk
from medic.http.gate import Gate
from medic.http.heartbeats import accepted, read_heartbeat, require_admitted
from medic.http.parts import ApiParts, ApiSettings
from medic.metrics.requests import RequestMeter

BULK = 1_000
BULKS = 40
ROUNDS = 7
CALLER = Caller("192.0.2.7")


class Parts:
    """What the forms of a heartbeat ask of `ApiParts` where nothing is refused."""

    def __init__(self, world: World) -> None:
        self.intake = world.intake
        self.settings = ApiSettings()
        self.clock = world.clock
        self.gatekeeper = Gate(
            AuthMode.OPEN,
            KeyRing(),
            KeyUses(),
            keyless=KeylessRules(),
            roster=world.directory,
            clock=world.clock,
            meter=RequestMeter(),
        )


Run = Callable[[], Awaitable[None]]


def bulks_of(world: World, bulks: int) -> list[list[dict[str, str]]]:
    """Heartbeats of services all over the fleet, a bulk at a time."""
    return [
        [
            {"heartbeat_name": world.names[(place * BULK + number) * 7 % SERVICES], "status": "UP"}
            for number in range(BULK)
        ]
        for place in range(bulks)
    ]


def rates(heartbeats: int, cpu_seconds: float, seconds: float) -> tuple[float, float]:
    """µs of CPU a heartbeat, and heartbeats a second."""
    return cpu_seconds / heartbeats * 1e6, heartbeats / seconds


async def measure_once(directory: Path, bulks: int) -> dict[str, tuple[float, float]]:
    """Of each way: µs of CPU a heartbeat, and heartbeats a second."""
    world = World(directory, SERVICES)
    parts: ApiParts = Parts(world)  # type: ignore[assignment]  # all of it that is asked for
    items = bulks_of(world, bulks)
    arrays = [orjson.dumps(bulk) for bulk in items]
    lines = [b"\n".join(orjson.dumps(item) for item in bulk) for bulk in items]
    bodies = [[orjson.dumps(item) for item in bulk] for bulk in items]
    store = dict.fromkeys(world.names, (0, ""))

    async def take_all(bulks: Sequence[bytes], key: str) -> None:
        for body in bulks:
            answer = await take_bulk(parts, body, CALLER, key)
            if answer.status != 201:
                raise RuntimeError(answer.body.decode())

    async def one_by_one() -> None:
        for bulk in bodies:
            newest = world.journal.newest
            for body in bulk:
                read = read_heartbeat(body, strict_status=False)
                require_admitted(parts, read.beat.name, CALLER)
                newest = world.intake.take_nowait(read.beat)
                accepted(read.ignored)
            await world.intake.wait_durable(newest)

    async def naive() -> None:
        for body in arrays:
            at = time.time_ns() // 1_000_000
            for item in orjson.loads(body):
                name = item["heartbeat_name"]
                if name not in store:
                    raise LookupError(name)
                store[name] = (at, item["status"])
            await trio.lowlevel.checkpoint()

    async def four_at_a_time() -> None:
        async with trio.open_nursery() as nursery:
            for first in range(4):
                nursery.start_soon(take_all, arrays[first::4], "")

    ways: dict[str, Run] = {
        "array": lambda: take_all(arrays, ""),
        "array, four at once": four_at_a_time,
        "lines": lambda: take_all(lines, ""),
        "array with a key": lambda: take_all(arrays, "bulk"),
        "one by one": one_by_one,
        "naive dict": naive,
    }
    found: dict[str, tuple[float, float]] = {}
    async with trio.open_nursery() as nursery:
        await nursery.start(world.journal.run)
        await take_all(arrays, "")  # whoever comes first pays for cold caches
        for name, run in ways.items():
            gc.collect()
            begun, wall = time.process_time(), time.perf_counter()
            await run()
            found[name] = rates(bulks * BULK, time.process_time() - begun, time.perf_counter() - wall)
        nursery.cancel_scope.cancel()
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="three short rounds")
    options = parser.parse_args(arguments)
    rounds, bulks = (3, BULKS // 4) if options.quick else (ROUNDS, BULKS)
    measured: list[dict[str, tuple[float, float]]] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="medic-bench-") as directory:
            measured.append(trio.run(measure_once, Path(directory), bulks))
    figures = {
        way: [statistics.median(once[way][column] for once in measured) for column in range(2)] for way in measured[0]
    }
    naive = figures["naive dict"][0]
    print(f"{'1 000 a request':<20}{'µs of CPU':>12}{'times naive':>14}{'a second':>14}")
    for way, (cpu, rate) in figures.items():
        print(f"  {way:<18}{cpu:>12.2f}{cpu / naive:>13.1f}x{rate:>14,.0f}")
    machine = {"python": platform.python_version(), "cpus": os.cpu_count()}
    print(json.dumps({"bench": "bulk", "machine": machine, "a_request": BULK, "figures": figures}))


if __name__ == "__main__":
    main()
