"""The first start on a database that was taken over: one message about the services that nobody has heard of.

Each of them is late, and none of them is news: the earlier system told of them every quarter of a minute, or had given
them up. So they have alerts that nobody is told of one by one, and this one message has all their names.
"""

from __future__ import annotations

from typing import Final

import structlog
import trio

from medic.actors.clock import wall_now
from medic.actors.outbox import Outbox
from medic.core.notification import SELF_KEY, Notification
from medic.core.status import NotificationKind
from medic.errors import DatabaseUnavailableError, OverloadedError
from medic.ports import Journal
from medic.store.adoption.unheard import Unheard, note_told, read_unheard
from medic.store.postgres.database import Database
from medic.store.tables.writer import Writer

_log = structlog.get_logger(__name__)

RETRY_SECONDS: Final = 5.0

NAMES_CHARACTERS_MAX: Final = 2_000
"""Slack takes 3 000 characters in a section; the sentences around the names need some of them."""


async def tell_adopted(database: Database, outbox: Outbox, journal: Journal, writer: Writer) -> None:
    """Tell it if it was not told yet: decided once, and delivered as every notification is.

    Returns once PostgreSQL knows that it was; looks again while PostgreSQL is away.
    """
    while True:
        try:
            unheard = await read_unheard(database)
            if unheard is None:
                return
            if not unheard.decided:
                outbox.require_room()
                outbox.tell_nowait(_notification(unheard))
                await writer.wait_committed(journal.newest)
            await note_told(database)
        except (DatabaseUnavailableError, OverloadedError) as error:
            _log.info("services that were never heard of are told of later", reason=str(error))
            await trio.sleep(RETRY_SECONDS)


def _notification(unheard: Unheard) -> Notification:
    return Notification(
        notification_id=unheard.notification_id,
        kind=NotificationKind.ADOPTED,
        key=SELF_KEY,
        at=wall_now(),
        text=said_of(unheard),
    )


def said_of(unheard: Unheard) -> str:
    """What is told."""
    count = len(unheard.names)
    services = "1 service has" if count == 1 else f"{count} services have"
    shown: list[str] = []
    length = 0
    for name in unheard.names:
        length += len(name) + 2
        if length > NAMES_CHARACTERS_MAX:
            break
        shown.append(name)
    more = f" and {count - len(shown)} more" if count > len(shown) else ""
    return (
        f"Medic took over from the earlier system. {services} not been heard of in {unheard.retention_days} days. They "
        f"are shown as late, and nobody is paged for them: {', '.join(shown)}{more}. Delete or deactivate what is no "
        "longer there."
    )
