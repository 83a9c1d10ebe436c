"""Brings changes of `api_keys` and `secrets`, by SQL or by another Medic, to this one: a revoked key works no more.

A trigger notifies whoever listens; then all of them are read. There are few, and they change some times a day. A
connection that died is noticed by the driver, and listening begins anew with a reading; one that was cut off without a
word is noticed by the reading that comes anyhow.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
import trio

from medic.errors import DatabaseUnavailableError
from medic.store.postgres.database import Database, StatementRefusedError

_log = structlog.get_logger(__name__)

READ_ANYHOW_SECONDS: Final = 30.0
"""How often the keys are read though nothing was notified. Ten thousand of them cost 40 ms."""

RETRY_SECONDS: Final = 1.0

_CHANNEL: Final = "medic_keys"


class KeyLog:
    """Calls `follow`, which reads the keys, whenever they may have changed.

    Args:
        database: Where they are.
        follow: Reads them. It may raise `DatabaseUnavailableError`.
    """

    def __init__(self, database: Database, follow: Callable[[], Awaitable[None]]) -> None:
        self._database = database
        self._follow = follow

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow changes until cancelled. PostgreSQL may be away; then what is known stays in force."""
        task_status.started()
        while True:
            try:
                await self._follow_while_listening()
            except DatabaseUnavailableError:
                pass
            except StatementRefusedError as error:
                _log.error("changed keys cannot be read", reason=error.message)
            await trio.sleep(RETRY_SECONDS)

    async def _follow_while_listening(self) -> None:
        async with self._database.listening(_CHANNEL) as listener:
            while True:
                await self._follow()
                with trio.move_on_after(READ_ANYHOW_SECONDS):
                    await listener.wait()
