"""`medic doctor`: looks at everything Medic needs, all at once, and says what to do about what it finds.

It tells nobody and changes nothing: PagerDuty is connected to and not called, Slack is asked who the token belongs to,
a file is written and removed in the data folder. Only `--send-test` sends something. Each look has a time limit, so the
answer comes within seconds, and none needs another's: where PostgreSQL is away, all the rest is said all the same.

A check is a function in `medic.cli.checks` and a line in `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from medic.cli.checks.database import look_at_database
from medic.cli.checks.disk import look_at_folder, look_at_mount
from medic.cli.checks.finding import Check, Finding, Verdict
from medic.cli.checks.machine import look_at_clock, look_at_files
from medic.cli.checks.medic import look_at_configuration, look_at_medic
from medic.cli.checks.redis import look_at_redis
from medic.cli.checks.secrets import look_at_secrets
from medic.cli.checks.targets import look_at_deadman, look_at_webhooks
from medic.cli.checks.vendors import look_at_pagerduty, look_at_slack, send_test
from medic.config.settings import Settings

__all__ = ["CHECKS", "SEND_TEST", "Check", "Finding", "Verdict", "examine"]

LOOK_SECONDS: Final = 8.0
"""Longest look at one part: a vendor that is up answers well within it, and a person waits that long."""

TEST_SECONDS: Final = 25.0
"""As long as the two requests of a test page may take."""

CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("configuration", look_at_configuration),
    ("data folder", look_at_folder),
    ("lasting", look_at_mount),
    ("clock", look_at_clock),
    ("open files", look_at_files),
    ("PostgreSQL", look_at_database),
    ("Redis", look_at_redis),
    ("secrets", look_at_secrets),
    ("PagerDuty", look_at_pagerduty),
    ("Slack", look_at_slack),
    ("webhooks", look_at_webhooks),
    ("deadman", look_at_deadman),
    ("Medic", look_at_medic),
)
"""What is looked at, in the order in which it is said, and what is said of it where a look takes too long."""

SEND_TEST: Final[tuple[str, Check]] = ("test page", send_test)
"""Added by `--send-test`."""


async def examine(settings: Settings, checks: Sequence[tuple[str, Check]] = CHECKS) -> list[Finding]:
    """The findings of all checks, in their order. Takes as long as the slowest look may, and a little."""
    found: dict[int, list[Finding]] = {}

    async def take(place: int, part: str, check: Check) -> None:
        seconds = TEST_SECONDS if check is send_test else LOOK_SECONDS
        with trio.move_on_after(seconds):
            found[place] = await check(settings)
            return
        found[place] = [Finding(part, Verdict.BAD, f"no answer within {seconds:g} s", "see that it is up")]

    async with trio.open_nursery() as nursery:
        for place, (part, check) in enumerate(checks):
            nursery.start_soon(take, place, part, check)
    return [finding for place in sorted(found) for finding in found[place]]
