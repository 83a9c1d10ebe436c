"""`medic migrate --plan`, `--adopt`, `--finish` and `--back`: the earlier system's database taken over, in words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from medic.alerting.wording import printable
from medic.cli.migration import open_target
from medic.config.settings import Settings
from medic.core.units import HOUR_MS, InstantMs, isoformat
from medic.store.adoption.adopt import (
    STATEMENT_SECONDS,
    Adopted,
    Returned,
    UnsettledError,
    adopt,
    finish,
    go_back,
    plan_adoption,
)
from medic.store.adoption.earlier import AFTER, BEFORE
from medic.store.adoption.plan import LATELY_DAYS, NAMED_MAX, UNWATCHED, Plan
from medic.store.postgres.bridge import open_bridge
from medic.store.postgres.database import Database, Limits, open_database

WROTE_IN: Final = "America/Chicago"
"""Where the earlier system's clock stood."""

OPENED_EARLY_MS: Final = HOUR_MS
"""An alert opens within a minute after the last heartbeat it misses; so much earlier is a matter of zones."""

CONNECTIONS: Final = 2
"""One that has the lock of the active Medic, one that works."""


class Step(StrEnum):
    """What is asked for."""

    PLAN = "plan"
    ADOPT = "adopt"
    FINISH = "finish"
    BACK = "back"


async def take_step(settings: Settings, step: Step, zone: ZoneInfo | None, announce: Callable[[str], None]) -> bool:
    """Do it and say what was done; False where something has to be settled first.

    Raises:
        ConfigurationError, DatabaseUnavailableError: it cannot be done; the sentence says why.
    """
    async with _open(settings) as database:
        if step is Step.FINISH:
            await finish(database)
            announce(f"Removed schema {BEFORE}. There is no way back from here.")
            return True
        if step is Step.BACK:
            _say(_returned(await go_back(database)), announce)
            return True
        return await _take_over(settings, database, step, str(zone or settings.telling.zone), announce)


async def _take_over(
    settings: Settings, database: Database, step: Step, zone: str, announce: Callable[[str], None]
) -> bool:
    defaults, days = settings.tuning.defaults, settings.retention.heartbeats
    if step is Step.PLAN:
        plan = await plan_adoption(database, defaults, zone=zone, retention_days=days)
        _say(plan_lines(plan, days), announce)
        return plan.is_settled
    try:
        adopted = await adopt(database, defaults, zone=zone, retention_days=days, announce=announce)
    except UnsettledError as error:
        _say(_unsettled(error.plan), announce)
        announce("Nothing was changed.")
        return False
    _say(_adopted(adopted, days), announce)
    return True


@asynccontextmanager
async def _open(settings: Settings) -> AsyncIterator[Database]:
    limits = Limits(connections=CONNECTIONS, operation_seconds=STATEMENT_SECONDS)
    async with (
        open_bridge() as bridge,
        open_target(settings, bridge) as target,
        open_database(target, bridge=bridge, limits=limits) as database,
    ):
        yield database


def _say(lines: Iterable[str], announce: Callable[[str], None]) -> None:
    for line in lines:
        announce(printable(line))


# --------------------------------------------------------------------------------------------------------------- words


def plan_lines(plan: Plan, retention_days: int) -> Iterator[str]:
    """What would happen, then what stands against it."""
    heard = plan.heartbeats
    yield f"The earlier system's tables are in schema {plan.tables.place}."
    yield f"  services    {len(plan.services)}, {sum(service.active == 1 for service in plan.services)} of them active"
    span = (
        ""
        if heard.oldest is None or heard.newest is None
        else f", {isoformat(heard.oldest)} to {isoformat(heard.newest)}"
    )
    yield f"  heartbeats  {heard.rows}{span}"
    yield f"  alerts      {plan.alerts}, {len(plan.open_alerts)} of them open"
    yield ""
    yield f"`medic migrate --adopt` moves them to schema {BEFORE}, copies them into Medic's own, and pages nobody."
    yield from _notes(plan, retention_days)
    yield from _senders(plan)
    if plan.unsettled:
        yield ""
        yield from _unsettled(plan)
    else:
        yield ""
        yield "Nothing has to be settled first. Stop the earlier system, and run `medic migrate --adopt`."


def _notes(plan: Plan, retention_days: int) -> Iterator[str]:
    yield from _sessions_note(plan)
    yield from _zone_note(plan)
    unheard = [service.name for service in plan.unheard]
    if unheard:
        yield (
            f"* {len(unheard)} active services were not heard of in {retention_days} days. They are late then, nobody "
            f"is paged, and Slack is told once: {_named(unheard)}"
        )
    told = [alert for alert in plan.open_alerts if alert.key]
    if plan.open_alerts:
        yield (
            f"* {len(plan.open_alerts)} alerts are open, {len(told)} of them known to PagerDuty. They stay open, and "
            "are resolved there when the service is heard of again."
        )
    yield from _date_note(plan)
    muted = [service.name for service in plan.services if service.muted == 1]
    if muted:
        yield f"* {len(muted)} services are muted, and stay so: docs/migrating.md says until when. {_named(muted)}"
    unwatched = [service.name for service in plan.services if service.service_name == UNWATCHED and service.active == 1]
    if unwatched:
        yield f"* The label {UNWATCHED} meant that nobody looked. Medic watches these as well: {_named(unwatched)}"
    timed = [service.name for service in plan.services if service.max_duration_ms]
    if timed:
        yield f"* max_duration_ms is not taken over; Medic does not limit how long a run takes: {_named(timed)}"
    if plan.views:
        yield f"* These views go on reading the old tables, and are dropped with them by --finish: {_named(plan.views)}"
    if plan.heartbeats.orphans:
        yield f"* {plan.heartbeats.orphans} heartbeats are of services that are gone."


def _sessions_note(plan: Plan) -> Iterator[str]:
    if plan.sessions:
        pids = _named([str(pid) for pid in plan.sessions])
        yield (
            f"* Others are connected to this database (pid {pids}). Should one be the earlier system, stop it: it "
            "would go on with Medic's tables, which have the same names."
        )


def _zone_note(plan: Plan) -> Iterator[str]:
    zoneless = plan.tables.zoneless()
    if zoneless:
        yield f"* Times without a zone are read in {plan.tables.zone} (--zone): {', '.join(zoneless)}"


def _date_note(plan: Plan) -> Iterator[str]:
    """The earlier system wrote dates of alerts in Chicago's time, without saying so."""
    last = plan.heartbeats.last_heard
    # Of a service with a threshold heartbeats may go on, too few of them.
    single = {service.service_id for service in plan.services if service.threshold in {None, 1}}
    early = [
        alert
        for alert in plan.open_alerts
        if alert.service_id in single
        and alert.created is not None
        and alert.created + OPENED_EARLY_MS < last.get(alert.service_id, InstantMs(0))
    ]
    if early:
        yield (
            f"* {len(early)} open alerts say that they opened before their service's last heartbeat: the earlier "
            f"system wrote dates of alerts in the time of {WROTE_IN}, and PostgreSQL took them for its own. To set "
            "them right:"
        )
        meant = ", ".join(
            f"{column} = ({column} AT TIME ZONE current_setting('TimeZone')) AT TIME ZONE '{WROTE_IN}'"
            for column in ("created_date", "closed_date")
        )
        yield f"    UPDATE {plan.tables.table('alerts')} SET {meant};"  # noqa: S608 - names of columns


def _senders(plan: Plan) -> Iterator[str]:
    if not plan.senders:
        return
    yield ""
    yield f"In the last {LATELY_DAYS} days these said what Medic takes otherwise (before, everything counted as well):"
    for sender in plan.senders:
        yield (
            f"  {sender.heartbeat_name}: {sender.status}, {sender.times} times, last {isoformat(sender.newest)}: "
            f"{sender.meaning}"
        )


def _unsettled(plan: Plan) -> Iterator[str]:
    count = len(plan.unsettled)
    yield f"To be settled first ({count}), each with SQL that settles it:"
    for one in plan.unsettled:
        yield f"  {one.what}"
        yield f"    {one.sql}"


def _adopted(adopted: Adopted, retention_days: int) -> Iterator[str]:
    if adopted.was_finished:
        yield f"All was taken over on {isoformat(adopted.at)}. Nothing was left to do."
        return
    if adopted.snapshots_left:
        yield f"{adopted.snapshots_left} snapshots hold what Medic does not take; they stay in {BEFORE}."
    plan = adopted.plan
    if plan is not None:
        if plan.unheard:
            names = _named([service.name for service in plan.unheard])
            yield f"Not heard of in {retention_days} days, and told of once by the first start: {names}"
        yield from _sessions_note(plan)
        yield from _senders(plan)
    yield ""
    yield (
        f"Taken over as of {isoformat(adopted.at)}. Start Medic with a new data folder. The old tables are in {BEFORE}:"
        " `medic migrate --back` goes back to them, `medic migrate --finish` removes them."
    )


def _returned(returned: Returned) -> Iterator[str]:
    yield f"The earlier system's tables are in schema {returned.place} again. Medic's own are in {AFTER}, with"
    yield f"  {returned.services} services that were registered since, and {returned.heartbeats} heartbeats."
    if returned.open_alerts:
        yield f"Medic told of these and they are open; resolve them by hand: {_named(returned.open_alerts)}"
    yield f"Once nothing in it is needed: DROP SCHEMA {AFTER} CASCADE"


def _named(names: Sequence[str]) -> str:
    more = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
