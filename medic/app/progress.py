"""Whether Medic really makes progress: not whether a part says that it is well, but whether something went through it.

The problem. A process may answer every probe and watch nobody: a wheel that does not turn, a disk whose sync is never
back, a task of the outbox that is gone. `SystemHealth.alive` finds a part that has work and does none; on a quiet night
no part has any. So here each is given a little work of its own, and progress is what came out at the other end:

    journal    a commit that began just now was written and synced                    `FileJournal.prove`
    wheel      a timer of nobody's is armed for the next tick, and has fired          `Host.prove`
    outbox     the oldest notification that is decided and not handed on is young     `OutboxStatistics`
    alerting   no notifier has something it may try now and leaves it lying           `Alerting.prove`

A vendor that refuses or hangs is none of these: that is told by the other notifiers and by `/health`, and is no reason
to call Medic dead. PostgreSQL and Redis are none either: Medic watches and pages without them.

The journal comes first: while it refuses, sighted time stands still and the wheel with it, and the cause is named.

One proof costs one sync of the disk, a tick of the wheel, and no record. It is made when somebody wants to know: before
each call of `Deadman`, and after each question of `GET /health/live`, which is answered with the proof before. So an
idle Medic that nobody asks sleeps, and whoever asks every few seconds sees the instant change each time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog
import trio

from medic.actors.outbox import OutboxStatistics
from medic.core.units import DurationMs, InstantMs
from medic.errors import JournalRefusedError
from medic.ports import Clock

_log = structlog.get_logger(__name__)

PROVE_EVERY_SECONDS: Final = 1.0
"""However often anybody asks, there are no more proofs than this: a sync in a second is nothing to any disk."""

LOOK_SECONDS: Final = 1.0
PROOF_LOOKS: Final = 10
"""How long one part may take: ten seconds, as in HARD-CASES H28. A burst of deadlines keeps the wheel behind for less.
Looks and not the clock: a process that was stopped or suspended for an hour gave no part a chance."""

OUTBOX_YOUNG_MS: Final = DurationMs(30_000)
"""A notification that waits for longer was left lying: a commit is back within two seconds, or the journal refuses."""

OUTBOX_LOOK_SECONDS: Final = 0.1

Prove = Callable[[], Awaitable[None]]
"""Returns once something went through a part. Hangs, or raises `JournalRefusedError`, where it does not."""


class Progress:
    """Makes proofs.

    Args:
        parts: How each is proven, by name, in the order in which that is done.
        clock: For the instant of the last proof.

    Attributes:
        stuck: The part by which the last one failed; None where it succeeded.
    """

    def __init__(self, parts: Mapping[str, Prove], clock: Clock) -> None:
        self._parts = parts
        self._clock = clock
        self._proven_at: InstantMs | None = None
        self._asked = trio.Event()
        self.stuck: str | None = None

    def proven_at(self) -> InstantMs | None:
        """When the last proof succeeded; None: no one did yet. Has the next one made, and does not wait for it."""
        self._asked.set()
        return self._proven_at

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Make a proof whenever somebody asked for the last one, until cancelled."""
        task_status.started()
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            await self.prove()
            await trio.sleep(PROVE_EVERY_SECONDS)

    async def prove(self) -> str | None:
        """None once all parts made progress; else the name of the first that did not within `PROOF_LOOKS`."""
        for name, prove in self._parts.items():
            if not await _is_proven(prove):
                if self.stuck != name:
                    _log.error("a part of Medic makes no progress", part=name)
                self.stuck = name
                return name
        if self.stuck is not None:
            _log.info("all parts of Medic make progress again")
        self.stuck, self._proven_at = None, self._clock.now()
        return None


def outbox_proof(statistics: Callable[[], OutboxStatistics], clock: Clock) -> Prove:
    """Proves that no notification is left lying before it reaches alerting."""

    async def prove() -> None:
        await trio.lowlevel.checkpoint()
        while (oldest := statistics().oldest_pending_at) is not None and (  # noqa: ASYNC110 - as of a target
            clock.now() - oldest > OUTBOX_YOUNG_MS
        ):
            await trio.sleep(OUTBOX_LOOK_SECONDS)

    return prove


async def _is_proven(prove: Prove) -> bool:
    """Whether that returned in time: in looks, because time in which all of this process stood still is none."""
    is_proven = False

    async def run() -> None:
        nonlocal is_proven
        try:
            await prove()
        except JournalRefusedError:
            pass
        else:
            is_proven = True
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        for _ in range(PROOF_LOOKS):
            await trio.sleep(LOOK_SECONDS)
        nursery.cancel_scope.cancel()
    return is_proven
