"""How much room the disk under the data directory has: what an operator wants to know before it is full."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

LOOK_EVERY_SECONDS: Final = 10.0
"""Oftener than anybody scrapes: a look costs a thread some microseconds."""


@dataclass(frozen=True, slots=True)
class DiskStatistics:
    """A disk at the newest look.

    Attributes:
        size_bytes: All of it.
        free_bytes: What Medic's user may still write.
    """

    size_bytes: int
    free_bytes: int


class DiskRoom:
    """Looks at the disk under a folder again and again, in a thread: one that hangs keeps nobody waiting."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._newest: DiskStatistics | None = None

    async def run(self) -> None:
        """Look until cancelled. Nobody waits for the first look: a start must not hang where a disk does."""
        while True:
            self._newest = await self._look()
            await trio.sleep(LOOK_EVERY_SECONDS)

    def statistics(self) -> DiskStatistics | None:
        """The newest look; None before the first, and where the disk says nothing of itself."""
        return self._newest

    async def _look(self) -> DiskStatistics | None:
        try:
            disk = await trio.to_thread.run_sync(os.statvfs, self._folder, abandon_on_cancel=True)
        except OSError:
            return None
        return DiskStatistics(size_bytes=disk.f_blocks * disk.f_frsize, free_bytes=disk.f_bavail * disk.f_frsize)
