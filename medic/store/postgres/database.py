"""PostgreSQL for the rest of the store: queries, transactions, COPY and streams, in trio, with errors of Medic's own.

`Database` keeps a small pool of its own. asyncpg's keeps a connection whose query was cancelled and cleans it up in the
background; here the rule is simpler and is the invariant of this file: **a connection goes back only if the server has
answered everything that was asked of it and no transaction is open; any other is closed.** So a cancelled, timed out or
broken query can cost a reconnection (5 to 10 ms) and never the next user's answer. Connections are made when they are
asked for; nothing is connected at the start, and nothing has to be done when PostgreSQL comes back.

Foreign errors are translated here, by `database_errors`. What a session is, `session` says:
instants are milliseconds, and changes of services are known as Medic's own.

Once `fence` was called, every transaction first shows the token it was given, in the same round trip as its BEGIN. So
no part has to remember to: what was overtaken can commit nothing (`leadership`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import asyncpg
import structlog
import trio

from medic.errors import DatabaseUnavailableError, InvariantError, MedicError, OvertakenError
from medic.store.postgres.bridge import Bridge, open_bridge
from medic.store.postgres.errors import (
    TRANSPORT_ERRORS,
    CommitUnknownError,
    LockedError,
    RowRefusedError,
    StatementRefusedError,
    reason_of,
    translated,
)
from medic.store.postgres.session import FOREVER, open_connection
from medic.store.postgres.statements import STREAM_ROWS, Cursor, Listener, Row, Session, Statements, Transaction
from medic.store.postgres.target import ConnectionTarget

__all__ = [
    "FOREVER",
    "CommitUnknownError",
    "Cursor",
    "Database",
    "DatabaseStatistics",
    "Limits",
    "Listener",
    "LockedError",
    "Observe",
    "Row",
    "RowRefusedError",
    "Session",
    "StatementRefusedError",
    "Transaction",
    "open_database",
]

_log = structlog.get_logger(__name__)
_Answer = TypeVar("_Answer")

OVERTAKEN: Final = "MD001"
"""The SQLSTATE that `medic.require_token` raises."""

CONNECTIONS_MAX: Final = 9
"""The writer, those that listen for changes of services and of keys, and a few readers. PostgreSQL allows 100
connections to everybody together."""

ACQUIRE_SECONDS: Final = 2.0
"""Longest wait for a connection, connecting included; then callers answer 503. Clients wait longer than that."""

OPERATION_SECONDS: Final = 30.0
"""Longest wait for one statement. A server that was stopped or cut off answers nothing, and no error comes either."""

CLOSE_SECONDS: Final = 1.0
"""Longest farewell to a connection, and longest rollback before it is closed instead."""


@dataclass(frozen=True, slots=True)
class DatabaseStatistics:
    """What the pool is doing. `connection_errors` counts each failed attempt and each connection lost."""

    connections_open: int
    connections_busy: int
    connections_max: int
    connection_errors: int
    reachable: bool | None
    """None before the first attempt."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of everything a `Database` allows."""

    connections: int = CONNECTIONS_MAX
    acquire_seconds: float = ACQUIRE_SECONDS
    operation_seconds: float = OPERATION_SECONDS


Observe = Callable[[str, float], None]
"""Told the operation's name and its seconds after each one, also where it failed."""


class Database:
    """A pool of connections to one database. Made by `open_database`."""

    def __init__(self, bridge: Bridge, target: ConnectionTarget, *, limits: Limits, observe: Observe) -> None:
        self._bridge = bridge
        self._target = target
        self._limits = limits
        self._observe = observe
        self._permits = trio.Semaphore(limits.connections, max_value=limits.connections)
        self._idle: deque[asyncpg.Connection] = deque()
        self._busy: set[asyncpg.Connection] = set()
        self._errors = 0
        self._reachable: bool | None = None
        self._held = ""
        self._closed = False
        self._token: int | None = None

    @property
    def target(self) -> ConnectionTarget:
        """Where it connects to."""
        return self._target

    def hold(self, why: str) -> None:
        """Be away for everybody until `release`, PostgreSQL there or not: it is not known yet to be the right one."""
        self._held, self._reachable = why, False

    def release(self) -> None:
        """PostgreSQL was seen, and is the right one."""
        self._held = ""

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

    def fence(self, token: int) -> None:
        """From now on every transaction begins by showing this token, and is refused once there is a newer one.

        Its block is then not entered: `transaction` raises `OvertakenError`.
        """
        self._token = token

    async def open_session(self) -> Session:
        """A connection of the pool, for the caller alone until it calls `Session.end`."""
        return Session(self, await self._take())

    def end_session(self, connection: asyncpg.Connection) -> None:
        """Close a session's connection, and give its place in the pool back; once more does nothing."""
        connection.terminate()
        if connection in self._busy:
            self._give_back(connection)

    def statistics(self) -> DatabaseStatistics:
        """Counters for metrics and health."""
        return DatabaseStatistics(
            connections_open=len(self._idle) + len(self._busy),
            connections_busy=len(self._busy),
            connections_max=self._limits.connections,
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
        seconds: float | None = None,
    ) -> _Answer:
        """Run one call of the driver on a connection in use: with its time limit, observed, errors translated."""
        begun = trio.current_time()
        try:
            with trio.fail_after(self._limits.operation_seconds if seconds is None else seconds):
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
            await self._begin(connection)
            try:
                yield Transaction(self, connection)
            except BaseException:
                await self._roll_back(connection)
                raise
            await self._commit(connection)
        finally:
            self._give_back(connection)

    async def _begin(self, connection: asyncpg.Connection) -> None:
        token = self._token
        if token is None:
            await self.run_statement(connection, "begin", connection.execute, "BEGIN")
            return
        try:
            shown = f"BEGIN; SELECT medic.require_token({token})"
            await self.run_statement(connection, "begin", connection.execute, shown)
        except StatementRefusedError as error:
            if error.sqlstate == OVERTAKEN:
                raise OvertakenError(token) from None
            raise

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
        if self._held:
            raise DatabaseUnavailableError(self._held)
        try:
            with trio.fail_after(self._limits.acquire_seconds):
                await self._permits.acquire()
                try:
                    connection = self._pop_idle() or await self._connect()
                except BaseException:
                    self._permits.release()
                    raise
        except trio.TooSlowError:
            if len(self._busy) == self._limits.connections:
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
            connection = await self._bridge.call(open_connection, self._target, self._limits.acquire_seconds)
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
    limits: Limits | None = None,
) -> AsyncIterator[Database]:
    """A database for the block. PostgreSQL need not be there yet: the first query connects.

    Args:
        target: Where it is.
        connections_max: Connections it makes at most.
        observe: Told the seconds of each operation.
        bridge: One that is open already; a bridge of its own otherwise.
        limits: All of them, in place of `connections_max`.
    """
    async with _bridge_or(bridge) as crossing:
        allowed = Limits(connections=connections_max) if limits is None else limits
        database = Database(crossing, target, limits=allowed, observe=observe)
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
