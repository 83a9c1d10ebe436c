"""One active Medic a database: who it is, how it stays so, and how another takes over.

The problem. Two Medics that watch the same services page twice, and each writes its own idea of what happened over the
other's. So one is active and any other stands by, and when the active one is gone the next one takes over by itself,
within seconds. No process can know whether another one is dead or only slow. What can be had is this: at any time at
most one of them can change the database, and whoever was overtaken finds out as soon as it looks.

Two things name the active one.

* A **session advisory lock**. PostgreSQL gives it back by itself when the session ends: at once when the process dies,
  within seconds when its machine vanishes (`session.VANISHED_CLIENT`), at a restart of PostgreSQL. It says that
  somebody is there. It is held on a connection of its own, of which nothing else is asked.
* A **token** in the row `medic.medic_instance`, which grows with each takeover. It says who may write: every
  transaction shows its token first (`Database.fence`) and shares a second advisory lock until its end, which a takeover
  wants alone: so nobody is overtaken in the midst of one. The lock alone could not do that: a process that was stopped,
  or cut off, still believes that it has it.

Losing the lock is not being overtaken. PostgreSQL is restarted, a connection breaks: the active one goes on watching
and paging, and takes the lock back when it can. Only a newer token ends it. So that it gets the chance, a lock that is
found free is left to it for `HEAD_START_SECONDS`; it tries several times in that. There is no such wait where the last
active one stepped down in order, which the row says (`active_since` is null), and none for the directory whose token it
is.

    the lock is       the row says                     whoever stands by
    held              (anything)                       waits
    free              nobody is active                 takes it at once
    free              its own directory              takes it at once
    free              another directory              takes it once it was free for `HEAD_START_SECONDS`

Taking over: the lock; then the sessions that the overtaken one left in the midst of a transaction are ended; then the
next token is drawn. A process that dies between these leaves a free lock or an unused token.

What it costs: a connection, one query a second, and for each transaction one function call in the round trip of its
BEGIN. Numbers are in docs/decisions/0014-one-active-medic.md.

Rejected: a lease with an end in the row, renewed by the clock: a stopped PostgreSQL would depose the one Medic there
is, and clocks differ. The lock without a token: see above. The token without a lock: a takeover would need a time
limit, and could not tell a dead Medic from one that is merely slow. `FOR UPDATE` on the row instead of the lock: a
transaction that never ends keeps the server from cleaning up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog
import trio

from medic.core.units import InstantMs
from medic.errors import DatabaseUnavailableError, InvariantError, OvertakenError
from medic.store.postgres.bridge import Bridge
from medic.store.postgres.database import Database, Limits, Row, Session, StatementRefusedError, open_database
from medic.store.postgres.target import ConnectionTarget
from medic.store.tokens import TokenFile

_log = structlog.get_logger(__name__)

LOOK_EVERY_SECONDS: Final = 1.0
"""How often the active one asks whether its token is still the newest. A connection that breaks is seen at once."""

ANSWER_SECONDS: Final = 3.0
"""Longest wait for an answer on the lock's connection: beyond it the connection counts as lost."""

TAKE_BACK_SECONDS: Final = 0.25
"""Pause between two attempts to take the lock back: several in `HEAD_START_SECONDS`."""

WATCH_EVERY_SECONDS: Final = 0.5
"""How often whoever stands by looks whether the lock is free."""

HEAD_START_SECONDS: Final = 2.0
"""How long a free lock is left to the Medic that lost it: PostgreSQL restarted, or one connection broke."""

_CONNECTIONS: Final = 2
"""One for the lock, one to look at the row while standing by."""

_KEYS: Final = "1296385097, 1"
"""The advisory lock. 1296385097 is "MEDI" in ASCII, the first key of all of Medic's."""

_SIGHTING: Final = """
SELECT token, active_directory, active_name, active_address, active_since, EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 1296385097 AND objid = 1 AND objsubid = 2 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS held
FROM medic.medic_instance
"""
_NEWEST: Final = "SELECT token, active_directory FROM medic.medic_instance"
_LOCK: Final = f"SELECT pg_try_advisory_lock({_KEYS}) AS taken"
# Only transactions that have shown their token share this lock: all of them are of the one that is overtaken.
_END_TRANSACTIONS: Final = """
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE locktype = 'advisory' AND classid = 1296385097 AND objid = 2 AND objsubid = 2 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_CLAIM: Final = """
WITH alone AS MATERIALIZED (SELECT pg_advisory_xact_lock(1296385097, 2))
UPDATE medic.medic_instance
SET token = greatest(token, $1) + 1, active_directory = $2, active_name = $3, active_address = $4, active_since = now()
FROM alone
RETURNING token, active_since
"""
_RETURN: Final = """
UPDATE medic.medic_instance
SET active_name = $2, active_address = $3, active_since = coalesce(active_since, now()) WHERE token = $1
"""
_STEP_DOWN: Final = """
UPDATE medic.medic_instance SET active_name = '', active_address = '', active_since = NULL WHERE token = $1
"""
_WHO: Final = "SELECT pid, backend_start::text AS begun FROM pg_stat_activity WHERE pid = pg_backend_pid()"
# A pid alone may be another session's by now.
_END_SESSION: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start::text = $2
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this process is to the others: a name for people (machine and process), and where it is reached."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the database says of the active Medic at one moment.

    Attributes:
        token: The newest that was drawn; 0 before the first.
        directory: The data directory it was drawn for, empty before the first.
        name, address: Of the Medic that drew it, empty where nobody is active.
        since: When it did, or None where nobody is active.
        held: Whether somebody has the lock.
    """

    token: int
    directory: str
    name: str
    address: str
    since: InstantMs | None
    held: bool


async def sight(database: Database) -> Sighting:
    """Look at who is active.

    Raises:
        DatabaseUnavailableError: PostgreSQL does not answer.
    """
    row = _row(await database.fetchrow(_SIGHTING, operation="leadership"))
    return Sighting(
        token=row["token"],
        directory=row["active_directory"],
        name=row["active_name"],
        address=row["active_address"],
        since=row["active_since"],
        held=row["held"],
    )


def may_take(sighting: Sighting, *, directory: str, free_seconds: float) -> bool:
    """Whether the lock may be tried for now: the table at the head of this file.

    Args:
        sighting: What was just seen.
        directory: This Medic's.
        free_seconds: For how long the lock has been seen free.
    """
    if sighting.held:
        return False
    return sighting.since is None or sighting.directory == directory or free_seconds >= HEAD_START_SECONDS


Watch = Callable[[Sighting], None]
"""Told what was seen, each time that this process has to go on standing by."""

_Backend = tuple[int, str]
"""A session on the server: its pid, and when it began."""

_NO_SESSION: Final[_Backend] = (0, "")


@dataclass(frozen=True, slots=True)
class LeadershipStatistics:
    """The token of this process, since when it is the active one, whether it has the lock now, how often it lost it."""

    token: int
    since: InstantMs
    has_lock: bool
    locks_lost: int


@dataclass(frozen=True, slots=True)
class _Claim:
    """What taking over gave: a session that has the lock, and the next token. Started alone: no session yet."""

    session: Session | None
    backend: _Backend
    token: int
    since: InstantMs


class Leadership:
    """The right to be the active Medic, as `lead` and `lead_alone` give it."""

    def __init__(self, database: Database, identity: Identity, claim: _Claim, tokens: TokenFile) -> None:
        self._database = database
        self._identity = identity
        self._claim = claim
        self._tokens = tokens
        self._session = claim.session
        self._backend = claim.backend
        self._lost = 0

    @property
    def token(self) -> int:
        """What every transaction has to show."""
        return self._claim.token

    @property
    def inherits(self) -> bool:
        """Whether another data directory was active before, and what it left is not all in this one yet."""
        return self._tokens.tokens.inheriting

    async def end_inheriting(self) -> None:
        """Say that it is: the next start of this directory need not look for it again.

        Raises:
            OSError: the data directory cannot be written.
        """
        await self._tokens.own(self.token)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the lock, take it back whenever it is lost, and look at the token, until cancelled.

        Raises:
            OvertakenError: another Medic is the active one now.
        """
        task_status.started()
        while True:
            try:
                await self._keep()
            except (DatabaseUnavailableError, StatementRefusedError) as error:
                _log.warning("the lock of the active Medic is lost; watching goes on", reason=error.message)
            self._let_go()
            self._lost += 1
            await self._take_back()
            _log.info("the lock of the active Medic is held again", token=self.token)

    async def step_down(self) -> None:
        """Say that nobody is active, and give the lock back: whoever stands by takes over at once.

        Where PostgreSQL does not answer, the lock ends with the connection, and the others wait a little.
        """
        session = self._session
        if session is None:
            return
        try:
            await session.execute(_STEP_DOWN, self.token, operation="leadership")
        except (DatabaseUnavailableError, StatementRefusedError) as error:
            _log.warning("PostgreSQL could not be told that this Medic ends", reason=error.message)
        self._let_go()

    def statistics(self) -> LeadershipStatistics:
        """For metrics and health."""
        return LeadershipStatistics(self.token, self._claim.since, self._session is not None, self._lost)

    async def _keep(self) -> None:
        session = self._session
        while session is not None:
            with trio.move_on_after(LOOK_EVERY_SECONDS):
                await session.wait_lost()
            self._compare(await session.fetchrow(_NEWEST, operation="leadership"))

    async def _take_back(self) -> None:
        while self._session is None:
            try:
                await self._try_again()
            except (DatabaseUnavailableError, StatementRefusedError):
                # PostgreSQL is away, so nobody else can take over either.
                await trio.sleep(TAKE_BACK_SECONDS)

    async def _try_again(self) -> None:
        session = await self._database.open_session()
        try:
            self._compare(await session.fetchrow(_NEWEST, operation="leadership"))
            if await takes_lock(session):
                self._backend = await _backend_of(session)
                who = (self._identity.name, self._identity.address)
                await session.execute(_RETURN, self.token, *who, operation="leadership")
                self._session = session
                return
            # Our own session may still stand on the server, which has not noticed that the wire broke.
            await session.execute(_END_SESSION, *self._backend, operation="leadership")
        finally:
            if self._session is None:
                session.end()
        await trio.sleep(TAKE_BACK_SECONDS)

    def _compare(self, row: Row | None) -> None:
        if row is not None and row["token"] != self.token:
            raise OvertakenError(self.token)

    def _let_go(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.end()


@asynccontextmanager
async def lead(
    target: ConnectionTarget, *, bridge: Bridge, identity: Identity, tokens: TokenFile, watch: Watch
) -> AsyncIterator[Leadership]:
    """Stand by for as long as another Medic is active, then be the active one for the block.

    Args:
        target: The database, its schema in place.
        bridge: To asyncio.
        identity: What others are told of this process.
        tokens: Of the data directory.
        watch: Told whom this process stands by.

    Raises:
        DatabaseUnavailableError: PostgreSQL does not answer at the first look. Later ones are repeated.
        OSError: the data directory cannot be written.
    """
    limits = Limits(connections=_CONNECTIONS, operation_seconds=ANSWER_SECONDS)
    async with open_database(target, bridge=bridge, limits=limits) as database:
        claim = await _Candidacy(database, identity, tokens, watch).wait_to_lead()
        if not tokens.tokens.inheriting:
            await tokens.own(claim.token)
        _log.info("this Medic is the active one", token=claim.token, inherits=tokens.tokens.inheriting)
        async with _remembers_end(tokens, claim.token):
            yield Leadership(database, identity, claim, tokens)


@asynccontextmanager
async def lead_alone(
    target: ConnectionTarget, *, bridge: Bridge, identity: Identity, tokens: TokenFile, since: InstantMs
) -> AsyncIterator[Leadership]:
    """Be the active Medic for the block while PostgreSQL is away; `may_start_alone` has to allow it.

    `Leadership.run` takes the lock with the directory's own token once PostgreSQL answers, or ends as it does for
    whoever was overtaken.

    Args:
        target: The database that does not answer.
        bridge: To asyncio.
        identity: What others will be told of this process.
        tokens: Of the data directory.
        since: Now.
    """
    limits = Limits(connections=_CONNECTIONS, operation_seconds=ANSWER_SECONDS)
    async with open_database(target, bridge=bridge, limits=limits) as database:
        claim = _Claim(session=None, backend=_NO_SESSION, token=tokens.tokens.own, since=since)
        async with _remembers_end(tokens, claim.token):
            yield Leadership(database, identity, claim, tokens)


@asynccontextmanager
async def _remembers_end(tokens: TokenFile, token: int) -> AsyncIterator[None]:
    """Let the directory know that it was overtaken, whichever part of Medic found that out in the block.

    Else it would start alone while PostgreSQL is away, beside the one that overtook it. A fence does not say what the
    newer token is; that there is one is enough.
    """
    try:
        yield
    except* OvertakenError:
        try:
            await tokens.see(token + 1)
        except OSError as error:
            _log.error("that this Medic was overtaken cannot be written down", reason=error.strerror)
        raise


class _Candidacy:
    """Stands by until it may lead."""

    def __init__(self, database: Database, identity: Identity, tokens: TokenFile, watch: Watch) -> None:
        self._database = database
        self._identity = identity
        self._tokens = tokens
        self._watch = watch
        self._free_since: float | None = None

    async def wait_to_lead(self) -> _Claim:
        """Return once the lock and the next token are this process's."""
        claim = await self._look()
        while claim is None:
            await trio.sleep(WATCH_EVERY_SECONDS)
            try:
                claim = await self._look()
            except DatabaseUnavailableError:
                # Back, it gives whoever was active its head start anew.
                self._free_since = None
        return claim

    async def _look(self) -> _Claim | None:
        sighting = await sight(self._database)
        await self._tokens.see(sighting.token)
        directory, free_seconds = self._tokens.tokens.directory, self._free_seconds(sighting)
        may = may_take(sighting, directory=directory, free_seconds=free_seconds)
        claim = await self._try_claim() if may else None
        if claim is None:
            self._watch(sighting)
        return claim

    def _free_seconds(self, sighting: Sighting) -> float:
        now = trio.current_time()
        if sighting.held:
            self._free_since = None
            return 0.0
        self._free_since = now if self._free_since is None else self._free_since
        return now - self._free_since

    async def _try_claim(self) -> _Claim | None:
        """The lock and the next token, or None where somebody else was faster."""
        session = await self._database.open_session()
        claim: _Claim | None = None
        try:
            if await takes_lock(session):
                claim = await self._claim(session)
        finally:
            if claim is None:
                session.end()
        return claim

    async def _claim(self, session: Session) -> _Claim:
        backend = await _backend_of(session)
        tokens = self._tokens.tokens
        before = _row(await session.fetchrow(_NEWEST, operation="leadership"))
        if before["token"] and before["active_directory"] != tokens.directory:
            await self._tokens.begin_inheriting()
        await session.execute(_END_TRANSACTIONS, operation="leadership")
        # Beyond what was ever seen: a database that was put back to a backup has an old one.
        who = (tokens.directory, self._identity.name, self._identity.address)
        row = _row(await session.fetchrow(_CLAIM, tokens.newest_seen, *who, operation="leadership"))
        return _Claim(session, backend, row["token"], row["active_since"])


def _row(row: Row | None) -> Row:
    if row is None:
        raise InvariantError("medic.medic_instance has lost its one row")
    return row


async def takes_lock(session: Session) -> bool:
    """Whether the lock of the active Medic was free; it is the session's now, until that ends."""
    row = await session.fetchrow(_LOCK, operation="leadership")
    return row is not None and bool(row["taken"])


async def _backend_of(session: Session) -> _Backend:
    row = await session.fetchrow(_WHO, operation="leadership")
    if row is None:
        raise InvariantError("a session is not in pg_stat_activity")
    return row["pid"], row["begun"]
