"""The daily cleanup: at midnight, an hour later where it failed, and soon after a start that missed it."""

from __future__ import annotations

import datetime as dt

import pytest
import trio
from trio.testing import MockClock

from medic.app import cleaning
from medic.app.cleaning import CATCH_UP_MS, DailyCleanup, first_due, next_midnight
from medic.core.blind import SIGHTED_ALWAYS
from medic.core.units import DAY_MS, HOUR_MS, InstantMs
from medic.errors import DatabaseUnavailableError, OvertakenError
from medic.store.postgres.database import StatementRefusedError
from medic.store.retention.ages import Retention
from medic.store.retention.cleanup import CleanupBusyError
from medic.store.retention.report import CountedDay, Report

MIDNIGHT = InstantMs(20_000 * DAY_MS)
TEN = InstantMs(MIDNIGHT + 10 * HOUR_MS)


class WallClock:
    """The wall clock of a time that jumps; `step` puts it forward or back."""

    blind = SIGHTED_ALWAYS
    skew = 0

    def __init__(self, at: int) -> None:
        self._ahead = at - trio.current_time() * 1000

    def now(self) -> InstantMs:
        return InstantMs(round(self._ahead + trio.current_time() * 1000))

    def sighted(self) -> InstantMs:
        return self.now()

    def step(self, by: int) -> None:
        self._ahead += by


class ScriptedCleanup:
    """Does what a test says, run by run; notes when."""

    def __init__(self, clock: WallClock, *, last: int | None = None, behind: int = 0) -> None:
        self.clock = clock
        self.last = last
        self.behind = behind
        self.away = False
        self.began: list[int] = []
        self.outcomes: list[Report | Exception] = []

    async def run(self) -> Report:
        self.began.append(self.clock.now())
        await trio.sleep(2)
        outcome = self.outcomes.pop(0) if self.outcomes else Report()
        if isinstance(outcome, Exception):
            raise outcome
        if not outcome.left:
            self.last = self.clock.now()
        return outcome

    async def last_success_at(self) -> int | None:
        await trio.lowlevel.checkpoint()
        if self.away:
            raise DatabaseUnavailableError("PostgreSQL does not answer")
        return self.last

    async def written_until(self) -> int | None:
        await trio.lowlevel.checkpoint()
        return self.clock.now() - self.behind if self.behind >= 0 else None


class ScriptedAudit:
    """Notes before when entries went; cannot write where a test says so."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.broken: Exception | None = None

    async def remove_before(self, before: InstantMs) -> int:
        await trio.lowlevel.checkpoint()
        if self.broken is not None:
            raise self.broken
        self.asked.append(before)
        return 7


class Kept:
    """A daily cleanup that runs, and what it is made of."""

    def __init__(self, at: int = TEN, retention: Retention | None = None, **script: int | None) -> None:
        self.clock = WallClock(at)
        self.cleanup = ScriptedCleanup(self.clock, **script)
        self.audit = ScriptedAudit()
        self.daily = DailyCleanup(self.cleanup, self.audit, retention or Retention(), self.clock)

    async def wait_runs(self, count: int) -> list[int]:
        """When the runs began, once there were so many and the last one has ended."""
        while len(self.cleanup.began) < count:  # noqa: ASYNC110 - the time jumps
            await trio.sleep(600)
        return list(self.cleanup.began)


@pytest.mark.parametrize(
    ("last", "now", "expected"),
    [
        (None, TEN, TEN + CATCH_UP_MS),
        (MIDNIGHT - 1, TEN, TEN + CATCH_UP_MS),
        (MIDNIGHT, TEN, MIDNIGHT + DAY_MS),
        (TEN, TEN, MIDNIGHT + DAY_MS),
        (MIDNIGHT + DAY_MS, TEN, MIDNIGHT + DAY_MS),
        (None, MIDNIGHT - 1_000, MIDNIGHT),
    ],
)
def test_the_first_cleanup_after_a_start_is_at_midnight_or_soon_where_it_was_missed(last, now, expected):
    assert first_due(last, now) == expected


def test_midnight_is_always_to_come():
    assert next_midnight(MIDNIGHT) == MIDNIGHT + DAY_MS
    assert next_midnight(MIDNIGHT - 1) == MIDNIGHT


async def test_it_runs_at_midnight_every_day(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    kept = Kept(last=TEN)
    await nursery.start(kept.daily.run)

    assert await kept.wait_runs(3) == [MIDNIGHT + n * DAY_MS for n in (1, 2, 3)]

    told = kept.daily.statistics()
    assert (told.last_success_at, told.next_at) == (kept.cleanup.last, MIDNIGHT + 4 * DAY_MS)
    assert (told.failing, told.failures, told.seconds) == (None, 0, 2.0)


async def test_it_waits_until_the_writer_has_brought_the_end_of_the_day(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    kept = Kept(last=TEN, behind=7_000)
    await nursery.start(kept.daily.run)
    assert await kept.wait_runs(1) == [MIDNIGHT + DAY_MS + 7_000]


@pytest.mark.parametrize("behind", [5 * HOUR_MS, -1], ids=["far behind", "never wrote"])
async def test_it_does_not_wait_for_ever(autojump_clock: MockClock, nursery: trio.Nursery, behind: int) -> None:
    kept = Kept(last=TEN, behind=behind)
    await nursery.start(kept.daily.run)
    assert await kept.wait_runs(1) == [MIDNIGHT + DAY_MS + round(cleaning.PASSED_SECONDS * 1000)]


async def test_a_clock_that_was_put_forward_or_back_moves_it_by_no_more_than_a_minute(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    kept = Kept(last=TEN)
    await nursery.start(kept.daily.run)
    await trio.sleep(1)
    kept.clock.step(5 * HOUR_MS)
    await trio.sleep(60)
    kept.clock.step(-3 * HOUR_MS)

    [began] = await kept.wait_runs(1)

    assert 0 <= began - (MIDNIGHT + DAY_MS) <= 60_000


async def test_a_clock_that_was_a_year_ahead_at_the_start_delays_it_to_the_next_midnight_and_not_by_a_year(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    kept = Kept(last=TEN, at=TEN + 365 * DAY_MS)
    await nursery.start(kept.daily.run)
    await trio.sleep(1)
    kept.clock.step(-365 * DAY_MS)
    await trio.sleep(120)
    assert kept.daily.statistics().next_at == MIDNIGHT + DAY_MS

    assert await kept.wait_runs(1) == [MIDNIGHT + DAY_MS]


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (DatabaseUnavailableError("PostgreSQL does not answer"), "PostgreSQL does not answer"),
        (StatementRefusedError("PostgreSQL refuses a statement: x"), "PostgreSQL refuses a statement: x"),
        (Report(left=["a is left", "b is left"]), "a is left; b is left"),
    ],
    ids=["away", "refused", "left"],
)
async def test_one_that_failed_is_said_and_tried_again_in_an_hour(
    autojump_clock: MockClock, nursery: trio.Nursery, outcome: Report | Exception, reason: str
) -> None:
    kept = Kept(last=TEN)
    kept.cleanup.outcomes = [outcome]
    await nursery.start(kept.daily.run)

    [first] = await kept.wait_runs(1)
    told = kept.daily.statistics()
    assert (told.failing, told.failures, told.last_success_at) == (reason, 1, TEN)
    assert told.next_at == first + 2_000 + HOUR_MS

    [_, second] = await kept.wait_runs(2)
    told = kept.daily.statistics()
    assert second == first + 2_000 + HOUR_MS
    assert (told.failing, told.failures, told.next_at) == (None, 1, MIDNIGHT + 2 * DAY_MS)


async def test_another_cleanup_that_succeeds_ends_the_failing(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    kept = Kept(last=TEN)
    kept.cleanup.outcomes = [Report(left=["a is left"])]
    await nursery.start(kept.daily.run)
    await kept.wait_runs(1)
    await trio.sleep(120)
    assert kept.daily.statistics().failing == "a is left"

    kept.cleanup.last = kept.clock.now()
    await trio.sleep(120)

    told = kept.daily.statistics()
    assert (told.failing, told.last_success_at) == (None, kept.cleanup.last)


async def test_one_that_was_run_by_hand_is_known_within_a_minute(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    kept = Kept(last=TEN)
    await nursery.start(kept.daily.run)
    await trio.sleep(10)
    kept.cleanup.last = kept.clock.now()
    await trio.sleep(cleaning.LOOK_EVERY_SECONDS)
    assert kept.daily.statistics().last_success_at == TEN + 10_000


async def test_it_gives_way_to_another_cleanup_and_looks_again_in_an_hour(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    kept = Kept(last=TEN)
    kept.cleanup.outcomes = [CleanupBusyError()]
    await nursery.start(kept.daily.run)

    first, second = await kept.wait_runs(2)

    assert second - first == HOUR_MS + 2_000
    assert kept.daily.statistics().failures == 0


async def test_a_start_without_postgresql_cleans_up_soon(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    kept = Kept(last=TEN)
    kept.cleanup.away = True
    await nursery.start(kept.daily.run)
    assert kept.daily.statistics().last_success_at is None
    await trio.sleep(1)
    kept.cleanup.away = False
    assert await kept.wait_runs(1) == [TEN + CATCH_UP_MS]


async def test_who_was_overtaken_ends(autojump_clock: MockClock) -> None:
    kept = Kept(last=TEN)
    kept.cleanup.outcomes = [OvertakenError(3)]
    with pytest.raises(OvertakenError):
        await kept.daily.run()


async def test_the_audit_is_kept_for_ever_unless_it_is_told_otherwise(
    autojump_clock: MockClock, nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    for_ever, told = Kept(last=TEN), Kept(last=TEN, retention=Retention(audit=400))
    told.cleanup.outcomes = [Report(counted=[CountedDay(dt.date(2026, 1, 1), 3, 0.5)], removed={"alerts": 2})]
    await nursery.start(for_ever.daily.run)
    await nursery.start(told.daily.run)

    await told.wait_runs(1)

    assert (for_ever.audit.asked, told.audit.asked) == ([], [MIDNIGHT - 399 * DAY_MS])
    assert told.daily.statistics().failing is None


@pytest.mark.parametrize("broken", [OSError("disk"), ValueError("no list of heads")])
async def test_an_audit_that_cannot_be_removed_is_a_failure(
    autojump_clock: MockClock, nursery: trio.Nursery, broken: Exception
) -> None:
    kept = Kept(last=TEN, retention=Retention(audit=400))
    kept.audit.broken = broken
    await nursery.start(kept.daily.run)

    await kept.wait_runs(1)

    failing = kept.daily.statistics().failing
    assert failing is not None
    assert failing.startswith("old entries of the audit stay")
