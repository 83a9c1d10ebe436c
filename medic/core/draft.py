"""What operators ask for, checked and in Medic's units: a service to register, and an edit of one that is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from medic.core.service import ServiceRow
from medic.core.units import DurationMs, InstantMs, ServiceId

PRIORITIES: Final = ("p1", "p2", "p3", "p4", "p5")
"""Most urgent first: `PRIORITIES.index` orders alerts and deliveries."""

TEAM_MAX: Final = 100
DEFAULT_TEAM: Final = "site-reliability"
DEFAULT_PRIORITY: Final = "p3"


@dataclass(frozen=True, slots=True)
class ServiceDraft:
    """A service somebody wants registered, within the bounds of CONTRACT 1; the name prefixed and normalised."""

    heartbeat_name: str
    service_name: str
    interval_ms: DurationMs
    grace_ms: DurationMs = DurationMs(0)
    threshold: int = 1
    recovery_ms: DurationMs = DurationMs(0)
    renotify_ms: DurationMs | None = None
    team: str = DEFAULT_TEAM
    priority: str = DEFAULT_PRIORITY
    runbook: str = ""
    active: bool = True
    require_key: bool = False

    def row(self, service_id: ServiceId, at: InstantMs, by: str) -> ServiceRow:
        """The first version of the service's row."""
        return ServiceRow(
            service_id=service_id,
            version=1,
            heartbeat_name=self.heartbeat_name,
            service_name=self.service_name,
            active=self.active,
            interval_ms=self.interval_ms,
            grace_ms=self.grace_ms,
            threshold=self.threshold,
            recovery_ms=self.recovery_ms,
            renotify_ms=self.renotify_ms,
            team=self.team,
            priority=self.priority,
            runbook=self.runbook,
            date_added=at,
            date_modified=at,
            changed_by=by,
            require_key=self.require_key,
        )


@dataclass(frozen=True, slots=True)
class ServiceEdit:
    """Changes to a service; None leaves a column alone. `renotify_default` gives back the environment's reminders."""

    service_name: str | None = None
    active: bool | None = None
    interval_ms: DurationMs | None = None
    grace_ms: DurationMs | None = None
    threshold: int | None = None
    recovery_ms: DurationMs | None = None
    renotify_ms: DurationMs | None = None
    renotify_default: bool = False
    team: str | None = None
    priority: str | None = None
    runbook: str | None = None
    require_key: bool | None = None

    def apply(self, row: ServiceRow, at: InstantMs, by: str) -> ServiceRow:
        """The next version of `row`; `row` itself where nothing would change."""
        wanted = {
            name: value
            for name in (
                "service_name",
                "active",
                "interval_ms",
                "grace_ms",
                "threshold",
                "recovery_ms",
                "renotify_ms",
                "team",
                "priority",
                "runbook",
                "require_key",
            )
            if (value := getattr(self, name)) is not None
        }
        if self.renotify_default:
            wanted["renotify_ms"] = None
        if all(getattr(row, name) == value for name, value in wanted.items()):
            return row
        return replace(row, **wanted, version=row.version + 1, date_modified=at, changed_by=by)
