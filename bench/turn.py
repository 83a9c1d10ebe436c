"""What one turn costs the loop: a heartbeat from intake to the journal, and a deadline that opens an alert.

    python -m bench.turn [--quick] [--against COMMIT]

For a turn: CPU time of this process, medians of several rounds, in microseconds. Everything is as it is in Medic, but
for the disk: the journal is a real one whose committer does not run, so that records end in memory, which is where a
turn ends. Beside it stand:

* before: the same at another commit, in a process of its own, from the files git has of it. Left out where git has
  none. Some parts were cut differently there; the whole is what compares.
* naive: a dict from name to instant and status, which is neither durable nor watched.

Then a burst: 100 000 deadlines that come due in one second, with journal and outbox running and a client that beats
as fast as it is answered; in wall time, but for what says that it is CPU.

A part is measured by itself in a loop of its own, so parts do not add up to the whole exactly.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import trio

from medic.actors import host as host_module
from medic.actors.clock import SightedClock
from medic.actors.directory import Directory
from medic.actors.host import SLICE_MOVES, Host
from medic.actors.intake import HeartbeatIntake
from medic.actors.outbox import Outbox
from medic.actors.supervisor import Supervisor
from medic.app import serve
from medic.core.deadline import next_deadline
from medic.core.effects import RecordHeartbeat, ServiceEffect
from medic.core.events import DeadlineExpired, HeartbeatReceived
from medic.core.notification import Notification
from medic.core.policy import Defaults
from medic.core.service import Service, ServiceRow
from medic.core.status import HeartbeatStatus
from medic.core.step import step
from medic.core.units import DurationMs, EventId, InstantMs, ServiceId, SightedMs, SkewMs
from medic.errors import OverloadedError
from medic.ports import Beat, Position
from medic.store.codec import encode
from medic.store.journal.file_journal import FileJournal
from medic.store.tables.ids import BlockIds

BEFORE = "03954db"
"""The last commit before turns were made cheap."""

SERVICES = 20_000
HEARTBEATS = 40_000
ROUNDS = 5
BURST_ROUNDS = 3
ORIGIN = 1_790_000_000_000
RETRY_SECONDS = 0.01
AHEAD_MS = 3_600_000
DEFAULTS = Defaults(first_heartbeat_ms=DurationMs(0))

SWITCH_SECONDS: float = getattr(serve, "SWITCH_SECONDS", sys.getswitchinterval())

Figures = dict[str, float]


class Pager:
    """A teller with two targets that tells nobody."""

    def targets_for(self, _notification: Notification) -> tuple[str, ...]:
        return ("pagerduty", "slack")

    def offer_nowait(self, _notification: Notification) -> None: ...


async def _never(_service_id: ServiceId) -> Service | None:
    return None


class World:
    """One shard with services that are up and were heard of at `ORIGIN`."""

    def __init__(self, directory: Path, services: int) -> None:
        (directory / "ids").write_text("[[1,1000000000]]", encoding="ascii")
        self.seconds = 0.0
        self.ids = BlockIds(directory)
        self.clock = SightedClock(
            resume_at=SightedMs(ORIGIN),
            wall=lambda: InstantMs(ORIGIN + int(self.seconds * 1000)),
            monotonic=lambda: self.seconds,
        )
        self.journal = FileJournal(directory / "journal")
        self.directory = Directory()
        self.outbox = Outbox(self.journal, Pager(), self.clock)
        self.host = Host(
            clock=self.clock,
            ids=self.ids,
            directory=self.directory,
            outbox=self.outbox,
            supervisor=Supervisor(_never),
            on_blindness=lambda _span: None,
        )
        self.intake = HeartbeatIntake(
            directory=self.directory, host=self.host, journal=self.journal, clock=self.clock, ids=self.ids
        )
        self.names = [f"service-{number:07d}" for number in range(services)]
        self.host.add_all([service_of(name, number) for number, name in enumerate(self.names)])

    def pass_an_hour(self) -> None:
        """Let the services' hour go by, and a minute more. It was watched, not slept through."""
        self.seconds = AHEAD_MS / 1000 + 60
        self.clock.look()
        self.clock._offset_ms = ORIGIN  # noqa: SLF001 - as if somebody had looked all the time

    def take(self, beat: Beat) -> int:
        """What a heartbeat costs, up to the record in memory."""
        if hasattr(self.intake, "take_nowait"):
            return self.intake.take_nowait(beat)
        # Before, `take` could not be had without its wait for the disk. This is its first half, line by line.
        actor = self.directory.actor(beat.name)
        if actor is None or actor.service.status == "inactive":
            raise LookupError(beat.name)
        event = HeartbeatReceived(
            at=self.clock.now(),
            sighted=self.clock.sighted(),
            event_id=self.ids.draw(),
            kind=HeartbeatStatus.UP,
            status=beat.status,
            run_id=beat.run_id,
            said_at=beat.said_at,
        )
        position: int = self.host.tell_nowait(actor, event)  # type: ignore[assignment]  # None only while rebuilt
        return position


def service_of(name: str, number: int, *, interval_ms: int = AHEAD_MS) -> Service:
    """A service that is up."""
    row = ServiceRow(
        service_id=ServiceId(1_000_000 + number),
        version=1,
        heartbeat_name=name,
        service_name=f"owner-{number % 1_000}",
        active=True,
        interval_ms=DurationMs(interval_ms),
        grace_ms=DurationMs(0),
        threshold=1,
        recovery_ms=DurationMs(0),
        renotify_ms=None,
        team=f"team-{number % 20}",
        priority=f"p{1 + number % 5}",
        runbook="https://runbooks.example/when-it-is-late",
        date_added=InstantMs(ORIGIN),
        date_modified=InstantMs(ORIGIN),
    )
    service = Service(row, row.policy(DEFAULTS), registered=SightedMs(ORIGIN))
    step(
        service,
        HeartbeatReceived(InstantMs(ORIGIN), SightedMs(ORIGIN), EventId(1), HeartbeatStatus.UP, "UP"),
    )
    return service


def cpu_us(count: int, run: Callable[[], object]) -> float:
    """Microseconds of CPU a piece, for a function that does `count` of them."""
    gc.collect()
    begun = time.process_time()
    run()
    return (time.process_time() - begun) / count * 1e6


def each(count: int, one: Callable[[], object]) -> float:
    """Microseconds of CPU of one call, the loop taken off."""

    def calls() -> None:
        for _ in range(count):
            one()

    def nothing() -> None:
        for _ in range(count):
            _nothing()

    return max(0.0, cpu_us(count, calls) - cpu_us(count, nothing))


def _nothing() -> None: ...


def heartbeat_parts(directory: Path, count: int) -> Iterator[tuple[str, float]]:
    """A plain heartbeat of a service that is up, whole and in parts."""
    world = World(directory, SERVICES)
    beats = [Beat(world.names[number * 7 % SERVICES], "UP") for number in range(count)]

    def whole() -> None:
        for beat in beats:
            world.take(beat)

    yield "whole", cpu_us(count, whole)
    name = beats[0].name
    yield "look the actor up", each(count, lambda: world.directory.actor(name))
    yield "read the clocks", each(count, getattr(world.clock, "read", None) or _both(world.clock))
    yield "draw an id", each(count, world.ids.draw)
    service = service_of(name, 1)
    event = HeartbeatReceived(InstantMs(ORIGIN), SightedMs(ORIGIN), EventId(1), HeartbeatStatus.UP, "UP")
    yield "decide and fold, in full", each(count, lambda: step(service, event))
    yield "next deadline", each(count, lambda: next_deadline(service, SkewMs(0)))
    record = RecordHeartbeat(ServiceId(1), InstantMs(ORIGIN), SightedMs(ORIGIN), EventId(1), HeartbeatStatus.UP, "UP")
    yield "encode", each(count, lambda: encode(record))
    yield "append", each(count, lambda: world.journal.append_nowait(record))


def _both(clock: SightedClock) -> Callable[[], object]:
    return lambda: (clock.now(), clock.sighted())


def expiry_parts(directory: Path, count: int) -> Iterator[tuple[str, float]]:
    """A deadline that comes due, opens an alert and tells it, whole and in parts."""
    host_module.READ_FIRST_SECONDS = 0.0  # type: ignore[misc]  # nobody's requests wait here
    world = World(directory, count)
    world.pass_an_hour()
    stalls: list[float] = []

    async def fire() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.host.run)
            begun = time.process_time()
            while world.host.statistics().fired < count:
                await trio.lowlevel.checkpoint()
                now = time.process_time()
                stalls.append(now - begun)
                begun = now
            nursery.cancel_scope.cancel()

    gc.collect()
    begun = time.process_time()
    trio.run(fire)
    yield "whole", (time.process_time() - begun) / count * 1e6
    yield f"others' longest wait, ms ({SLICE_MOVES})", max(stalls) * 1e3
    yield "bytes of records", world.journal.newest / count
    services = [service_of(f"service-{number:07d}", number) for number in range(count)]
    event = DeadlineExpired(
        at=InstantMs(ORIGIN + AHEAD_MS + 5),
        sighted=SightedMs(ORIGIN + AHEAD_MS + 5),
        event_id=EventId(7),
        armed_for=SightedMs(ORIGIN + AHEAD_MS),
    )
    decided: list[tuple[ServiceEffect, ...]] = []

    def decide() -> None:
        decided.extend(step(service, event) for service in services)

    yield "decide and fold", cpu_us(count, decide)
    yield "next deadline", each(count, lambda: next_deadline(services[0], SkewMs(0)))
    effects = decided[0]
    yield "encode", each(count, lambda: [encode(effect) for effect in effects])
    yield "append", each(count // 10, _append_turn(world.journal, effects))


def _append_turn(journal: FileJournal, effects: Sequence[ServiceEffect]) -> Callable[[], object]:
    """A whole turn in one call; commits from before there was one append its effects one by one."""
    append_turn = getattr(journal, "append_turn_nowait", None)
    if append_turn is None:
        return lambda: [journal.append_nowait(effect) for effect in effects]
    return partial(append_turn, effects)


async def burst(directory: Path, count: int) -> list[tuple[str, float]]:
    """Deadlines that all come due in one second, with a client that beats as fast as it is answered meanwhile."""
    world = World(directory, count)
    well = service_of("well", count, interval_ms=48 * AHEAD_MS)
    world.host.add_all([well])
    world.pass_an_hour()
    waited: list[float] = []
    refused: list[float] = []

    async def client() -> None:
        while world.host.statistics().fired < count:
            begun = time.perf_counter()
            try:
                await world.journal.wait_durable(Position(world.take(Beat("well", "UP"))))
            except OverloadedError:
                refused.append(begun)
                await trio.sleep(RETRY_SECONDS)
                continue
            waited.append(time.perf_counter() - begun)
        nursery.cancel_scope.cancel()

    gc.collect()
    sys.setswitchinterval(SWITCH_SECONDS)
    async with trio.open_nursery() as nursery:
        await nursery.start(world.journal.run)
        await nursery.start(world.outbox.run)
        nursery.start_soon(client)
        begun, cpu = time.perf_counter(), time.process_time()
        await nursery.start(world.host.run)
    spent, own = time.perf_counter() - begun, time.process_time() - cpu
    return [
        ("seconds until all are decided", spent),
        ("of CPU a deadline, µs", own / count * 1e6),
        ("heartbeats answered", len(waited)),
        ("heartbeats refused, 503", len(refused)),
        ("median of their answers, ms", statistics.median(waited) * 1e3),
        ("longest answer, ms", max(waited) * 1e3),
    ]


def naive_heartbeat(count: int) -> float:
    """The same from a dict that forgets all with the process."""
    store = {f"service-{number:07d}": (0, "") for number in range(SERVICES)}
    beats = [Beat(f"service-{number * 7 % SERVICES:07d}", "UP") for number in range(count)]

    def whole() -> None:
        for beat in beats:
            if beat.name not in store:
                raise LookupError(beat.name)
            store[beat.name] = (time.time_ns() // 1_000_000, beat.status)

    return cpu_us(count, whole)


def measure(rounds: int, count: int) -> dict[str, Figures]:
    """Medians of this process's own code."""
    found: dict[str, dict[str, list[float]]] = {"heartbeat": {}, "expiry": {}, "burst": {}}
    for _ in range(rounds):
        for turn, parts in (("heartbeat", heartbeat_parts), ("expiry", expiry_parts)):
            with tempfile.TemporaryDirectory(prefix="medic-bench-") as directory:
                for part, figure in parts(Path(directory), count if turn == "heartbeat" else count // 4):
                    found[turn].setdefault(part, []).append(figure)
        found["heartbeat"].setdefault("naive dict", []).append(naive_heartbeat(count))
    for _ in range(BURST_ROUNDS):
        with tempfile.TemporaryDirectory(prefix="medic-bench-") as directory:
            for part, figure in trio.run(burst, Path(directory), count * 5 // 2):
                found["burst"].setdefault(part, []).append(figure)
    return {
        turn: {part: statistics.median(figures) for part, figures in parts.items()} for turn, parts in found.items()
    }


def measure_at(commit: str, rounds: int, count: int) -> dict[str, Figures] | None:
    """The same of the code at a commit; None where git does not have it."""
    root = Path(__file__).parent.parent
    archived = subprocess.run(["git", "archive", commit, "medic"], cwd=root, capture_output=True, check=False)
    if archived.returncode:
        return None
    with tempfile.TemporaryDirectory(prefix="medic-bench-") as directory:
        with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as files:
            files.extractall(directory, filter="data")
        script = Path(directory) / "turn.py"
        script.write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
        ended = subprocess.run(
            [sys.executable, script, "--measure", "--rounds", str(rounds), "--count", str(count)],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": directory},
            capture_output=True,
            text=True,
            check=True,
        )
    figures: dict[str, Figures] = json.loads(ended.stdout)
    return figures


def report(figures: dict[str, Figures], before: dict[str, Figures] | None, commit: str) -> None:
    """The table, and the line for programs."""
    for turn, parts in figures.items():
        print(f"{turn:<32}{'now':>12}{'at ' + commit:>14}{'times':>9}")
        for part, figure in parts.items():
            rival = None if before is None else before[turn].get(part)
            beside = "" if rival is None else f"{rival:>14.2f}{rival / figure if figure else 0.0:>8.1f}x"
            print(f"  {part:<30}{figure:>12.2f}{beside}")
        print()
    machine = {"python": platform.python_version(), "cpus": os.cpu_count()}
    print(json.dumps({"bench": "turn", "machine": machine, "figures": figures, "before": before, "commit": commit}))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="three short rounds")
    parser.add_argument("--against", default=BEFORE, help="the commit to compare with")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=HEARTBEATS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    rounds, count = (3, HEARTBEATS // 4) if options.quick else (options.rounds, options.count)
    if options.measure:
        print(json.dumps(measure(rounds, count)))
        return
    report(measure(rounds, count), measure_at(options.against, rounds, count), options.against)


if __name__ == "__main__":
    main()
