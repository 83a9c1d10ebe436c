"""The one place of alerting that catches any exception: a bug in a notifier must not take Medic down, nor be silent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
import trio

from medic.alerting.attempt import Attempt, Retry
from medic.alerting.concerned import named
from medic.alerting.notifier import Notifier
from medic.alerting.outbound import ATTEMPT_SECONDS
from medic.core.notification import Notification

_log = structlog.get_logger(__name__)

RESTART_FIRST_SECONDS: Final = 0.1
RESTART_MAX_SECONDS: Final = 30.0
"""A target whose task keeps crashing is tried at least twice a minute: its pages wait meanwhile."""

STEADY_SECONDS: Final = 60.0
"""A task that ran this long before it crashed begins again with the shortest pause."""

HANG_SECONDS: Final = ATTEMPT_SECONDS + 2.0
"""A notifier ends its own attempts within `ATTEMPT_SECONDS`; this holds for one that does not."""


async def send_guarded(notifier: Notifier, notification: Notification) -> tuple[Attempt, bool]:
    """One attempt of a notifier that may have bugs; gives how it ended, and whether it crashed."""
    with trio.move_on_after(HANG_SECONDS):
        try:
            return await notifier.send(notification), False
        except Exception:  # noqa: BLE001 - the supervisor
            _log.exception(
                "a notifier crashed; the notification is tried again",
                target=notifier.target,
                **named(notification),
            )
            return Retry("a fault inside Medic; see its log", maybe_taken=True), True
    return Retry(f"no answer within {HANG_SECONDS:.0f} s", maybe_taken=True), False


async def run_guarded(name: str, run: Callable[[], Awaitable[None]], crashed: Callable[[], None]) -> None:
    """Run a task that does not end by itself, again and again: after a crash, `crashed`, a pause, and a new run."""
    pause = RESTART_FIRST_SECONDS
    while True:
        began = trio.current_time()
        try:
            await run()
        except Exception:  # noqa: BLE001 - the supervisor
            _log.exception("a task of alerting crashed and is started again", task=name)
        crashed()
        if trio.current_time() - began >= STEADY_SECONDS:
            pause = RESTART_FIRST_SECONDS
        await trio.sleep(pause)
        pause = min(2 * pause, RESTART_MAX_SECONDS)


async def once_guarded(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run a task that ends by itself; a crash is the end of it alone."""
    try:
        await run()
    except Exception:  # noqa: BLE001 - the supervisor
        _log.exception("a task of alerting crashed", task=name)
