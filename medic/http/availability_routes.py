"""The route of a service's availability."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from medic.core.status import OpenedReason
from medic.history import OUTAGES_LISTED
from medic.http import availability, shapes
from medic.http.audit_routes import AWAY
from medic.http.availability import WINDOW_MAX_DAYS
from medic.http.route import Parameter, Route, Told
from medic.http.shapes import Flag, Shape, Time


class HeartbeatCounts(Shape):
    """Heartbeats that were stored, by what they said in any case; OTHER for words without a meaning."""

    UP: int
    DOWN: int
    DEGRADED: int
    STARTED: int
    COMPLETED: int
    FAILED: int
    OTHER: int


class OutageShape(Shape):
    """An alert, as an outage."""

    alert_id: int
    reason: OpenedReason
    since: Time = Field(alias="from", description="When the alert opened.")
    until: Time | None = Field(alias="to", description="When it closed; null while it is open.")
    seconds: int | float = Field(description="How much of it is within the window.")
    muted: Flag = Field(description="Whether the service was muted when it closed, or is now.")


class AvailabilityShape(Shape):
    """How a service was between two moments. `watched` is `up` + `late` + `reported`."""

    service_id: int
    heartbeat_name: str
    service_name: str
    team: str
    since: Time = Field(alias="from", description="As asked for.")
    until: Time = Field(alias="to", description="As asked for, or now where that is to come.")
    availability: Annotated[float, Field(ge=0, le=1)] | None = Field(
        description="up_seconds / watched_seconds; null where nothing was watched."
    )
    watched_seconds: int | float = Field(description="Registered, not deleted, and active.")
    up_seconds: int | float = Field(
        description="Watched, and no alert open: also before it was first heard of, and while Medic was down."
    )
    late_seconds: int | float = Field(description="Watched, and an alert open because of silence.")
    reported_seconds: int | float = Field(description="Watched, and an alert open because it said DOWN or FAILED.")
    muted_seconds: int | float = Field(description="Watched, and a mute in force. Takes nothing from the others.")
    heartbeats: HeartbeatCounts
    outages_count: int = Field(description="Alerts that opened in the window.")
    outages: list[OutageShape] = Field(
        description=f"Alerts that reach into the window and are kept, newest first, {OUTAGES_LISTED} at most."
    )
    outages_kept_from: Time | None = Field(
        description="Alerts that closed before it were removed (MEDIC_ALERT_RETENTION_DAYS); null: none were."
    )


AVAILABILITY: Final = (
    Route(
        "GET",
        "/v2/services/{service_id}/availability",
        availability.show_availability,
        "Services",
        "How a service was over a time",
        {
            200: Told("How it was.", shapes.Envelope[AvailabilityShape]),
            404: Told("There never was a service of that id.", shapes.Refusal),
            503: AWAY,
        },
        "Also of a deleted service. Seconds come from alerts as long as these are kept, to the millisecond; what is "
        "before `outages_kept_from` comes from counts, by hours (UTC) that begin within `from` and `to`, or by days "
        "once hours were folded into days (MEDIC_HOURS_RETENTION_DAYS). Heartbeats are counted that way in any case: "
        "those of each hour that begins within `from` and `to`. When it was watched and muted, the audit says.",
        query=(
            Parameter(
                "from", "string", "A date, or a time as ISO 8601 has it; UTC without a zone. Else 30 days before `to`."
            ),
            Parameter(
                "to",
                "string",
                f"Until then, a date for all of that day; now where it is left out. At most {WINDOW_MAX_DAYS} days "
                "after `from`.",
            ),
        ),
        narrows=True,
    ),
)
