"""What follows a storm of alerts: 100 000 deadlines in one second, carried to the vendors and into PostgreSQL.

    python -m bench.storm [--quick] [--services N]

Everything is as it is in Medic, from the wheel to the embedded PostgreSQL, but for HTTP: heartbeats are taken from a
task of this process, 500 a second, each waiting for its commit, and vendors are functions of it: PagerDuty takes 50 a
second and answers 429 beyond that, Slack one a second. The clocks are the machine's. Told are, beside wall times, the
CPU seconds of this process and of PostgreSQL, since the machine may have other work.

The rival of the way into PostgreSQL: the same alerts by a statement and a commit for each, as the earlier system did;
it is given `ONE_BY_ONE` of them, and made up neither history nor notifications nor states.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

import trio

from bench.turn import service_of
from medic.actors.clock import LOOK_EVERY_SECONDS, SightedClock, wall_now
from medic.actors.directory import Directory
from medic.actors.host import Host
from medic.actors.intake import HeartbeatIntake
from medic.actors.outbox import Outbox
from medic.actors.supervisor import Supervisor
from medic.alerting.attempt import Attempt, Delivered, Throttled
from medic.alerting.pipeline import Alerting
from medic.app.serve import SWITCH_SECONDS
from medic.core.events import HeartbeatReceived
from medic.core.notification import PAGERDUTY, SLACK, Notification
from medic.core.service import Service
from medic.core.status import HeartbeatStatus
from medic.core.step import step
from medic.core.units import EventId, InstantMs, ServiceId, SightedMs
from medic.core.webhook import Webhook
from medic.metrics.stall import LoopStall
from medic.ports import Beat, Position
from medic.store.embedded.server import open_embedded_server
from medic.store.journal.file_journal import FileJournal
from medic.store.postgres.bridge import open_bridge
from medic.store.postgres.database import Database, open_database
from medic.store.postgres.migrate import migrate
from medic.store.tables.ids import BlockIds
from medic.store.tables.writer import Writer

SERVICES = 100_000
ONE_BY_ONE = 300
INTERVAL_MS = 3_600_000
BEATS_A_SECOND = 500
LEAD_SECONDS_EACH = 1 / 8_000
"""How long building a service may take on a busy machine, so that the storm finds all of them."""

STORM_MS = 1_000
STORM_SECONDS_MAX = 240
TICKS_A_SECOND: float = os.sysconf("SC_CLK_TCK")

_SERVICES = """
INSERT INTO medic.services (service_id, heartbeat_name, service_name, alert_interval, team, priority, changed_by)
SELECT 1000000 + n, 'service-' || lpad(n::text, 7, '0'), 'owner-' || n % 1000, 60, 'team-' || n % 20,
       'p' || 1 + n % 5, 'bench'
FROM generate_series(0, $1::int - 1) n
"""

_ALERT = """
INSERT INTO medic.alerts
    (alert_id, alert_name, service_id, heartbeat_name, service_name, team, priority, reason, created_date)
SELECT $1::bigint, 'Medic', service_id, heartbeat_name, service_name, team, priority, 'late', now() FROM medic.services
WHERE service_id = 1000000 + $1::bigint
"""


class Vendor:
    """A notifier that takes so many a second, answers 429 beyond that, and knows when it first took a p1."""

    def __init__(self, target: str, a_second: float) -> None:
        self.target = target
        self.taken: list[tuple[float, str]] = []
        self.throttled = 0
        self._spacing = 1 / a_second
        self._room = 1.0
        self._a_second = a_second
        self._at = time.perf_counter()

    def takes(self, _notification: Notification) -> bool:
        return True

    async def send(self, notification: Notification) -> Attempt:
        await trio.sleep(0.02)
        now = time.perf_counter()
        self._room = min(max(1.0, self._a_second), self._room + (now - self._at) * self._a_second)
        self._at = now
        if self._room < 1:
            self.throttled += 1
            return Throttled("too many", 1.0)
        self._room -= 1
        self.taken.append((now, notification.priority))
        return Delivered()

    def describe(self) -> str:
        return self.target

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    def first(self, priority: str) -> float:
        return next((at for at, taken in self.taken if taken == priority), float("nan"))

    @property
    def overtakings(self) -> int:
        """How often a more urgent one was taken after a less urgent one."""
        priorities = [priority for _, priority in self.taken]
        return sum(later < earlier for earlier, later in pairwise(priorities))


def _no_webhook(webhook: Webhook) -> Vendor:
    raise LookupError(webhook)


async def _never(_service_id: ServiceId) -> Service | None:
    return None


def services_of(count: int, due_at: int) -> list[Service]:
    """Services that are up and whose deadlines come within a second after `due_at`."""
    services = []
    for number in range(count):
        service = service_of(f"service-{number:07d}", number, interval_ms=INTERVAL_MS)
        at = due_at + number * STORM_MS // count - INTERVAL_MS
        service.last_sign = SightedMs(at)
        service.last_heartbeat_at = InstantMs(at)
        services.append(service)
    return services


class Medic:
    """One shard of Medic, but for HTTP."""

    def __init__(self, directory: Path, database: Database, due_at: int, count: int) -> None:
        (directory / "ids").write_text("[[1,1000000000]]", encoding="ascii")
        self.pagerduty, self.slack = Vendor(PAGERDUTY, 50), Vendor(SLACK, 1)
        self.clock = SightedClock(resume_at=SightedMs(wall_now()), wall=wall_now)
        self.journal = FileJournal(directory / "journal")
        self.directory = Directory()
        self.alerting = Alerting(
            [self.pagerduty, self.slack],
            fallback=Vendor("console", 1),
            make_webhook=_no_webhook,
            clock=self.clock,
            rng=Random(1),
        )
        self.outbox = Outbox(self.journal, self.alerting, self.clock)
        self.alerting.settle_through(self.outbox)
        ids = BlockIds(directory)
        self.host = Host(
            clock=self.clock,
            ids=ids,
            directory=self.directory,
            outbox=self.outbox,
            supervisor=Supervisor(_never),
            on_blindness=lambda _span: None,
        )
        self.intake = HeartbeatIntake(
            directory=self.directory, host=self.host, journal=self.journal, clock=self.clock, ids=ids
        )
        self.writer = Writer(
            database=database,
            journal=self.journal,
            clock=self.clock,
            state_of=self._state_of,
            rejected=directory / "rejected",
            calm=self.host.wait_calm,
        )
        self.host.add_all(services_of(count, due_at))
        well = service_of("well", count + 1, interval_ms=48 * INTERVAL_MS)
        at = wall_now()
        step(well, HeartbeatReceived(at, SightedMs(at), EventId(1), HeartbeatStatus.UP, "UP"))
        self.host.add_all([well])
        self.waited: list[float] = []

    def _state_of(self, service_id: ServiceId) -> Service | None:
        actor = self.directory.actor_by_id(service_id)
        return None if actor is None else actor.service

    async def look(self) -> None:
        """Nobody is blind only because the storm is still to come."""
        while True:
            self.clock.look()
            await trio.sleep(LOOK_EVERY_SECONDS)

    async def beat(self) -> None:
        """Heartbeats at their pace; one that has to wait delays none of those behind it."""
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(self._beat_once, time.perf_counter())
                await trio.sleep(1 / BEATS_A_SECOND)

    async def _beat_once(self, began: float) -> None:
        await self.journal.wait_durable(Position(self.intake.take_nowait(Beat("well", "UP"))))
        self.waited.append(time.perf_counter() - began)


def postgres_cpu() -> float:
    """CPU seconds of all PostgreSQL processes that this process started, those that ended included."""
    mine, found = {os.getpid()}, 0.0
    stats = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        stats.append((int(path.parent.name), int(fields[1]), sum(map(int, fields[11:15])) / TICKS_A_SECOND))
    for pid, parent, seconds in sorted(stats):
        if parent in mine and pid not in mine:
            mine.add(pid)
            found += seconds
    return found


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the parts tell their counts only to those who ask
        await trio.sleep(0.005)


async def storm(directory: Path, database: Database, count: int) -> dict[str, float]:
    """One storm; its figures."""
    await database.execute(_SERVICES, count)
    await database.execute("CHECKPOINT")
    due_at = wall_now() + int(1_000 + count * LEAD_SECONDS_EACH * 1_000)
    medic = Medic(directory, database, due_at, count)
    gc.collect()
    gc.freeze()
    gc.disable()
    figures: dict[str, float] = {}
    stall, busy = LoopStall(), LoopStall(time.thread_time)
    async with trio.open_nursery() as nursery:
        await nursery.start(medic.journal.run)
        await nursery.start(medic.alerting.run)
        await nursery.start(medic.outbox.run)
        await nursery.start(medic.writer.run)
        nursery.start_soon(medic.look)
        nursery.start_soon(medic.beat)
        if due_at - wall_now() < 200:
            raise SystemExit("the machine was too slow to build the services before their deadline")
        await trio.sleep((due_at - wall_now()) / 1000 - 0.1)
        medic.waited.clear()
        await nursery.start(stall.run)
        await nursery.start(busy.run)
        begun, cpu, postgres = time.perf_counter(), time.process_time(), postgres_cpu()
        await nursery.start(medic.host.run)
        with trio.fail_after(STORM_SECONDS_MAX):
            await _until(lambda: medic.host.statistics().fired >= count)
            figures["all decided after, s"] = time.perf_counter() - begun
            figures["own CPU until then, µs an alert"] = (time.process_time() - cpu) / count * 1e6
            end = medic.journal.newest
            await _until(lambda: not medic.outbox.statistics().pending)
            figures["all handed on after, s"] = time.perf_counter() - begun
            await medic.writer.wait_committed(end)
            figures["alerts in PostgreSQL after, s"] = time.perf_counter() - begun
            figures["own CPU until then, µs an alert, heartbeats included"] = (time.process_time() - cpu) / count * 1e6
            await _until(lambda: medic.writer.statistics().states >= count)
        figures["states in PostgreSQL after, s"] = time.perf_counter() - begun
        spent = time.perf_counter() - begun
        figures["own CPU, µs an alert, heartbeats included"] = (time.process_time() - cpu) / count * 1e6
        figures["CPU of PostgreSQL, µs an alert"] = (postgres_cpu() - postgres) / count * 1e6
        nursery.cancel_scope.cancel()
    waited = sorted(medic.waited)
    figures |= {
        "heartbeats meanwhile, a second": len(waited) / spent,
        "heartbeat p50, ms": statistics.median(waited) * 1e3,
        "heartbeat p99, ms": waited[len(waited) * 99 // 100] * 1e3,
        "longest heartbeat, ms": waited[-1] * 1e3,
        "longest turn of the loop, ms": stall.statistics().longest_seconds * 1e3,
        "longest turn of the loop, ms of CPU": busy.statistics().longest_seconds * 1e3,
        "turns above 10 ms of CPU": sum(busy.statistics().other.counts[4:]),
        "first p1 told after, ms": (medic.pagerduty.first("p1") - begun - 0.1) * 1e3,
        "told to PagerDuty": len(medic.pagerduty.taken),
        "out of order there": medic.pagerduty.overtakings,
        "told to Slack": len(medic.slack.taken),
    }
    gc.enable()
    return figures


async def measure(directory: Path, count: int) -> dict[str, float]:
    """The figures of one storm in a fresh database."""
    async with (
        open_bridge() as bridge,
        open_embedded_server(directory / "server", bridge=bridge) as server,
        open_database(server.target, bridge=bridge) as database,
    ):
        await migrate(database)
        await database.execute("SELECT medic.ensure_heartbeat_day(now()::date)")
        figures = await storm(directory, database, count)
        await database.execute("TRUNCATE medic.alerts")
        begun = time.perf_counter()
        for number in range(ONE_BY_ONE):
            await database.execute(_ALERT, number)
        return figures | {"rival: alerts alone, one by one, a second": ONE_BY_ONE / (time.perf_counter() - begun)}


def report(figures: dict[str, float], count: int) -> None:
    """The table, and the line for programs."""
    print(f"{count} deadlines in one second")
    for name, figure in figures.items():
        print(f"  {name:<56}{figure:>12,.2f}".replace(",", " ") if "," not in name else f"  {name:<56}{figure:>12.2f}")
    machine = {"python": platform.python_version(), "cpus": os.cpu_count(), "load": os.getloadavg()[0]}
    print("\n" + json.dumps({"bench": "storm", "machine": machine, "services": count, "figures": figures}))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the services")
    parser.add_argument("--services", type=int, default=SERVICES, help="how many are late at once")
    options = parser.parse_args(arguments)
    count = options.services // 10 if options.quick else options.services
    sys.setswitchinterval(SWITCH_SECONDS)
    with tempfile.TemporaryDirectory(prefix="medic-bench-") as directory:
        report(trio.run(measure, Path(directory), count), count)


if __name__ == "__main__":
    main()
