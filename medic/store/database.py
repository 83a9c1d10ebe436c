"""PostgreSQL for the rest of the store: queries, transactions, COPY and streams, in trio, with errors of Medic's own.

`Database` keeps a small pool of its own. asyncpg's keeps a connection whose query was cancelled and cleans it up in the
background; here the rule is simpler and is the invariant of this file: **a connection goes back only if the server has
answered everything that was asked of it and no transaction is open; any other is closed.** So a cancelled, timed out or
broken query can cost a reconnection (5 to 10 ms) and never the next user's answer. Connections are made when they are
asked for; nothing is connected at the start, and nothing has to be done when PostgreSQL comes back.

Foreign errors are translated here, by `database_errors`.

Instants cross as `InstantMs`: every `timestamptz`, read or written, is an integer of milliseconds since 1970, so that a
million rows make no datetime objects. `FOREVER` stands for 'infinity'. `jsonb` is text. Each session has `medic.writer`
on, by which the triggers on `services` know Medic's own changes from SQL by hand.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

import asyncpg
import structlog
import trio

from medic.core.units import InstantMs
from medic.errors import DatabaseUnavailableError, InvariantError, MedicError
from medic.store.bridge import Bridge, open_bridge
from medic.store.database_errors import (
    TRANSPORT_ERRORS,
    CommitUnknownError,
    RowRefusedError,
    StatementRefusedError,
    reason_of,
    translated,
)
from medic.store.target import ConnectionTarget

__all__ = [
    "FOREVER",
    "CommitUnknownError",
    "Cursor",
    "Database",
    "DatabaseStatistics",
    "Listener",
    "Observe",
    "Row",
    "RowRefusedError",
    "StatementRefusedError",
    "Transaction",
    "open_database",
]

_log = structlog.get_logger(__name__)
_Answer = TypeVar("_Answer")

Row: TypeAlias = asyncpg.Record
"""One row; read by column name."""

CONNECTIONS_MAX: Final = 8
"""The writer, the change log and a few readers. PostgreSQL allows 100 connections to everybody together."""

ACQUIRE_SECONDS: Final = 2.0
"""Longest wait for a connection, connecting included; then callers answer 503. Clients wait longer than that."""

OPERATION_SECONDS: Final = 30.0
"""Longest wait for one statement. A server that was stopped or cut off answers nothing, and no error comes either."""

CLOSE_SECONDS: Final = 1.0
"""Longest farewell to a connection, and longest rollback before it is closed instead."""

STREAM_ROWS: Final = 5_000
"""Rows a stream takes at once: 300 000 together stalled the loop 44 ms (HARD-CASES H8)."""

COPY_TURN_ROWS: Final = 1_000
"""Rows COPY encodes before it lets others run: 2 to 3 ms."""

FOREVER: Final = InstantMs(9_223_372_036_854_775)
"""What `timestamptz 'infinity'` reads as, and what writes it."""

_POSTGRES_EPOCH_US: Final = 946_684_800_000_000
_INFINITY_US: Final = 9_223_372_036_854_775_807


@dataclass(frozen=True, slots=True)
class DatabaseStatistics:
    """What the pool is doing. `connection_errors` counts each failed attempt and each connection lost."""

    connections_open: int
    connections_busy: int
    connections_max: int
    connection_errors: int
    reachable: bool | None
    """None before the first attempt."""


Observe = Callable[[str, float], None]
"""Told the operation's name and its seconds after each one, also where it failed."""


class Statements:
    """One connection in use: the statements that `Transaction` and single queries have in common."""

    def __init__(self, database: Database, connection: asyncpg.Connection) -> None:
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

    async def execute(self, sql: str, *args: object, operation: str = "", seconds: float = OPERATION_SECONDS) -> str:
        """The command's tag, such as `UPDATE 1`. Without arguments `sql` may hold several statements."""
        tag: str = await self._run(operation or _verb(sql), self._connection.execute, sql, *args, seconds=seconds)
        return tag

    async def copy_records(self, table: str, columns: Sequence[str], records: Iterable[Sequence[object]]) -> int:
        """COPY the records into a table of schema medic; how many went in."""
        tag: str = await self._run("copy", self._copy, table, tuple(columns), records)
        return int(tag.rpartition(" ")[2])

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
        seconds: float = OPERATION_SECONDS,
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


class Database:
    """A pool of connections to one database. Made by `open_database`."""

    def __init__(
        self, bridge: Bridge, target: ConnectionTarget, *, connections_max: int = CONNECTIONS_MAX, observe: Observe
    ) -> None:
        self._bridge = bridge
        self._target = target
        self._connections_max = connections_max
        self._observe = observe
        self._permits = trio.Semaphore(connections_max, max_value=connections_max)
        self._idle: deque[asyncpg.Connection] = deque()
        self._busy: set[asyncpg.Connection] = set()
        self._errors = 0
        self._reachable: bool | None = None
        self._closed = False

    @property
    def target(self) -> ConnectionTarget:
        """Where it connects to."""
        return self._target

    async def fetch(self, sql: str, *args: object, operation: str = "") -> list[Row]:
        """All rows of a query that is known to have few."""
        async with self._borrowed() as connection:
            return await Statements(self, connection).fetch(sql, *args, operation=operation)

    async def fetchrow(self, sql: str, *args: object, operation: str = "") -> Row | None:
        """The first row, or None."""
        async with self._borrowed() as connection:
            return await Statements(self, connection).fetchrow(sql, *args, operation=operation)

    async def execute(self, sql: str, *args: object, operation: str = "") -> str:
        """The command's tag, such as `UPDATE 1`."""
        async with self._borrowed() as connection:
            return await Statements(self, connection).execute(sql, *args, operation=operation)

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction for the block: committed at its end, rolled back if it is left by an exception.

        Raises:
            CommitUnknownError: at the end of the block, where nobody can know whether it was committed.
        """
        return self._transaction()

    async def stream(self, sql: str, *args: object, rows: int = STREAM_ROWS) -> AsyncGenerator[list[Row], None]:
        """The rows of a query in slices, in bounded memory. Close it (`aclosing`) where it is not read to the end."""
        connection = await self._take()
        try:
            await self.run_statement(connection, "begin", connection.execute, "BEGIN READ ONLY")
            cursor = await Transaction(self, connection).open_cursor(sql, *args)
            while part := await cursor.next_slice(rows):
                yield part
            await self.run_statement(connection, "commit", connection.execute, "COMMIT")
        finally:
            self._give_back(connection)

    @asynccontextmanager
    async def listening(self, channel: str) -> AsyncIterator[Listener]:
        """What others NOTIFY on a channel, for the block. It keeps one connection of the pool."""
        async with self._borrowed() as connection:
            listener = Listener(connection)
            connection.add_termination_listener(listener.note)
            try:
                await self.run_statement(connection, "listen", connection.add_listener, channel, listener.note)
                yield listener
            finally:
                # Others must not hear what this one has subscribed to.
                connection.terminate()

    def statistics(self) -> DatabaseStatistics:
        """Counters for metrics and health."""
        return DatabaseStatistics(
            connections_open=len(self._idle) + len(self._busy),
            connections_busy=len(self._busy),
            connections_max=self._connections_max,
            connection_errors=self._errors,
            reachable=self._reachable,
        )

    async def aclose(self) -> None:
        """Close every connection; politely if PostgreSQL still answers within a second."""
        self._closed = True
        with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_SECONDS):
            while self._idle:
                connection = self._idle.pop()
                try:
                    await self._bridge.call(connection.close, timeout=CLOSE_SECONDS)
                except (asyncpg.PostgresError, asyncpg.InterfaceError, *TRANSPORT_ERRORS):
                    connection.terminate()
        for connection in (*self._idle, *self._busy):
            connection.terminate()

    async def run_statement(
        self,
        connection: asyncpg.Connection,
        operation: str,
        function: Callable[..., Coroutine[object, object, _Answer]],
        *args: object,
        seconds: float = OPERATION_SECONDS,
    ) -> _Answer:
        """Run one call of the driver on a connection in use: with its time limit, observed, errors translated."""
        begun = trio.current_time()
        try:
            with trio.fail_after(seconds):
                return await self._bridge.call(function, *args)
        except trio.Cancelled:
            connection.terminate()
            raise
        except TRANSPORT_ERRORS as error:
            connection.terminate()
            raise self._lost(error) from None
        except (asyncpg.PostgresError, asyncpg.InterfaceError, UnicodeError, OverflowError) as error:
            if connection.is_closed():
                raise self._lost(error) from None
            raise translated(error) from None
        finally:
            self._observe(operation, trio.current_time() - begun)

    # ------------------------------------------------------------------------------------------------------ inside

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await self._take()
        try:
            yield connection
        finally:
            self._give_back(connection)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Transaction]:
        connection = await self._take()
        try:
            await self.run_statement(connection, "begin", connection.execute, "BEGIN")
            try:
                yield Transaction(self, connection)
            except BaseException:
                await self._roll_back(connection)
                raise
            await self._commit(connection)
        finally:
            self._give_back(connection)

    async def _commit(self, connection: asyncpg.Connection) -> None:
        try:
            tag = await self.run_statement(connection, "commit", connection.execute, "COMMIT")
        except DatabaseUnavailableError as error:
            if connection.is_closed():
                raise CommitUnknownError(f"{error.message}; whether it was committed is not known") from None
            raise
        if tag != "COMMIT":
            raise InvariantError("a transaction was committed after one of its statements had failed")

    async def _roll_back(self, connection: asyncpg.Connection) -> None:
        """Undo, so that the connection can be used again; a connection that cannot is closed by `_give_back`."""
        with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_SECONDS):
            if connection.is_closed() or not connection.is_in_transaction():
                return
            try:
                await self.run_statement(connection, "rollback", connection.execute, "ROLLBACK")
            except MedicError:
                connection.terminate()

    async def _take(self) -> asyncpg.Connection:
        """A connection that works, as far as can be known without asking, and a permit for it."""
        if self._closed:
            raise DatabaseUnavailableError("Medic is closing its connections to PostgreSQL")
        try:
            with trio.fail_after(ACQUIRE_SECONDS):
                await self._permits.acquire()
                try:
                    connection = self._pop_idle() or await self._connect()
                except BaseException:
                    self._permits.release()
                    raise
        except trio.TooSlowError:
            if len(self._busy) == self._connections_max:
                raise DatabaseUnavailableError("every connection to PostgreSQL is in use") from None
            raise self._lost(TimeoutError()) from None
        self._busy.add(connection)
        return connection

    def _give_back(self, connection: asyncpg.Connection) -> None:
        self._busy.discard(connection)
        if connection.is_closed() or connection.is_in_transaction() or self._closed:
            connection.terminate()
        else:
            self._idle.append(connection)
        self._permits.release()

    def _pop_idle(self) -> asyncpg.Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    async def _connect(self) -> asyncpg.Connection:
        try:
            connection = await self._bridge.call(_open_connection, self._target)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, *TRANSPORT_ERRORS) as error:
            raise self._lost(error) from None
        if self._reachable is False:
            _log.info("PostgreSQL answers again")
        self._reachable = True
        return connection

    def _lost(self, error: BaseException) -> DatabaseUnavailableError:
        """Count a failed attempt or lost connection; the error that says so."""
        self._errors += 1
        while self._idle:
            # They were made to the server that has just failed. Finding that out one by one would fail one caller each.
            self._idle.pop().terminate()
        unavailable = DatabaseUnavailableError(f"PostgreSQL does not answer ({reason_of(error)})")
        if self._reachable is not False:
            _log.warning("PostgreSQL does not answer", reason=reason_of(error))
        self._reachable = False
        return unavailable


@asynccontextmanager
async def open_database(
    target: ConnectionTarget,
    *,
    connections_max: int = CONNECTIONS_MAX,
    observe: Observe = lambda _operation, _seconds: None,
    bridge: Bridge | None = None,
) -> AsyncIterator[Database]:
    """A database for the block. PostgreSQL need not be there yet: the first query connects.

    Args:
        target: Where it is.
        connections_max: Connections it makes at most.
        observe: Told the seconds of each operation.
        bridge: One that is open already; a bridge of its own otherwise.
    """
    async with _bridge_or(bridge) as crossing:
        database = Database(crossing, target, connections_max=connections_max, observe=observe)
        try:
            yield database
        finally:
            await database.aclose()


@asynccontextmanager
async def _bridge_or(bridge: Bridge | None) -> AsyncIterator[Bridge]:
    if bridge is not None:
        yield bridge
        return
    async with open_bridge() as own:
        yield own


async def _open_connection(target: ConnectionTarget) -> asyncpg.Connection:
    """An asyncio coroutine function: a new connection with Medic's session settings and instants."""
    connection = await asyncpg.connect(
        dsn=target.ssl_dsn(),
        host=target.host,
        port=target.port,
        database=target.database,
        user=target.user,
        password=target.password,
        timeout=ACQUIRE_SECONDS,
        server_settings={
            "application_name": "medic",
            "search_path": "medic, public",
            "TimeZone": "UTC",
            "client_min_messages": "warning",
            "jit": "off",
            # A statement that Medic no longer waits for ends within this, and with it its locks.
            "client_connection_check_interval": "1s",
            "medic.writer": "on",
        },
    )
    try:
        await connection.set_type_codec(
            "timestamptz", schema="pg_catalog", encoder=_encode_instant, decoder=_decode_instant, format="tuple"
        )
    except BaseException:
        connection.terminate()
        raise
    return connection


def _encode_instant(instant: int) -> tuple[int]:
    return (_INFINITY_US,) if instant == FOREVER else (instant * 1000 - _POSTGRES_EPOCH_US,)


def _decode_instant(value: tuple[int]) -> InstantMs:
    microseconds = value[0]
    return FOREVER if microseconds == _INFINITY_US else InstantMs((microseconds + _POSTGRES_EPOCH_US) // 1000)


async def _in_turns(records: Iterable[Sequence[object]]) -> AsyncIterator[Sequence[object]]:
    for number, record in enumerate(records, 1):
        yield record
        if number % COPY_TURN_ROWS == 0:
            await asyncio.sleep(0)


def _verb(sql: str) -> str:
    return sql.split(None, 1)[0].lower()
