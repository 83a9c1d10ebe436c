"""How a journal syncs, and what it says of itself for metrics and health."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from medic.ports import Position

COMMIT_BOUNDS_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0)
"""Upper bounds of the histogram of commits."""


class Sync(StrEnum):
    """`MEDIC_JOURNAL_SYNC`."""

    ALWAYS = "always"
    INTERVAL = "interval"


@dataclass(frozen=True, slots=True)
class JournalStatistics:
    """Where a journal stands, and what it did since the process began.

    Attributes:
        newest, durable: Positions.
        records, bytes: Appended.
        commits: Good ones. `commit_counts` are those by `COMMIT_BOUNDS_SECONDS`, one more for those beyond, not
            cumulative.
        commit_seconds_total, commit_seconds_max, commit_seconds_last: How long they took, hop to the thread included.
        pending_bytes: In memory, not synced.
        refusing: Why records are refused now, or None; `refusing_since` is trio's clock when that began.
        failures: Writes and syncs that failed, attempts to begin a new file included.
        committing_since: trio's clock when the commit now under way began, or None.
        damaged_bytes: What could not be read, at the opening or since.
        segments: Files that hold it.
        held_bytes: How much of it they hold: what is older was deleted.
        bytes_max: The most of it before heartbeats are refused.
        reserved_bytes: Allocated ahead for a full disk.
        refusing_intake: Why heartbeats are refused although records are taken, or None.
    """

    newest: Position
    durable: Position
    records: int
    bytes: int
    commits: int
    commit_counts: tuple[int, ...]
    commit_seconds_total: float
    commit_seconds_max: float
    commit_seconds_last: float
    pending_bytes: int
    refusing: str | None
    refusing_since: float | None
    failures: int
    committing_since: float | None
    damaged_bytes: int
    segments: int
    held_bytes: int
    bytes_max: int
    reserved_bytes: int
    refusing_intake: str | None
