"""Records of services that a test writes."""

from __future__ import annotations

from medic.core.availability import Availability, Outage, Span
from medic.core.units import ServiceId
from medic.errors import DatabaseUnavailableError
from medic.history import ServiceRecord

HOUR = 3_600_000

AVAILABILITY = Availability(watched=24 * HOUR, up=22 * HOUR + 500, late=HOUR, reported=HOUR - 500, muted=0, outages=2)
OUTAGES = (
    Outage(12, "reported_down", 23 * HOUR, None, is_reported=True, muted=False),
    Outage(11, "late", -HOUR, HOUR, is_reported=False, muted=True),
)


class MemoryRecords:
    """Implements `history.ServiceRecords`: says of each service in `names` what is set; notes what was asked."""

    def __init__(self) -> None:
        self.available = True
        self.names: dict[int, tuple[str, str]] = {}
        self.asked: list[tuple[int, Span]] = []
        self.availability = AVAILABILITY
        self.outages: tuple[Outage, ...] = OUTAGES
        self.outages_from: int | None = None

    async def record(self, service_id: ServiceId, window: Span) -> ServiceRecord | None:
        if not self.available:
            raise DatabaseUnavailableError("PostgreSQL does not answer")
        self.asked.append((service_id, window))
        if service_id not in self.names:
            return None
        name, team = self.names[service_id]
        return ServiceRecord(
            service_id,
            name,
            "owner",
            team,
            window,
            self.availability,
            self.outages,
            self.outages_from,
            {"UP": 7, "OTHER": 1},
        )
