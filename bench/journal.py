"""What it costs to make a heartbeat durable: group commit, beside a sync for each record.

    python -m bench.journal [--quick]

Clients in a closed loop: each appends a heartbeat, waits until it is durable, and appends the next. They are trio
tasks, as connections are; the files are real ones in a directory of their own under `--directory` (default: the
system's for temporary files), so the figures are those of that disk. Its own sync is measured first, and stands
beside them.

Contenders, in turn, round by round:

* always: `FileJournal`, one write and one fdatasync for all who wait (`MEDIC_JOURNAL_SYNC=always`).
* interval: `FileJournal`, one write for all who wait, a sync every 50 ms (`MEDIC_JOURNAL_SYNC=interval`).
* one by one: a write and an fdatasync for each record, in a thread as well, one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import trio

from medic.core.effects import RecordHeartbeat
from medic.core.status import HeartbeatStatus
from medic.core.units import EventId, InstantMs, ServiceId, SightedMs
from medic.store.codec import encode
from medic.store.journal.file_journal import FileJournal
from medic.store.journal.statistics import Sync

NOW = 1_790_000_000_000
CLIENTS = (1, 32, 128)
SYNCS = 300
"""Syncs of one record each by which the disk itself is measured."""

APPENDS = 100_000

Beat = Callable[[RecordHeartbeat], Awaitable[None]]


def heartbeat(number: int) -> RecordHeartbeat:
    return RecordHeartbeat(
        service_id=ServiceId(number % 10_000),
        at=InstantMs(NOW + number),
        sighted=SightedMs(NOW + number),
        heartbeat_id=EventId(number),
        kind=HeartbeatStatus.UP,
        status="UP",
    )


@asynccontextmanager
async def always(directory: Path) -> AsyncIterator[Beat]:
    async with _journal(directory, Sync.ALWAYS) as beat:
        yield beat


@asynccontextmanager
async def interval(directory: Path) -> AsyncIterator[Beat]:
    async with _journal(directory, Sync.INTERVAL) as beat:
        yield beat


@asynccontextmanager
async def _journal(directory: Path, sync: Sync) -> AsyncIterator[Beat]:
    journal = FileJournal(directory, sync=sync)

    async def beat(record: RecordHeartbeat) -> None:
        await journal.wait_durable(journal.append_nowait(record))

    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        yield beat
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def one_by_one(directory: Path) -> AsyncIterator[Beat]:
    fd = os.open(f"{directory}.records", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    limiter = trio.CapacityLimiter(1)

    def write(record: bytes) -> None:
        os.write(fd, record)
        os.fdatasync(fd)

    async def beat(record: RecordHeartbeat) -> None:
        await trio.to_thread.run_sync(write, encode(record), limiter=limiter)

    try:
        yield beat
    finally:
        os.close(fd)


CONTENDERS = {"always": always, "interval": interval, "one by one": one_by_one}


@dataclass
class Figures:
    """One entry a round."""

    rate: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)


async def load(beat: Beat, clients: int, seconds: float) -> tuple[float, list[float]]:
    """Records a second, and the seconds each client waited for each."""
    waited: list[float] = []
    until = perf_counter() + seconds

    async def client(number: int) -> None:
        while (begun := perf_counter()) < until:
            await beat(heartbeat(number))
            waited.append(perf_counter() - begun)

    begun = perf_counter()
    async with trio.open_nursery() as nursery:
        for number in range(clients):
            nursery.start_soon(client, number)
    return len(waited) / (perf_counter() - begun), waited


async def measure(directory: Path, rounds: int, seconds: float) -> dict[tuple[str, int], Figures]:
    figures = {(name, clients): Figures() for clients in CLIENTS for name in CONTENDERS}
    for number in range(rounds):
        for (name, clients), found in figures.items():
            async with CONTENDERS[name](directory / f"{name}-{clients}-{number}".replace(" ", "-")) as beat:
                rate, waited = await load(beat, clients, seconds)
            cuts = statistics.quantiles(waited, n=100)
            found.rate.append(rate)
            found.p50_ms.append(cuts[49] * 1e3)
            found.p99_ms.append(cuts[98] * 1e3)
    return figures


def disk_sync_ms(directory: Path) -> float:
    """Median milliseconds of a write of one record and its fdatasync, without a hop to a thread."""
    fd = os.open(directory / "disk", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    record = encode(heartbeat(1))
    spent = []
    for _ in range(SYNCS):
        begun = perf_counter()
        os.write(fd, record)
        os.fdatasync(fd)
        spent.append(perf_counter() - begun)
    os.close(fd)
    return statistics.median(spent) * 1e3


async def append_us(directory: Path) -> float:
    """Microseconds of `append_nowait`, which every heartbeat costs the loop."""
    journal = FileJournal(directory)
    records = [heartbeat(number) for number in range(APPENDS)]
    begun = perf_counter()
    for record in records:
        journal.append_nowait(record)
    return (perf_counter() - begun) / APPENDS * 1e6


def report(figures: dict[tuple[str, int], Figures], sync_ms: float, append: float) -> None:
    print(f"disk: {sync_ms:.2f} ms a write and fdatasync · append_nowait: {append:.1f} µs · medians of the rounds\n")
    print(f"{'clients':>8}  {'contender':<12}{'records/s':>12}{'p50 ms':>10}{'p99 ms':>10}{'beside one by one':>20}")
    lines: dict[str, dict[str, float]] = {}
    for (name, clients), found in figures.items():
        median = {
            key: statistics.median(values)
            for key, values in (("rate", found.rate), ("p50_ms", found.p50_ms), ("p99_ms", found.p99_ms))
        }
        rival = statistics.median(figures["one by one", clients].rate)
        times = median["rate"] / rival
        print(
            f"{clients:>8}  {name:<12}{median['rate']:>12,.0f}{median['p50_ms']:>10.2f}{median['p99_ms']:>10.2f}"
            f"{times:>19.1f}x".replace(",", " ")
        )
        lines[f"{name}, {clients} clients"] = median | {"times_one_by_one": times}
    machine = {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "disk_sync_ms": sync_ms,
        "append_us": append,
    }
    print("\n" + json.dumps({"bench": "journal", "machine": machine, "figures": lines}))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--directory", type=Path, default=None, help="where to write, to choose the disk")
    options = parser.parse_args(arguments)
    rounds, seconds = (1, 0.2) if options.quick else (3, 0.3)
    with tempfile.TemporaryDirectory(prefix="medic-bench-", dir=options.directory) as directory:
        path = Path(directory)
        sync_ms = disk_sync_ms(path)
        append = trio.run(append_us, path / "append")
        report(trio.run(measure, path, rounds, seconds), sync_ms, append)


if __name__ == "__main__":
    main()
