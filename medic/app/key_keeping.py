"""What is done for keys beside checking them: changes are followed, uses written, ends told. Nobody waits for it."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from typing import Final

import structlog
import trio

from medic.access.endings import KeyStatistics, count_keys, untold
from medic.access.keys import ApiKey
from medic.access.ports import KeyStore
from medic.actors.outbox import Outbox
from medic.app.keys import OperatorKeys
from medic.core.notification import SELF_KEY, Notification
from medic.core.status import NotificationKind
from medic.core.units import MINUTE_MS, InstantMs, isoformat
from medic.errors import DatabaseUnavailableError, OverloadedError
from medic.ports import Clock
from medic.store.postgres.database import StatementRefusedError
from medic.store.tables.key_log import KeyLog

_log = structlog.get_logger(__name__)

WRITE_EVERY_SECONDS: Final = 60.0
"""How often uses are written: a table that says when a key was used last need not say it to the second."""

FORGET_EVERY_ROUNDS: Final = 60
"""Rounds of writing between two at which heartbeats without a key are forgotten that are too long ago."""

FINISH_SECONDS: Final = 1.0
"""How long the last writing may take at the end. What it does not write was a use of the last minute."""

LOOK_EVERY_SECONDS: Final = 600.0
"""How often keys are looked at that are about to end, beside each change of one. People are told in days."""


class KeyKeeping:
    """Keeps keys, uses and people up to date.

    Args:
        keys: The keys.
        store: Where they and their uses are stored.
        log: Says when they were changed by another way.
        outbox: Tells people.
        clock: Where instants come from.
    """

    def __init__(self, keys: OperatorKeys, store: KeyStore, log: KeyLog, outbox: Outbox, clock: Clock) -> None:
        self._keys = keys
        self._store = store
        self._log = log
        self._outbox = outbox
        self._clock = clock
        self._told: dict[str, tuple[InstantMs | None, int]] = {}
        self._counted_at = (-1, 0)
        self._counted = KeyStatistics(0, 0)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do all of it until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._log.run)
            nursery.start_soon(self._keep_uses)
            nursery.start_soon(self._keep_ends)
            task_status.started()

    async def write_uses(self) -> None:
        """Write what was noted so far.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer; it is written later.
        """
        uses = self._keys.uses
        while unwritten := uses.take_unwritten():
            try:
                await self._store.write_uses(unwritten)
            except BaseException:
                uses.give_back(unwritten)
                raise

    async def finish(self) -> None:
        """Write what was noted since, as far as that takes no time: a step of the drain."""
        with trio.move_on_after(FINISH_SECONDS), suppress(DatabaseUnavailableError, StatementRefusedError):
            await self.write_uses()

    async def tell_ends(self) -> int:
        """Tell people of the keys that are about to end, each number of days once; how many were told.

        Told first and stored then: a crash in between tells once more, and the other way round nobody.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer. Whom it concerned was told, and is not told again.
        """
        told = 0
        for key, days in untold(self._keys.all(), self._clock.now()):
            if self._told.get(key.key_id) != (key.expires_at, days):
                self._outbox.require_room()
                self._tell(key, days)
                self._told[key.key_id] = (key.expires_at, days)
                told += 1
            await self._store.note_told(key, days)
        return told

    def statistics(self) -> KeyStatistics:
        """For metrics and health. Counted anew where a key was changed, and once a minute."""
        now = self._clock.now()
        mark = (self._keys.ring.version, now // MINUTE_MS)
        if mark != self._counted_at:
            self._counted_at, self._counted = mark, count_keys(self._keys.all(), now)
        return self._counted

    def _tell(self, key: ApiKey, days: int) -> None:
        ends = isoformat(key.expires_at) if key.expires_at is not None else "never"
        text = (
            f"The API key {key.name} ({key.key_id}) expires at {ends}, within {days} {'day' if days == 1 else 'days'}. "
            f"`medic-cli key rotate {key.key_id}` makes its next secret."
        )
        _log.warning("an API key is about to expire", key_id=key.key_id, name=key.name, expires_at=ends)
        self._outbox.tell_nowait(
            Notification(
                notification_id=f"key.{key.key_id}.{key.expires_at}.{days}",
                kind=NotificationKind.KEY_ENDS,
                key=SELF_KEY,
                at=self._clock.now(),
                text=text,
            )
        )

    async def _keep_ends(self) -> None:
        while True:
            version = self._keys.ring.version
            try:
                await self.tell_ends()
            except (DatabaseUnavailableError, OverloadedError, StatementRefusedError) as error:
                _log.info("that keys are about to expire is told, or written down, later", reason=str(error))
            with trio.move_on_after(LOOK_EVERY_SECONDS):
                await self._keys.wait_newer(version)

    async def _keep_uses(self) -> None:
        await self._learn_uses()
        for round_number in count():
            await trio.sleep(WRITE_EVERY_SECONDS)
            try:
                await self.write_uses()
                if round_number % FORGET_EVERY_ROUNDS == 0:
                    await self._forget_keyless()
            except (DatabaseUnavailableError, StatementRefusedError) as error:
                _log.info("uses of keys are written later", reason=str(error))

    async def _learn_uses(self) -> None:
        """What was written before this start, as soon as PostgreSQL says it."""
        uses = self._keys.uses
        while True:
            try:
                uses.learn(await self._store.uses(), {})
                async for part in self._store.keyless():
                    uses.learn((), part)
            except (DatabaseUnavailableError, StatementRefusedError) as error:
                _log.info("earlier uses of keys are not known yet", reason=str(error))
                await trio.sleep(WRITE_EVERY_SECONDS)
            else:
                return

    async def _forget_keyless(self) -> None:
        for _ in self._keys.uses.forget_old(self._clock.now()):
            await trio.lowlevel.checkpoint()
        await self._store.forget_keyless()
