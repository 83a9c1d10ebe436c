"""A History that is two lists."""

from __future__ import annotations

from collections.abc import Sequence

from medic.access.reach import EVERYTHING, Reach
from medic.core.names import name_key
from medic.core.service import Service
from medic.core.units import EventId
from medic.errors import DatabaseUnavailableError
from medic.history import AlertHistory, AlertQuery, AlertRow, HeartbeatRow


class MemoryHistory:
    """Implements `ports.History`: append to `heartbeat_rows` and `alert_histories` what it shall know.

    Set `available` to False for a PostgreSQL that does not answer.
    """

    def __init__(self) -> None:
        self.available = True
        self.heartbeat_rows: list[HeartbeatRow] = []
        self.alert_histories: list[AlertHistory] = []

    async def heartbeats(
        self, *, service: Service | None, service_name: str | None, limit: int, reach: Reach = EVERYTHING
    ) -> Sequence[HeartbeatRow]:
        self._require_available()
        rows = [
            row
            for row in self.heartbeat_rows
            if (service is None or row.service_id == service.row.service_id)
            and (service_name is None or row.service_name == service_name)
            and (service is not None or reach.covers(row.heartbeat_name, row.team))
        ]
        return sorted(rows, key=lambda row: (row.time, row.heartbeat_id), reverse=True)[:limit]

    async def alerts(self, query: AlertQuery) -> tuple[Sequence[AlertRow], int]:
        self._require_available()
        matching = [history.alert for history in self.alert_histories if _matches(history.alert, query)]
        matching.sort(key=lambda row: (row.created_date, row.alert_id), reverse=True)
        after = [row for row in matching if query.before is None or (row.created_date, row.alert_id) < query.before]
        return after[: query.limit], len(matching)

    async def alert(self, alert_id: EventId) -> AlertHistory | None:
        self._require_available()
        return next((history for history in self.alert_histories if history.alert.alert_id == alert_id), None)

    def _require_available(self) -> None:
        if not self.available:
            msg = "PostgreSQL does not answer"
            raise DatabaseUnavailableError(msg)


def _matches(row: AlertRow, query: AlertQuery) -> bool:
    return (
        (query.active is None or query.active == (row.closed_date is None))
        and (query.heartbeat_name is None or name_key(query.heartbeat_name) == name_key(row.heartbeat_name))
        and (query.team is None or query.team == row.team)
        and query.reach.covers(row.heartbeat_name, row.team)
    )
