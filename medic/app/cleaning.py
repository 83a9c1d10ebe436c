"""The daily cleanup inside the active Medic: at 00:00 UTC, an hour later where it failed, and after a start if missed.

At midnight the writer is still bringing the last seconds of the day. So the cleanup first waits, for a minute at most,
until PostgreSQL has all of it; a day that is not there by then is counted and removed by the run after.

The wall clock is looked at once a minute, so that one which was put forward or back does not move the next run by more;
and so is the database, for a cleanup that was run by hand.
"""

from __future__ import annotations

from typing import Final

import structlog
import trio

from medic.core.units import DAY_MS, HOUR_MS, MINUTE_MS, InstantMs, isoformat
from medic.errors import DatabaseUnavailableError
from medic.ports import Clock
from medic.store.audit.heads import AuditHeads
from medic.store.audit.retention import AuditRetention
from medic.store.postgres.database import Database, StatementRefusedError
from medic.store.retention.ages import Retention, day_begins, kept_from
from medic.store.retention.cleanup import Cleanup, CleanupBusyError
from medic.store.retention.report import CleanupStatistics, Report

_log = structlog.get_logger(__name__)

LOOK_EVERY_SECONDS: Final = 60.0

CATCH_UP_MS: Final = 5 * MINUTE_MS
"""How long after a start a cleanup begins that was missed: a start has other things to do."""

AGAIN_MS: Final = HOUR_MS
"""How long after one that failed the next one begins."""

PASSED_SECONDS: Final = 60.0
"""How long the cleanup waits for the writer to bring the end of the day that is just over."""

PASSED_LOOK_SECONDS: Final = 1.0


def first_due(last_success: InstantMs | None, now: InstantMs) -> InstantMs:
    """When the first cleanup after a start is due: the next midnight, or soon where the last one was missed."""
    if last_success is not None and last_success >= day_begins(now):
        return next_midnight(now)
    return InstantMs(min(now + CATCH_UP_MS, next_midnight(now)))


def next_midnight(now: InstantMs) -> InstantMs:
    """The first 00:00 UTC after an instant."""
    return InstantMs(day_begins(now) + DAY_MS)


def build_cleanup(retention: Retention, database: Database, clock: Clock, heads: AuditHeads) -> DailyCleanup:
    """The daily cleanup of one database; `heads` are the sealer's own."""
    cleanup = Cleanup(database, retention, clock.now)
    return DailyCleanup(cleanup, AuditRetention(database, heads, clock.now), retention, clock)


class DailyCleanup:
    """Runs a cleanup when it is due.

    Args:
        cleanup: What cleans up.
        audit: What lets the audit begin later.
        retention: How long entries of the audit are kept.
        clock: The wall clock.
    """

    def __init__(self, cleanup: Cleanup, audit: AuditRetention, retention: Retention, clock: Clock) -> None:
        self._cleanup = cleanup
        self._audit = audit
        self._retention = retention
        self._clock = clock
        self._last_success: InstantMs | None = None
        self._due: InstantMs | None = None
        self._failing: str | None = None
        self._failures = 0
        self._seconds: float | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Clean up daily until cancelled.

        Raises:
            OvertakenError: another process has taken this database over.
        """
        task_status.started()
        await self._learn_last_success()
        self._due = first_due(self._last_success, self._clock.now())
        while True:
            await self._wait_due(self._due)
            self._due = await self._clean_up()

    def statistics(self) -> CleanupStatistics:
        """For metrics and health."""
        return CleanupStatistics(self._last_success, self._due, self._failing, self._failures, self._seconds)

    async def _learn_last_success(self) -> None:
        try:
            self._last_success = await self._cleanup.last_success_at()
        except (DatabaseUnavailableError, StatementRefusedError) as error:
            _log.debug("when the last cleanup was is not known now", reason=str(error))

    async def _wait_due(self, due: InstantMs) -> None:
        while (wait_ms := due - self._clock.now()) > 0:
            await trio.sleep(min(wait_ms / 1000, LOOK_EVERY_SECONDS))
            await self._take_note_of_another()
            # A clock that was a year ahead when this was reckoned, and was put right, must not make it wait for a year.
            due = self._due = min(due, next_midnight(self._clock.now()))

    async def _take_note_of_another(self) -> None:
        """`medic cleanup` may have run meanwhile, and ended what was failing."""
        before = self._last_success
        await self._learn_last_success()
        if self._last_success != before:
            self._failing = None

    async def _clean_up(self) -> InstantMs:
        """Clean up; when the next time is."""
        begun = trio.current_time()
        try:
            await self._wait_passed()
            report = await self._cleanup.run()
            await self._remove_audit(report)
            self._last_success = await self._cleanup.last_success_at()
        except CleanupBusyError as busy:
            # Not a failure of ours. Whether the other one succeeds is seen in an hour.
            _log.info("the cleanup waits", reason=busy.message)
            return InstantMs(self._clock.now() + AGAIN_MS)
        except (DatabaseUnavailableError, StatementRefusedError) as error:
            return self._fail(error.message)
        finally:
            self._seconds = trio.current_time() - begun
        if report.left:
            return self._fail("; ".join(report.left))
        self._failing = None
        _log.info(
            "cleaned up",
            counted_days=len(report.counted),
            removed_days=len(report.removed_days),
            seconds=round(self._seconds, 3),
            **{word.replace(" ", "_"): rows for word, rows in report.removed.items() if rows},
        )
        return next_midnight(self._clock.now())

    async def _wait_passed(self) -> None:
        """Return once PostgreSQL has all of the day before, or after a while."""
        midnight = day_begins(self._clock.now())
        with trio.move_on_after(PASSED_SECONDS):
            while (await self._cleanup.written_until() or 0) < midnight:  # noqa: ASYNC110 - PostgreSQL says when
                await trio.sleep(PASSED_LOOK_SECONDS)

    async def _remove_audit(self, report: Report) -> None:
        before = kept_from(self._retention.audit, self._clock.now())
        if before is None:
            return
        try:
            report.removed["audit"] = await self._audit.remove_before(before)
        except (OSError, ValueError) as error:
            report.left.append(f"old entries of the audit stay: audit-heads cannot be written ({type(error).__name__})")

    def _fail(self, reason: str) -> InstantMs:
        self._failing = reason
        self._failures += 1
        again = InstantMs(self._clock.now() + AGAIN_MS)
        _log.error("the cleanup did not do all that was due", reason=reason, again_at=isoformat(again))
        return again
