"""The real `medic serve` and its rivals as processes: pinned, asked for their metrics and their tables, cleaned away.

Two cores, two sides: whoever serves has core 0 for itself, and everything else (the load, Medic's PostgreSQL, the
vendors) shares core 1. A database has a machine of its own wherever ten thousand heartbeats a second matter; what it
takes from the load here is the same for Medic at every rate, and the load's own lateness is measured.

Medic is spoken to as operators do: HTTP, `/metrics`, and SQL over what `medic env` prints.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
SERVER_CORE, LOAD_CORE = 0, 1
READY_SECONDS = 180.0
"""A start with a million services on a machine that has other work."""

DRAIN_SECONDS = 60.0
POLL_SECONDS = 0.02

ENVIRONMENT = {
    "MEDIC_FIRST_HEARTBEAT_MINUTES": "0",
    "MEDIC_METRICS_SERVICES_MAX": "0",  # the figures are about serving heartbeats, not about listing services
    "MEDIC_TIMEZONE": "UTC",
    "LOG_LEVEL": "WARNING",
    # Limits are refusals on purpose; `bench.limits` is about them.
    "RATE_LIMIT_HEARTBEAT_REQUESTS": "0",
    "RATE_LIMIT_HEARTBEAT_CALLER_REQUESTS": "0",
    "RATE_LIMIT_UNKNOWN_REQUESTS": "0",
    "RATE_LIMIT_MANAGEMENT_REQUESTS": "0",
    "RATE_LIMIT_READ_REQUESTS": "0",
}

_BOUND = re.compile(r'le="([^"]+)"')
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")


def missing_tool(name: str, package: str) -> str | None:
    """One sentence where a program is not on the PATH."""
    return None if shutil.which(name) else f"{name} is missing: install it (Debian and Ubuntu: apt install {package})."


def require_tools() -> None:
    """End with status 2 and a sentence where a load cannot be made on this machine."""
    faults = [missing_tool("wrk", "wrk"), missing_tool("taskset", "util-linux")]
    if len(os.sched_getaffinity(0)) < 2:
        faults.append("This machine gives one core only: the load needs one of its own beside the server's.")
    if said := [fault for fault in faults if fault]:
        print("\n".join(said), file=sys.stderr)
        sys.exit(2)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A directory of one's own, removed with everything in it."""
    with tempfile.TemporaryDirectory(prefix="medic-bench-") as name:
        yield Path(name)


def pin(pid: int, core: int) -> None:
    """Keep a process and all it has started on one core."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for member in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                for thread in member.threads():
                    with contextlib.suppress(ProcessLookupError):
                        os.sched_setaffinity(thread.id, {core})


def pin_children(pid: int, name: str, core: int) -> None:
    """Keep those processes below a process whose name or command line says `name` on one core."""
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.name() == name or name in child.cmdline():
                pin(child.pid, core)


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Metrics:
    """One scrape of `/metrics`."""

    samples: list[tuple[str, str, float]] = field(default_factory=list)

    def total(self, name: str, **labels: str) -> float:
        """The sum of the series of that name whose labels have these values; 0 where there is none."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(
            value for sample, said, value in self.samples if sample == name and all(part in said for part in wanted)
        )

    def holding(self, name: str, part: str) -> float:
        """The sum of the series of that name whose labels hold these characters."""
        return sum(value for sample, said, value in self.samples if sample == name and part in said)


class Medic:
    """`medic serve` on loopback. Use `served()`, which cleans up."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        ours = ("MEDIC_", "DB_", "PG", "DATABASE_URL")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
            **ENVIRONMENT,
            "PORT": str(self.port),
            "MEDIC_DATA_DIR": str(data_dir),
            **environment,
        }
        self.log = data_dir.parent / f"{data_dir.name}.log"
        self.child: subprocess.Popen[bytes] | None = None
        self._exports: dict[str, str] = {}

    @property
    def pid(self) -> int:
        """Of the serving process."""
        if self.child is None:
            raise RuntimeError("medic was not started")
        return self.child.pid

    def launch(self) -> None:
        """Begin to start; `wait_ready` is the other half."""
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                ["taskset", "-c", str(SERVER_CORE), sys.executable, "-m", "medic", "serve"],
                env=self.environment,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self, seconds: float = READY_SECONDS) -> float:
        """Return once `/health/ready` says 200: the seconds that took from here on.

        Raises:
            RuntimeError: it ended, or was not ready in time; with what it printed last.
        """
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            if self.child is not None and self.child.poll() is not None:
                raise RuntimeError(f"medic ended with {self.child.returncode}:\n{self.output()[-4000:]}")
            with contextlib.suppress(OSError):
                if self.status("/health/ready") == 200:
                    self._place_children()
                    return time.monotonic() - begun
            time.sleep(POLL_SECONDS)
        raise RuntimeError(f"medic was not ready after {seconds} s:\n{self.output()[-4000:]}")

    def start(self) -> float:
        """Start and wait; the seconds from exec to ready."""
        begun = time.monotonic()
        self.launch()
        self.wait_ready()
        return time.monotonic() - begun

    def _place_children(self) -> None:
        """Its PostgreSQL goes to the other core; backends begun later inherit that from the postmaster."""
        for child in psutil.Process(self.pid).children():
            pin(child.pid, LOAD_CORE)

    def postmaster(self) -> psutil.Process | None:
        """The embedded server's first process, or None where there is none."""
        for child in psutil.Process(self.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                parent = child.parent()
                if child.name() == "postgres" and parent is not None and parent.name() != "postgres":
                    return child
        return None

    def output(self) -> str:
        """All it has printed so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self) -> int:
        """SIGTERM, and the exit status of the orderly end."""
        if self.child is None:
            return 0
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        return self.child.wait(DRAIN_SECONDS)

    def kill(self) -> None:
        """Kill -9. Its keeper then ends PostgreSQL by itself."""
        if self.child is not None and self.child.poll() is None:
            self.child.kill()
            self.child.wait(DRAIN_SECONDS)

    def ask(self, method: str, path: str, document: object = None) -> tuple[int, bytes]:
        """One request: status and body."""
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(self.url + path, data=body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read()

    def status(self, path: str) -> int:
        """The status of a GET."""
        return self.ask("GET", path)[0]

    def metrics(self) -> Metrics:
        """A scrape."""
        found = Metrics()
        for line in self.ask("GET", "/metrics")[1].decode().splitlines():
            if match := _SAMPLE.match(line):
                found.samples.append((match[1], match[2] or "", float(match[3])))
        return found

    def sql(self, query: str) -> str:
        """What psql prints for it, unaligned: the way an operator asks.

        Raises:
            RuntimeError: psql failed; with its own words.
        """
        if not self._exports:
            said = subprocess.run(
                [sys.executable, "-m", "medic", "env"],
                env=self.environment,
                cwd=ROOT,
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            words = [word for line in said.splitlines() for word in shlex.split(line, comments=True)[1:]]
            self._exports = dict(word.split("=", 1) for word in words)
            self._exports["PATH"] = self._exports.get("PATH", "$PATH").replace("$PATH", os.environ["PATH"])
        asked = subprocess.run(
            ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", query],
            env={**self.environment, **self._exports},
            check=False,
            capture_output=True,
            text=True,
        )
        if asked.returncode:
            raise RuntimeError(f"psql: {asked.stderr.strip()}")
        return asked.stdout.strip()

    def stall_max_ms(self, before: Metrics) -> float:
        """The longest turn of the loop since that scrape, to the bound of its slot in the histogram."""
        now = self.metrics()
        name, longest = "medic_loop_stall_seconds_bucket", now.total("medic_loop_stall_longest_seconds")
        if longest > before.total("medic_loop_stall_longest_seconds"):
            return longest * 1e3
        bounds = sorted({float(match[1]) for _, said, _ in now.samples if (match := _BOUND.search(said))})
        grown = {bound: self._grown(now, before, name, bound) for bound in bounds}
        return next((bound * 1e3 for bound in bounds if grown[bound] == grown[bounds[-1]]), 0.0)

    @staticmethod
    def _grown(now: Metrics, before: Metrics, name: str, bound: float) -> float:
        spelled = {said for sample, said, _ in now.samples if sample == name}
        exact = {match[0] for said in spelled if (match := _BOUND.search(said)) and float(match[1]) == bound}
        return sum(now.holding(name, part) - before.holding(name, part) for part in exact)

    def stored_heartbeats(self) -> int:
        """Rows of heartbeats in PostgreSQL."""
        return int(self.sql('SELECT count(*) FROM medic."heartbeatEvents"'))

    def wait_written(self, seconds: float) -> float:
        """Wait until PostgreSQL has everything the journal has; the seconds that took."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            metrics = self.metrics()
            if metrics.total("medic_writer_backlog_bytes") == 0 and metrics.total("medic_journal_backlog_bytes") == 0:
                return time.monotonic() - begun
            time.sleep(0.1)
        raise RuntimeError(f"the writer was not done after {seconds} s")


@contextlib.contextmanager
def served(data_dir: Path, **environment: str) -> Iterator[Medic]:
    """A running Medic for the block; killed, with its PostgreSQL, if it does not end in order."""
    medic = Medic(data_dir, **environment)
    try:
        medic.start()
        yield medic
    finally:
        end(medic)


def end(medic: Medic) -> None:
    """Stop whatever still runs of it, children included."""
    child = medic.child
    if child is None:
        return
    members = psutil.Process(child.pid).children(recursive=True) if child.poll() is None else []
    try:
        medic.stop()
    except subprocess.TimeoutExpired:
        medic.kill()
    _, alive = psutil.wait_procs(members, timeout=10)
    for member in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()


@contextlib.contextmanager
def bare(*ways: str) -> Iterator[str]:
    """The bare limit on the server's core for the block: its address. `ways` are arguments of `bench.bare`."""
    with subprocess.Popen(
        ["taskset", "-c", str(SERVER_CORE), sys.executable, "-m", "bench.bare", *ways],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as child:
        try:
            line = child.stdout.readline() if child.stdout else b""
            yield f"http://127.0.0.1:{json.loads(line)['port']}"
        finally:
            child.terminate()


def disk_sync_ms(directory: Path, syncs: int = 200) -> float:
    """The disk's own: median milliseconds of a write of 48 bytes and its fdatasync, with nothing around them."""
    spent: list[float] = []
    fd = os.open(directory / "disk", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for _ in range(syncs):
            begun = time.perf_counter()
            os.write(fd, b"x" * 48)
            os.fdatasync(fd)
            spent.append(time.perf_counter() - begun)
    finally:
        os.close(fd)
    return sorted(spent)[len(spent) // 2] * 1e3
