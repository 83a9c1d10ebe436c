"""How much room the journal has: the limit beyond which heartbeats are refused, and what is kept for everything else.

Two things can run out. The journal has a limit, `MEDIC_JOURNAL_MAX_BYTES`, so that PostgreSQL being away for days does
not fill a disk that others need as well. And the disk may be full all the same, because of others.

Heartbeats are what fills a journal: a thousand of them for each alert. So either way heartbeats are refused first, with
a 503, and alerts, transitions, notifications and what operators order go on (HARD-CASES H15). For a full disk that
takes room that nobody else can have taken: a file of `MEDIC_JOURNAL_RESERVE_BYTES`, allocated ahead, which is removed
when a write finds no room. It is allocated again once the disk has room for it and something beyond; until then
heartbeats are refused, for the next record may be the one that finds none.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
import trio

_log = structlog.get_logger(__name__)

JOURNAL_BYTES_MAX: Final = 8 << 30
"""Five hours of the promised peak, eleven at half of it: an outage of PostgreSQL that somebody notices."""

RESERVE_BYTES: Final = 64 << 20
"""Some 60 000 alerts opened, told and closed again."""

MARGIN_BYTES_MAX: Final = 16 << 20
"""What the disk has to have beyond the reserve before heartbeats are taken again: half a minute of the promised peak,
so that intake does not come and go with every file that somebody removes."""

SPACE_LOOK_SECONDS: Final = 1.0
"""How soon it is noticed that a full disk has room again."""

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

_FULL: Final = "The journal has reached its limit, because PostgreSQL is behind."
_DISK_FULL: Final = "The disk under the journal is full."


class JournalSpace:
    """The room of one journal. `look` and `release` block; the rest is memory.

    Args:
        directory: The journal's.
        bytes_max: The most it may hold before heartbeats are refused.
        reserve_bytes: What is allocated ahead; 0 for nothing.
    """

    def __init__(self, directory: Path, *, bytes_max: int, reserve_bytes: int) -> None:
        self._path = directory / "reserve"
        self._bytes_max = bytes_max
        self._reserve_bytes = reserve_bytes
        self._is_full = False
        self._is_reserved = False

    @property
    def refusal(self) -> str | None:
        """Why heartbeats have to be refused, or None."""
        if not self._is_reserved:
            return _DISK_FULL
        return _FULL if self._is_full else None

    @property
    def is_reserved(self) -> bool:
        """Whether all that is to be kept is there."""
        return self._is_reserved

    @property
    def bytes_max(self) -> int:
        """The most the journal may hold before heartbeats are refused."""
        return self._bytes_max

    @property
    def reserved_bytes(self) -> int:
        """What is allocated ahead at the moment."""
        return self._reserve_bytes if self._is_reserved else 0

    def note_held(self, held: int) -> None:
        """The journal holds so many bytes now."""
        is_full = held > self._bytes_max
        if is_full != self._is_full:
            self._is_full = is_full
            say = _log.error if is_full else _log.info
            say("the journal is full" if is_full else "the journal has room again", bytes=held, most=self._bytes_max)

    async def keep(self, held: Callable[[], int]) -> None:
        """Look whether there is room again, for as long as there is none, until cancelled; `held` as in `note_held`."""
        while True:
            await trio.sleep(SPACE_LOOK_SECONDS)
            if not self.is_reserved:
                await trio.to_thread.run_sync(self.look, abandon_on_cancel=True)
            self.note_held(held())

    def release(self) -> None:
        """A write found no room: give up what was kept for this."""
        if self._is_reserved:
            _log.error("the disk under the journal is full; the reserve is used", bytes=self._reserve_bytes)
        self._is_reserved = False
        self._path.unlink(missing_ok=True)

    def look(self) -> None:
        """Allocate the reserve if it is not there and the disk has room for more than that."""
        if self._is_reserved:
            return
        try:
            if self._reserve_bytes and not self._has_reserve():
                disk = os.statvfs(self._path.parent)
                margin = min(MARGIN_BYTES_MAX, self._reserve_bytes // 4)
                if disk.f_bavail * disk.f_frsize < self._reserve_bytes + margin:
                    return
                self._allocate()
        except OSError as error:
            _log.warning("no reserve can be allocated for the journal", reason=str(error))
            self._path.unlink(missing_ok=True)
            return
        self._is_reserved = True

    def _has_reserve(self) -> bool:
        """Whether an earlier process has left it whole."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return False
        return found.st_size == self._reserve_bytes and found.st_blocks * 512 >= self._reserve_bytes

    def _allocate(self) -> None:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, self._reserve_bytes)
            os.fsync(fd)
        finally:
            os.close(fd)
