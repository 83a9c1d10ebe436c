"""From the journal into PostgreSQL: keeping up, catching up, and an outage.

    python -m bench.written [--quick]

* lag: `medic_writer_lag_seconds` four times a second while 10 000 heartbeats a second come in.
* sustained: rows a second from `medic_writer_rows_total` while the writer works off what bulks brought in an outage,
  with no load beside it. Distinct services in a batch are worked out from the draw: their states are written too.
* outage: PostgreSQL is stopped, for five minutes (quick: five seconds), while 5 000 heartbeats a second come in. Every
  201 is counted; after its return, and with the load going on, rows are written at so many times the intake; and in the
  end `count(*)` says what is there.

PostgreSQL is the packaged one with the settings Medic gives its own, as a process of its own, so that it can be stopped
for real. Its files are on the disk whose sync stands beside the figures.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from bench.figures import Figure, at_most, kept_in, options, publish
from bench.fleet_seed import Group, seed
from bench.paced import Pace, PacedLoad, Plan, quantile
from bench.plots import lines
from bench.served import LOAD_CORE, Medic, disk_sync_ms, pin_children, scratch, served
from bench.wrk import bulk
from tests.e2e.postgres import PostgresProcess

LAG_RATE, OUTAGE_RATE = 10_000, 5_000
BATCH_ROWS = 20_000
"""The writer's largest batch, for the number of distinct services in one."""

PATIENCE_SECONDS = 600.0


class Outage:
    """One Medic on a PostgreSQL that is stopped and started."""

    def __init__(self, medic: Medic, postgres: PostgresProcess, services: int) -> None:
        self.medic = medic
        self.postgres = postgres
        self.services = services

    def load(self, seconds: float, rate: int) -> PacedLoad:
        """Heartbeats at that rate, begun now."""
        return PacedLoad(Plan(port=self.medic.port, segments=[(seconds, rate)], services=self.services))

    def start(self) -> None:
        """Start PostgreSQL on the load's core."""
        self.postgres.start()
        pin_children(os.getpid(), "postgres", LOAD_CORE)

    def lags(self, load: PacedLoad) -> list[float]:
        """The writer's lag, four times a second, while the load runs."""
        found = []
        while load.running():
            found.append(self.medic.metrics().total("medic_writer_lag_seconds"))
            time.sleep(0.25)
        return found

    def caught_up(self) -> tuple[float, float]:
        """Rows a second, and seconds, from now until the writer has less than a second's intake before it."""
        begun, first = time.monotonic(), self.rows()
        last_at, last = begun, first
        while time.monotonic() < begun + PATIENCE_SECONDS:
            time.sleep(0.2)
            metrics = self.medic.metrics()
            rows, lag = metrics.total("medic_writer_rows_total"), metrics.total("medic_writer_lag_seconds")
            if rows == first:
                begun = time.monotonic()  # it has not come back to the server yet
                continue
            last_at, last = time.monotonic(), rows
            if lag < 1:
                break
        return (last - first) / max(last_at - begun, 0.2), last_at - begun

    def rows(self) -> float:
        """Rows written so far."""
        return self.medic.metrics().total("medic_writer_rows_total")


def distinct(services: int, rows: int = BATCH_ROWS) -> int:
    """How many distinct services so many draws have, on average."""
    return round(services * (1 - (1 - 1 / services) ** rows))


def lag(outage: Outage, *, quick: bool) -> Figure:
    """How far behind the writer is at 10 000 a second."""
    load = outage.load(4 if quick else 30, LAG_RATE)
    found = outage.lags(load)
    pace = load.wait()
    words = f"median {quantile(found, 0.5):.2f}; {pace.taken} of {pace.due} answered 201 in {pace.elapsed:.1f} s"
    return at_most(f"writer's lag at {LAG_RATE:,} heartbeats/s: longest", max(found, default=0.0), "s", 2, words)


def sustained(outage: Outage, *, quick: bool) -> Figure:
    """Rows a second with nothing else to do."""
    outage.postgres.stop()
    sent = bulk(outage.medic.url, outage.services, 2 if quick else 10)
    if sent.refused:
        outage.load(4 if quick else 60, LAG_RATE).wait()
    before = outage.rows()
    outage.start()
    rate, seconds = outage.caught_up()
    several, rows = distinct(outage.services), outage.rows() - before
    words = f"{rows:,.0f} rows in {seconds:.1f} s; {several:,} distinct services in a batch of {BATCH_ROWS:,}"
    return Figure(name="writer, sustained", value=rate, unit="rows/s", target=50_000, words=words)


def five_minutes(outage: Outage, *, quick: bool) -> tuple[list[Figure], Pace]:
    """PostgreSQL away, and back again, under load."""
    away = 5 if quick else 300
    load = outage.load(away + PATIENCE_SECONDS, OUTAGE_RATE)
    time.sleep(1)
    outage.postgres.stop()
    time.sleep(away)
    outage.start()
    rate, seconds = outage.caught_up()
    pace = load.end()
    name = f"PostgreSQL stopped for {away} s at {OUTAGE_RATE:,} heartbeats/s"
    words = f"{seconds:.1f} s until the writer had caught up, {rate:,.0f} rows/s, the load going on"
    words += f"; heartbeats p99 {pace.tail_ms:.1f} ms; {pace.answered}, {pace.unanswered} unanswered"
    return [
        Figure(name=f"{name}: catching up", value=rate / OUTAGE_RATE, unit="times the intake", target=3, words=words)
    ], pace


def measure(place: Path, *, quick: bool) -> tuple[list[Figure], dict[str, object]]:
    """All of it on one Medic, so that the count at the end is about everything."""
    services = 10_000 if quick else 100_000
    seed(place / "database", Group(first=0, count=services))
    with PostgresProcess(place / "database") as postgres:
        pin_children(os.getpid(), "postgres", LOAD_CORE)
        with served(place / "data", **postgres.environment) as medic:
            outage = Outage(medic, postgres, services)
            figures = [lag(outage, quick=quick), sustained(outage, quick=quick)]
            medic.wait_written(PATIENCE_SECONDS)
            before = medic.stored_heartbeats()
            caught, pace = five_minutes(outage, quick=quick)
            medic.wait_written(PATIENCE_SECONDS)
            stored = medic.stored_heartbeats() - before
            # Sent and never answered: these may be there or not.
            lost = max(0, pace.taken - stored) + max(0, stored - pace.taken - pace.unanswered)
            words = f"{pace.taken} answered 201, {stored} rows stored, {pace.unanswered} unanswered"
            name = f"{caught[0].name.partition(':')[0]}: lost or twice"
            figures += [*caught, at_most(name, lost, "", 0, words)]
    lines(
        kept_in(quick) / "written-outage.svg",
        "PostgreSQL stopped and back again: heartbeats each second",
        {"p99": [p99 for _, p99, _ in pace.seconds], "slowest": [longest for _, _, longest in pace.seconds]},
        unit="ms",
    )
    return figures, {"services": services, "distinct_services_a_batch": distinct(services)}


def main() -> None:
    """Measure and publish."""
    quick = options(__doc__)
    with scratch() as place:
        figures, facts = measure(place, quick=quick)
        disk = round(disk_sync_ms(place), 3)
    publish("written", figures, quick=quick, disk_sync_p50_ms=disk, **facts)


if __name__ == "__main__":
    main()
