"""What a million actors cost in memory and at a start, beside a million parked trio tasks (decision 8).

    python -m bench.actors            # 10**6 actors, 10**5 tasks; about a minute
    python -m bench.actors --quick    # 10**5 of each
    python -m bench.actors --tasks 1000000

Each figure is taken in a process of its own, so that no other measurement's memory is in it. Rows are made the way
PostgreSQL hands them over: every string is an object of its own, and nothing is shared that the loader does not share.
Services are as they are after a heartbeat, so that no two of their instants happen to be one object. Times are of the
CPU: all of this is one thread, and the machine may have other work.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import trio

from medic.actors.actor import Actor
from medic.actors.clock import SightedClock
from medic.actors.directory import Directory
from medic.actors.host import Host, tick_of
from medic.actors.outbox import Outbox
from medic.actors.supervisor import Supervisor
from medic.core.deadline import next_deadline
from medic.core.notification import Notification
from medic.core.policy import Defaults
from medic.core.service import LONG_AGO, Service, ServiceRow
from medic.core.units import DurationMs, EventId, InstantMs, ServiceId, SightedMs, SkewMs
from medic.store.journal.memory_journal import MemoryJournal
from medic.wheel import Tick, Wheel

ORIGIN = 1_700_000_000_000
TEAMS, OWNERS, POLICIES = 20, 1_000, 30
PAGE = os.sysconf("SC_PAGE_SIZE")
TASK_SECONDS_MAX = 90

Stage = tuple[str, float]


def rows(count: int) -> list[ServiceRow]:
    """Services as a start reads them: 15-character names, a few teams, a few dozen promises."""
    return [
        ServiceRow(
            service_id=ServiceId(1_000_000 + number),
            version=1,
            heartbeat_name=f"service-{number:07d}",
            service_name=f"owner-{number % OWNERS}",
            active=True,
            interval_ms=DurationMs(60_000 * (1 + number % POLICIES)),
            grace_ms=DurationMs(0),
            threshold=1,
            recovery_ms=DurationMs(0),
            renotify_ms=None,
            team=f"team-{number % TEAMS}",
            priority=f"p{1 + number % 5}",
            runbook="",
            date_added=added,
            date_modified=added,
        )
        for number in range(count)
        for added in [InstantMs(ORIGIN + number)]
    ]


def service_of(row: ServiceRow, defaults: Defaults, number: int) -> Service:
    """A service that was heard of a moment ago."""
    service = Service(row, row.policy(defaults), registered=LONG_AGO)
    service.last_sign = SightedMs(ORIGIN + number + 1)
    service.last_heartbeat_at = InstantMs(ORIGIN + number)
    service.last_status = "UP"
    service.gap_ms = DurationMs(60_000 + number % 1_000)
    service.heartbeats_total = 1_000 + number
    service.position = 48 * number
    return service


def stages(count: int, measure: Callable[[], float]) -> Iterator[Stage]:
    """Bytes an actor, part by part."""
    before = measure()

    def grown(name: str) -> Stage:
        nonlocal before
        gc.collect()
        now = measure()
        grown_by, before = (now - before) / count, now
        return name, grown_by

    defaults = Defaults()
    made = rows(count)
    yield grown("row: what operators wrote")
    services = [service_of(row, defaults, number) for number, row in enumerate(made)]
    made.clear()
    yield grown("service: hot state")
    actors = [Actor.of(service) for service in services]
    services.clear()
    yield grown("actor: timer and mailbox")
    directory = Directory()
    directory.add_all(actors)
    yield grown("directory: by name and by id")
    wheel: Wheel[Actor] = Wheel(Tick(ORIGIN // 10), due)
    for actor in actors:
        tick = due(actor)
        if tick is not None:
            wheel.arm(actor, tick)
    actors.clear()
    yield grown("wheel: armed")


def due(actor: Actor) -> Tick | None:
    """The tick of the actor's deadline."""
    deadline = next_deadline(actor.service, SkewMs(0))
    return None if deadline is None else tick_of(deadline)


def resident() -> float:
    """Bytes of memory this process holds."""
    return float(int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE)


class Nobody:
    """A teller without targets."""

    def targets_for(self, _notification: Notification) -> tuple[str, ...]:
        return ()

    def offer_nowait(self, _notification: Notification) -> None: ...


class Counting:
    """Ids in order, from 1."""

    def __init__(self) -> None:
        self._last = 0

    def draw(self) -> EventId:
        self._last += 1
        return EventId(self._last)

    @property
    def in_hand(self) -> int:
        return 1 << 20

    def draw_many(self, count: int) -> list[EventId]:
        return [self.draw() for _ in range(count)]


async def _never(_service_id: ServiceId) -> Service | None:
    return None


async def start(count: int) -> dict[str, float]:
    """Seconds of a start from rows to armed actors, and of a full collection before and after freezing them."""
    gc.disable()
    defaults = Defaults()
    made = rows(count)
    began = time.process_time()
    services = [service_of(row, defaults, number) for number, row in enumerate(made)]
    clock = SightedClock(resume_at=SightedMs(ORIGIN + count), wall=lambda: InstantMs(ORIGIN + count))
    directory, supervisor = Directory(), Supervisor(_never)
    outbox = Outbox(MemoryJournal(), Nobody(), clock)
    host = Host(
        clock=clock,
        ids=Counting(),
        directory=directory,
        outbox=outbox,
        supervisor=supervisor,
        on_blindness=lambda _span: None,
    )
    built = time.process_time()
    host.add_all(services)
    armed = time.process_time()
    gc.collect()
    collected = time.process_time()
    gc.freeze()
    frozen = time.process_time()
    gc.collect()
    again = time.process_time()
    return {
        "services_seconds": built - began,
        "actors_seconds": armed - built,
        "collection_seconds": collected - armed,
        "collection_frozen_seconds": again - frozen,
        "actors": len(directory),
    }


async def tasks(count: int) -> dict[str, float]:
    """Bytes and seconds of parked trio tasks, and of cancelling them."""
    before, began = resident(), time.process_time()
    parked = 0

    async def park() -> None:
        nonlocal parked
        parked += 1
        await trio.sleep_forever()

    measured: dict[str, float] = {}
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(park)
        while parked < count:
            await trio.lowlevel.checkpoint()
        started = time.process_time()
        measured = {"bytes": (resident() - before) / count, "start_us": (started - began) / count * 1e6}
        nursery.cancel_scope.cancel()
    measured["cancel_us"] = (time.process_time() - started) / count * 1e6
    return measured


def in_own_process(what: str, count: int) -> dict[str, float]:
    """The figures of one measurement."""
    command = [sys.executable, __file__, "--measure", what, "--count", str(count)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=TASK_SECONDS_MAX * 2)
    figures: dict[str, float] = json.loads(ended.stdout)
    return figures


def measured(what: str, count: int) -> dict[str, float]:
    """Take one measurement in this process."""
    if what == "resident":
        return dict(stages(count, resident))
    if what == "traced":
        tracemalloc.start()
        return dict(stages(count, lambda: float(tracemalloc.get_traced_memory()[0])))
    return trio.run(start, count) if what == "start" else trio.run(tasks, count)


def table(figures: dict[str, dict[str, float]], count: int, task_count: int) -> str:
    """The figures for people."""
    lines = [f"{'bytes an actor':32} {'resident':>9} {'traced':>9}   ({count:,} actors)"]
    names = figures["resident"]
    lines += [f"  {name:30} {names[name]:9.0f} {figures['traced'][name]:9.0f}" for name in names]
    lines.append(f"  {'together':30} {sum(names.values()):9.0f} {sum(figures['traced'].values()):9.0f}")
    began, parked = figures["start"], figures["tasks"]
    actors_us = (began["services_seconds"] + began["actors_seconds"]) / count * 1e6
    hot, joined = began["services_seconds"], began["actors_seconds"]
    lines.append("")
    lines.append(
        f"start: hot state {hot:.2f} s, actors, directory and wheel {joined:.2f} s: {actors_us:.1f} µs an actor"
    )
    collected, frozen = began["collection_seconds"], began["collection_frozen_seconds"]
    lines.append(f"full collection: {collected:.3f} s, once frozen {frozen:.4f} s")
    lines.append(
        f"parked trio task: {parked['bytes']:.0f} bytes, {parked['start_us']:.1f} µs to start, "
        f"{parked['cancel_us']:.1f} µs to cancel   ({task_count:,} tasks)"
    )
    return "\n".join(lines)


def main() -> None:
    """Measure, print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10**5 of each")
    parser.add_argument("--tasks", type=int, default=100_000, help="trio tasks to park")
    parser.add_argument("--measure", choices=("resident", "traced", "start", "tasks"), help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=100_000, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(options.measure, options.count)))
        return
    count = 100_000 if options.quick else 1_000_000
    figures = {
        "resident": in_own_process("resident", count),
        "traced": in_own_process("traced", 100_000),
        "start": in_own_process("start", count),
        "tasks": in_own_process("tasks", options.tasks),
    }
    print(table(figures, count, options.tasks))
    print(json.dumps({"bench": "actors", "actors": count, "task_count": options.tasks, **figures}))


if __name__ == "__main__":
    main()
