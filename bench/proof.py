"""What a proof of progress costs an idle Medic, beside what a heartbeat costs it: both take one sync of the same disk.

    python -m bench.proof [--rounds 200] [--folder /var/tmp]

Medians of several rounds, in which a proof and a heartbeat that is waited for take turns: wall time in milliseconds and
CPU time of this process in microseconds. The journal, the host and its wheel are the real ones, on a real disk.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from bench.actors import Counting, Nobody
from medic.actors.clock import SightedClock, wall_now
from medic.actors.directory import Directory
from medic.actors.host import Host
from medic.actors.outbox import Outbox
from medic.actors.supervisor import Supervisor
from medic.app.progress import Progress, outbox_proof
from medic.core.service import Service
from medic.core.status import HeartbeatStatus
from medic.core.units import EventId, ServiceId, SightedMs
from medic.store.journal.file_journal import FileJournal


async def _never(_service_id: ServiceId) -> Service | None:
    return None


async def measure(folder: Path, rounds: int) -> dict[str, float]:
    """The medians of one run."""
    clock = SightedClock(resume_at=SightedMs(wall_now()))
    journal, directory = FileJournal(folder / "journal"), Directory()
    outbox = Outbox(journal, Nobody(), clock)
    host = Host(
        clock=clock,
        ids=Counting(),
        directory=directory,
        outbox=outbox,
        supervisor=Supervisor(_never),
        on_blindness=lambda _span: None,
    )
    progress = Progress(
        {"journal": journal.prove, "wheel": host.prove, "outbox": outbox_proof(outbox.statistics, clock)}, clock
    )

    async def prove() -> None:
        assert await progress.prove() is None

    async def beat() -> None:
        at, sighted = clock.read()
        record = (ServiceId(1), at, sighted, EventId(at), HeartbeatStatus.UP)
        await journal.wait_durable(journal.append_heartbeat_nowait(*record))

    spent: dict[str, list[tuple[float, float]]] = {"proof": [], "wheel": [], "heartbeat": []}
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        await nursery.start(host.run)
        await trio.sleep(1)
        for _ in range(rounds):
            for name, act in (("proof", prove), ("wheel", host.prove), ("heartbeat", beat)):
                spent[name].append(await _spent(act))
        nursery.cancel_scope.cancel()
    return {
        f"{name}_{unit}": round(statistics.median(one[place] for one in found) * scale, 2)
        for name, found in spent.items()
        for place, (unit, scale) in enumerate((("wall_ms", 1e3), ("cpu_us", 1e6)))
    }


async def _spent(act: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    await act()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=None)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        print(json.dumps(trio.run(measure, Path(folder), asked.rounds)))


if __name__ == "__main__":
    main()
