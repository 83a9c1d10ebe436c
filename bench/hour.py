"""The top of the hour: everybody's cron begins at the same moment.

    python -m bench.hour [--quick]

A minute at 500 heartbeats a second; at the minute 4 000 a second; at the hour 10 000 a second. How long a crowd lasts
the promise does not say: ten seconds here (quick: two, after three quiet ones), with 500 a second between and after.
An open loop over 256 connections. No answer may be 5xx, and 99 of 100 are to come within 250 ms, in every second too.
"""

from __future__ import annotations

from pathlib import Path

from bench.figures import Figure, at_most, kept_in, options, publish
from bench.fleet_seed import Group, seed
from bench.paced import Pace, PacedLoad, Plan
from bench.plots import lines
from bench.served import Medic, bare, disk_sync_ms, scratch, served

QUIET, MINUTE, HOUR = 500, 4_000, 10_000
CONNECTIONS = 256


def segments(*, quick: bool) -> list[tuple[float, float]]:
    """Seconds and heartbeats a second."""
    calm, crowd = (3, 2) if quick else (60, 10)
    return [(calm, QUIET), (crowd, MINUTE), (calm / 5, QUIET), (crowd, HOUR), (calm / 5, QUIET)]


def run(port: int, services: int, *, quick: bool) -> Pace:
    """The profile, once."""
    plan = Plan(port=port, segments=segments(quick=quick), services=services, connections=CONNECTIONS)
    return PacedLoad(plan).wait()


def figures_of(medic: Medic, rival: str, services: int, *, quick: bool) -> list[Figure]:
    """Medic's profile, the bare limit's beside it."""
    pace = run(medic.port, services, quick=quick)
    limit = run(int(rival.rpartition(":")[2]), services, quick=True)
    lines(
        kept_in(quick) / "hour-heartbeats.svg",
        f"{QUIET:,}/s, {MINUTE:,}/s at the minute, {HOUR:,}/s at the hour: heartbeats each second",
        {"p99": [p99 for _, p99, _ in pace.seconds], "slowest": [longest for _, _, longest in pace.seconds]},
        unit="ms",
        limit=250,
    )
    profile = f"{QUIET:,}/s, {MINUTE:,}/s, {HOUR:,}/s"
    words = f"p50 {pace.p50_ms:.2f}, max {pace.max_ms:.0f}, {pace.taken} of {pace.due} answered 201"
    words += f"; bare in the short form: p99 {limit.p99_ms:.2f}, max {limit.max_ms:.0f}"
    lost = pace.failed + pace.unanswered + pace.unsent
    answers = f"answered: {pace.answered}; {pace.unanswered} unanswered, {pace.unsent} unsent"
    return [
        at_most(f"{profile}: p99", pace.tail_ms, "ms", 250, words),
        at_most(f"{profile}: worst second's p99", max((p99 for _, p99, _ in pace.seconds), default=0.0), "ms", 250),
        at_most(f"{profile}: answers that failed", lost, "", 0, answers),
    ]


def measure(place: Path, *, quick: bool) -> list[Figure]:
    """One Medic, one profile."""
    services = 10_000 if quick else 100_000
    seed(place / "data", Group(first=0, count=services))
    with bare() as rival, served(place / "data") as medic:
        return figures_of(medic, rival, services, quick=quick)


def main() -> None:
    """Measure and publish."""
    quick = options(__doc__)
    with scratch() as place:
        figures = measure(place, quick=quick)
        disk = round(disk_sync_ms(place), 3)
    publish("hour", figures, quick=quick, disk_sync_p50_ms=disk)


if __name__ == "__main__":
    main()
