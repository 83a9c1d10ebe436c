"""Presses in Slack by a clock that jumps: Slack is answered in time, whatever is slow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from zoneinfo import ZoneInfo

import pytest
import trio
import trio.testing

from medic.alerting.attempt import Attempt, Delivered, Refused, Retry, Throttled
from medic.alerting.slack_api import SlackApi
from medic.alerting.slack_buttons import Button, Person, Press
from medic.alerting.slack_look import Look
from medic.alerting.slack_presses import ANSWER_SECONDS, PRESSES_MAX, REPLY_ATTEMPTS_MAX, SlackPresses
from medic.core.author import Author
from medic.core.draft import ServiceDraft
from medic.core.units import HOUR_MS
from medic.errors import OverloadedError
from medic.ports import Beat
from tests.actors.world import World
from tests.fakes.alerting import until

SLACK_WAITS_SECONDS = 3.0


class PaperSlack(SlackApi):
    """Takes down what it is told, and answers as it is told to; once that is used up, it takes everything."""

    def __init__(self, *answers: Attempt | Exception) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[float, str]] = []
        self.hangs = False
        self.closed = False

    async def call(self, method, arguments):
        self.calls.append((trio.current_time(), method))
        if self.hangs:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        answer = self.answers.pop(0) if self.answers else Delivered()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


class Pressing(World):
    """A world with an open alert, and buttons under it."""

    def __init__(self, api: PaperSlack) -> None:
        super().__init__()
        self.api = api
        self.presses = SlackPresses(
            changes=self.changes,
            roster=self.directory,
            clock=self.clock,
            look=Look("https://medic.example", ZoneInfo("UTC")),
            api=api,
            rng=Random(1),
        )

    def a_press(self, button: Button = Button.ACKNOWLEDGE) -> Press:
        [service] = self.directory.open_alerts()
        return Press(button, service.alert.alert_id, Person("U1", "ada"), "C1", "1.1")

    @property
    def acknowledged_by(self) -> str:
        [service] = self.directory.open_alerts()
        return service.alert.acknowledged_by


@asynccontextmanager
async def pressing(*answers: Attempt | Exception) -> AsyncIterator[Pressing]:
    world = Pressing(PaperSlack(*answers))
    async with trio.open_nursery() as nursery:
        await world.changes.register(ServiceDraft("job", "owner", HOUR_MS), by=Author("test"))
        await world.intake.take(Beat("job", "DOWN"))
        await nursery.start(world.presses.run)
        yield world
        nursery.cancel_scope.cancel()
    assert world.api.closed


async def test_slack_is_answered_before_it_was_told(autojump_clock):
    async with pressing() as world:
        world.api.hangs = True
        await world.presses.take(world.a_press())
        assert trio.current_time() == 0
        assert world.acknowledged_by == "slack:ada (U1)"


async def test_slack_is_answered_in_time_though_the_disk_is_not(autojump_clock):
    async with pressing() as world:
        world.journal.hold()
        await world.presses.take(world.a_press())
        assert trio.current_time() == ANSWER_SECONDS < SLACK_WAITS_SECONDS
        assert world.api.calls == []
        world.journal.release()
        await until(lambda: world.api.calls)
        assert world.acknowledged_by == "slack:ada (U1)"


async def test_presses_under_way_are_bounded(autojump_clock):
    async with pressing() as world:
        world.api.hangs = True
        for _ in range(PRESSES_MAX):
            await world.presses.take(world.a_press())
        with pytest.raises(OverloadedError):
            await world.presses.take(world.a_press())


async def test_a_medic_that_stops_takes_none(autojump_clock):
    async with pressing() as world:
        press = world.a_press()
    with pytest.raises(OverloadedError):
        await world.presses.take(press)


async def test_slack_is_told_again_after_the_time_it_asked_for(autojump_clock):
    async with pressing(Throttled("ratelimited", 7.0), Retry("no connection", maybe_taken=False)) as world:
        await world.presses.take(world.a_press())
        await until(lambda: len(world.api.calls) == 3)
        assert world.api.calls[1][0] == 7.0
        assert {method for _, method in world.api.calls} == {"chat.update"}


@pytest.mark.parametrize(
    ("answer", "attempts"),
    [(Refused("cant_update_message"), 1), (Retry("no answer", maybe_taken=True), REPLY_ATTEMPTS_MAX)],
)
async def test_what_slack_does_not_take_is_given_up(autojump_clock, answer, attempts):
    async with pressing(*[answer] * 10) as world:
        await world.presses.take(world.a_press())
        await trio.sleep(3_600)
        assert len(world.api.calls) == attempts


async def test_a_bug_in_one_press_is_the_end_of_that_press_alone(autojump_clock):
    async with pressing(RuntimeError("a bug")) as world:
        await world.presses.take(world.a_press())
        await world.presses.take(world.a_press(Button.MUTE_HOUR))
        await until(lambda: len(world.api.calls) == 2)
        assert world.directory.find("job").mute is not None


async def test_an_alert_that_closes_while_it_is_acknowledged_is_over(autojump_clock):
    async with pressing() as world:
        press = world.a_press()
        world.journal.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.presses.take, press)
            await trio.testing.wait_all_tasks_blocked()
            world.intake.take_nowait(Beat("job", "UP"))
            world.journal.release()
        await until(lambda: world.api.calls)
        assert [method for _, method in world.api.calls] == ["chat.postEphemeral"]
