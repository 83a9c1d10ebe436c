"""How long each kind of row is kept, and from which instant on that is: plain arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from medic.core.units import DAY_MS, InstantMs

FOR_EVER: Final = 0
"""Days that say: nothing is removed."""


@dataclass(frozen=True, slots=True)
class Retention:
    """For how many days what is kept; 0 for ever, but for heartbeats.

    Attributes:
        heartbeats: `HEARTBEAT_RETENTION_DAYS`: single heartbeats.
        hours: `MEDIC_HOURS_RETENTION_DAYS`: counts by the hour, which are folded into days then.
        days: `MEDIC_DAYS_RETENTION_DAYS`: counts by the day.
        alerts: `MEDIC_ALERT_RETENTION_DAYS`: closed alerts with their moments and notifications.
        snapshots: `MEDIC_SNAPSHOT_RETENTION_DAYS`: services as they were before a change.
        audit: `MEDIC_AUDIT_RETENTION_DAYS`: who did what.
    """

    heartbeats: int = 30
    hours: int = 92
    days: int = 1_100
    alerts: int = 400
    snapshots: int = 400
    audit: int = FOR_EVER

    @property
    def names(self) -> int:
        """Names of deleted services: as long as anything may be about them that has no name of its own."""
        ages = (self.heartbeats, self.hours, self.days)
        return FOR_EVER if FOR_EVER in ages else max(ages)


DEFAULT_RETENTION: Final = Retention()


def day_begins(instant: InstantMs) -> InstantMs:
    """The midnight (UTC) at or before an instant."""
    return InstantMs(instant - instant % DAY_MS)


def kept_from(days: int, now: InstantMs) -> InstantMs | None:
    """The midnight before which rows of that age go; None: none do.

    At least `days` whole days are kept at any time, and less than one more.
    """
    return None if days == FOR_EVER else InstantMs(day_begins(now) - days * DAY_MS)
