"""From a deadline to the call of PagerDuty: one by one among heartbeats, and a thousand at once.

    python -m bench.paging [--quick]

The receiver is the one that the tests use: it checks each event against PagerDuty's published schema, in a process of
its own on core 1. Every trigger states the instant of lateness, to the millisecond; the receiver notes when it had read
the head of the request. The difference is everything: the wheel, the decision, the journal's sync, the connection.

* one by one: services go silent one after the other while the others send 5 000 heartbeats a second.
* at once: 1 000 services, p1 to p5 in turn, have one deadline; PagerDuty takes 50 a second and answers 429 beyond. The
  first p1 is to be told within 100 ms, and the more urgent before the less.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.figures import Figure, at_most, options, publish
from bench.fleet_seed import Group, seed
from bench.paced import PacedLoad, Plan, quantile
from bench.served import LOAD_CORE, disk_sync_ms, pin_children, scratch, served
from tests.vendors import VendorProcess

RATE = 5_000
PAGERDUTY_PER_SECOND = 50
OUT_OF_ORDER_MAX = 20
"""What was on its way already when the more urgent became known. Beyond that it is no order."""

PATIENCE_SECONDS = 60.0


@contextmanager
def pagerduty(place: Path, per_second: int | None = None) -> Iterator[VendorProcess]:
    """The receiver, on the load's core."""
    with VendorProcess(place) as vendors:
        pin_children(os.getpid(), "tests.vendors", LOAD_CORE)
        if per_second is not None:
            vendors.limit("pagerduty", per_second)
        yield vendors


def triggers(vendors: VendorProcess) -> list[dict[str, Any]]:
    """The triggers that PagerDuty took, in order."""
    return [one for one in vendors.taken("pagerduty") if one["document"]["event_action"] == "trigger"]


def late_ms(event: dict[str, Any]) -> float:
    """From the instant of lateness that it states to its arrival."""
    due = datetime.fromisoformat(event["document"]["payload"]["timestamp"]).timestamp()
    return float(event["at"] - due) * 1e3


def priority_of(event: dict[str, Any]) -> str:
    """p1 to p5."""
    return str(event["document"]["payload"]["custom_details"]["priority"])


def wait_for_triggers(vendors: VendorProcess, count: int, until: float) -> list[dict[str, Any]]:
    """So many triggers, or what there is at that monotonic instant."""
    while len(found := triggers(vendors)) < count and time.monotonic() < until:
        time.sleep(0.5)  # each question costs the receiver the JSON of all that arrived
    return found


def environment(vendors: VendorProcess) -> dict[str, str]:
    """PagerDuty only: Slack is told one message a second, and is not what is measured."""
    return {name: value for name, value in vendors.environment.items() if name.startswith("PAGERDUTY")}


def one_by_one(place: Path, *, quick: bool) -> Figure:
    """Services that go silent in a spread while the others go on."""
    place.mkdir()
    services, silent, lead, spread = (10_000, 200, 14, 4) if quick else (100_000, 1_000, 45, 20)
    sound = Group(first=0, count=services - silent)
    spread_ms = spread * 1_000 // silent
    seed(place / "data", sound, Group(first=sound.count, count=silent, interval_ms=lead * 1_000, step_ms=spread_ms))
    with pagerduty(place) as vendors, served(place / "data", **environment(vendors)) as medic:
        early = len(triggers(vendors))
        plan = Plan(port=medic.port, segments=[(lead + spread, RATE)], services=sound.count)
        load = PacedLoad(plan)
        told = wait_for_triggers(vendors, silent, time.monotonic() + lead + spread + PATIENCE_SECONDS)
        pace = load.end()
        faults = vendors.faults()
    found = [late_ms(event) for event in told[early:]]
    words = f"p50 {quantile(found, 0.5):.1f}, max {max(found, default=0):.1f}; {len(told)} of {silent} told"
    words += f" ({early} before the load began); heartbeats meanwhile p99 {pace.tail_ms:.1f} ms, {pace.taken} taken"
    if faults:
        words += f"; {len(faults)} faults of requests to PagerDuty"
    value = quantile(found, 0.99) if len(told) == silent and found else PATIENCE_SECONDS * 1e3
    name = f"deadline to notifier call, {services:,} services, {RATE:,} heartbeats/s: p99"
    return at_most(name, value, "ms", 50, words)


def at_once(place: Path, *, quick: bool) -> list[Figure]:
    """A thousand with one deadline, and a PagerDuty that takes fifty a second."""
    place.mkdir()
    silent, lead = (1_000, 9) if quick else (1_000, 20)
    seconds = silent / PAGERDUTY_PER_SECOND / (8 if quick else 1)
    seed(place / "data", Group(first=0, count=silent, interval_ms=lead * 1_000))
    with (
        pagerduty(place, PAGERDUTY_PER_SECOND) as vendors,
        served(place / "data", **environment(vendors)),
    ):
        wanted = int(silent / (8 if quick else 1))
        told = wait_for_triggers(vendors, wanted, time.monotonic() + lead + 2 * seconds + PATIENCE_SECONDS / 2)
        refused = sum(one["status"] == 429 for one in vendors.arrivals("pagerduty"))
    urgent = [late_ms(event) for event in told if priority_of(event) == "p1"]
    spent = (told[-1]["at"] - told[0]["at"]) if told else 0.0
    words = f"{len(told)} told in {spent:.1f} s, at {len(told) / max(spent, 0.1):.0f}/s; {refused} answered 429"
    first = min(urgent, default=PATIENCE_SECONDS * 1e3)
    order = [priority_of(event) for event in told]
    overtaken = sum(priority > min(order[place + 1 :], default="p9") for place, priority in enumerate(order))
    counts = ", ".join(f"{order.count(priority)} {priority}" for priority in sorted(set(order)))
    name = f"{silent:,} late at once, PagerDuty taking {PAGERDUTY_PER_SECOND}/s"
    return [
        at_most(f"{name}: the first p1", first, "ms", 100, words),
        at_most(f"{name}: told before a more urgent one", overtaken, "pages", OUT_OF_ORDER_MAX, f"in all {counts}"),
    ]


def main() -> None:
    """Measure and publish."""
    quick = options(__doc__)
    with scratch() as place:
        figures = [one_by_one(place / "spread", quick=quick), *at_once(place / "at-once", quick=quick)]
        disk = round(disk_sync_ms(place), 3)
    publish("paging", figures, quick=quick, disk_sync_p50_ms=disk)


if __name__ == "__main__":
    main()
