"""The files of the snapshots: one being made under another name, the two newest kept, the newest whole one read."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import structlog
import trio

from medic.core.policy import Defaults
from medic.core.service import Service
from medic.core.units import ServiceId
from medic.ports import Position
from medic.store.journal.files import sync_directory
from medic.store.snapshot.content import Snapshot, find_service, read_snapshot
from medic.store.snapshot.layout import DamagedSnapshotError

_log = structlog.get_logger(__name__)

KEPT: Final = 2
"""The newest, and the one before it in case the newest cannot be read; the journal is kept behind both."""

_NAME: Final = re.compile(r"(\d{20})-(\d{6})\.snapshot")
_UNFINISHED: Final = "unfinished"


class SnapshotDisk:
    """The calls that may fail under a snapshot, in one place so that tests can make them fail."""

    def write(self, fd: int, block: bytes) -> None:
        """Write all of it behind what is there."""
        view = memoryview(block)
        while view:
            view = view[os.write(fd, view) :]

    def sync(self, fd: int) -> None:
        """Make it outlive a loss of power."""
        os.fsync(fd)


class UnfinishedSnapshot:
    """A snapshot being written. It counts once `finish` has returned; until then it is under another name."""

    def __init__(self, directory: Path, disk: SnapshotDisk) -> None:
        self._directory = directory
        self._disk = disk
        self.size = 0
        self._fd = os.open(
            directory / _UNFINISHED, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600
        )

    def write(self, block: bytes) -> None:
        """Add a block."""
        self._disk.write(self._fd, block)
        self.size += len(block)

    def finish(self, begun: Position) -> None:
        """Make it the newest snapshot."""
        self._disk.sync(self._fd)
        os.close(self._fd)
        self._fd = -1
        number = max((number for _, number, _ in _listed(self._directory)), default=0) + 1
        (self._directory / _UNFINISHED).rename(self._directory / f"{begun:020d}-{number:06d}.snapshot")
        sync_directory(self._directory)

    def abandon(self) -> None:
        """Leave nothing of it, if it was not finished."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            (self._directory / _UNFINISHED).unlink(missing_ok=True)


class SnapshotFiles:
    """The snapshots of one data directory.

    Args:
        directory: `<data_dir>/snapshot`; made if it is not there, with mode 0700.
        disk: Where tests put a disk that fails.
    """

    def __init__(self, directory: Path, *, disk: SnapshotDisk | None = None) -> None:
        self._directory = directory
        self._disk = disk or SnapshotDisk()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def begin(self) -> UnfinishedSnapshot:
        """A new one. Blocks."""
        return UnfinishedSnapshot(self._directory, self._disk)

    def remove_old(self) -> None:
        """Keep the newest `KEPT`. Blocks."""
        for _, _, path in _listed(self._directory)[KEPT:]:
            path.unlink()

    def remove_all(self) -> None:
        """Keep none: another Medic knows better. Blocks."""
        for _, _, path in _listed(self._directory):
            path.unlink()
        sync_directory(self._directory)

    @property
    def covered(self) -> Position:
        """The position behind which the journal is needed: that of the oldest one kept; 0 while there are too few.

        With one alone, a start that cannot read it would need everything.
        """
        found = _listed(self._directory)[:KEPT]
        return found[-1][0] if len(found) == KEPT else Position(0)

    @property
    def newest_size(self) -> int:
        """The bytes of the newest one, whole or not; 0 where there is none."""
        found = _listed(self._directory)
        return found[0][2].stat().st_size if found else 0

    @property
    def any_kept(self) -> bool:
        """Whether there is one, whole or not."""
        return bool(_listed(self._directory))

    async def read_newest(self, journal_id: str, oldest: Position, defaults: Defaults) -> Snapshot | None:
        """The newest that is whole, belongs to the journal and is not behind its beginning, or None.

        One that is not whole, or another journal's, is set aside, so that it does not count as one of two.

        Raises:
            UnreadableRecordError: a later release wrote it.
        """
        for _, _, path in _listed(self._directory):
            try:
                snapshot = await read_snapshot(path, defaults)
            except (DamagedSnapshotError, OSError) as error:
                _log.error("a snapshot cannot be read; the one before it is used", file=path.name, reason=str(error))
                _set_aside(path)
                continue
            if snapshot.facts.journal_id != journal_id:
                _log.warning("a snapshot of another journal is set aside", file=path.name)
                _set_aside(path)
            elif snapshot.facts.begun < oldest:
                _log.error("a snapshot from before the journal begins is passed over", file=path.name)
            else:
                return snapshot
        return None

    async def find(self, service_id: ServiceId, journal_id: str, defaults: Defaults) -> tuple[Service, Position] | None:
        """One service of the newest that is whole, and where that was begun."""
        return await trio.to_thread.run_sync(self._find, service_id, journal_id, defaults)

    def _find(self, service_id: ServiceId, journal_id: str, defaults: Defaults) -> tuple[Service, Position] | None:
        for _, _, path in _listed(self._directory):
            try:
                return find_service(path, service_id, journal_id, defaults)
            except (DamagedSnapshotError, OSError) as error:
                _log.error("a snapshot cannot be read; the one before it is used", file=path.name, reason=str(error))
        return None


def _set_aside(path: Path) -> None:
    """Give a snapshot that is of no use another name: it must not be one of those that are kept."""
    try:
        path.rename(path.with_suffix(".aside"))
    except OSError as error:
        _log.warning("a snapshot cannot be set aside", file=path.name, reason=str(error))


def _listed(directory: Path) -> list[tuple[Position, int, Path]]:
    """Position, number and file of each snapshot, the newest first."""
    found = [
        (Position(int(name[1])), int(name[2]), path)
        for path in directory.iterdir()
        if (name := _NAME.fullmatch(path.name)) is not None
    ]
    return sorted(found, key=lambda one: one[1], reverse=True)
