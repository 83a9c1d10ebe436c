"""Which services' hot states have to be written to `service_states`, and the writing of them.

Updating a row costs several times what COPY takes for a heartbeat (HARD-CASES H19), and a state is only a shorter
way to what the journal says anyway. So a service that was merely heard of waits until a minute has passed since it
was written last; one whose status, alert, mute or row changed is written at once, because people read those columns
by SQL. Between them is a sign of life that is in no row of any table, a heartbeat over its limit or an interval begun
afresh after blind time: the state is the only place where a takeover finds it, so it waits a second, which makes a
flood of refused heartbeats one write a second and service.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Final

from medic.core.deadline import late_deadline
from medic.core.service import Service
from medic.core.units import InstantMs, ServiceId, SkewMs
from medic.store.codec import pack_state
from medic.store.postgres.database import Transaction
from medic.store.tables.batch import storable

STATE_EVERY_SECONDS: Final = 60.0
"""How old the written state of a service that is heard of may be."""

UNROWED_EVERY_SECONDS: Final = 1.0
"""How old the written state of a service may be of which no row tells the last sign of life."""

STATES_AT_ONCE_MAX: Final = 5_000
"""States in one transaction: about a tenth of a second of PostgreSQL's time."""

STATES_A_STATEMENT: Final = 1_000
"""States the driver is given at once: it packs them without a pause, in two to three milliseconds."""

_STATES: Final = """
INSERT INTO medic.service_states AS stored (
    service_id, shard, version, journal_id, position, status, last_heartbeat_at, last_status, heartbeats_total,
    deadline_at, hot, written_at)
SELECT n.service_id, n.shard, n.version, $12, n.position, n.status, n.last_heartbeat_at, n.last_status,
       n.heartbeats_total, n.deadline_at, n.hot, $11
FROM unnest($1::bigint[], $2::int[], $3::bigint[], $4::bigint[], $5::text[], $6::timestamptz[], $7::text[],
            $8::bigint[], $9::timestamptz[], $10::bytea[])
     AS n (service_id, shard, version, position, status, last_heartbeat_at, last_status, heartbeats_total, deadline_at,
           hot)
ON CONFLICT (service_id) DO UPDATE SET
    shard = EXCLUDED.shard, version = EXCLUDED.version, journal_id = EXCLUDED.journal_id,
    position = EXCLUDED.position, status = EXCLUDED.status, last_heartbeat_at = EXCLUDED.last_heartbeat_at,
    last_status = EXCLUDED.last_status, heartbeats_total = EXCLUDED.heartbeats_total,
    deadline_at = EXCLUDED.deadline_at, hot = EXCLUDED.hot, written_at = EXCLUDED.written_at
"""


@dataclass(frozen=True, slots=True)
class StateRow:
    """The hot state of one service, packed in the very turn it was read."""

    service_id: ServiceId
    shard: int
    version: int
    position: int
    status: str
    last_heartbeat_at: InstantMs | None
    last_status: str
    heartbeats_total: int
    deadline_at: InstantMs | None
    hot: bytes


def state_row(service: Service, skew: SkewMs) -> StateRow:
    """The row of a service as it is now. Costs about 5 µs."""
    deadline = late_deadline(service)
    return StateRow(
        service_id=service.row.service_id,
        shard=service.row.shard,
        version=service.row.version,
        position=service.position,
        status=service.status.value,
        last_heartbeat_at=service.last_heartbeat_at if service.heard else None,
        last_status=storable(service.last_status),
        heartbeats_total=service.heartbeats_total,
        deadline_at=None if deadline is None else InstantMs(deadline + skew),
        hot=pack_state(service),
    )


async def store_states(transaction: Transaction, journal_id: str, rows: Sequence[StateRow], at: InstantMs) -> None:
    """Insert or replace the states."""
    for first in range(0, len(rows), STATES_A_STATEMENT):
        columns = _columns(rows[first : first + STATES_A_STATEMENT])
        await transaction.execute(_STATES, *columns, at, journal_id, operation="states")


def _columns(rows: Sequence[StateRow]) -> tuple[list[object], ...]:
    return (
        [row.service_id for row in rows],
        [row.shard for row in rows],
        [row.version for row in rows],
        [row.position for row in rows],
        [row.status for row in rows],
        [row.last_heartbeat_at for row in rows],
        [row.last_status for row in rows],
        [row.heartbeats_total for row in rows],
        [row.deadline_at for row in rows],
        [row.hot for row in rows],
    )


class DueStates:
    """Services whose written state is older than their real one: at most one entry a service."""

    def __init__(self) -> None:
        self._at_once: dict[ServiceId, None] = {}
        self._unrowed_since: dict[ServiceId, float] = {}
        self._since: dict[ServiceId, float] = {}

    def __len__(self) -> int:
        return len(self._at_once) + len(self._unrowed_since) + len(self._since)

    def __contains__(self, service_id: ServiceId) -> bool:
        return service_id in self._at_once or service_id in self._unrowed_since or service_id in self._since

    def add_heard(self, services: Iterable[ServiceId], now: float) -> None:
        """Note services that were heard of; those noted already keep their place."""
        since, unrowed, at_once = self._since, self._unrowed_since, self._at_once
        for service_id in services:
            if service_id not in since and service_id not in unrowed and service_id not in at_once:
                since[service_id] = now

    def add_unrowed(self, services: Iterable[ServiceId], now: float) -> None:
        """Note services of which no row tells the last sign; those noted for it already keep their place."""
        since = self._unrowed_since
        for service_id in services:
            if service_id not in since and service_id not in self._at_once:
                since[service_id] = now
                self._since.pop(service_id, None)

    def add_changed(self, services: Iterable[ServiceId]) -> None:
        """Note services whose state has to be written at once."""
        for service_id in services:
            self._at_once[service_id] = None
            self._unrowed_since.pop(service_id, None)
            self._since.pop(service_id, None)

    def next_due(self) -> float:
        """When the next state is due, on the clock of `now`; minus infinity for at once, infinity for none."""
        if self._at_once:
            return float("-inf")
        unrowed = next(iter(self._unrowed_since.values()), float("inf")) + UNROWED_EVERY_SECONDS
        return min(unrowed, next(iter(self._since.values()), float("inf")) + STATE_EVERY_SECONDS)

    def take(self, until: float) -> list[ServiceId]:
        """Up to `STATES_AT_ONCE_MAX` services that are due at `until`, the oldest first; they are forgotten here."""
        taken = list(islice(self._at_once, STATES_AT_ONCE_MAX))
        for service_id in taken:
            del self._at_once[service_id]
        taken += _pop_due(self._unrowed_since, until - UNROWED_EVERY_SECONDS, STATES_AT_ONCE_MAX - len(taken))
        taken += _pop_due(self._since, until - STATE_EVERY_SECONDS, STATES_AT_ONCE_MAX - len(taken))
        return taken


def _pop_due(since: dict[ServiceId, float], until: float, most: int) -> list[ServiceId]:
    """Take those noted at `until` or earlier out of `since`, which is in that order, `most` of them."""
    due = [service_id for service_id, _ in islice(takewhile(lambda noted: noted[1] <= until, since.items()), most)]
    for service_id in due:
        del since[service_id]
    return due
