"""Records that PostgreSQL will never take, kept as files so that nothing is lost in silence (HARD-CASES H17)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import orjson

from medic.ports import Entry

REJECTED_FILES_MAX: Final = 10_000
"""Beyond this many files a rejected record is only logged: whoever sends ten thousand of them could fill the disk."""


class RejectedRecords:
    """The directory `journal/rejected`. Made when the first record comes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, entry: Entry, reason: str) -> Path | None:
        """Write the record down with the reason, synced; where, or None if there are too many already. Blocks.

        Raises:
            OSError: it could not be written.
        """
        self._directory.mkdir(mode=0o700, exist_ok=True)
        if sum(1 for _ in self._directory.iterdir()) >= REJECTED_FILES_MAX:
            return None
        path = self._directory / f"{entry.position:020d}.json"
        record = {
            "position": entry.position,
            "kind": type(entry.effect).__name__,
            "reason": reason,
            "effect": entry.effect,
        }
        with path.open("wb") as file:
            file.write(orjson.dumps(record, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
            file.flush()
            os.fsync(file.fileno())
        return path
