"""What a journal says of itself to metrics and health."""

from __future__ import annotations

from dataclasses import dataclass

from medic.ports import Position


@dataclass(frozen=True, slots=True)
class JournalStatistics:
    """Where a journal stands, and what it did since the process began.

    Attributes:
        newest, durable: Positions.
        records, bytes: Appended.
        commits: Good ones. `commit_counts` are those by `file_journal.COMMIT_BOUNDS_SECONDS`, one more for those
            beyond, not cumulative.
        commit_seconds_total, commit_seconds_max, commit_seconds_last: How long they took, hop to the thread included.
        pending_bytes: In memory, not synced.
        refusing: Why records are refused now, or None; `refusing_since` is trio's clock when that began.
        failures: Writes and syncs that failed, attempts to begin a new file included.
        committing_since: trio's clock when the commit now under way began, or None.
        damaged_bytes: What could not be read when the journal was opened.
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
