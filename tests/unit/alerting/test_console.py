from __future__ import annotations

import io
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
import trio

from medic.alerting.attempt import Delivered, Refused, Retry
from medic.alerting.console import LINES_A_SECOND, Console
from medic.core.status import NotificationKind, Outcome
from tests.fakes.alerting import Bench, follow, trigger, until

UTC = ZoneInfo("UTC")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Stopped(io.StringIO):
    """A terminal at which somebody pressed Ctrl-S."""

    def write(self, text: str) -> int:
        raise TimeoutError(text)


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


async def test_an_alert_and_its_end_are_a_line_each():
    stream = io.StringIO()
    console = Console(stream, UTC)
    assert await console.send(trigger(name="nightly-backup")) == Delivered()
    over = follow(trigger(name="nightly-backup"), NotificationKind.RESOLVE, later_ms=540_000)
    assert await console.send(over) == Delivered()
    assert stream.getvalue() == (
        "2026-01-01 12:00:00 UTC  ALERT        nightly-backup: no heartbeat for 12 min (p3, ops), "
        "since 2026-01-01 12:00:00 UTC\n"
        "2026-01-01 12:09:00 UTC  RECOVERED    nightly-backup: it is well again, after 9 min (p3, ops)\n"
    )


@pytest.mark.parametrize("kind", list(NotificationKind))
def test_every_kind_is_one_line(kind):
    console = Console(io.StringIO(), UTC)
    said = replace(trigger(kind=kind), text="two\nlines\x1b[2J")
    assert console.takes(said)
    assert console.line(said).isprintable()


def test_a_terminal_gets_colours():
    assert Console(Terminal(), UTC).line(trigger()).count("\x1b[") == 2


async def test_a_name_the_terminal_cannot_show_is_shown_as_escapes():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    assert await Console(stream, UTC).send(trigger(name="naïve-監")) == Delivered()
    assert b"na\\xefve-\\u76e3" in raw.getvalue()
    stream.detach()


async def test_a_terminal_that_was_stopped_is_told_another_time() -> None:
    attempt = await Console(Stopped(), UTC).send(trigger())
    assert attempt == Retry("nobody reads the terminal", maybe_taken=False)


async def test_a_terminal_that_is_gone_is_no_crash():
    assert await Console(Gone(), UTC).send(trigger()) == Refused("the terminal is gone")
    closed = io.StringIO()
    console = Console(closed, UTC)
    closed.close()
    assert await console.send(replace(trigger(), late_since=None)) == Refused("the terminal is gone")


async def test_the_console_says_that_nobody_else_is_configured():
    console = Console(io.StringIO(), UTC)
    assert "no PagerDuty, Slack or webhook" in console.describe()
    await console.aclose()


async def test_a_storm_fills_one_screen_and_the_rest_is_counted(autojump_clock):
    stream = io.StringIO()
    console = Console(stream, UTC)
    over = follow(trigger(1), NotificationKind.RESOLVE)
    async with trio.open_nursery() as nursery:
        for number in range(LINES_A_SECOND + 400):
            nursery.start_soon(console.send, trigger(number))
        await trio.sleep(0.5)
        nursery.start_soon(console.send, over)
    assert trio.current_time() == 1.0
    lines = stream.getvalue().splitlines()
    assert len(lines) == LINES_A_SECOND + 1
    assert lines[-1].startswith("2026-01-01 12:00:00 UTC  … and 400 ALERT, 1 RECOVERED more; ")
    await console.send(trigger(name="the-next-second"))
    assert "the-next-second" in stream.getvalue().splitlines()[-1]


async def test_what_is_counted_in_a_storm_is_settled_and_the_most_urgent_have_the_lines(autojump_clock):
    stream = io.StringIO()
    bench = Bench(console=Console(stream, UTC))
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.alerting.run)
        bench.offer(*[trigger(number, priority="p1" if number % 100 == 99 else "p4") for number in range(3_000)])
        await until(lambda: len(bench.outcomes("console")) == 3_000)
        nursery.cancel_scope.cancel()
    assert {outcome for _, outcome in bench.outcomes("console")} == {Outcome.DELIVERED}
    lines = stream.getvalue().splitlines()
    assert all("(p1, ops)" in line for line in lines[:30])
    assert len(lines) < 3_000 / 10
