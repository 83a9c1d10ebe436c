"""What becomes durable together, who is told of it, and how long that took."""

from __future__ import annotations

import structlog
import trio

from medic.errors import JournalRefusedError
from medic.ports import WhenDurable
from medic.store.journal.statistics import COMMIT_BOUNDS_SECONDS

_log = structlog.get_logger(__name__)


def run_call(call: WhenDurable, refused: JournalRefusedError | None) -> None:
    """Run one call. What it raises is a bug of whoever handed it in, and must not reach the committer."""
    try:
        call(refused)
    except Exception as error:  # noqa: BLE001 - as the supervisor: one caller's bug must not stop every other's commit
        _log.error("a call that waited for the journal raised", exc_info=error)


class Commit:
    """What becomes durable together: everything up to `end`, the one event for all who wait for it, and the calls."""

    __slots__ = ("_calls", "_done", "end")

    def __init__(self) -> None:
        self._done = trio.Event()
        self._calls: list[WhenDurable] = []
        self.end = 0

    async def wait_settled(self) -> None:
        """Return once `settle` was called."""
        await self._done.wait()

    def add_call(self, call: WhenDurable) -> None:
        """Have `call` run when this is settled."""
        self._calls.append(call)

    def settle(self, refused: JournalRefusedError | None) -> None:
        """Wake who waits, and run the calls in their order."""
        self._done.set()
        calls, self._calls = self._calls, []
        for call in calls:
            run_call(call, refused)


class CommitMeter:
    """Good commits since the process began: how many, their bytes and seconds, and a count for each bound."""

    def __init__(self) -> None:
        self.commits = self.bytes = 0
        self.counts = [0] * (len(COMMIT_BOUNDS_SECONDS) + 1)
        self.seconds_total = self.seconds_max = self.seconds_last = 0.0

    def observe(self, seconds: float, written: int) -> None:
        """Count one."""
        self.commits += 1
        self.bytes += written
        self.seconds_last = seconds
        self.seconds_total += seconds
        self.seconds_max = max(self.seconds_max, seconds)
        place = next((place for place, bound in enumerate(COMMIT_BOUNDS_SECONDS) if seconds <= bound), -1)
        self.counts[place] += 1
