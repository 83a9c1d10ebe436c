"""A million services: heartbeats while a snapshot is written, and while Medic is started again.

    python -m bench.restart [--quick]

5 000 heartbeats a second come in, for services drawn at random from 10⁶ (quick: 20 000), without a break:

* while it serves: the p99 of the worst second, over a span in which a snapshot is written, as `medic_snapshot…` on
  `/metrics` says; where no such metric moves, the figure says that none was written.
* an orderly end and a start, then kill -9 and a start: seconds until ready. What is due meanwhile is not sent, as with
  clients that are refused.
"""

from __future__ import annotations

import time
from pathlib import Path

from bench.figures import Figure, at_most, kept_in, options, publish
from bench.fleet_seed import Group, seed
from bench.paced import PacedLoad, Plan
from bench.plots import lines
from bench.served import Medic, disk_sync_ms, scratch, served

RATE = 5_000
READY_SECONDS = 25
DAY_MS = 86_400_000
WATCH_SECONDS, QUICK_WATCH_SECONDS = 180, 5
"""Long enough for a snapshot to be due by the bytes that have come."""


def snapshots(medic: Medic) -> dict[str, float]:
    """Every metric about snapshots."""
    return {name: value for name, _, value in medic.metrics().samples if name.startswith("medic_snapshot")}


def restarted(medic: Medic) -> float:
    """Seconds from exec to ready, after the process has ended."""
    begun = time.monotonic()
    medic.launch()
    medic.wait_ready()
    return time.monotonic() - begun


def while_serving(medic: Medic, services: int, *, quick: bool) -> Figure:
    """The worst second of a span with a snapshot in it."""
    seconds = QUICK_WATCH_SECONDS if quick else WATCH_SECONDS
    before, counts = snapshots(medic), medic.metrics()
    pace = PacedLoad(Plan(port=medic.port, segments=[(seconds, RATE)], services=services)).wait()
    after, stall = snapshots(medic), medic.stall_max_ms(counts)
    moved = sorted(name for name, value in after.items() if before.get(name) != value and not name.endswith("_bucket"))
    worst = max((p99 for _, p99, _ in pace.seconds), default=0.0)
    lines(
        kept_in(quick) / "restart-heartbeats.svg",
        f"{services:,} services, {RATE:,} heartbeats/s, snapshot included: each second",
        {"p99": [p99 for _, p99, _ in pace.seconds], "slowest": [longest for _, _, longest in pace.seconds]},
        unit="ms",
        limit=100,
    )
    words = (
        f"p99 of all {pace.tail_ms:.1f}, max {pace.max_ms:.0f}; {pace.taken} of {pace.due} answered 201; longest stall"
    )
    words += f" {stall:.0f} ms; snapshot: {', '.join(moved) or 'none was written, by /metrics'}"
    return at_most(f"{services:,} services, {RATE:,}/s: p99 of the worst second", worst, "ms", 100, words)


def measure(place: Path, *, quick: bool) -> list[Figure]:
    """One fleet, served, ended and killed."""
    services = 20_000 if quick else 1_000_000
    seed(place / "data", Group(first=0, count=services, interval_ms=DAY_MS))
    with served(place / "data") as medic:
        figures = [while_serving(medic, services, quick=quick)]
        load = PacedLoad(Plan(port=medic.port, segments=[(600, RATE)], services=services))
        time.sleep(2)
        ending = time.monotonic()
        status = medic.stop()
        ended = time.monotonic() - ending
        orderly = restarted(medic)
        time.sleep(2)
        medic.kill()
        killed = restarted(medic)
        time.sleep(2)
        pace = load.end()
    words = f"ended in {ended:.1f} s with status {status}; {pace.taken} answered 201, {pace.unanswered} cut off"
    name = f"{services:,} services, {RATE:,}/s: start"
    return [
        *figures,
        at_most(f"{name} after an orderly end", orderly, "s", READY_SECONDS, words),
        at_most(f"{name} after kill -9", killed, "s", READY_SECONDS),
    ]


def main() -> None:
    """Measure and publish."""
    quick = options(__doc__)
    with scratch() as place:
        figures = measure(place, quick=quick)
        disk = round(disk_sync_ms(place), 3)
    publish("restart", figures, quick=quick, disk_sync_p50_ms=disk)


if __name__ == "__main__":
    main()
