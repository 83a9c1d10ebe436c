"""What becomes durable together, and who is told of it."""

from __future__ import annotations

import structlog
import trio

from medic.errors import JournalRefusedError
from medic.ports import WhenDurable

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
