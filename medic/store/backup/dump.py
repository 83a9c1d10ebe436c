"""Makes a backup of the embedded database, while Medic runs or without one.

The problem. The record is in PostgreSQL, and PostgreSQL is behind the journal: some 0.2 s in ordinary times. A backup
that was begun now has to hold what was answered 201 before now.

The way. The journal's files say up to where anything may have been answered: whoever was answered had its record in
them. That place is read first. Then a snapshot of PostgreSQL is looked for in which the writer has passed it, and
pg_dump dumps that snapshot and no later one. It is one transaction's view, so the position, the rows and what the
manifest counts belong together. Nothing is asked of the process that serves, and nothing waits for the backup but
what wants to drop a table.

Besides the position a snapshot has to be of one mind about open alerts. States are written in transactions of their
own, a moment behind the alerts that they know of (`state_rows`). A backup between the two would bring back an alert of
which the service knows nothing, which nobody would ever close.

Both are waited for, and neither for ever. A backup that may lack something is better than none and is kept; that it may
is said, stands in its manifest, and is the exit status.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import trio

from medic.core.units import InstantMs, isoformat
from medic.errors import ConfigurationError, Fault, InvariantError
from medic.ports import Position
from medic.store.audit.heads import merged_heads, read_heads
from medic.store.backup.archive import PORTION_BYTES, replaced, write_archive
from medic.store.backup.manifest import FORMAT, Manifest
from medic.store.embedded.cluster import find_install
from medic.store.journal.files import Reached
from medic.store.postgres.database import Database, Row, Session
from medic.store.postgres.target import ConnectionTarget

WRITTEN_SECONDS: Final = 120.0
"""Longest wait for the writer to pass the place. It takes a tenth of a second; behind by hours it takes minutes, and a
backup at that time is better taken than not."""

AGREED_SECONDS: Final = 15.0
"""Longest wait for states to say what alerts do: the writer keeps them back for ten seconds where it is behind."""

LOOK_SECONDS: Final = 0.1
"""Pause between two looks at the writer's position."""

DUMP_OPTIONS: Final = ("--format=custom", "--no-owner", "--no-privileges")
"""Neither owners nor grants: on the machine where it is restored there is no role but Medic's own."""

_BEGIN: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_VIEW: Final = """
SELECT pg_export_snapshot() AS snapshot,
       coalesce((SELECT position FROM medic.journal_positions WHERE journal_id = $1), 0) AS position
"""
_AGREED: Final = """
SELECT NOT EXISTS (
           SELECT FROM medic.alerts a JOIN medic.services USING (service_id)
           LEFT JOIN medic.service_states t USING (service_id)
           WHERE a.active = 1 AND coalesce(t.status, '') NOT IN ('late', 'down')
       ) AND NOT EXISTS (
           SELECT FROM medic.service_states t WHERE t.status IN ('late', 'down')
           AND NOT EXISTS (SELECT FROM medic.alerts a WHERE a.service_id = t.service_id AND a.active = 1)
       ) AS is_agreed
"""
_CONTENT: Final = """
SELECT (SELECT database_id::text FROM medic.medic_instance) AS database_id,
       (SELECT max(version) FROM medic.migrations) AS schema,
       current_setting('server_version_num')::integer / 10000 AS postgresql,
       (SELECT count(*) FROM medic.services) AS services,
       (SELECT count(*) FROM medic.alerts WHERE active = 1) AS open_alerts,
       ARRAY(SELECT DISTINCT key_id FROM medic.secrets ORDER BY key_id) AS secret_keys
"""


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made.

    Attributes:
        manifest: What is in it.
        size: Bytes of the file.
        missing: What it may lack, in words; empty where it lacks nothing.
    """

    manifest: Manifest
    size: int
    missing: str


@dataclass(frozen=True, slots=True)
class _View:
    """A snapshot of PostgreSQL that is kept open, and what the content of the backup is by it."""

    snapshot: str
    position: Position
    content: Row
    missing: str


async def make_backup(
    path: Path, *, folder: Path, database: Database, reached: Reached | None, at: InstantMs, medic: str, serves: bool
) -> Backup:
    """Write the backup; it takes the place of what was at `path` once it is whole.

    Args:
        path: Of the file.
        folder: The data directory.
        database: Of that directory's own PostgreSQL, running; its schema is this release's.
        reached: How far the journal's files went when the backup was begun.
        at: When that was.
        medic: This release.
        serves: Whether a Medic runs there: else nobody brings PostgreSQL further, and nothing is waited for.

    Raises:
        ConfigurationError: pg_dump refuses.
        DatabaseUnavailableError: PostgreSQL does not answer.
        OSError: the file cannot be written.
    """
    heads = await trio.to_thread.run_sync(read_heads, folder)
    async with _viewed(database, reached, serves=serves) as view:
        manifest = Manifest(
            format=FORMAT,
            medic=medic,
            made_at=isoformat(at),
            database_id=view.content["database_id"],
            schema=view.content["schema"],
            postgresql=view.content["postgresql"],
            journal_id="" if reached is None else reached.journal_id,
            position=view.position,
            is_complete=not view.missing,
            services=view.content["services"],
            open_alerts=view.content["open_alerts"],
            secret_keys=tuple(view.content["secret_keys"]),
        )

        def write() -> int:
            with replaced(path) as file:
                write_archive(
                    file,
                    at=at,
                    dump=_dumped(database.target, view.snapshot),
                    # Retention may have let the chain begin later meanwhile, and said so in the file before it did.
                    heads=lambda: merged_heads(heads, read_heads(folder)),
                    manifest=manifest.as_json,
                )
                return file.tell()

        size = await trio.to_thread.run_sync(write)
    return Backup(manifest, size, view.missing)


@asynccontextmanager
async def _viewed(database: Database, reached: Reached | None, *, serves: bool) -> AsyncIterator[_View]:
    """The first snapshot that has all of it, open for the block; once the time is over, one that may lack something."""
    there = _row(await database.fetchrow("SELECT to_regclass('medic.medic_instance') IS NOT NULL AS is_there"))
    if not there["is_there"]:
        raise ConfigurationError((Fault("database", "has nothing of Medic's in it yet: there is nothing to back up"),))
    session = await database.open_session()
    try:
        row, missing = await _wait_view(session, reached, serves=serves)
        content = _row(await session.fetchrow(_CONTENT, operation="backup"))
        yield _View(row["snapshot"], Position(row["position"]), content, missing)
    finally:
        session.end()


async def _wait_view(session: Session, reached: Reached | None, *, serves: bool) -> tuple[Row, str]:
    """The view that the session has open now, and what it may lack."""
    journal_id, place = ("", Position(0)) if reached is None else (reached.journal_id, reached.position)
    until = trio.current_time() + WRITTEN_SECONDS
    has_passed = False
    while True:
        await session.execute(_BEGIN, operation="backup")
        row = _row(await session.fetchrow(_VIEW, journal_id, operation="backup"))
        if row["position"] >= place and not has_passed:
            has_passed, until = True, trio.current_time() + AGREED_SECONDS
        may_wait = serves and trio.current_time() < until
        if has_passed:
            is_agreed = _row(await session.fetchrow(_AGREED, operation="backup"))["is_agreed"]
            if is_agreed or not may_wait:
                return row, "" if is_agreed else _NOT_AGREED
        elif not may_wait:
            return row, _behind(place - row["position"], serves=serves)
        await session.execute("ROLLBACK", operation="backup")
        await trio.sleep(LOOK_SECONDS)


def _row(row: Row | None) -> Row:
    if row is None:
        raise InvariantError("a query without a table gave no row")
    return row


_NOT_AGREED: Final = (
    "alerts were opening or closing all the time: of some it may hold only half; the service's next "
    "heartbeat puts that right"
)


def _behind(lacking: int, *, serves: bool) -> str:
    what = f"{lacking} bytes of the journal were not in PostgreSQL yet"
    if serves:
        return f"{what} after {WRITTEN_SECONDS:.0f} s: the writer is behind, medic-cli health says why"
    return f"{what}, and no Medic runs that would bring them there: start it and make the backup then"


def _dumped(target: ConnectionTarget, snapshot: str) -> Iterator[bytes]:
    """What pg_dump says of that snapshot, in portions. Blocks.

    Raises:
        ConfigurationError: it ended with an error.
    """
    command = _client_command("pg_dump", target, (*DUMP_OPTIONS, f"--snapshot={snapshot}"))
    with (
        _complaints() as said,
        subprocess.Popen(  # noqa: S603 - our own binary
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, env=client_environment()
        ) as process,
    ):
        if process.stdout is not None:
            while portion := process.stdout.read(PORTION_BYTES):
                yield portion
        if process.wait() != 0:
            raise client_fault("pg_dump", said)


def restore_dump(target: ConnectionTarget, dump: Iterator[bytes]) -> None:
    """Give a dump to pg_restore, which makes all of it in one transaction or nothing. Blocks.

    Raises:
        ConfigurationError: it ended with an error.
    """
    options = ("--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction")
    command = _client_command("pg_restore", target, options)
    with (
        _complaints() as said,
        subprocess.Popen(  # noqa: S603 - our own binary
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said, env=client_environment()
        ) as process,
    ):
        if process.stdin is not None:
            try:
                for portion in dump:
                    process.stdin.write(portion)
                process.stdin.close()
            except BrokenPipeError:
                pass  # it ended, and has said why
        if process.wait() != 0:
            raise client_fault("pg_restore", said)


def _client_command(name: str, target: ConnectionTarget, options: Sequence[str]) -> list[str]:
    where = (f"--host={target.host}", f"--port={target.port}", f"--username={target.user}", "--no-password")
    return [str(find_install() / "bin" / name), *where, f"--dbname={target.database}", *options]


def client_environment() -> dict[str, str]:
    """The environment of PostgreSQL's programs: nothing of the caller's, who may have PGOPTIONS set for another one."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _complaints() -> BinaryIO:
    """A file for what a program complains of. Not a pipe: nobody reads it before the program ends."""
    return tempfile.TemporaryFile()


def client_fault(name: str, said: BinaryIO) -> ConfigurationError:
    """What one of PostgreSQL's programs said last."""
    said.seek(0)
    lines = said.read(64 << 10).decode(errors="replace").splitlines() or ["it said nothing"]
    return ConfigurationError((Fault("database", f"{name} ended with an error: {lines[0].removeprefix(f'{name}: ')}"),))
