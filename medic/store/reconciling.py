"""What PostgreSQL says and the actors do not know yet, after a start without it: rows newer, unknown or gone.

Only ids and versions of all services are read, in slices, and then the rows that differ. The actors take them the way
they take changes by SQL, and decide as they always do.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import Final

import structlog
import trio

from medic.core.author import BY_SQL
from medic.core.units import ServiceId
from medic.errors import RefusedError
from medic.ports import Roster
from medic.store.tables.change_log import Follower
from medic.store.tables.services import PgServiceStore

_log = structlog.get_logger(__name__)

SLICE_SERVICES: Final = 2_000
"""Services looked up between two chances for other tasks: about two milliseconds."""


async def reconcile(store: PgServiceStore, roster: Roster, follower: Follower) -> int:
    """Bring the actors up to the committed rows; how many differed. Costs some 3 µs a service that does not.

    Raises:
        DatabaseUnavailableError: PostgreSQL went away meanwhile; it is to be done again.
        OverloadedError: a change cannot be journaled now; likewise.
    """

    def version_of(service_id: ServiceId) -> int | None:
        service = roster.by_id(service_id)
        return None if service is None else service.row.version

    differed = 0
    present = array("q")
    async for ids, services in store.load_beyond(version_of):
        present.extend(ids)
        for stored in services:
            await follower.take_row(stored.service.row)
            differed += 1
    for service_id in await _missing(roster, present):
        # Registered since its slice was read, perhaps: only the row itself says that it is gone.
        if await store.read(service_id) is None:
            try:
                await follower.take_deletion(service_id, by=BY_SQL)
            except RefusedError as error:
                _log.info("a deletion came too late", service_id=service_id, reason=error.message)
            differed += 1
    return differed


async def _missing(roster: Roster, present: array[int]) -> list[ServiceId]:
    """The services that are not among those ids, which are in order."""
    missing: list[ServiceId] = []
    for number, service in enumerate(roster.services(), start=1):
        service_id = service.row.service_id
        place = bisect_left(present, service_id)
        if place == len(present) or present[place] != service_id:
            missing.append(service_id)
        if number % SLICE_SERVICES == 0:
            await trio.lowlevel.checkpoint()
    return missing
