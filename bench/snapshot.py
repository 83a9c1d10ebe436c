"""What it costs to write a snapshot while Medic serves, and to start from one: beside pickle and JSON.

    python -m bench.snapshot [--quick] [--services N]

A fleet in memory, written by the real keeper into a directory of its own under `--directory`, while another task asks
every millisecond how long the loop kept it waiting; then read back as a start reads it. Then the same services, slice
by slice, by what one would take without thinking: `pickle` and JSON of the rows with their packed states.

CPU is the process's, the thread that writes the file included; each figure is the median of the rounds.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import pickle
import platform
import statistics
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from pathlib import Path
from time import perf_counter, process_time

import orjson
import trio

from medic.actors.clock import SightedClock, wall_now
from medic.core.ledger import NotificationLedger
from medic.core.policy import Defaults
from medic.core.service import Service, ServiceRow
from medic.core.units import DurationMs, InstantMs, ServiceId, SightedMs
from medic.ports import Position
from medic.store.codec import pack_state, unpack_state
from medic.store.journal.file_journal import FileJournal
from medic.store.snapshot.files import SnapshotFiles
from medic.store.snapshot.keeper import SnapshotKeeper
from medic.store.snapshot.services import SERVICES_A_BLOCK

NOW = 1_790_000_000_000
DEFAULTS = Defaults()
SERVICES = 1_000_000
SERVICES_QUICK = 50_000
TEAMS = 40


@dataclass
class Figures:
    """One entry a round; seconds, and bytes."""

    write_cpu: list[float] = field(default_factory=list)
    write_wall: list[float] = field(default_factory=list)
    stall: list[float] = field(default_factory=list)
    read_cpu: list[float] = field(default_factory=list)
    size: int = 0


class Fleet:
    """Services, and as much of a directory as a keeper asks for."""

    def __init__(self, count: int) -> None:
        self.members = [_service(number) for number in range(count)]

    def by_id(self, service_id: ServiceId) -> Service | None:
        return self.members[service_id - 1]

    def services(self) -> Iterator[Service]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)


def _service(number: int) -> Service:
    row = ServiceRow(
        service_id=ServiceId(number + 1),
        version=1 + number % 3,
        heartbeat_name=f"service-{number:07d}",
        service_name=f"owner-{number % 5_000}",
        active=True,
        interval_ms=DurationMs(60_000 * (1 + number % 15)),
        grace_ms=DurationMs(0),
        threshold=1,
        recovery_ms=DurationMs(0),
        renotify_ms=None,
        team=f"team-{number % TEAMS}",
        priority=f"p{1 + number % 5}",
        runbook="",
        date_added=InstantMs(NOW + number),
        date_modified=InstantMs(NOW + number),
        changed_by="api",
    )
    service = Service(row, row.policy(DEFAULTS), registered=SightedMs(NOW))
    service.last_status, service.last_heartbeat_at, service.gap_ms = "UP", InstantMs(NOW + number), DurationMs(60_000)
    service.heartbeats_total, service.position = number, 48 * number
    return service


async def longest_turn(act: Callable[[], Awaitable[object]]) -> float:
    """Seconds the loop kept a task waiting at most that wanted to run every millisecond meanwhile."""
    longest = 0.0

    async def probe() -> None:
        nonlocal longest
        while True:
            before = perf_counter()
            await trio.sleep(0.001)
            longest = max(longest, perf_counter() - before - 0.001)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(probe)
        await act()
        nursery.cancel_scope.cancel()
    return longest


async def medics(fleet: Fleet, directory: Path, rounds: int) -> Figures:
    """The keeper's snapshots, and reading the newest."""
    found = Figures()
    journal = FileJournal(directory / "journal")
    files = SnapshotFiles(directory / "snapshot")

    async def rebuild(_: ServiceId) -> Service | None:
        await trio.lowlevel.checkpoint()
        return None

    keeper = SnapshotKeeper(
        files=files,
        journal=journal,
        roster=fleet,
        in_order=fleet.by_id,
        rebuild=rebuild,
        ledger=NotificationLedger(),
        clock=SightedClock(resume_at=SightedMs(wall_now())),
        committed=lambda: Position(0),
    )
    for _ in range(rounds):
        cpu, begun = process_time(), perf_counter()
        found.stall.append(await longest_turn(keeper.write))
        found.write_cpu.append(process_time() - cpu)
        found.write_wall.append(perf_counter() - begun)
        cpu = process_time()
        snapshot = await files.read_newest(journal.journal_id, Position(0), DEFAULTS)
        found.read_cpu.append(process_time() - cpu)
        assert snapshot is not None
        assert len(snapshot.services) == len(fleet)
    found.size = keeper.statistics().size
    return found


def _slices(fleet: Fleet) -> Iterator[list[Service]]:
    for first in range(0, len(fleet), SERVICES_A_BLOCK):
        yield fleet.members[first : first + SERVICES_A_BLOCK]


def pickled(fleet: Fleet) -> tuple[list[bytes], Callable[[bytes], list[Service]]]:
    # A row points at columns that others have as well, and is frozen: it is pickled as its columns.
    columns = [column.name for column in fields(ServiceRow)]
    columns_of = attrgetter(*columns)
    blocks = [pickle.dumps([(columns_of(one.row), pack_state(one)) for one in slice_]) for slice_ in _slices(fleet)]

    def read(block: bytes) -> list[Service]:
        services = []
        for values, state in pickle.loads(block):
            row = ServiceRow(**dict(zip(columns, values, strict=True)))
            services.append(unpack_state(state, row, row.policy(DEFAULTS)))
        return services

    return blocks, read


def as_json(fleet: Fleet) -> tuple[list[bytes], Callable[[bytes], list[Service]]]:
    blocks = [orjson.dumps([(one.row, pack_state(one).hex()) for one in slice_]) for slice_ in _slices(fleet)]

    def read(block: bytes) -> list[Service]:
        services = []
        for columns, state in orjson.loads(block):
            row = ServiceRow(**columns)
            services.append(unpack_state(bytes.fromhex(state), row, row.policy(DEFAULTS)))
        return services

    return blocks, read


def rival(
    fleet: Fleet, way: Callable[[Fleet], tuple[list[bytes], Callable[[bytes], list[Service]]]], rounds: int
) -> Figures:
    """The same by another way, in memory: no file, no checksum, nothing else running."""
    found = Figures()
    for _ in range(rounds):
        cpu = process_time()
        blocks, read = way(fleet)
        found.write_cpu.append(process_time() - cpu)
        cpu = process_time()
        services = [service for block in blocks for service in read(block)]
        found.read_cpu.append(process_time() - cpu)
        assert len(services) == len(fleet)
        found.size = sum(map(len, blocks))
    return found


def report(figures: dict[str, Figures], count: int) -> None:
    print(f"{count} services · medians of the rounds\n")
    print(f"{'way':<10}{'write µs':>10}{'read µs':>10}{'bytes':>8}   a service")
    lines: dict[str, dict[str, float]] = {}
    for name, found in figures.items():
        write = statistics.median(found.write_cpu) / count * 1e6
        read = statistics.median(found.read_cpu) / count * 1e6
        print(f"{name:<10}{write:>10.2f}{read:>10.2f}{found.size / count:>8.0f}")
        lines[name] = {"write_us": write, "read_us": read, "bytes": found.size / count}
    medic = figures["medic"]
    wall, stall = statistics.median(medic.write_wall), statistics.median(medic.stall)
    print(f"\nmedic: {wall:.1f} s a snapshot, {medic.size / 1e6:.0f} MB; longest turn of the loop {stall * 1e3:.1f} ms")
    lines["medic"] |= {"seconds": wall, "longest_turn_ms": stall * 1e3}
    machine = {"python": platform.python_version(), "cpus": os.cpu_count()}
    print("\n" + json.dumps({"bench": "snapshot", "services": count, "machine": machine, "figures": lines}))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer services, one round")
    parser.add_argument("--services", type=int, default=None, help="how many")
    parser.add_argument("--directory", type=Path, default=None, help="where to write, to choose the disk")
    options = parser.parse_args(arguments)
    rounds = 1 if options.quick else 3
    fleet = Fleet(options.services or (SERVICES_QUICK if options.quick else SERVICES))
    gc.collect()
    gc.freeze()
    gc.disable()
    with tempfile.TemporaryDirectory(prefix="medic-bench-", dir=options.directory) as directory:
        figures = {"medic": trio.run(medics, fleet, Path(directory), rounds)}
    figures |= {"pickle": rival(fleet, pickled, rounds), "JSON": rival(fleet, as_json, rounds)}
    report(figures, len(fleet))


if __name__ == "__main__":
    main()
