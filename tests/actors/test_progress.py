"""Progress is what came out at the other end of each part, and the deadman's calls go as far as that does."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from medic.alerting.attempt import SECRET_MISSING, Attempt, Delivered, Refused, Retry, SecretMissing, Throttled
from medic.alerting.deadman import FAILURES_TOLD
from medic.app.deadman import Deadman
from medic.app.progress import LOOK_SECONDS, OUTBOX_YOUNG_MS, PROOF_LOOKS, Progress, outbox_proof
from medic.errors import JournalRefusedError
from tests.actors.world import World
from tests.fakes.alerting import Bench, Scripted, TrioClock, hang, running, trigger, until

PERIOD = 60.0
PROOF_SECONDS = LOOK_SECONDS * PROOF_LOOKS


async def at_once() -> None:
    await trio.lowlevel.checkpoint()


async def refused() -> None:
    await trio.lowlevel.checkpoint()
    raise JournalRefusedError("The disk is full.")


class Parts:
    """Two parts of which one can be made to hang or refuse."""

    def __init__(self) -> None:
        self.second = at_once
        self.proofs = 0
        self.progress = Progress({"first": self.count, "second": self.prove_second}, TrioClock())

    async def count(self) -> None:
        self.proofs += 1
        await trio.lowlevel.checkpoint()

    async def prove_second(self) -> None:
        await self.second()


# ------------------------------------------------------------------------------------------------------------ proofs


async def test_a_timer_goes_through_the_wheel_of_an_idle_host(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    await trio.sleep(1)
    begun = trio.current_time()
    await world.host.prove()
    assert trio.current_time() - begun == pytest.approx(0.02, abs=0.02)
    assert world.host.statistics().timers_armed == 0
    assert world.host.statistics().fired == 0


async def test_a_wheel_that_nobody_turns_is_not_proven_and_keeps_nothing(autojump_clock):
    world = World()
    with trio.move_on_after(PROOF_SECONDS) as scope:
        await world.host.prove()
    assert scope.cancelled_caught
    assert world.host.statistics().timers_armed == 0


async def test_while_the_journal_refuses_no_timer_goes_through(autojump_clock, nursery):
    world = World()
    await world.start(nursery)
    world.journal.intake_refusal = "The disk is full."
    with trio.move_on_after(PROOF_SECONDS) as scope:
        await world.host.prove()
    assert scope.cancelled_caught
    world.journal.intake_refusal = None
    await world.host.prove()


async def test_an_outbox_that_leaves_a_notification_lying_is_not_proven(autojump_clock):
    clock, world = TrioClock(), World()
    lying = replace(world.outbox.statistics(), pending=1, oldest_pending_at=clock.now())
    prove = outbox_proof(lambda: lying, clock)
    await prove()
    await trio.sleep(OUTBOX_YOUNG_MS / 1000 + 1)
    with trio.move_on_after(PROOF_SECONDS) as scope:
        await prove()
    assert scope.cancelled_caught
    await outbox_proof(world.outbox.statistics, clock)()


async def test_the_outbox_says_how_long_its_oldest_notification_has_waited(autojump_clock, nursery):
    world = World()
    assert world.outbox.statistics().oldest_pending_at is None
    told = replace(trigger(7), at=world.clock.now())
    world.outbox.tell_nowait(told)
    assert world.outbox.statistics().oldest_pending_at == told.at


@pytest.mark.parametrize("behave", [hang, Refused("403"), Retry("500", maybe_taken=True), Throttled("429", 30.0)])
async def test_a_vendor_that_hangs_refuses_or_throttles_is_no_want_of_progress(autojump_clock, behave):
    async with running(Scripted("pagerduty", behave)) as bench:
        bench.offer(*(trigger(number) for number in range(20)))
        with trio.fail_after(PROOF_SECONDS):
            await bench.alerting.prove()


async def test_notifiers_whose_tasks_do_nothing_are_not_proven(autojump_clock):
    bench = Bench(Scripted("pagerduty"))
    await bench.alerting.prove()
    bench.offer(trigger(1))
    with trio.move_on_after(PROOF_SECONDS) as scope:
        await bench.alerting.prove()
    assert scope.cancelled_caught


@pytest.mark.parametrize("trouble", [trio.sleep_forever, refused])
async def test_a_proof_names_the_part_that_is_stuck_and_forgets_it_once_it_goes_on(autojump_clock, trouble):
    parts = Parts()
    parts.second = trouble
    assert await parts.progress.prove() == "second"
    assert parts.progress.stuck == "second"
    assert parts.progress.proven_at() is None
    parts.second = at_once
    assert await parts.progress.prove() is None
    assert parts.progress.stuck is None
    assert parts.progress.proven_at() == TrioClock().now()


async def test_a_process_that_stood_still_for_an_hour_is_not_taken_for_one_without_progress(mock_clock, nursery):
    parts, proven = Parts(), []

    async def answer_late() -> None:
        await trio.sleep(2 * LOOK_SECONDS)

    async def prove() -> None:
        proven.append(await parts.progress.prove())

    parts.second = answer_late
    nursery.start_soon(prove)
    await wait_all_tasks_blocked()
    mock_clock.jump(3_600)
    await wait_all_tasks_blocked()
    mock_clock.jump(2 * LOOK_SECONDS)
    await wait_all_tasks_blocked()
    assert proven == [None]


async def test_a_proof_is_made_for_whoever_asks_and_no_more_than_one_a_second(autojump_clock, nursery):
    parts = Parts()
    await nursery.start(parts.progress.run)
    await trio.sleep(3_600)
    assert parts.proofs == 0, "an idle Medic that nobody asks sleeps"
    seen = set()
    for _ in range(100):
        seen.add(parts.progress.proven_at())
        await trio.sleep(0.1)
    assert 9 <= parts.proofs <= 12
    assert len(seen) >= 9


# ----------------------------------------------------------------------------------------------------------- deadman


class Calls:
    """What stands for whoever is called: answers as it is told, and keeps when."""

    def __init__(self, *script: Attempt, otherwise: Attempt | None = None) -> None:
        self.script = list(script)
        self.otherwise: Attempt = Delivered() if otherwise is None else otherwise
        self.at: list[float] = []

    async def attempt(self) -> Attempt:
        self.at.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        return self.script.pop(0) if self.script else self.otherwise

    def describe(self) -> str:
        return "calls.example"

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def deadman(calls: Calls, parts: Parts, seconds: float = PERIOD) -> Deadman:
    return Deadman(calls, progress=parts.progress, seconds=seconds, clock=TrioClock(), rng=Random(1))


async def test_calls_come_at_their_time_while_progress_is_made(autojump_clock, nursery):
    calls, parts = Calls(), Parts()
    watched = deadman(calls, parts)
    await nursery.start(watched.run)
    await trio.sleep(10 * PERIOD + 1)
    assert calls.at == pytest.approx([number * PERIOD for number in range(11)])
    assert parts.proofs == 11, "one before each call"
    assert watched.statistics().succeeded == 11
    assert watched.statistics().last_success_at is not None


@pytest.mark.parametrize("trouble", [trio.sleep_forever, refused])
async def test_nobody_is_called_while_a_part_is_stuck_and_at_once_when_it_goes_on(autojump_clock, nursery, trouble):
    calls, parts = Calls(), Parts()
    watched = deadman(calls, parts)
    await nursery.start(watched.run)
    await trio.sleep(1)
    parts.second = trouble
    await trio.sleep(10 * PERIOD)
    assert len(calls.at) == 1
    assert watched.statistics().stuck == "second"
    assert 9 <= watched.statistics().withheld <= 11
    parts.second = at_once
    went_on = trio.current_time()
    await until(lambda: len(calls.at) == 2)
    assert trio.current_time() - went_on <= PERIOD
    assert watched.statistics().stuck is None


async def test_a_call_that_fails_is_made_again_within_its_time_and_counted(autojump_clock, nursery):
    calls = Calls(Retry("answered 503", maybe_taken=True), Throttled("answered 429", 7.0))
    watched = deadman(calls, Parts())
    await nursery.start(watched.run)
    await until(lambda: watched.statistics().succeeded == 1)
    assert len(calls.at) == 3
    assert calls.at[2] - calls.at[1] >= 7.0
    assert trio.current_time() < PERIOD
    found = watched.statistics()
    assert (found.failed, found.failures, found.last_error, found.failing_since) == (2, 0, "", None)


async def test_failures_in_a_row_are_said_and_over_with_the_next_success(autojump_clock, nursery, caplog):
    calls = Calls(otherwise=Refused("answered 404"))
    watched = deadman(calls, Parts())
    await nursery.start(watched.run)
    await until(lambda: watched.statistics().failures >= FAILURES_TOLD)
    found = watched.statistics()
    assert found.last_error == "answered 404"
    assert found.failing_since is not None
    calls.otherwise = Delivered()
    await until(lambda: watched.statistics().failures == 0)
    assert watched.statistics().last_error == ""


async def test_a_secret_that_is_missing_is_named_in_the_log_alone(autojump_clock, nursery):
    calls = Calls(otherwise=SecretMissing("the secret calls is not there", maybe_taken=False, retry_after=60.0))
    watched = deadman(calls, Parts())
    await nursery.start(watched.run)
    await until(lambda: watched.statistics().failed == 1)
    assert watched.statistics().last_error == SECRET_MISSING
