"""The data folder: whether it can be written, how fast it syncs, how much room it has, and whether it lasts."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from medic.cli.checks.finding import Finding, Verdict
from medic.config.folder import prepare, require_sight
from medic.config.settings import Settings
from medic.errors import ConfigurationError

SYNCS: Final = 20
SYNC_BYTES: Final = 4_096
SLOW_SYNC_MS: Final = 20.0
"""A disk that syncs slower than this makes every heartbeat wait as long."""

ROOM_LOW_BYTES: Final = 1 << 30
ROOM_NONE_BYTES: Final = 64 << 20
"""Under 1 GiB there is room for hours of PostgreSQL being away, under 64 MiB for none."""

WRITABLE: Final = "run this as Medic's user, or set MEDIC_DATA_DIR to a folder that can be written"

MOUNTS: Final = Path("/proc/self/mountinfo")

PASSING: Final = {
    "overlay": "the container's own layer, which is gone with the container",
    "aufs": "the container's own layer, which is gone with the container",
    "tmpfs": "memory, which is gone with the machine's power",
    "ramfs": "memory, which is gone with the machine's power",
}
"""Kinds of file systems that do not outlive what Medic has to outlive."""

_OCTAL: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system: where it is mounted, its kind, and what it is made of."""

    place: str
    kind: str
    source: str


async def look_at_folder(settings: Settings) -> list[Finding]:
    """Whether the folder can be written, its speed and its room."""
    storage = settings.storage
    return await trio.to_thread.run_sync(_examine, storage.folder, storage.journal_bytes_max, abandon_on_cancel=True)


async def look_at_mount(settings: Settings) -> list[Finding]:
    """Whether what is written there outlives a container and a loss of power."""
    try:
        table = await trio.Path(MOUNTS).read_text(errors="surrogateescape")
    except OSError:  # not on every system
        return []
    folder = settings.storage.folder.resolve()
    mount = mount_of(folder, table)
    return [] if mount is None else [lasting(mount)]


def lasting(mount: Mount) -> Finding:
    """What the kind of file system means for what Medic keeps."""
    passing = PASSING.get(mount.kind)
    if passing is None:
        return Finding("lasting", Verdict.OK, f"{mount.kind} ({mount.source}), mounted at {mount.place}")
    found = f"{mount.kind}, mounted at {mount.place}: {passing}"
    return Finding(
        "lasting", Verdict.NOTE, found, "mount a volume and set MEDIC_DATA_DIR to it, unless this is a trial"
    )


def mount_of(folder: Path, table: str) -> Mount | None:
    """The file system that a folder lies on, by the kernel's table of mounts; a later mount covers an earlier one.

    Source: proc(5), /proc/pid/mountinfo.
    """
    found: Mount | None = None
    for line in table.splitlines():
        before, _, behind = line.partition(" - ")
        words, kind_and_source = before.split(), behind.split()
        if len(words) < 5 or len(kind_and_source) < 2:
            continue
        place = Path(_plain(words[4]))
        if folder.is_relative_to(place) and (found is None or len(str(place)) >= len(found.place)):
            found = Mount(str(place), kind_and_source[0], _plain(kind_and_source[1]))
    return found


def _plain(escaped: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), escaped)


def _examine(folder: Path, journal_bytes_max: int) -> list[Finding]:
    try:
        require_sight(folder)
    except ConfigurationError as error:
        return [Finding("data folder", Verdict.BAD, fault.message, WRITABLE) for fault in error.faults]
    if not folder.exists():
        there = next(parent for parent in folder.parents if parent.exists())
        if os.access(there, os.W_OK | os.X_OK):
            return [Finding("data folder", Verdict.NOTE, f"{folder} is not there yet", "medic serve makes it")]
        found = f"{folder} is not there, and this user may not make it"
        return [Finding("data folder", Verdict.BAD, found, WRITABLE)]
    try:
        prepare(folder)
        sync_ms, free = _measure(folder)
    except ConfigurationError as error:
        return [Finding("data folder", Verdict.BAD, fault.message, WRITABLE) for fault in error.faults]
    except OSError as error:
        why = (error.strerror or "it cannot").lower()
        return [Finding("data folder", Verdict.BAD, f"{folder} cannot be written: {why}", "see to that disk")]
    return [speed(folder, sync_ms), room(free, journal_bytes_max)]


def _measure(folder: Path) -> tuple[float, int]:
    """The median milliseconds of a sync, and the bytes free."""
    spent = []
    with tempfile.TemporaryFile(dir=folder) as trial:
        for _ in range(SYNCS):
            trial.write(bytes(SYNC_BYTES))
            trial.flush()
            begun = time.perf_counter()
            os.fdatasync(trial.fileno())
            spent.append(time.perf_counter() - begun)
    return statistics.median(spent) * 1000, shutil.disk_usage(folder).free


def speed(folder: Path, sync_ms: float) -> Finding:
    """What the milliseconds of a sync mean for heartbeats."""
    found = f"{folder} can be written; a sync takes {sync_ms:.2f} ms"
    if sync_ms <= SLOW_SYNC_MS:
        return Finding("data folder", Verdict.OK, found)
    to_do = "every heartbeat waits for a sync: put MEDIC_DATA_DIR on a faster disk"
    return Finding("data folder", Verdict.NOTE, found, to_do)


def room(free: int, journal_bytes_max: int) -> Finding:
    """What the free bytes mean for the journal."""
    found = f"{free / (1 << 30):.1f} GiB free"
    if free < ROOM_NONE_BYTES:
        return Finding("disk", Verdict.BAD, found, "make room: a full disk refuses heartbeats")
    if free < ROOM_LOW_BYTES:
        return Finding("disk", Verdict.NOTE, found, "make room before PostgreSQL is away for long")
    if free < journal_bytes_max:
        found += f", less than the journal may take while PostgreSQL is away ({journal_bytes_max / (1 << 30):.1f} GiB)"
        return Finding("disk", Verdict.NOTE, found, "make room, or set MEDIC_JOURNAL_MAX_BYTES lower")
    return Finding("disk", Verdict.OK, found)
