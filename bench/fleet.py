"""A million services in one real `medic serve`: seconds until ready, bytes a service, and what it costs while idle.

    python -m bench.fleet                   # 10**6 services, k = 1 and then k = 10; some minutes
    python -m bench.fleet --quick           # 10**5
    python -m bench.fleet --count 300000 --thresholds 1

Seeds services and their states into the embedded PostgreSQL of a temporary data directory, by the same packing that the
writer uses, and starts Medic on it. No two services share an instant, a counter or a position by chance: they are as
they are after a thousand heartbeats. Deadlines lie an hour and more ahead, so that idle is idle.

* ready: wall seconds from the start of the process until `/health/ready` is 200; CPU seconds of Medic and of its
  PostgreSQL beside them, because the machine may have other work.
* bytes a service: resident memory of the serving process, everything included, divided by the services; the process
  with none of them beside it. The peak is of the whole start, and of the snapshot that a first start writes behind it.
* idle: CPU of the serving process, as a part of one core.
* heard: the same memory after heartbeats over HTTP for some of the services, a few thousand of which may still wait
  for the writer.
* again: ready, bytes and peak of a second start, from the snapshot that the drain wrote.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import trio

from medic.config.folder import prepare
from medic.core.policy import Defaults
from medic.core.ring import Ring
from medic.core.service import Service, ServiceRow
from medic.core.status import HeartbeatStatus, Status
from medic.core.units import DurationMs, InstantMs, ServiceId, SightedMs
from medic.store.codec import pack_state
from medic.store.embedded.server import open_embedded_server
from medic.store.journal.file_journal import FileJournal
from medic.store.postgres.bridge import open_bridge
from medic.store.postgres.database import Database, open_database
from medic.store.postgres.migrate import migrate

HOUR_MS = 3_600_000
FIRST_ID = 1 << 30
SEED_ROWS = 50_000


class Spans(NamedTuple):
    """How long a Medic is left alone: before it is looked at, and while it is watched doing nothing."""

    settle: float
    idle: float


LONG = Spans(settle=10.0, idle=30.0)
QUICK = Spans(settle=2.0, idle=6.0)

READY_SECONDS_MAX = 300.0
HEARD = 5_000
PIPELINED = 50

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")

_INSERT = """
INSERT INTO medic.services (service_id, heartbeat_name, service_name, alert_interval, threshold, team, priority,
                            date_added, date_modified, changed_by)
SELECT $1 + n, 'service-' || lpad(n::text, 7, '0'), 'owner-' || n % 1000, 60 * (1 + n % 24), $4, 'team-' || n % 20,
       'p' || 1 + n % 5, now() - n * interval '1 second', now() - n * interval '1 second', 'somebody'
FROM generate_series($2::bigint, $3::bigint - 1) n
"""

_STATE_COLUMNS = (
    "service_id",
    "version",
    "journal_id",
    "position",
    "status",
    "last_status",
    "heartbeats_total",
    "hot",
)


def heard_service(number: int, threshold: int, now: int, defaults: Defaults) -> Service:
    """A service of the fleet as it is after some thousand heartbeats."""
    row = ServiceRow(
        service_id=ServiceId(FIRST_ID + number),
        version=1,
        heartbeat_name=f"service-{number:07d}",
        service_name="",
        active=True,
        interval_ms=DurationMs(HOUR_MS * (1 + number % 24)),
        grace_ms=DurationMs(0),
        threshold=threshold,
        recovery_ms=DurationMs(0),
        renotify_ms=None,
        team="",
        priority="p3",
        runbook="",
        date_added=InstantMs(now),
        date_modified=InstantMs(now),
    )
    service = Service(row, row.policy(defaults), registered=SightedMs(now - number - 1))
    service.status = Status.UP
    service.heard_kind = HeartbeatStatus.UP
    service.last_sign = SightedMs(now + number % 60_000)
    service.last_heartbeat_at = InstantMs(now + number % 60_000 + 7)
    service.last_status = "UP"
    service.gap_ms = DurationMs(60_000 + number)
    service.heartbeats_total = 1_000 + number
    service.position = 48 * (number + 1)
    if threshold > 1:
        service.ring = Ring(service.last_sign - 1_000 * sign for sign in range(threshold - 1, -1, -1))
    return service


async def seed(folder: Path, count: int, threshold: int) -> None:
    """Give the data directory a database with so many services that were heard of."""
    prepare(folder)
    journal_id = FileJournal(folder / "journal").journal_id
    async with (
        open_bridge() as bridge,
        open_embedded_server(folder, bridge=bridge) as server,
        open_database(server.target, bridge=bridge) as database,
    ):
        await migrate(database)
        await database.execute("ALTER TABLE medic.services DISABLE TRIGGER USER")  # a million audit entries less
        for first in range(0, count, SEED_ROWS):
            await _seed_rows(database, journal_id, range(first, min(first + SEED_ROWS, count)), threshold)
        await database.execute("ALTER TABLE medic.services ENABLE TRIGGER USER")
        await database.execute("ANALYZE medic.services, medic.service_states")


async def _seed_rows(database: Database, journal_id: str, numbers: range, threshold: int) -> None:
    now, defaults = time.time_ns() // 1_000_000, Defaults()
    await database.execute(_INSERT, FIRST_ID, numbers.start, numbers.stop, threshold)
    services = (heard_service(number, threshold, now, defaults) for number in numbers)
    states = (
        (s.row.service_id, 1, journal_id, s.position, "UP", "UP", s.heartbeats_total, pack_state(s)) for s in services
    )
    async with database.transaction() as transaction:
        await transaction.copy_records("service_states", _STATE_COLUMNS, states)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the system says of a process at one moment: resident bytes, the most there ever were, CPU seconds."""

    resident: int
    peak: int
    cpu: float


def reading(pid: int) -> Reading:
    """Read the process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    status = dict(line.split(":", 1) for line in lines)
    return Reading(_bytes(status["VmRSS"]), _bytes(status["VmHWM"]), cpu_seconds(pid))


def cpu_seconds(pid: int) -> float:
    """CPU of the process, and of its children that ended."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICKS_A_SECOND


def server_cpu_seconds(folder: Path) -> float:
    """CPU of the PostgreSQL of that data directory, connections that ended included."""
    pids = [int(found.read_text(encoding="utf-8").split()[0]) for found in folder.rglob("postmaster.pid")]
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
            total += cpu_seconds(pid) + sum(cpu_seconds(int(child)) for child in children)
    return total


def _bytes(kilobytes: str) -> int:
    return int(kilobytes.split(maxsplit=1)[0]) * 1024


class Medic:
    """`medic serve` on loopback over a data directory."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MEDIC_", "DB_", "PG"))}
        self._log = (folder.parent / f"{folder.name}.log").open("ab")
        self.began = time.monotonic()
        self._child = subprocess.Popen(
            [sys.executable, "-m", "medic", "serve"],
            env=kept | {"PORT": str(self.port), "MEDIC_DATA_DIR": str(folder)},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    @property
    def pid(self) -> int:
        """The serving process."""
        return self._child.pid

    def wait_ready(self) -> float:
        """Seconds from the start until `/health/ready` was 200."""
        while (spent := time.monotonic() - self.began) < READY_SECONDS_MAX:
            if self._child.poll() is not None:
                break
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.read("/health/ready")[0] == 200:
                    return time.monotonic() - self.began
            time.sleep(0.02)
        raise SystemExit(f"medic was not ready after {spent:.0f} s; it wrote {self._log.name}")

    def read(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def stop(self) -> float:
        """Drain it; seconds until it ended."""
        began = time.monotonic()
        self._child.send_signal(signal.SIGTERM)
        self._child.wait(120)
        self._log.close()
        return time.monotonic() - began

    def longest_stall(self) -> float:
        """The upper bound of the worst stall of the loop that its histogram has seen."""
        worst = 0.0
        counts = list(_histogram(self.read("/metrics")[1].decode(), "medic_loop_stall_seconds"))
        for (_, below), (bound, upto) in zip([(0.0, 0.0), *counts], counts, strict=False):
            if upto > below:
                worst = bound
        return worst

    def hear(self, numbers: Sequence[int]) -> None:
        """A heartbeat of each of these services, pipelined on one connection."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            answers = connection.makefile("rb")
            for first in range(0, len(numbers), PIPELINED):
                part = numbers[first : first + PIPELINED]
                connection.sendall(b"".join(_heartbeat(number) for number in part))
                for _ in part:
                    _read_answer(answers)


def _heartbeat(number: int) -> bytes:
    body = json.dumps({"heartbeat_name": f"service-{number:07d}", "service_name": "", "status": "UP"}).encode()
    head = (
        f"POST /heartbeat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    )
    return head.encode() + b"\r\n\r\n" + body


def _read_answer(answers: object) -> None:
    readline, read = answers.readline, answers.read  # type: ignore[attr-defined]  # a socket's file
    status = readline()
    length = 0
    while (line := readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    read(length)
    if b" 201 " not in status:
        raise SystemExit(f"a heartbeat was answered {status!r}")


def _histogram(text: str, name: str) -> Iterator[tuple[float, float]]:
    for line in text.splitlines():
        if line.startswith(f"{name}_bucket"):
            bound, _, count = line.partition('le="')[2].partition('"} ')
            yield float(bound), float(count)


def measure(folder: Path, count: int, threshold: int, spans: Spans) -> dict[str, float]:
    """Seed, start, look, hear, stop."""
    trio.run(seed, folder, count, threshold)
    medic = Medic(folder)
    try:
        ready = medic.wait_ready()
        started, server_cpu = reading(medic.pid), server_cpu_seconds(folder)
        time.sleep(spans.settle)
        stalled = medic.longest_stall()
        settled, began = reading(medic.pid), time.monotonic()
        time.sleep(spans.idle)
        idle = reading(medic.pid)
        idle_part = (idle.cpu - settled.cpu) / (time.monotonic() - began)
        heard = min(HEARD, count)
        medic.hear(range(0, count, max(1, count // heard))[:heard])
        time.sleep(spans.settle)
        after = reading(medic.pid)
    finally:
        stopped = medic.stop()
    return {
        "ready_seconds": ready,
        "ready_cpu_seconds": started.cpu,
        "ready_server_cpu_seconds": server_cpu,
        "stall_seconds_below": stalled,
        "bytes_a_service": idle.resident / count,
        "resident_mb": idle.resident / 1e6,
        "peak_mb": idle.peak / 1e6,
        "idle_percent_of_a_core": idle_part * 100,
        "heard_mb": (after.resident - idle.resident) / 1e6,
        "stop_seconds": stopped,
        **measure_again(folder, count, spans),
    }


def measure_again(folder: Path, count: int, spans: Spans) -> dict[str, float]:
    """Start from the snapshot that the drain wrote."""
    medic = Medic(folder)
    try:
        ready = medic.wait_ready()
        time.sleep(spans.settle)
        settled = reading(medic.pid)
    finally:
        medic.stop()
    return {
        "again_ready_seconds": ready,
        "again_bytes_a_service": settled.resident / count,
        "again_resident_mb": settled.resident / 1e6,
        "again_peak_mb": settled.peak / 1e6,
    }


def measure_empty(folder: Path, spans: Spans) -> dict[str, float]:
    """The process without a service."""
    medic = Medic(folder)
    try:
        ready = medic.wait_ready()
        time.sleep(spans.settle)
        settled, began = reading(medic.pid), time.monotonic()
        time.sleep(spans.idle / 3)
        idle = reading(medic.pid)
        part = (idle.cpu - settled.cpu) / (time.monotonic() - began)
    finally:
        stopped = medic.stop()
    return {
        "ready_seconds": ready,
        "ready_cpu_seconds": settled.cpu,
        "resident_mb": idle.resident / 1e6,
        "peak_mb": idle.peak / 1e6,
        "idle_percent_of_a_core": part * 100,
        "stop_seconds": stopped,
    }


def table(figures: dict[str, dict[str, float]], count: int) -> str:
    """The figures for people, a column a fleet."""
    names = list(dict.fromkeys(name for column in figures.values() for name in column))
    lines = [f"{f'{count:,} services':28}" + "".join(f"{name:>14}" for name in figures)]
    for name in names:
        cells = "".join(f"{column[name]:14.2f}" if name in column else f"{'':14}" for column in figures.values())
        lines.append(f"{name:28}{cells}")
    return "\n".join(lines)


def main() -> None:
    """Measure, print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10**5 services, k = 1 alone, short spans")
    parser.add_argument("--count", type=int, default=1_000_000, help="services")
    parser.add_argument("--thresholds", type=int, nargs="+", default=[1, 10], help="k, one fleet each")
    options = parser.parse_args()
    # Ended by somebody else it ends its Medic as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    count, spans = (100_000, QUICK) if options.quick else (options.count, LONG)
    thresholds = options.thresholds[:1] if options.quick else options.thresholds
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="medic-bench-") as directory:
        figures["none"] = measure_empty(Path(directory) / "none", spans)
        for threshold in thresholds:
            figures[f"k = {threshold}"] = measure(Path(directory) / f"k{threshold}", count, threshold, spans)
    print(table(figures, count))
    print(json.dumps({"bench": "fleet", "services": count, **figures}))


if __name__ == "__main__":
    main()
