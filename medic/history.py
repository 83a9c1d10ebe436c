"""The seam between who asks for history and who keeps it: what was heard, what was alerted, who was told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from medic.access.reach import EVERYTHING, Reach
from medic.core.availability import Availability, Outage, Span
from medic.core.service import Service
from medic.core.units import EventId, InstantMs, ServiceId


@dataclass(frozen=True, slots=True)
class HeartbeatRow:
    """One stored heartbeat, as `GET /heartbeat` lists it; `status` as sent, `time` its arrival, `said_at` its own."""

    heartbeat_id: EventId
    service_id: ServiceId
    heartbeat_name: str
    service_name: str
    team: str
    priority: str
    time: InstantMs
    status: str
    run_id: str | None
    said_at: InstantMs | None


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One alert, open or closed, as `GET /alerts` lists it. Names are those it opened with.

    `key` is its key with vendors; empty for that of the name.
    """

    alert_id: EventId
    service_id: ServiceId
    heartbeat_name: str
    service_name: str
    team: str
    priority: str
    runbook: str
    reason: str
    alert_cycle: int
    created_date: InstantMs
    closed_date: InstantMs | None
    closed_reason: str
    acknowledged_date: InstantMs | None
    acknowledged_by: str
    muted: bool
    flapping: bool = False
    key: str = ""


@dataclass(frozen=True, slots=True)
class AlertMoment:
    """One line of an alert's history."""

    at: InstantMs
    change: str
    by: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one notification went to one target. `outcome` is empty while it is pending."""

    notification_id: str
    target: str
    action: str
    decided_at: InstantMs
    settled_at: InstantMs | None
    attempts: int
    outcome: str
    detail: str


@dataclass(frozen=True, slots=True)
class AlertHistory:
    """An alert, what happened to it, and whom it was told."""

    alert: AlertRow
    moments: Sequence[AlertMoment]
    deliveries: Sequence[Delivery]


@dataclass(frozen=True, slots=True)
class AlertQuery:
    """What `GET /alerts` asks for. `before` is a cursor, `reach` what whoever asks may see at all."""

    active: bool | None = None
    heartbeat_name: str | None = None
    team: str | None = None
    limit: int = 100
    before: tuple[InstantMs, EventId] | None = None
    reach: Reach = EVERYTHING


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """How a service was within a window; it may be deleted.

    Attributes:
        service_id, heartbeat_name, service_name, team: Which.
        window: Of which this tells: what was asked for, as far as it is not to come.
        availability: How it was.
        outages: The alerts that reach into the window, newest first: all that are kept, up to `OUTAGES_LISTED`.
        outages_from: Alerts that ended before are not kept any more; None: all are.
        heartbeats: How many it sent, by what they said; `OTHER` for words without a meaning.
    """

    service_id: ServiceId
    heartbeat_name: str
    service_name: str
    team: str
    window: Span
    availability: Availability
    outages: Sequence[Outage]
    outages_from: InstantMs | None
    heartbeats: Mapping[str, int]


OUTAGES_LISTED: Final = 1_000
"""Outages that a record lists; all of them are in its sums."""


class ServiceRecords(Protocol):
    """How services were, own writes included. Raises `DatabaseUnavailableError` as `History` does of alerts."""

    async def record(self, service_id: ServiceId, window: Span) -> ServiceRecord | None:
        """How a service was within a window that does not reach into the future; None: there never was such a one."""
        ...


class History(Protocol):
    """Reads of what PostgreSQL keeps, own writes included (HARD-CASES H23). Never waits over 2 s for them.

    Every method raises `DatabaseUnavailableError` where PostgreSQL does not answer: never an empty list instead. Alerts
    raise it too where PostgreSQL is too far behind for an answer that is true.
    """

    async def heartbeats(
        self, *, service: Service | None, service_name: str | None, limit: int, reach: Reach = EVERYTHING
    ) -> Sequence[HeartbeatRow]:
        """The newest heartbeats, newest first: of one service; or, within `reach`, of those with that label, or all."""
        ...

    async def alerts(self, query: AlertQuery) -> tuple[Sequence[AlertRow], int]:
        """One page of alerts, newest first, and how many match in all."""
        ...

    async def alert(self, alert_id: EventId) -> AlertHistory | None:
        """One alert with its history and deliveries, or None."""
        ...
