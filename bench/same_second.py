"""A hundred thousand deadlines in the same second, while other services go on.

    python -m bench.same_second [--quick]

A fleet goes silent at one instant, as when a network is cut. Half as many other services send 1 000 heartbeats a
second all the while; PagerDuty takes 50 events a second, as it does. Seconds count from the deadline:

* decided: `medic_alerts_active` has all of them.
* in PostgreSQL: `alerts` has all of them.
* heartbeats: the p99 from the deadline until then, each second apart.
* stall: the longest turn of the loop meanwhile, by `medic_loop_stall_seconds`.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bench.figures import Figure, at_most, kept_in, options, publish
from bench.fleet_seed import Group, name_of, seed
from bench.paced import Pace, PacedLoad, Plan
from bench.paging import PAGERDUTY_PER_SECOND, environment, pagerduty
from bench.plots import lines
from bench.served import Medic, disk_sync_ms, scratch, served

RATE = 1_000
DECIDED_SECONDS, STORED_SECONDS = 3.0, 15.0
PATIENCE_SECONDS = 120.0
LEAD_SECONDS, QUICK_LEAD_SECONDS = 60, 14
"""From seeding to the deadline: Medic has to be ready by then."""


@dataclass(slots=True)
class Storm:
    """Seconds from the deadline; the patience where it never came."""

    decided: float = PATIENCE_SECONDS
    stored: float = PATIENCE_SECONDS
    stall_ms: float = 0.0


def deadline_of(medic: Medic, number: int) -> float:
    """The instant at which silence of that service means late, in seconds of wall time."""
    _, body = medic.ask("GET", f"/service/{name_of(number)}")
    return datetime.fromisoformat(json.loads(body)["results"][0]["deadline_at"]).timestamp()


def watch(medic: Medic, due: float, count: int) -> Storm:
    """Wait for the deadline, and see how long everything takes."""
    time.sleep(max(0.0, due - time.time() - 0.5))
    before = medic.metrics()
    storm = Storm()
    while time.time() < due + PATIENCE_SECONDS:
        if medic.metrics().total("medic_alerts_active") >= count:
            storm.decided = time.time() - due
            break
        time.sleep(0.1)
    while time.time() < due + PATIENCE_SECONDS:
        if int(medic.sql("SELECT count(*) FROM medic.alerts WHERE active = 1")) >= count:
            storm.stored = time.time() - due
            break
        time.sleep(0.2)
    storm.stall_ms = medic.stall_max_ms(before)
    return storm


def worst(pace: Pace, begun: float, due: float, until: float) -> float:
    """The highest p99 of any second from the deadline to that instant."""
    first, last = int(due - begun), int(until - begun) + 1
    return max((p99 for _, p99, _ in pace.seconds[first:last]), default=0.0)


def measure(place: Path, *, quick: bool) -> list[Figure]:
    """One storm."""
    count, lead = (5_000, QUICK_LEAD_SECONDS) if quick else (100_000, LEAD_SECONDS)
    silent = Group(first=0, count=count, interval_ms=lead * 1_000)
    seed(place / "data", silent, Group(first=count, count=count // 2))
    with pagerduty(place, PAGERDUTY_PER_SECOND) as vendors, served(place / "data", **environment(vendors)) as medic:
        due = deadline_of(medic, 0)
        early = due - time.time()
        begun = time.time()
        segments = [(max(0.0, early) + PATIENCE_SECONDS, RATE)]
        load = PacedLoad(Plan(port=medic.port, segments=segments, first=count, services=count // 2))
        storm = watch(medic, due, count)
        pace = load.end()
    heartbeats = worst(pace, begun, due, due + storm.stored)
    lines(
        kept_in(quick) / "same_second-heartbeats.svg",
        f"{count:,} deadlines in the same second: heartbeats each second",
        {"p99": [p99 for _, p99, _ in pace.seconds], "slowest": [longest for _, _, longest in pace.seconds]},
        unit="ms",
        limit=100,
    )
    words = f"{pace.taken} of {pace.due - pace.unsent} sent were answered 201, at {RATE:,}/s"
    if early < 1:
        words += f"; Medic was ready {-early:.1f} s after the deadline, so the rest says nothing"
    name = f"{count:,} deadlines in the same second"
    return [
        at_most(f"{name}: all decided", storm.decided, "s", DECIDED_SECONDS),
        at_most(f"{name}: alerts in PostgreSQL", storm.stored, "s", STORED_SECONDS),
        at_most(f"{name}: heartbeat p99", heartbeats, "ms", 100, words),
        at_most(f"{name}: loop stall", storm.stall_ms, "ms", 50),
    ]


def main() -> None:
    """Measure and publish."""
    quick = options(__doc__)
    with scratch() as place:
        figures = measure(place, quick=quick)
        disk = round(disk_sync_ms(place), 3)
    publish("same_second", figures, quick=quick, disk_sync_p50_ms=disk)


if __name__ == "__main__":
    main()
