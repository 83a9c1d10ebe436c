"""Ids without asking PostgreSQL: blocks of them taken ahead, and written down before they are used (HARD-CASES H22).

PostgreSQL gives blocks of 2^20 ids (`medic.take_id_blocks`) that nobody else will ever get. They are kept as ranges
in a file of the data directory, enough for a thousand million ids: more than a day at the promised peak without
PostgreSQL.

No id may ever be given out twice, whenever the process dies. So ids are drawn from a reserve in memory, and a reserve
is cut off the ranges in the file, synced, before the first id of it is drawn; a crash loses what is left of the
reserve and no more. The next reserve is cut off in the background while the last one is used, so a draw costs 0.1 µs
and never waits.

A copy of a data directory put back in place of a newer one would give ids out again: whoever restores one removes
the file `ids` from it, and Medic takes new blocks.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson
import structlog
import trio
from pydantic import TypeAdapter, ValidationError

from medic.core.units import EventId
from medic.errors import DatabaseUnavailableError, MedicError, OverloadedError
from medic.store.journal.files import sync_directory
from medic.store.postgres.database import Database

_log = structlog.get_logger(__name__)

BLOCK_IDS: Final = 1 << 20
BLOCKS_AHEAD: Final = 1_024
"""Blocks kept in the directory: 2^30 ids."""

BLOCKS_TAKEN_MIN: Final = 64
"""PostgreSQL is asked for no fewer than this many: every two hours at the promised peak."""

RESERVE_IDS: Final = 65_536
"""Ids that one sync covers: six seconds of the promised peak, and the most that a crash wastes."""

RETRY_SECONDS: Final = 5.0

FILE_NAME: Final = "ids"

Range = tuple[int, int]
"""First id, and the one behind the last."""

Ranges = tuple[Range, ...]


_STORED: Final = TypeAdapter(Ranges)


class BlockIds:
    """Implements `ports.Ids`.

    Args:
        directory: Where the file `ids` is kept; the data directory.

    Raises:
        OSError: the file cannot be read.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._ranges = self._load()
        self._next = self._end = 0
        self._ahead: Range | None = None
        self._wanted = trio.Event()
        # Held while the file is written: by the background in a thread, or by a draw that found nothing cut ahead.
        self._writing = threading.Lock()

    @property
    def remaining(self) -> int:
        """Ids that can be drawn without PostgreSQL, those in memory included."""
        ahead = 0 if self._ahead is None else self._ahead[1] - self._ahead[0]
        return self._end - self._next + ahead + _total(self._ranges)

    def draw(self) -> EventId:
        """The next id.

        Raises:
            OverloadedError: the blocks kept ahead are used up and PostgreSQL is away, or the file cannot be written.
        """
        drawn = self._next
        if drawn == self._end:
            drawn = self._begin_reserve()
        self._next = drawn + 1
        return EventId(drawn)

    @property
    def in_hand(self) -> int:
        """How many can be drawn from the reserve that is in use."""
        return self._end - self._next

    def draw_many(self, count: int) -> Sequence[EventId]:
        """The next `count` ids; no more than are `in_hand`."""
        first = self._next
        self._next = first + count
        return range(first, first + count)  # type: ignore[return-value]  # a range knows plain numbers only

    async def refill(self, database: Database) -> None:
        """Take blocks from PostgreSQL until `BLOCKS_AHEAD` of them are kept.

        Raises:
            DatabaseUnavailableError: nothing was taken, or nothing that is known of.
            OSError: the blocks could not be written down; they can be drawn from all the same.
        """
        missing = BLOCKS_AHEAD - _total(self._ranges) // BLOCK_IDS
        if missing < BLOCKS_TAKEN_MIN:
            return
        row = await database.fetchrow("SELECT medic.take_id_blocks($1)", missing, operation="ids")
        if row is None:
            raise DatabaseUnavailableError("PostgreSQL gives no ids")
        first = int(row[0]) * BLOCK_IDS
        self._ranges = (*self._ranges, (first, first + missing * BLOCK_IDS))
        await trio.to_thread.run_sync(self._store)

    async def run(self, database: Database, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a reserve ahead of what is drawn, and blocks ahead of the reserves, until cancelled."""
        task_status.started()
        while True:
            self._wanted = trio.Event()
            try:
                await self._cut_ahead()
                await self.refill(database)
                await self._cut_ahead()
            except (MedicError, OSError) as error:
                _log.warning("no ids could be put by; those in hand go on", reason=str(error), remaining=self.remaining)
                await trio.sleep(RETRY_SECONDS)
                continue
            await self._wanted.wait()

    async def _cut_ahead(self) -> None:
        """Cut the next reserve off the ranges while the current one is used."""
        if self._ahead is None and self._ranges:
            reserve, self._ranges = _cut(self._ranges)
            try:
                await trio.to_thread.run_sync(self._store)
            except OSError:
                self._ranges = (reserve, *self._ranges)
                raise
            self._ahead = reserve

    def _begin_reserve(self) -> int:
        """The first id of the reserve that was cut ahead, or, where the background was too slow, of one cut now."""
        reserve, self._ahead = self._ahead, None
        if reserve is None:
            reserve = self._cut_now()
        self._next, self._end = reserve
        self._wanted.set()
        return self._next

    def _cut_now(self) -> Range:
        if not self._ranges:
            raise OverloadedError("Medic has no ids left and PostgreSQL is away.", retry_after_seconds=5)
        reserve, self._ranges = _cut(self._ranges)
        try:
            self._store()
        except OSError as error:
            self._ranges = (reserve, *self._ranges)
            _log.error("ids cannot be put by", reason=str(error))
            raise OverloadedError("Medic cannot write to its data directory.", retry_after_seconds=5) from error
        return reserve

    # Neither the ranges nor the file ever hold what is being drawn from. A reserve of which the cut could not be
    # written down goes back to the ranges undrawn.

    def _store(self) -> None:
        """Write the ranges down, as they are once it is this writer's turn. Blocks for one sync."""
        with self._writing:
            unfinished = self._path.with_suffix(".unfinished")
            with unfinished.open("wb") as file:
                file.write(orjson.dumps(self._ranges))
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self._path)
            sync_directory(self._path.parent)

    def _load(self) -> Ranges:
        """The ranges as they were written down; none where there is no file, or none that can be read."""
        try:
            return _STORED.validate_json(self._path.read_bytes(), strict=True)
        except FileNotFoundError:
            return ()
        except ValidationError:
            _log.error("the file of ids is damaged; new blocks are taken", file=str(self._path))
            return ()


def _total(ranges: Ranges) -> int:
    return sum(end - first for first, end in ranges)


def _cut(ranges: Ranges) -> tuple[Range, Ranges]:
    """A reserve off the first range, and what is left."""
    (first, end), rest = ranges[0], ranges[1:]
    cut = min(end, first + RESERVE_IDS)
    return (first, cut), rest if cut == end else ((cut, end), *rest)
