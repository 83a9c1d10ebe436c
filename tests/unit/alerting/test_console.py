from __future__ import annotations

import io
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from medic.alerting.attempt import Delivered, Refused
from medic.alerting.console import Console
from medic.core.status import NotificationKind
from tests.fakes.alerting import follow, trigger

UTC = ZoneInfo("UTC")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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
