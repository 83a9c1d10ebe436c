"""Refused sign-ins in the audit: one entry a minute for each address, key and reason, however many there were.

An entry for each would let whoever guesses keys fill the disk. So they are counted in memory, which is bounded, and
written once a minute; while PostgreSQL is away they go on being counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog
import trio

from medic.core.author import Author
from medic.core.units import InstantMs, isoformat
from medic.errors import DatabaseUnavailableError
from medic.ports import Clock
from medic.store.postgres.database import Database, StatementRefusedError
from medic.store.tables.audit import audit

_log = structlog.get_logger(__name__)

WRITE_EVERY_SECONDS: Final = 60.0
"""How long refusals are counted into one entry."""

SOURCES_MAX: Final = 200
"""Sources counted apart, and so the most entries of a minute. Those beyond are counted together, under no address."""

LAST_SECONDS: Final = 2.0
"""How long the last write may take once Medic ends."""

ACTION: Final = "sign-in refused"

FIELD_MAX: Final = 100
"""Characters kept of an address or a key's id: both come from whoever asks."""


@dataclass(frozen=True, slots=True)
class _Source:
    reason: str
    address: str
    key_id: str


@dataclass(slots=True)
class _Count:
    first: InstantMs
    last: InstantMs
    refusals: int = 1


class RefusedSignIns:
    """Counts refused sign-ins as the gate tells of them, and writes them down."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._counts: dict[_Source, _Count] = {}

    def note_refused_sign_in(self, reason: str, address: str, key_id: str) -> None:
        """Count one."""
        now = self._clock.now()
        self._add(_Source(reason, _printable(address), _printable(key_id)), _Count(now, now))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write once a minute until cancelled, and then once more."""
        task_status.started()
        try:
            while True:
                await trio.sleep(WRITE_EVERY_SECONDS)
                await self._try_to_write()
        finally:
            with trio.move_on_after(LAST_SECONDS, shield=True):
                await self._try_to_write()

    async def _try_to_write(self) -> None:
        try:
            await self.write()
        except DatabaseUnavailableError:
            pass  # counted on; others report that PostgreSQL is away
        except StatementRefusedError as error:
            _log.error("refused sign-ins cannot be written to the audit", reason=str(error))

    async def write(self) -> None:
        """Write what was counted, and begin anew."""
        counts, self._counts = self._counts, {}
        if not counts:
            return
        written = False
        try:
            async with self._database.transaction() as transaction:
                for source, count in counts.items():
                    await audit(
                        transaction,
                        at=count.last,
                        author=Author(source.address, key_id=source.key_id, address=source.address),
                        action=ACTION,
                        subject=source.address,
                        after={
                            "reason": source.reason,
                            "refusals": count.refusals,
                            "first": isoformat(count.first),
                            "last": isoformat(count.last),
                        },
                    )
            written = True
        finally:
            if not written:
                self._take_back(counts)

    def _take_back(self, counts: dict[_Source, _Count]) -> None:
        newer, self._counts = self._counts, counts
        for source, count in newer.items():
            self._add(source, count)

    def _add(self, source: _Source, count: _Count) -> None:
        if source not in self._counts and len(self._counts) >= SOURCES_MAX:
            source = _Source(source.reason, "", "")
        known = self._counts.setdefault(source, count)
        if known is not count:
            known.refusals += count.refusals
            known.last = count.last


def _printable(words: str) -> str:
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in words[:FIELD_MAX])
