"""The terminal that Medic was started from: told when nobody else is configured, so that a newcomer sees an alert.

Writing to a terminal can wait for long (Ctrl-S, a full pipe), so it happens in a thread of its own, one at a time, and
without the lock of Python's stream (`medic.alerting.outlet`).

A storm of alerts would fill the terminal with a hundred thousand lines, and a thread's hop for each takes longer than
anybody watches. So no more than `LINES_A_SECOND` are printed, the most urgent ones as always; the first that has no
line any more stays until the second is over, and tells in one line how many came to it meanwhile.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, TextIO
from zoneinfo import ZoneInfo

import trio

from medic.alerting.attempt import Attempt, Delivered, Refused, Retry
from medic.alerting.outlet import Outlet
from medic.alerting.wording import headline, printable, shown_at, summary
from medic.core.notification import CONSOLE, Notification
from medic.core.status import NotificationKind

HEADLINE_WIDTH: Final = 12
"""So that names stand under each other."""

LINES_A_SECOND: Final = 50
"""A screen full: more than anybody reads in that time."""

WRITE_SECONDS: Final = 1.0
"""How long a line waits to be taken before it is tried again as one for any other target. A drain waits as long."""

_RED, _GREEN, _YELLOW, _PLAIN = "\x1b[1;31m", "\x1b[1;32m", "\x1b[1;33m", "\x1b[0m"
_COLOURS: Final = {
    NotificationKind.TRIGGER: _RED,
    NotificationKind.REMINDER: _RED,
    NotificationKind.ESCALATION: _RED,
    NotificationKind.RESOLVE: _GREEN,
    NotificationKind.DEGRADED_OVER: _GREEN,
}


class Console:
    """Implements `Notifier`.

    Args:
        stream: Where to print; colours only where it is a terminal.
        zone: `MEDIC_TIMEZONE`, in which times are shown.
    """

    target = CONSOLE

    def __init__(self, stream: TextIO, zone: ZoneInfo) -> None:
        self._stream = stream
        self._outlet = Outlet(stream)
        self._zone = zone
        self._one_writer = trio.CapacityLimiter(1)
        self._second_ends = 0.0
        self._lines = 0
        self._gathered: Counter[str] = Counter()

    def takes(self, notification: Notification) -> bool:  # noqa: ARG002 - the Protocol's signature
        """Everything: it is only asked when there is nobody else."""
        return True

    async def send(self, notification: Notification) -> Attempt:
        """Print the notification, or count it among those of this second that have no line of their own."""
        if self._gathered:
            self._gathered[headline(notification)] += 1
            await trio.lowlevel.checkpoint()
            return Delivered()
        try:
            line = (self.line(notification) if self._has_line() else await self._gather(notification)) + "\n"
            await trio.to_thread.run_sync(self._write, line, limiter=self._one_writer, abandon_on_cancel=True)
        except TimeoutError:
            return Retry("nobody reads the terminal", maybe_taken=False)
        except (OSError, ValueError):
            # A pipe nobody reads any more, or a stream that is closed.
            return Refused("the terminal is gone")
        return Delivered()

    def line(self, notification: Notification) -> str:
        """What is printed: time, what kind of news, which service, and what is said of it."""
        word = headline(notification).ljust(HEADLINE_WIDTH)
        said = printable(summary(notification))
        if notification.heartbeat_name:
            said += f" ({notification.priority}, {printable(notification.team)})"
        if notification.late_since is not None and notification.kind is not NotificationKind.RESOLVE:
            said += f", since {shown_at(notification.late_since, self._zone)}"
        if self._stream.isatty():
            word = f"{_COLOURS.get(notification.kind, _YELLOW)}{word}{_PLAIN}"
        return f"{shown_at(notification.at, self._zone)}  {word} {said}"

    def _has_line(self) -> bool:
        now = trio.current_time()
        if now >= self._second_ends:
            self._second_ends = now + 1.0
            self._lines = 0
        self._lines += 1
        return self._lines <= LINES_A_SECOND

    async def _gather(self, notification: Notification) -> str:
        """Count this one and what comes in the rest of the second; what is said of them."""
        gathered = self._gathered
        gathered[headline(notification)] += 1
        try:
            await trio.sleep_until(self._second_ends)
        finally:
            self._gathered = Counter()
        kinds = ", ".join(f"{count} {word}" for word, count in gathered.most_common())
        return (
            f"{shown_at(notification.at, self._zone)}  … and {kinds} more; `medic-cli alerts list --active` shows all"
        )

    def describe(self) -> str:
        """That nobody else is configured."""
        return "this terminal (no PagerDuty, Slack or webhook is configured)"

    async def aclose(self) -> None:
        """Nothing to close: the stream is somebody else's."""
        await trio.lowlevel.checkpoint()

    def _write(self, line: str) -> None:
        self._outlet.write(line, seconds=WRITE_SECONDS)
