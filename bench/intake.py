"""Taking heartbeats in: requests a second beside the bare limit, and how long they take at a fixed rate.

    python -m bench.intake [--quick]

Services drawn at random from 100 000 (quick: 10 000), the real `medic serve` on core 0 with its embedded PostgreSQL on
core 1, wrk on core 1. Rounds take turns with `bench.bare` on the same core, which is idle while Medic is measured, and
the other way round once Medic's writer has nothing left to do. The ratio is to the bare server as trio means it; that
below trio's streams is measured in the same round and stands beside it.

* interval, always: `POST /heartbeat` over 128 connections that stay open, by `MEDIC_JOURNAL_SYNC`.
* a new connection each: the same with `Connection: close`.
* at 5 000 a second: an open loop (`bench.paced`); 99 of 100 answers are to come within 20 ms.
* bulk: `POST /v2/heartbeats`, 1 000 a request, `always`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

from bench.figures import PAIRS, QUICK_PAIRS, Figure, Pairs, at_most, options, publish
from bench.fleet_seed import Group, copy, seed
from bench.paced import PacedLoad, Plan
from bench.served import Medic, bare, disk_sync_ms, scratch, served
from bench.wrk import Load, bulk, closing, keep_alive

MANY = 1_000
CATCH_UP_SECONDS = 300.0
RATE = 5_000


class Bench:
    """One Medic and the bare limit, measured in turn."""

    def __init__(self, medic: Medic, rival: str, hardest: str, services: int, *, seconds: float, rounds: int) -> None:
        self.medic = medic
        self.rival = rival
        self.hardest = hardest
        self.below: list[float] = []
        self.services = services
        self.seconds = seconds
        self.rounds = rounds
        self.faults: list[str] = []

    def pairs(self, load: Callable[[str, int, float], Load]) -> Pairs:
        """Rates of the two, pair by pair."""

        def ours() -> float:
            self.medic.wait_written(CATCH_UP_SECONDS)
            return self._rate(load(self.medic.url, self.services, self.seconds))

        def theirs() -> float:
            self.medic.wait_written(CATCH_UP_SECONDS)
            self.below.append(load(self.hardest, self.services, self.seconds).rate)
            return load(self.rival, self.services, self.seconds).rate

        self.below.clear()
        return Pairs().take(self.rounds, ours, theirs)

    def _rate(self, seen: Load) -> float:
        if seen.refused or seen.socket_errors:
            self.faults.append(f"{seen.refused} refused, {seen.socket_errors} connections failed")
        return seen.rate

    def words(self) -> str:
        """The harder rival of the pairs just taken, and what went wrong since the last time this was asked."""
        harder = f"below trio's streams {statistics.median(self.below):,.0f}"
        said, self.faults = "; ".join([harder, *self.faults]), []
        return said

    def paced(self, rate: int, seconds: float) -> Figure:
        """The tail at a fixed rate."""
        self.medic.wait_written(CATCH_UP_SECONDS)
        plan = Plan(port=self.medic.port, segments=[(seconds, rate)], services=self.services)
        pace = PacedLoad(plan).wait()
        asked = PacedLoad(Plan(port=int(self.rival.rpartition(":")[2]), segments=[(2, rate)], services=self.services))
        theirs = asked.wait()
        words = (
            f"p50 {pace.p50_ms:.2f}, max {pace.max_ms:.1f}; bare p99 {theirs.p99_ms:.2f}; {pace.taken} of {pace.due}"
        )
        words += f" taken in {pace.elapsed:.1f} s; the client's own p99, {pace.own_p99_ms:.2f}, is taken off"
        return at_most(f"POST /heartbeat at {rate:,}/s: p99", pace.tail_ms, "ms", 20, words)

    def bulk(self, rounds: int) -> Figure:
        """Heartbeats a second, a thousand a request."""
        name = f"bulk, {MANY:,} a request, always"
        rates, refused = [], 0
        for _ in range(rounds):
            self.medic.wait_written(CATCH_UP_SECONDS)
            seen = bulk(self.medic.url, self.services, self.seconds, MANY)
            rates.append(0.0 if seen.refused else seen.rate * MANY)
            refused += seen.refused
        limit = bulk(self.rival, self.services, self.seconds, MANY).rate * MANY
        words = f"bare, which only parses the same bodies, {limit:,.0f}"
        if refused:
            words = f"refused: {refused} requests (is POST /v2/heartbeats there?); {words}"
        return Figure(name=name, value=statistics.median(rates), unit="heartbeats/s", target=200_000, words=words)


def measure(place: Path, *, quick: bool) -> tuple[list[Figure], dict[str, object]]:
    """All figures of this bench."""
    services, seconds, rounds = (10_000, 1.0, QUICK_PAIRS) if quick else (100_000, 5.0, PAIRS)
    figures = []
    seed(place / "seeded", Group(first=0, count=services))
    facts: dict[str, object] = {"services": services, "disk_sync_p50_ms": round(disk_sync_ms(place), 3)}
    for sync, target in (("interval", 0.7), ("always", 0.55)):
        data_dir = place / sync
        copy(place / "seeded", data_dir)
        with (
            bare() as rival,
            bare("--below-streams") as hardest,
            served(data_dir, MEDIC_JOURNAL_SYNC=sync) as medic,
        ):
            bench = Bench(medic, rival, hardest, services, seconds=seconds, rounds=rounds)
            keep_alive(medic.url, services, 1)
            pairs = bench.pairs(keep_alive)
            name = f"POST /heartbeat, 128 connections, {services:,} services, {sync}"
            figures.append(pairs.figure(name, "requests/s", target, bench.words()))
            if sync == "always":
                pairs = bench.pairs(closing)
                figures.append(pairs.figure("a new connection each, always", "requests/s", 0.5, bench.words()))
                figures.append(bench.paced(RATE, 2 if quick else 20))
                figures.append(bench.bulk(rounds))
            facts[f"disk_sync_p50_ms_after_{sync}"] = round(disk_sync_ms(place), 3)
    return figures, facts


def main() -> None:
    """Measure and publish."""
    quick = options(__doc__)
    with scratch() as place:
        figures, facts = measure(place, quick=quick)
    publish("intake", figures, quick=quick, **facts)


if __name__ == "__main__":
    main()
