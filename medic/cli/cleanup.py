"""`medic cleanup`: removes what is old from the database, also beside a Medic that runs; or says what that would be."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from medic.actors.clock import wall_now
from medic.cli import show
from medic.cli.migration import open_target, require_table
from medic.config.settings import Settings
from medic.core.units import isoformat
from medic.errors import UnavailableError
from medic.http.answers import JsonObject, JsonValue
from medic.store.postgres.bridge import open_bridge
from medic.store.postgres.database import Database, open_database
from medic.store.retention.cleanup import Cleanup, CleanupBusyError
from medic.store.retention.report import Day, Plan, Report

CONNECTIONS: Final = 3
"""One that holds the lock and detaches, one for transactions, one to spare."""


async def clean_up(settings: Settings) -> Report:
    """Do what is due now. The audit is left to the Medic that runs: it alone keeps the file that vouches for it.

    Raises:
        ConfigurationError, UnavailableError: it cannot be done; the sentence says why.
    """
    async with _opened(settings) as database:
        try:
            return await Cleanup(database, settings.retention, wall_now).run()
        except CleanupBusyError as busy:
            raise UnavailableError(f"{busy.message}; nothing was done.") from None


async def plan_cleanup(settings: Settings) -> Plan:
    """What that would do.

    Raises:
        ConfigurationError, UnavailableError: it cannot be said; the sentence says why.
    """
    async with _opened(settings) as database:
        return await Cleanup(database, settings.retention, wall_now).plan()


def print_report(report: Report) -> None:
    """For people: a line for each thing that was done, and on stderr what was not."""
    for counted in report.counted:
        show.say(f"counted {counted.day}: {counted.hours} hours of services in {counted.seconds:.1f} s")
    for day in report.removed_days:
        show.say(f"removed {day}")
    for line in _rows(report.removed):
        show.say(line)
    if report.folded:
        show.say(f"folded hours into {report.folded} days of counts")
    if not (report.counted or report.removed_days or report.folded or any(report.removed.values()) or report.left):
        show.say("Nothing was old enough.")
    for sentence in report.left:
        show.print_note(f"left: {sentence}. The next cleanup goes on with it.")


def report_json(report: Report) -> JsonObject:
    """For programs."""
    counted: list[JsonValue] = [
        {"day": str(one.day), "hours": one.hours, "seconds": round(one.seconds, 3)} for one in report.counted
    ]
    return {
        "counted": counted,
        "removed_days": [str(day) for day in report.removed_days],
        "folded": report.folded,
        "removed": dict(report.removed),
        "left": list(report.left),
    }


def print_plan(plan: Plan) -> None:
    """For people."""
    if plan.written_until is None:
        show.say("No Medic ever wrote to this database: nothing would be counted or removed.")
    else:
        show.say(f"PostgreSQL has everything that came until {isoformat(plan.written_until)}.")
    for word, days in (("count", plan.to_count), ("remove", plan.to_remove)):
        for day in days:
            show.say(f"would {word} {_day(day)}")
    for day in plan.waiting:
        show.say(f"would keep {_day(day)}: old enough, but not all that belongs to it is written yet")
    for line in _rows(plan.rows):
        show.say(f"would have {line}")
    if not (plan.to_count or plan.to_remove or any(plan.rows.values())):
        show.say("Nothing is old enough.")


def plan_json(plan: Plan) -> JsonObject:
    """For programs."""
    return {
        "written_until": None if plan.written_until is None else isoformat(plan.written_until),
        "to_count": _days(plan.to_count),
        "to_remove": _days(plan.to_remove),
        "waiting": _days(plan.waiting),
        "rows": dict(plan.rows),
    }


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Database]:
    async with (
        open_bridge() as bridge,
        open_target(settings, bridge) as target,
        open_database(target, connections_max=CONNECTIONS, bridge=bridge) as database,
    ):
        await require_table(database, "medic.cleanup")
        yield database


def _rows(counts: Mapping[str, int]) -> Iterator[str]:
    return (f"removed {rows} {word}" for word, rows in counts.items() if rows)


def _days(days: Sequence[Day]) -> list[JsonValue]:
    return [{"day": str(day.day), "heartbeats": day.heartbeats, "bytes": day.size} for day in days]


def _day(day: Day) -> str:
    return f"{day.day}, some {day.heartbeats} heartbeats, {day.size / (1 << 20):.1f} MiB"
