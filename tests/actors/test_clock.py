"""The two time lines: sighted time stands still while Medic is blind, and steps of the wall clock make nobody late."""

from __future__ import annotations

import pytest
import trio

from medic.actors.clock import GAP_MS, SightedClock, seconds_asleep
from medic.actors.host import READ_FIRST_SECONDS
from medic.actors.sight import COUNT_SLICE
from medic.core.author import Author
from medic.core.blind import SIGHTED_ALWAYS, BlindSpan
from medic.core.effects import EndMute, RecordBlindSpan
from medic.core.policy import Defaults
from medic.core.service import Service
from medic.core.status import Status
from medic.core.units import DurationMs, InstantMs, SightedMs
from tests.actors.world import DEFAULTS, ORIGIN, World, row


class Hands:
    """A wall and a monotonic clock moved by hand."""

    def __init__(self) -> None:
        self.monotonic = 50.0
        self.asleep = 3_000.0
        self.wall = ORIGIN

    def go(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall = InstantMs(self.wall + round(seconds * 1000))

    def sleep(self, seconds: float) -> None:
        """Close the lid: the monotonic clock stands still."""
        self.asleep += seconds
        self.wall = InstantMs(self.wall + round(seconds * 1000))

    def clock(self) -> SightedClock:
        return SightedClock(
            resume_at=SightedMs(1_000_000),
            wall=lambda: InstantMs(self.wall),
            monotonic=lambda: self.monotonic,
            asleep=lambda: self.asleep,
        )


def test_sighted_time_begins_where_it_was_told_and_goes_with_the_monotonic_clock():
    hands = Hands()
    clock = hands.clock()
    assert clock.sighted() == 1_000_000
    hands.go(0.75)
    assert clock.sighted() == 1_000_750
    assert clock.now() == ORIGIN + 750
    assert clock.skew == ORIGIN - 1_000_000


def test_a_gap_between_two_looks_is_credited_but_for_a_millisecond():
    hands = Hands()
    clock = hands.clock()
    hands.go(1)
    assert clock.look() is None
    hands.go(3_600)
    span = clock.look()
    assert span.cause == "stalled"
    assert span.begun_at == ORIGIN + 1_000
    assert span.ended_at == ORIGIN + 3_601_000
    assert span.sighted == 1_001_000
    assert clock.sighted() == 1_001_001
    assert clock.blind.spans == (span,)
    assert clock.look() is None


def test_whoever_reads_first_after_a_gap_reads_credited_time():
    hands = Hands()
    clock = hands.clock()
    clock.look()
    hands.go(8 * 3_600)
    assert clock.sighted() == 1_000_001
    hands.go(0.2)
    assert clock.sighted() == 1_000_201
    assert clock.look().duration_ms == 8 * 3_600_000


def test_shorter_gaps_are_ordinary():
    hands = Hands()
    clock = hands.clock()
    for _ in range(100):
        hands.go((GAP_MS - 1) / 1000)
        assert clock.look() is None
    assert clock.blind.spans == ()


def test_time_stands_still_while_heartbeats_are_refused():
    hands = Hands()
    clock = hands.clock()
    clock.stand_still("journal")
    for _ in range(100):
        hands.go(0.2)
        assert clock.look() is None
        assert clock.sighted() == 1_000_000
    assert clock.stands_still
    clock.go_on()
    assert clock.sighted() == 1_000_001
    span = clock.look()
    assert (span.cause, span.duration_ms) == ("journal", 20_000)


def test_a_short_refusal_is_not_credited():
    hands = Hands()
    clock = hands.clock()
    clock.stand_still("journal")
    hands.go(0.9)
    clock.go_on()
    assert clock.sighted() == 1_000_900
    assert clock.look() is None


def test_a_process_stopped_while_it_refused_was_blind_once():
    hands = Hands()
    clock = hands.clock()
    clock.stand_still("journal")
    hands.go(0.5)
    clock.look()
    hands.go(3_600)
    clock.look()
    clock.go_on()
    [span] = clock.blind.spans
    assert span.duration_ms == 3_600_500


def test_a_machine_that_slept_was_blind_and_owes_no_credit():
    hands = Hands()
    clock = hands.clock()
    hands.go(0.5)
    hands.sleep(8 * 3_600)
    span = clock.look()
    assert (span.cause, span.duration_ms, span.ended_at) == ("suspended", 8 * 3_600_000, hands.wall)
    assert span.sighted == clock.sighted() == 1_000_500
    assert clock.look() is None
    assert clock.wall_was_stepped(), "timers of wall instants stand at the wrong ticks"


def test_a_nap_shorter_than_a_client_waits_is_none_but_naps_add_up():
    hands = Hands()
    clock = hands.clock()
    hands.sleep(0.9)
    assert clock.look() is None
    hands.sleep(0.9)
    assert clock.look().duration_ms == 1_800


def test_the_system_tells_how_long_it_slept():
    # It reads two clocks, and another program may run for long in between: the quickest of many readings counts.
    first, second = (min(seconds_asleep() for _ in range(100)) for _ in range(2))
    assert first >= -0.001
    assert second == pytest.approx(first, abs=0.01)


def test_only_a_step_of_the_wall_clock_or_a_credit_moves_wall_timers():
    hands = Hands()
    clock = hands.clock()
    hands.go(3)
    clock.look()
    clock.wall_was_stepped()
    hands.go(1)
    assert not clock.wall_was_stepped()
    hands.wall = InstantMs(hands.wall + 5_000)
    assert clock.wall_was_stepped()
    assert not clock.wall_was_stepped()
    hands.wall = InstantMs(hands.wall - 5_000)
    assert clock.wall_was_stepped()


# ------------------------------------------------------------------------------------------------ under the host


async def watching(nursery, *, seconds=60.0, defaults=DEFAULTS):
    world = World(defaults=defaults)
    await world.start(nursery)
    await world.register("job", seconds)
    await world.beat("job")
    return world


async def test_blindness_is_credited_before_deadlines_are_decided(autojump_clock, nursery):
    world = await watching(nursery, seconds=3_600)
    await trio.sleep(1_800)
    # The process is stopped for two hours: when it goes on, the deadline lies an hour and a half back on the wall.
    autojump_clock.jump(7_200)
    await trio.sleep(1)
    assert world.directory.find("job").status is Status.UP
    assert world.ear.kinds() == ["blind"]
    [record] = world.effects(RecordBlindSpan)
    assert record.span.duration_ms == pytest.approx(7_200_000, abs=500)
    assert world.sight.statistics().newest.moved == 1
    await trio.sleep(1_797)
    assert world.directory.find("job").status is Status.UP


async def test_what_was_sent_while_medic_was_stopped_is_read_before_a_deadline_that_is_near(autojump_clock, nursery):
    world = await watching(nursery, seconds=60)
    await trio.sleep(59.99)

    async def beat_once_it_is_read() -> None:
        # The kernel accepted it while the process was stopped; the loop comes to it a few turns after it goes on.
        await trio.sleep(READ_FIRST_SECONDS / 2)
        await world.beat("job")

    autojump_clock.jump(300)
    nursery.start_soon(beat_once_it_is_read)
    await trio.sleep(1)
    assert world.directory.find("job").status is Status.UP
    assert world.ear.kinds() == ["blind"]


async def test_a_deadline_that_is_near_the_end_of_blindness_is_decided_soon_after(autojump_clock, nursery):
    world = await watching(nursery, seconds=60)
    await trio.sleep(59.99)
    autojump_clock.jump(300)
    await trio.sleep(READ_FIRST_SECONDS + 0.3)
    assert world.directory.find("job").status is Status.UP, "its heartbeat was due in the span: one fresh interval"
    await trio.sleep(60)
    assert world.directory.find("job").status is Status.LATE


async def test_the_report_says_how_many_deadlines_moved_and_who_gets_a_fresh_interval(autojump_clock, nursery):
    world = await watching(nursery, seconds=3_600)
    await world.register("never-heard", 3_600)
    await trio.sleep(60)
    await world.beat("job")
    autojump_clock.jump(90)
    await trio.sleep(1)
    newest = world.sight.statistics().newest
    assert (newest.moved, newest.fresh_intervals) == (2, 1)
    assert "2 deadlines moved by 90" in world.ear.told[0].text
    assert "1 services whose heartbeat was due" in world.ear.told[0].text
    assert world.sight.statistics().spans == 1
    assert world.sight.statistics().seconds_total == pytest.approx(90, abs=0.5)


async def test_a_step_of_the_wall_clock_makes_nobody_late(autojump_clock, nursery):
    world = await watching(nursery, seconds=360)
    for step_hours in (5, -9, 4):
        world.wall.step_ms += step_hours * 3_600_000
        await trio.sleep(60)
        assert world.directory.find("job").status is Status.UP
    await trio.sleep(181)
    assert world.directory.find("job").status is Status.LATE


@pytest.mark.parametrize(("step_minutes", "ends_after"), [(0, 6), (3, 3), (-3, 9), (12, 1)])
async def test_a_mute_ends_at_its_instant_on_the_wall_however_that_is_stepped(
    autojump_clock, nursery, step_minutes, ends_after
):
    world = await watching(nursery, seconds=86_400)
    began = trio.current_time()
    await world.changes.mute("job", until=InstantMs(world.wall() + 360_000), reason="", by=Author("test"))
    await trio.sleep(30)
    world.wall.step_ms += step_minutes * 60_000
    await trio.sleep(ends_after * 60 - 31)
    assert (world.directory.find("job").mute is None) is (ends_after == 1)
    await trio.sleep(2)
    assert world.directory.find("job").mute is None
    assert len(world.effects(EndMute)) == 1
    assert trio.current_time() - began <= ends_after * 60 + 2


async def test_reminders_follow_the_wall_clock(autojump_clock, nursery):
    defaults = Defaults(first_heartbeat_ms=DurationMs(0), renotify_ms=DurationMs(3_600_000))
    world = await watching(nursery, seconds=60, defaults=defaults)
    await trio.sleep(61)
    assert world.ear.kinds() == ["trigger"]
    await trio.sleep(600)
    world.wall.step_ms += 2_995_000
    await trio.sleep(6)
    assert world.ear.kinds() == ["trigger", "reminder"]


async def test_the_watermark_is_kept_while_intake_works(autojump_clock, nursery):
    world = await watching(nursery)
    await trio.sleep(10)
    assert world.wall() - world.marks[-1] <= 260
    assert len(world.marks) >= 40


async def test_counting_whom_a_span_concerned_is_no_blindness_itself(autojump_clock, nursery):
    world = await watching(nursery, seconds=36_000)
    world.host.add_all(
        [
            Service(made, made.policy(DEFAULTS), registered=SightedMs(ORIGIN))
            for made in (row(number, 36_000) for number in range(10_000, 10_000 + 8 * COUNT_SLICE))
        ]
    )
    await trio.sleep(1)

    async def let_time_go_by() -> None:
        while world.sight.statistics().newest is None:
            await trio.lowlevel.checkpoint()
            autojump_clock.jump(0.4)

    autojump_clock.jump(100)
    await let_time_go_by()
    await trio.sleep(5)
    assert world.sight.statistics().spans == 1
    assert world.sight.statistics().newest.moved == 8 * COUNT_SLICE + 1


async def test_a_span_is_journaled_as_soon_as_the_journal_takes_records(autojump_clock, nursery):
    world = await watching(nursery, seconds=36_000)
    await trio.sleep(1)
    world.journal.refuse("The disk fails.")
    autojump_clock.jump(100)
    await trio.sleep(10)
    assert world.effects(RecordBlindSpan) == []
    world.journal.take_again()
    await trio.sleep(5)
    assert [effect.span.cause for effect in world.effects(RecordBlindSpan)] == ["stalled", "journal"]
    assert world.ear.kinds() == ["blind", "blind"]


def began(hands: Hands, away: BlindSpan | None, waited: float) -> tuple[SightedClock, BlindSpan | None]:
    """A clock that stood through a start of so many seconds."""
    log = SIGHTED_ALWAYS if away is None else SIGHTED_ALWAYS.with_span(away)
    clock = SightedClock(
        resume_at=SightedMs(1_000_000), blind=log, wall=lambda: hands.wall, monotonic=lambda: hands.monotonic
    )
    clock.stand_still("down")
    hands.go(waited)
    return clock, clock.begin(away)


def away_until(ended_at: int) -> BlindSpan:
    return BlindSpan(InstantMs(ORIGIN - 90_000), InstantMs(ended_at), SightedMs(999_999), "down")


def test_the_span_in_which_medic_was_away_lasts_until_the_start_is_done():
    hands = Hands()
    clock, away = began(hands, away_until(ORIGIN), 20)
    assert away.ended_at == ORIGIN + 20_000
    assert clock.blind.spans == (away,)
    assert clock.sighted() == 1_000_000
    assert clock.look() is None
    hands.go(0.5)
    assert clock.sighted() == 1_000_500


@pytest.mark.parametrize("away", [None, away_until(ORIGIN - 60_000)], ids=["first start", "credited in part"])
def test_a_start_without_an_absence_that_lasts_until_it_is_a_span_of_its_own(away):
    hands = Hands()
    clock, told = began(hands, away, 20)
    assert told is away
    span = clock.look()
    assert (span.begun_at, span.ended_at, span.cause) == (ORIGIN, ORIGIN + 20_000, "down")
    assert clock.sighted() == 1_000_001


def test_a_short_start_is_nothing_to_tell_of():
    hands = Hands()
    clock, told = began(hands, None, 0.5)
    assert told is None
    assert clock.look() is None
    assert clock.sighted() == 1_000_500
