"""Medic's data directory on a small file system that runs full under load, and is given room again.

Part of `bench.crash`. The journal is alone on the small disk: PostgreSQL, a process of its own, keeps its files
elsewhere, because what is asked here is what Medic does. Mounting needs root; where it is refused, the figure says so.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure, at_most
from bench.fleet_seed import Group, seed
from bench.paced import PacedLoad, Plan, recorded
from bench.served import Medic, end
from tests.e2e.postgres import PostgresProcess

SIZE = "192m"
"""Room for the reserve that paging has, and for some seconds of heartbeats."""

RATE = 500
SERVICES = 200
FULL_SECONDS, QUICK_FULL_SECONDS = 10, 3
WRITE_SECONDS = 60.0


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[Path | None]:
    """A file system of its own for the block, or None where this account may not mount one."""
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "medic-bench", str(place)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(place: Path) -> Path:
    """A file that takes all the room there is."""
    filler = place / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    return filler


def fill_under_load(place: Path, *, quick: bool) -> list[Figure]:
    """Fill the disk while heartbeats come in, kill Medic while it is full, and give the room back."""
    name = "disk full: acknowledged heartbeats that are not in PostgreSQL, or twice"
    seed(place / "full-database", Group(first=0, count=SERVICES))
    with PostgresProcess(place / "full-database") as postgres, small_disk(place / "small") as disk:
        if disk is None:
            return [at_most(name, 0, "", 0, "left out: this account may not mount a file system")]
        medic = Medic(disk / "data", **postgres.environment)
        medic.log = place / "full.log"
        record = place / "full-answered"
        record.touch()
        try:
            medic.start()
            plan = Plan(
                port=medic.port, segments=[(3_600, RATE)], services=SERVICES, connections=16, record=str(record), seed=2
            )
            load = PacedLoad(plan)
            time.sleep(2)
            filler = fill(disk)
            time.sleep(QUICK_FULL_SECONDS if quick else FULL_SECONDS)
            ready, live = medic.status("/health/ready"), medic.status("/health/live")
            medic.kill()
            filler.unlink()
            medic.start()
            before = len(recorded(record))
            time.sleep(2)
            filler = fill(disk)
            time.sleep(1)
            filler.unlink()
            time.sleep(3)
            pace = load.end()
            acknowledged = [run_id for run_id, _ in recorded(record)]
            medic.wait_written(WRITE_SECONDS)
            rows = medic.sql('SELECT run_id FROM medic."heartbeatEvents" WHERE run_id IS NOT NULL').split()
        finally:
            end(medic)
    wrong = len(set(acknowledged) - set(rows)) + len(rows) - len(set(rows))
    words = f"{len(acknowledged)} answered 201 ({before} before the kill), {len(rows)} rows; answers {pace.answered}"
    words += f"; while full: ready {ready}, live {live}"
    others = sum(count for status, count in pace.answered.items() if status not in {"201", "503"})
    return [
        at_most(name, wrong, "", 0, words),
        at_most("disk full: answers other than 201 and 503", others, "", 0),
        at_most("disk full: intake not back within 3 s of room again", int(len(acknowledged) <= before), "", 0),
    ]
