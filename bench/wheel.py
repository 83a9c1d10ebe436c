"""What a heartbeat and a firing cost on the timing wheel, beside a heap with lazy deletion and beside a scan.

    python -m bench.wheel [--quick]

A fleet in its steady state: each service has an interval of 300 s and sends a heartbeat every 100 s, so that it has
three chances. Simulated time passes tick by tick (10 ms); in each tick the services whose turn it is send, and the
contender is turned where it asked to be woken, as Medic's host does it.

Contenders, in turn, round by round, in one process with the garbage collector off:

* wheel: `medic.wheel`.
* heap: `heapq` with lazy deletion. Each heartbeat pushes (deadline, actor); an entry whose deadline is not its actor's
  any more is dropped when it comes up. This is how event loops keep their timeouts.
* lazy heap: `heapq`, but with the wheel's trick: one entry an actor, pushed anew when it comes up too early. It shows
  how much is the trick's doing and how much the wheel's.
* scan: a heartbeat is one write; every 15 s each service is asked whether it is late. In memory, which flatters it: the
  system that Medic replaces asked PostgreSQL, 7 ms a service and pass.

Cost of a heartbeat: the time of all heartbeats and of all turning, by heartbeats. Cost of a firing: "one by one" is the
next late service of a fleet that is otherwise well (for the scan that is a pass); "all in one second" is a fleet that
falls silent at once, by service. How late a scan learns it, up to 15 s, is not in these figures.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import json
import os
import platform
import random
import statistics
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import process_time_ns

from medic.wheel import Tick, Timer, Wheel

ORIGIN = 175_000_000_000
INTERVAL = 30_000
BEAT_EVERY = 10_000
SCAN_EVERY = 1_500
HEARTBEATS = 200_000
"""Enough that a round takes tenths of a second; at a million services two seconds of simulated time."""

FIRINGS_ONE_BY_ONE = 2_000
SCAN_PASSES = 3
SLICE_MOVES = 128
SIZES = (10_000, 100_000, 1_000_000)


class Beating(Timer):
    """The hot part of an actor."""

    __slots__ = ("due",)

    def __init__(self, due: int) -> None:
        super().__init__()
        self.due = due

    def __lt__(self, other: Beating) -> bool:
        """Heap entries of one deadline are ordered by their actors; any order will do."""
        return False


class Contender(ABC):
    """One way to know what is late."""

    name: str

    def __init__(self, now: int) -> None:
        self.now = now

    @abstractmethod
    def arm(self, actor: Beating, due: int) -> None:
        """Let the actor be late at `due`."""

    @abstractmethod
    def advance(self, to: int) -> int:
        """Let time pass; the number of actors that became late."""

    @abstractmethod
    def next_tick(self) -> int:
        """When it has to be turned again."""

    @abstractmethod
    def next_one(self) -> int:
        """Let time pass until the next actor is late; the number of them."""


class OnWheel(Contender):
    """`medic.wheel`."""

    name = "wheel"

    def __init__(self, now: int) -> None:
        super().__init__(now)
        self.wheel: Wheel[Beating] = Wheel(Tick(now), lambda actor: Tick(actor.due))

    def arm(self, actor: Beating, due: int) -> None:
        actor.due = due
        self.wheel.arm(actor, Tick(due))

    def advance(self, to: int) -> int:
        late = 0
        while self.wheel.now < to:
            late += len(self.wheel.advance(Tick(to), SLICE_MOVES))
        return late

    def next_tick(self) -> int:
        return self.wheel.next_tick() or 0

    def next_one(self) -> int:
        late = 0
        while not late:
            late = len(self.wheel.advance(Tick(self.next_tick()), SLICE_MOVES))
        return late


class OnHeap(Contender):
    """`heapq` with lazy deletion."""

    name = "heap"

    def __init__(self, now: int) -> None:
        super().__init__(now)
        self.heap: list[tuple[int, Beating]] = []

    def arm(self, actor: Beating, due: int) -> None:
        actor.due = due
        heapq.heappush(self.heap, (due, actor))

    def advance(self, to: int) -> int:
        late = 0
        heap = self.heap
        while heap and heap[0][0] <= to:
            due, actor = heapq.heappop(heap)
            if actor.due == due:
                late += 1
        return late

    def next_tick(self) -> int:
        return self.heap[0][0]

    def next_one(self) -> int:
        late = 0
        while not late:
            late = self.advance(self.next_tick())
        return late


class OnLazyHeap(OnHeap):
    """`heapq` with one entry an actor."""

    name = "lazy heap"

    def arm(self, actor: Beating, due: int) -> None:
        # `armed` says whether there is an entry; in this bench deadlines never move earlier.
        actor.due = due
        if actor.armed < 0:
            actor.armed = Tick(due)
            heapq.heappush(self.heap, (due, actor))

    def advance(self, to: int) -> int:
        late = 0
        heap = self.heap
        while heap and heap[0][0] <= to:
            _, actor = heap[0]
            if actor.due <= to:
                heapq.heappop(heap)
                actor.armed = Tick(-1)
                late += 1
            else:
                heapq.heapreplace(heap, (actor.due, actor))
        return late


class ByScan(Contender):
    """All of them, every 15 s."""

    name = "scan"

    def __init__(self, now: int) -> None:
        super().__init__(now)
        self.actors: list[Beating] = []

    def arm(self, actor: Beating, due: int) -> None:
        actor.due = due
        if actor.armed < 0:
            actor.armed = Tick(due)
            self.actors.append(actor)

    def advance(self, to: int) -> int:
        self.now = to
        late = 0
        for actor in self.actors:
            if actor.due <= to:
                late += 1
        return late

    def next_tick(self) -> int:
        return self.now + SCAN_EVERY

    def next_one(self) -> int:
        self.advance(self.now)
        return 1


CONTENDERS: Sequence[Callable[[int], Contender]] = (OnWheel, OnHeap, OnLazyHeap, ByScan)


@dataclass
class Costs:
    """Nanoseconds, one entry a round."""

    heartbeat: list[float] = field(default_factory=list)
    firing_one: list[float] = field(default_factory=list)
    firing_all: list[float] = field(default_factory=list)


def fleet(make: Callable[[int], Contender], size: int) -> tuple[Contender, list[Beating]]:
    """A contender in its steady state; the actors in the order in which they send their heartbeats."""
    contender = make(ORIGIN)
    chance = random.Random(size)
    actors = []
    for place in range(size):
        # Its next heartbeat is sent after `wait` ticks, so its last one was BEAT_EVERY before that.
        wait = 1 + place * BEAT_EVERY // size
        due = ORIGIN + wait - BEAT_EVERY + INTERVAL
        actor = Beating(due)
        # What the two heartbeats before have left behind; an entry that is moved lazily may stand at any of the three.
        earlier = [due - BEAT_EVERY, due - 2 * BEAT_EVERY]
        for left in [min(earlier), max(earlier)] if make is OnHeap else [chance.choice([*earlier, due])]:
            contender.arm(actor, left)
        contender.arm(actor, due)
        actors.append(actor)
    return contender, actors


def heartbeats_cost(contender: Contender, actors: list[Beating], beats: int) -> float:
    """Nanoseconds a heartbeat, turning included."""
    size = len(actors)
    order = list(range(size))
    # Services of one tick send in no order, and their objects lie anywhere in memory.
    random.Random(1).shuffle(order)
    by_tick: list[list[Beating]] = [[] for _ in range(BEAT_EVERY)]
    for place in order:
        by_tick[place * BEAT_EVERY // size].append(actors[place])
    tick = ORIGIN
    done = 0
    late = 0
    wake = contender.next_tick()
    start = process_time_ns()
    while done < beats:
        tick += 1
        due = tick + INTERVAL
        sending = by_tick[(tick - ORIGIN - 1) % BEAT_EVERY]
        for actor in sending:
            contender.arm(actor, due)
        if wake <= tick:
            late += contender.advance(tick)
            wake = contender.next_tick()
        done += len(sending)
    spent = process_time_ns() - start
    if late:
        sys.exit(f"{contender.name}: {late} services of a well fleet became late")
    return spent / done


def firing_one_cost(contender: Contender) -> float:
    """Nanoseconds until the next late service is known, one after another."""
    rounds = SCAN_PASSES if isinstance(contender, ByScan) else FIRINGS_ONE_BY_ONE
    late = 0
    start = process_time_ns()
    for _ in range(rounds):
        late += contender.next_one()
    return (process_time_ns() - start) / late


def firing_all_cost(make: Callable[[int], Contender], size: int) -> float:
    """Nanoseconds a service, where all of them become late within one second, 300 s from now."""
    contender = make(ORIGIN)
    order = list(range(size))
    random.Random(2).shuffle(order)
    for place in order:
        contender.arm(Beating(0), ORIGIN + INTERVAL + place * 100 // size)
    late = 0
    start = process_time_ns()
    while late < size:
        late += contender.advance(
            max(contender.next_tick(), ORIGIN + INTERVAL + 101 if isinstance(contender, ByScan) else 0)
        )
    spent = process_time_ns() - start
    return spent / size


def measure(size: int, rounds: int) -> dict[str, Costs]:
    """Costs by contender's name."""
    costs = {make(0).name: Costs() for make in CONTENDERS}
    beats = max(HEARTBEATS, 2 * size // 10)
    for _ in range(rounds):
        for make in CONTENDERS:
            contender, actors = fleet(make, size)
            costs[contender.name].heartbeat.append(heartbeats_cost(contender, actors, beats))
            # From here on the fleet is silent.
            costs[contender.name].firing_one.append(firing_one_cost(contender))
            del contender, actors
            gc.collect()
            costs[make(0).name].firing_all.append(firing_all_cost(make, size))
            gc.collect()
    return costs


def table(size: int, costs: dict[str, Costs]) -> dict[str, dict[str, float]]:
    """Print one size; return the medians and, per rival, how many times the wheel's cost that is."""
    names = [make(0).name for make in CONTENDERS]
    print(f"\n{size:,} services".replace(",", " "))
    print(f"  {'cost of':<28}" + "".join(f"{name:>22}" for name in names))
    figures: dict[str, dict[str, float]] = {}
    rows = {
        "heartbeat": "a heartbeat, turning included",
        "firing_one": "a firing, one by one",
        "firing_all": "a firing, all in one second",
    }
    for key, title in rows.items():
        medians = {name: statistics.median(getattr(costs[name], key)) for name in names}
        wheel = medians["wheel"]
        cells = [
            f"{nanoseconds(medians[name])} {'':>8}" if name == "wheel" else cell(medians[name], wheel) for name in names
        ]
        print(f"  {title:<28}" + "".join(f"{text:>22}" for text in cells))
        figures[key] = {name: round(medians[name], 1) for name in names}
        figures[key] |= {f"{name}_ratio": round(medians[name] / wheel, 2) for name in names if name != "wheel"}
    return figures


def cell(rival: float, wheel: float) -> str:
    return f"{nanoseconds(rival)} {f'× {rival / wheel:,.2f}' if rival < 10 * wheel else f'× {rival / wheel:,.0f}':>8}"


def nanoseconds(value: float) -> str:
    if value < 10_000:
        return f"{value:.0f} ns"
    return f"{value / 1_000:.0f} µs" if value < 10_000_000 else f"{value / 1_000_000:.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three rounds, no million")
    quick: bool = parser.parse_args().quick
    rounds = 3 if quick else 5
    gc.disable()
    print(
        f"CPython {platform.python_version()}, {os.cpu_count()} cores, CPU time, "
        f"medians of {rounds} rounds, × the wheel's"
    )
    figures = {str(size): table(size, measure(size, rounds)) for size in (SIZES[:2] if quick else SIZES)}
    print("\n" + json.dumps({"bench": "wheel", "quick": quick, "unit": "ns", "services": figures}))


if __name__ == "__main__":
    main()
