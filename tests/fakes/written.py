"""A writer that has always caught up, or never does; and a roster of the services it was given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import trio

from medic.core.service import Service
from medic.core.units import EventId, ServiceId
from medic.ports import Journal, Position


class CaughtUp:
    """A writer that is always where the journal is."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    @property
    def committed(self) -> Position:
        return self._journal.newest

    async def wait_committed(self, position: Position) -> None:
        await trio.lowlevel.checkpoint()


class StuckAt:
    """A writer that never gets any further."""

    def __init__(self, position: Position) -> None:
        self.committed = position
        self.waited_for: list[Position] = []

    async def wait_committed(self, position: Position) -> None:
        self.waited_for.append(position)
        await trio.sleep_forever()


class FixedRoster:
    """Implements `ports.Roster` for the services it was given."""

    key_rules = 0

    def __init__(self, services: Sequence[Service] = ()) -> None:
        self._services = {service.row.service_id: service for service in services}

    def find(self, name: str) -> Service | None:
        return next((one for one in self._services.values() if one.row.heartbeat_name == name), None)

    def by_id(self, service_id: ServiceId) -> Service | None:
        return self._services.get(service_id)

    def by_alert(self, alert_id: EventId) -> Service | None:
        return next((one for one in self._services.values() if one.alert and one.alert.alert_id == alert_id), None)

    def services(self, *, after: str | None = None) -> Iterable[Service]:
        return self._services.values()

    def open_alerts(self) -> Sequence[Service]:
        return [one for one in self._services.values() if one.alert]

    def __len__(self) -> int:
        return len(self._services)
