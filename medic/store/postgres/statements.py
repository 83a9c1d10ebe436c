"""One connection in use: what can be asked of it, inside a transaction, across a cursor, or kept for what it locks.

Whoever made the connection (`database`) runs each call, with its time limit and with errors translated; so nothing here
meets a foreign exception.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from typing import Final, Protocol, TypeAlias, TypeVar

import asyncpg
import trio

from medic.errors import DatabaseUnavailableError

_Answer = TypeVar("_Answer")

Row: TypeAlias = asyncpg.Record
"""One row; read by column name."""

STREAM_ROWS: Final = 5_000
"""Rows a stream takes at once: 300 000 together stalled the loop 44 ms (HARD-CASES H8)."""

COPY_TURN_ROWS: Final = 1_000
"""Rows COPY encodes before it lets others run: 2 to 3 ms."""

COPY_PART_BYTES: Final = 256 << 10
"""What COPY sends of packed rows before it lets others run: 5 000 heartbeats, well under a millisecond."""

_COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_COPY_TRAILER: Final = b"\xff\xff"


class Runner(Protocol):
    """What a connection belongs to."""

    async def run_statement(
        self,
        connection: asyncpg.Connection,
        operation: str,
        function: Callable[..., Coroutine[object, object, _Answer]],
        *args: object,
        seconds: float | None = None,
    ) -> _Answer:
        """Run one call of the driver on a connection in use."""
        ...

    def end_session(self, connection: asyncpg.Connection) -> None:
        """Close a connection that was kept."""
        ...


class Statements:
    """One connection in use: the statements that `Transaction` and single queries have in common."""

    def __init__(self, database: Runner, connection: asyncpg.Connection) -> None:
        self._database = database
        self._connection = connection

    async def fetch(self, sql: str, *args: object, operation: str = "") -> list[Row]:
        """All rows of a query that is known to have few; `Database.stream` is for many."""
        rows: list[Row] = await self._run(operation or _verb(sql), self._connection.fetch, sql, *args)
        return rows

    async def fetchrow(self, sql: str, *args: object, operation: str = "") -> Row | None:
        """The first row, or None."""
        row: Row | None = await self._run(operation or _verb(sql), self._connection.fetchrow, sql, *args)
        return row

    async def execute(self, sql: str, *args: object, operation: str = "", seconds: float | None = None) -> str:
        """The command's tag, such as `UPDATE 1`. Without arguments `sql` may hold several statements."""
        tag: str = await self._run(operation or _verb(sql), self._connection.execute, sql, *args, seconds=seconds)
        return tag

    async def copy_records(self, table: str, columns: Sequence[str], records: Iterable[Sequence[object]]) -> int:
        """COPY the records into a table of schema medic; how many went in."""
        tag: str = await self._run("copy", self._copy, table, tuple(columns), records)
        return int(tag.rpartition(" ")[2])

    async def copy_packed(self, table: str, columns: Sequence[str], rows: bytes | bytearray) -> int:
        """The same for rows that are packed already, as the binary format of COPY has them; how many went in."""
        tag: str = await self._run("copy", self._copy_packed, table, tuple(columns), rows)
        return int(tag.rpartition(" ")[2])

    async def _copy_packed(self, table: str, columns: tuple[str, ...], rows: bytes | bytearray) -> str:
        tag: str = await self._connection.copy_to_table(
            table, schema_name="medic", columns=columns, source=_in_parts(rows), format="binary"
        )
        return tag

    async def _copy(self, table: str, columns: tuple[str, ...], records: Iterable[Sequence[object]]) -> str:
        tag: str = await self._connection.copy_records_to_table(
            table, schema_name="medic", columns=columns, records=_in_turns(records)
        )
        return tag

    async def _run(
        self,
        operation: str,
        function: Callable[..., Coroutine[object, object, _Answer]],
        *args: object,
        seconds: float | None = None,
    ) -> _Answer:
        return await self._database.run_statement(self._connection, operation, function, *args, seconds=seconds)


class Transaction(Statements):
    """A connection inside BEGIN … COMMIT. Leaving its block by an exception rolls back."""

    async def open_cursor(self, sql: str, *args: object) -> Cursor:
        """A cursor over the rows of a query, read in slices, within this transaction."""
        return Cursor(self, await self._run("cursor", self._declare, sql, *args))

    async def fetch_slice(self, cursor: asyncpg.cursor.Cursor, rows: int) -> list[Row]:
        """The next rows of an open cursor."""
        part: list[Row] = await self._run("cursor", cursor.fetch, rows)
        return part

    async def _declare(self, sql: str, *args: object) -> asyncpg.cursor.Cursor:
        return await self._connection.cursor(sql, *args)


class Cursor:
    """The rows of a query that are still to come."""

    def __init__(self, transaction: Transaction, cursor: asyncpg.cursor.Cursor) -> None:
        self._transaction = transaction
        self._cursor = cursor

    async def next_slice(self, rows: int = STREAM_ROWS) -> list[Row]:
        """Up to `rows` further rows; none when there are no more."""
        return await self._transaction.fetch_slice(self._cursor, rows)


class Session(Statements):
    """One connection, kept from `Database.open_session` until it ends: what it locks stays locked so long."""

    def __init__(self, database: Runner, connection: asyncpg.Connection) -> None:
        super().__init__(database, connection)
        self._lost = trio.Event()
        connection.add_termination_listener(self._note_lost)

    async def wait_lost(self) -> None:
        """Return once the connection has ended, as far as that can be seen without asking anything of it."""
        await self._lost.wait()

    def end(self) -> None:
        """Close the connection: the server gives back at once what it had locked."""
        self._database.end_session(self._connection)

    def _note_lost(self, *_: object) -> None:
        self._lost.set()


class Listener:
    """A connection that hears what is notified on one channel. Several notifications before a wait are one."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._heard = trio.Event()

    async def wait(self) -> None:
        """Return once something was notified since the wait before.

        Raises:
            DatabaseUnavailableError: the connection is lost; what was notified since may be, too.
        """
        await self._heard.wait()
        if self._connection.is_closed():
            raise DatabaseUnavailableError("the connection that listened to PostgreSQL is lost")
        self._heard = trio.Event()

    def note(self, *_: object) -> None:
        """Called by the driver: something was notified, or the connection has ended."""
        self._heard.set()


async def _in_turns(records: Iterable[Sequence[object]]) -> AsyncIterator[Sequence[object]]:
    for number, record in enumerate(records, 1):
        yield record
        if number % COPY_TURN_ROWS == 0:
            await asyncio.sleep(0)


async def _in_parts(rows: bytes | bytearray) -> AsyncIterator[bytes]:
    yield _COPY_HEADER
    for place in range(0, len(rows), COPY_PART_BYTES):
        yield bytes(rows[place : place + COPY_PART_BYTES])
        await asyncio.sleep(0)
    yield _COPY_TRAILER


def _verb(sql: str) -> str:
    return sql.split(None, 1)[0].lower()
