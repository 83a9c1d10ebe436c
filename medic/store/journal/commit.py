"""What becomes durable together, who is told of it, how long that took, and what no sync covers yet."""

from __future__ import annotations

from math import inf

import structlog
import trio

from medic.errors import JournalRefusedError
from medic.ports import Position, WhenDurable
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


class Commits:
    """The commit that is under way, if one is, and the next one."""

    def __init__(self) -> None:
        self._underway: Commit | None = None
        self._next = Commit()

    def begin(self, end: Position) -> None:
        """The next one is under way, up to `end`; or the one that failed is again, and takes what came since."""
        if self._underway is None:
            self._underway, self._next = self._next, Commit()
        self._underway.end = end

    def commit_of(self, position: Position) -> Commit:
        """The one that makes the position durable, which it is not yet."""
        underway = self._underway
        return self._next if underway is None or position > underway.end else underway

    def next(self) -> Commit:
        """The one that is not begun yet."""
        return self._next

    def soonest(self) -> Commit:
        """The one that is settled first."""
        return self._underway or self._next

    def settle(self) -> None:
        """What was under way is durable: tell who waited for it."""
        commit, self._underway = self._underway, None
        if commit is not None:
            commit.settle(None)

    def refuse(self, refused: JournalRefusedError) -> None:
        """Tell everybody who waits, for what is under way or not; who waits from now on waits for what comes of it."""
        failed = (self._underway, self._next)
        self._underway = None if self._underway is None else Commit()
        self._next = Commit()
        for commit in failed:
            if commit is not None:
                commit.settle(refused)


class Unsynced:
    """Frames that were handed to a file and that no sync covers: what a new file has to begin with if this one fails.

    Attributes:
        bytes: How much that is.
        since: trio's clock when the oldest of it was added; `inf` where there is none.
    """

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self.bytes = 0
        self.since = inf

    def add(self, frames: bytes) -> None:
        """Keep what is written next."""
        if frames:
            self.since = min(self.since, trio.current_time())
            self._frames.append(frames)
            self.bytes += len(frames)

    def joined(self) -> bytes:
        """All of it, in order."""
        self._frames = [b"".join(self._frames)]
        return self._frames[0]

    def forget(self) -> None:
        """A sync covers all of it."""
        self._frames.clear()
        self.bytes = 0
        self.since = inf


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
