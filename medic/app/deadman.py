"""Calls `MEDIC_DEADMAN_URL` for as long as Medic really makes progress; whoever is called notices the silence.

Before each call a proof is made (`medic.app.progress`); where it fails nobody is called: the silence is the message. A
process that is stopped, a loop that stands still, a disk that hangs all end the calls without having to say anything.

The active Medic calls, a Medic that stands by does not: its progress is nobody's, and its calls would hide that the
active one is gone and nobody has taken over. So the pause of a takeover is one of a few seconds between two calls.

A call that fails is made again within its time, after 1 s to 60 s, each time with a proof before it. Whoever is called
and cannot be reached is no fault of this Medic's, but the silence is heard all the same; so from the third failure in a
row `/health` is degraded, and there is a metric. Nobody is paged by it from here: whoever was to hear the calls does.
"""

from __future__ import annotations

from random import Random
from typing import Final

import structlog
import trio

from medic.alerting.attempt import SECRET_MISSING, Attempt, Delivered, SecretMissing
from medic.alerting.backoff import backoff_seconds
from medic.alerting.deadman import FAILURES_TOLD, DeadmanCall, DeadmanStatistics, asked_wait
from medic.app.progress import Progress
from medic.core.units import InstantMs
from medic.ports import Clock

_log = structlog.get_logger(__name__)

WITHHELD_PAUSE_SECONDS: Final = 1.0
"""Between two proofs while Medic makes no progress."""

CLOSE_SECONDS: Final = 1.0


class Deadman:
    """Makes the calls.

    Args:
        call: Makes one.
        progress: Proves that it may be made.
        seconds: `MEDIC_DEADMAN_SECONDS`.
        clock: For instants.
        rng: Jitter.
    """

    def __init__(self, call: DeadmanCall, *, progress: Progress, seconds: float, clock: Clock, rng: Random) -> None:
        self._call = call
        self._progress = progress
        self._seconds = seconds
        self._clock = clock
        self._rng = rng
        self._succeeded = self._failed = self._withheld = self._failures = 0
        self._failing_since: InstantMs | None = None
        self._last_error = ""
        self._stuck: str | None = None
        self._last_success_at: InstantMs | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Call again and again, until cancelled; now for the first time."""
        task_status.started()
        try:
            while True:
                due = trio.current_time() + self._seconds
                await self._call_before(due)
                await trio.sleep_until(due)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
                await self._call.aclose()

    async def _call_before(self, due: float) -> None:
        """Call, again where it fails, for as long as there is time before the next one is due."""
        is_withheld, attempts = False, 0
        while True:
            self._stuck = await self._progress.prove()
            if self._stuck is None:
                attempts += 1
                pause = self._count(await self._call.attempt(), attempts)
                if pause is None:
                    return
            else:
                self._withheld += not is_withheld
                is_withheld, pause = True, WITHHELD_PAUSE_SECONDS
            if trio.current_time() + pause >= due:
                return
            await trio.sleep(pause)

    def _count(self, attempt: Attempt, attempts: int) -> float | None:
        """Note how a call ended; the pause before it is made again, None where it succeeded."""
        if isinstance(attempt, Delivered):
            if self._failures >= FAILURES_TOLD:
                _log.info("the calls that say Medic is alive go through again", failures=self._failures)
            self._succeeded += 1
            self._failures, self._failing_since, self._last_error = 0, None, ""
            self._last_success_at = self._clock.now()
            return None
        self._failed += 1
        self._failures += 1
        self._failing_since = self._failing_since or self._clock.now()
        # Health is for anybody, and names no secret; the log is for those who may know its name.
        self._last_error = SECRET_MISSING if isinstance(attempt, SecretMissing) else attempt.detail
        if self._failures == FAILURES_TOLD:
            _log.warning("the calls that say Medic is alive fail", to=self._call.describe(), reason=attempt.detail)
        return max(backoff_seconds(attempts, self._rng), asked_wait(attempt))

    def statistics(self) -> DeadmanStatistics:
        """Counters for metrics, and what `/health` says."""
        return DeadmanStatistics(
            succeeded=self._succeeded,
            failed=self._failed,
            withheld=self._withheld,
            failures=self._failures,
            failing_since=self._failing_since,
            last_error=self._last_error,
            stuck=self._stuck,
            last_success_at=self._last_success_at,
        )
