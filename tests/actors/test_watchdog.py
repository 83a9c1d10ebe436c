"""The watchdog writes stacks for a loop that stands still, once a stall, and not for a process that was stopped."""

from __future__ import annotations

import threading
import time

import pytest
import trio

from medic.app import watchdog
from medic.app.watchdog import Watchdog, stacks
from tests.patience import PATIENCE_SECONDS


class Reports:
    """Keeps what was reported, and lets a test wait for it without a sleep."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, str]] = []
        self.came = threading.Event()

    def __call__(self, seconds: float, text: str) -> None:
        self.lines.append((seconds, text))
        self.came.set()


def running_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


@pytest.mark.slow
async def test_a_loop_that_stands_still_is_reported_once_with_its_stack():
    reports = Reports()
    dog = Watchdog(reports)

    def stand_still_until_reported() -> None:
        assert reports.came.wait(PATIENCE_SECONDS)
        reports.came.clear()
        assert not reports.came.wait(0.6), "one stall, one report"

    async with trio.open_nursery() as nursery:
        await nursery.start(dog.run)
        stand_still_until_reported()
        nursery.cancel_scope.cancel()
    assert dog.stalls == 1
    [(seconds, text)] = reports.lines
    assert seconds >= watchdog.STALL_SECONDS
    assert "stand_still_until_reported" in text
    assert text.startswith("thread MainThread")


async def test_its_thread_ends_with_it(monkeypatch):
    monkeypatch.setattr(watchdog, "END_SECONDS", PATIENCE_SECONDS)
    async with trio.open_nursery() as nursery:
        await nursery.start(Watchdog(Reports()).run)
        assert "medic-watchdog" in running_threads()
        nursery.cancel_scope.cancel()
    assert "medic-watchdog" not in running_threads()


@pytest.mark.slow
async def test_a_process_that_was_stopped_is_not_blamed_on_the_loop():
    # A clock that leaps ahead for the thread and the loop alike is what both see after SIGSTOP and SIGCONT.
    leap = 0.0
    reports = Reports()
    dog = Watchdog(reports, now=lambda: time.monotonic() + leap)
    async with trio.open_nursery() as nursery:
        await nursery.start(dog.run)
        leap = 3_600.0
        await trio.sleep(3 * watchdog.LOOK_EVERY_SECONDS)
        nursery.cancel_scope.cancel()
    # A loop that is late by itself, on a machine that is busy, may be told of.
    assert [seconds for seconds, _ in reports.lines if seconds >= leap] == []


def test_stacks_name_every_thread():
    reached, released = threading.Event(), threading.Event()

    def wait_in_the_cellar() -> None:
        reached.set()
        released.wait(PATIENCE_SECONDS)

    thread = threading.Thread(target=wait_in_the_cellar, name="cellar")
    thread.start()
    reached.wait(PATIENCE_SECONDS)
    text = stacks()
    released.set()
    thread.join()
    assert "thread cellar:" in text
    assert "wait_in_the_cellar" in text
