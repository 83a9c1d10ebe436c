"""A million services in `/metrics/services`: what a scrape costs Medic, and whoever sends heartbeats meanwhile.

    python -m bench.scrape [--quick] [--services N]

The real process with a fleet of 10⁶ (quick: 50 000), under 2 000 heartbeats a second all the while:

* the whole listing as one scrape, plain and with gzip (Prometheus asks for that), and one shard of eight;
* eight shards at once, by eight scrapers.

For each: seconds from the request to its last byte, bytes, the most memory Medic had beyond what it had before, the
longest turn of the loop, and the heartbeats' worst second, both beside the five seconds before it: on a machine that
has other work these say how much of a tail is not the scrape's. CPU seconds are of the same question asked without
heartbeats.

Rival: prometheus_client as its documentation has it, a child of five metrics for each service and `generate_latest`, in
a process of its own. It holds the loop from the first line to the last, so its seconds are its stall. It is asked at a
size that it can bear, and compared by the microseconds and the bytes of memory that a service costs.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.figures import Figure, at_most, publish
from bench.fleet_seed import Group, seed
from bench.paced import PacedLoad, Plan
from bench.served import LOAD_CORE, ROOT, SERVER_CORE, Medic, require_tools, scratch, served

RATE = 2_000
SHARDS = 8
SERVICES, QUICK_SERVICES = 1_000_000, 50_000
RIVALS_SERVICES, RIVALS_QUICK_SERVICES = 100_000, 20_000
LEAD_SECONDS = 5.0
"""Heartbeats before the scrape begins."""

LOOK_SECONDS = 0.02
RECEIVE_BYTES = 1 << 20
DAY_MS = 86_400_000
STALL_MS_MAX = 50
HEARTBEAT_MS_MAX = 100
MEMORY_MB_MAX = 64


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one question, or several at once, cost."""

    seconds: float
    received: int
    cpu_seconds: float
    memory_mb: float
    stall_ms: float
    stall_before_ms: float
    heartbeat_ms: float
    heartbeat_before_ms: float
    heartbeats_failed: int

    def words(self) -> str:
        """Everything beside the figure."""
        return (
            f"{self.received / 1e6:,.1f} MB received; {self.cpu_seconds:.1f} s of CPU; "
            f"{self.memory_mb:.1f} MB of memory more; {self.heartbeats_failed} heartbeats not answered 201; before it, "
            f"longest turn {self.stall_before_ms:.0f} ms, heartbeats' worst second {self.heartbeat_before_ms:.0f} ms"
        )


class MemoryWatch:
    """The most resident memory a process had while this ran, beyond what it had at its beginning."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._first = self._most = self._process.memory_info().rss
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> float:
        """Megabytes."""
        self._ended.set()
        self._thread.join()
        return float(self._most - self._first) / 1e6

    def _run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self._most = max(self._most, self._process.memory_info().rss)


def receive(port: int, query: str, *, gzip: bool) -> int:
    """Ask and read to the last byte, keeping nothing: how many bytes came."""
    encoding = "Accept-Encoding: gzip\r\n" if gzip else ""
    request = f"GET /metrics/services{query} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{encoding}Connection: close\r\n\r\n"
    received = 0
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request.encode())
        begun = connection.recv(RECEIVE_BYTES)
        if not begun.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the scrape was answered {begun[:200]!r}")
        while begun:
            received += len(begun)
            begun = connection.recv(RECEIVE_BYTES)
    return received


def scrape(medic: Medic, services: int, queries: Sequence[str], *, gzip: bool) -> Scrape:
    """Ask all of these at once, among heartbeats."""
    process = psutil.Process(medic.pid)
    cpu = _cpu(process)
    ask(medic.port, queries, gzip=gzip)
    cpu = _cpu(process) - cpu
    load = PacedLoad(Plan(port=medic.port, segments=[(600, RATE)], services=services))
    try:
        alone = medic.metrics()
        time.sleep(LEAD_SECONDS)
        stall_before = medic.stall_max_ms(alone)
        before, watch = medic.metrics(), MemoryWatch(medic.pid)
        begun = time.monotonic()
        received = ask(medic.port, queries, gzip=gzip)
        seconds = time.monotonic() - begun
        memory, stall = watch.end(), medic.stall_max_ms(before)
    finally:
        pace = load.end()
    lead = int(LEAD_SECONDS)
    return Scrape(
        seconds=seconds,
        received=received,
        cpu_seconds=cpu,
        memory_mb=memory,
        stall_ms=stall,
        stall_before_ms=stall_before,
        heartbeat_ms=worst(pace.seconds[lead:]),
        heartbeat_before_ms=worst(pace.seconds[1:lead]),
        heartbeats_failed=pace.due - pace.unsent - pace.taken,
    )


def ask(port: int, queries: Sequence[str], *, gzip: bool) -> int:
    """Ask all of these at once, each by a scraper of its own: how many bytes came."""
    received = [0] * len(queries)

    def read(place: int) -> None:
        received[place] = receive(port, queries[place], gzip=gzip)

    scrapers = [threading.Thread(target=read, args=(place,)) for place in range(len(queries))]
    for one in scrapers:
        one.start()
    for one in scrapers:
        one.join()
    if not all(received):
        raise RuntimeError("a scrape was not answered")
    return sum(received)


def worst(seconds: Sequence[tuple[int, float, float]]) -> float:
    """The p99 of the worst of these seconds."""
    return max((p99 for _, p99, _ in seconds), default=0.0)


def _cpu(process: psutil.Process) -> float:
    spent = process.cpu_times()
    return float(spent.user + spent.system)


RIVAL = """
import json, resource, sys, time
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

count, labels = int(sys.argv[1]), ("heartbeat_name", "service_name", "team", "priority")
registry = CollectorRegistry()
gauges = [Gauge(f"medic_service_{name}", "Of a service.", labels, registry=registry)
          for name in ("up", "last_heartbeat_timestamp_seconds", "deadline_timestamp_seconds", "muted")]
counter = Counter("medic_service_heartbeats_total", "Of a service.", labels, registry=registry)
resident = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
empty = resident()
for number in range(count):
    said = (f"service-{number:07d}", f"owner-{number % 1000}", f"team-{number % 20}", f"p{1 + number % 5}")
    for gauge in gauges:
        gauge.labels(*said).set(1767225600.123)
    counter.labels(*said).inc()
kept = resident() - empty
begun = time.process_time()
size = len(generate_latest(registry))
seconds, more = time.process_time() - begun, resident() - empty - kept
print(json.dumps({"seconds": seconds, "size": size, "kept": kept, "more": more}))
"""


def rival(services: int) -> dict[str, float]:
    """One scrape of prometheus_client's own: CPU seconds, bytes of text, bytes kept, bytes more for the scrape."""
    words = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-c", RIVAL, str(services)]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    figures: dict[str, float] = json.loads(said)
    return figures


def figures_of(name: str, found: Scrape) -> list[Figure]:
    """What has to hold for each way to ask."""
    return [
        at_most(f"{name}: longest turn of the loop", found.stall_ms, "ms", STALL_MS_MAX, found.words()),
        at_most(f"{name}: heartbeats, p99 of the worst second", found.heartbeat_ms, "ms", HEARTBEAT_MS_MAX),
        at_most(f"{name}: memory beyond what it had", found.memory_mb, "MB", MEMORY_MB_MAX),
    ]


def against_rival(whole: Scrape, services: int, *, quick: bool) -> Figure:
    """CPU a service, beside the rival's."""
    count = RIVALS_QUICK_SERVICES if quick else RIVALS_SERVICES
    theirs = rival(count)
    ours_us, theirs_us = whole.cpu_seconds / services * 1e6, theirs["seconds"] / count * 1e6
    words = (
        f"{whole.seconds:.1f} s for {services:,}. prometheus_client's generate_latest with a child each, {count:,} "
        f"services: {theirs['seconds']:.1f} s without a pause, {theirs['kept'] / count:,.0f} bytes kept a service and "
        f"{theirs['more'] / count:,.0f} more for the scrape; Medic {whole.memory_mb * 1e6 / services:,.0f}"
    )
    return Figure(
        name="the whole listing: CPU a service",
        value=ours_us,
        unit="µs",
        target=1,
        at_least=False,
        rival=theirs_us,
        ratio=ours_us / theirs_us,
        ratio_min=ours_us / theirs_us,
        ratio_max=ours_us / theirs_us,
        of_ratio=True,
        words=words,
    )


def measure(place: Path, services: int, *, quick: bool) -> list[Figure]:
    """One fleet, asked in each way."""
    seed(place / "data", Group(first=0, count=services, interval_ms=DAY_MS))
    shards = [f"?shard={number}/{SHARDS}" for number in range(1, SHARDS + 1)]
    with served(place / "data") as medic:
        psutil.Process().cpu_affinity([LOAD_CORE])
        whole = scrape(medic, services, [""], gzip=False)
        packed = scrape(medic, services, [""], gzip=True)
        shard = scrape(medic, services, shards[:1], gzip=True)
        together = scrape(medic, services, shards, gzip=True)
    print(json.dumps({"whole": str(whole), "packed": str(packed), "shard": str(shard), "together": str(together)}))
    return [
        against_rival(whole, services, quick=quick),
        *figures_of(f"the whole listing, {whole.seconds:.1f} s", whole),
        *figures_of(f"the whole listing in gzip, {packed.seconds:.1f} s", packed),
        *figures_of(f"one shard of {SHARDS}, {shard.seconds:.1f} s", shard),
        *figures_of(f"{SHARDS} shards at once, {together.seconds:.1f} s", together),
    ]


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a short form, for a first impression")
    parser.add_argument("--services", type=int, help=f"instead of {SERVICES:,} (quick: {QUICK_SERVICES:,})")
    options = parser.parse_args()
    require_tools()
    services = options.services or (QUICK_SERVICES if options.quick else SERVICES)
    with scratch() as place:
        figures = measure(place, services, quick=options.quick)
    publish("scrape", figures, quick=options.quick, services=services)


if __name__ == "__main__":
    main()
