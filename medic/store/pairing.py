"""Joins a data directory to a database at the start, or refuses to.

A journal's positions mean something to one database only, and the ids kept ahead come from it. So the directory
keeps the database's own id, made with its schema, and another database is refused before anything is written to it.

Beyond that there is little to refuse. A journal that PostgreSQL has not heard of is written from its beginning. A
directory that is new, beside a database that had another one, goes on with that one's sighted time. And a journal
that is shorter than PostgreSQL remembers (`MEDIC_JOURNAL_SYNC=interval` and a loss of power, or an older copy put
back) goes on behind what PostgreSQL has, so that no position is ever used for two records.

One thing cannot be mended: PostgreSQL that was put back to an older backup, further back than the journal reaches.
Then a span of the journal is in neither, and somebody has to say that this is known (`medic serve --accept-gap`).

What is more than a span of the journal, a database in which starts or changes by operators are missing that this
directory has seen, is found before any of this (`medic.store.restored`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

import structlog
import trio

from medic.errors import ConfigurationError, Fault, InvariantError
from medic.ports import Position
from medic.store.journal.file_journal import FileJournal
from medic.store.journal.files import sync_directory
from medic.store.postgres.database import Database
from medic.store.watermark import Mark

_log = structlog.get_logger(__name__)

_DATABASE: Final = "database-id"

_KNOWN: Final = """
SELECT (SELECT database_id::text FROM medic.medic_instance) AS database_id,
       (SELECT position FROM medic.journal_positions WHERE journal_id = $1) AS position,
       (SELECT max(position) FROM medic.service_states WHERE journal_id = $1) AS newest_state,
       (SELECT count(*) FROM medic.journal_positions WHERE journal_id <> $1) AS others
"""
_SKIP: Final = """
INSERT INTO medic.journal_positions AS stored (journal_id, shard, position) VALUES ($1, $2, $3)
ON CONFLICT (journal_id) DO UPDATE SET position = EXCLUDED.position WHERE stored.position < EXCLUDED.position
"""
_MARK: Final = """
SELECT watermark_at, watermark_sighted FROM medic.journal_positions
WHERE watermark_at IS NOT NULL ORDER BY watermark_at DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Pairing:
    """What PostgreSQL knows of this directory.

    Attributes:
        database_id: The database's own id.
        committed: How far the writer has brought this journal.
        mark: The newest moment at which any Medic on this database worked, or None. Where the directory's own watermark
            is missing or older, sighted time goes on from this one.
    """

    database_id: str
    committed: Position
    mark: Mark | None


class Gap(Enum):
    """What to do about a span of the journal that is neither in PostgreSQL nor in the files."""

    REFUSE = "refuse"
    ACCEPT = "accept"
    """`--accept-gap`: go on behind it."""
    DISCARD = "discard"
    """`--discard-journal`: go on from a database that was put back to an older state (`medic.store.restored`)."""


class Shorter(Enum):
    """What to do about a journal that ends before what PostgreSQL has of it."""

    GO_ON_BEHIND = "go on behind"
    REFUSE = "refuse"
    """It runs already, and its next positions are taken."""


async def pair(
    database: Database,
    journal: FileJournal,
    directory: Path,
    *,
    gap: Gap = Gap.REFUSE,
    shorter: Shorter = Shorter.GO_ON_BEHIND,
) -> Pairing:
    """Make sure that directory and database belong together.

    Args:
        database: With its schema in place.
        journal: The directory's. With `Shorter.GO_ON_BEHIND` it must not run yet.
        directory: `MEDIC_DATA_DIR`.
        gap: Whether a span of the journal may be missing.
        shorter: Whether the end of the journal may be.

    Raises:
        ConfigurationError: the directory belongs to another database, or something is missing that may not be.
        DatabaseUnavailableError: PostgreSQL does not answer.
        OSError: the directory cannot be written.
    """
    known = await database.fetchrow(_KNOWN, journal.journal_id)
    if known is None:
        raise InvariantError("a query without a table gave no row")
    database_id = str(known["database_id"])
    await trio.to_thread.run_sync(_compare, directory / _DATABASE, database_id)
    committed = Position(known["position"] or 0)
    reached = Position(max(committed, known["newest_state"] or 0))
    if reached > journal.newest and shorter is Shorter.REFUSE:
        sentence = (
            f"PostgreSQL has {reached - journal.newest} bytes of the journal in {directory} that are lost there. Start "
            "Medic again while PostgreSQL answers: it goes on behind them."
        )
        raise ConfigurationError((Fault("MEDIC_DATA_DIR", sentence),))
    if committed < journal.oldest:
        await _skip(database, journal, directory, committed, gap)
        committed = journal.oldest
    if reached > journal.newest:
        _log.error(
            "the journal is shorter than PostgreSQL remembers; its newest records are lost, what PostgreSQL has is not",
            bytes=reached - journal.newest,
        )
        await trio.to_thread.run_sync(journal.go_on_from, reached)
    if known["position"] is None and known["others"]:
        _log.warning("this data directory is new to the database; what another one holds unwritten stays there")
    row = await database.fetchrow(_MARK)
    mark = None if row is None else Mark(row["watermark_at"], row["watermark_sighted"])
    return Pairing(database_id, committed, mark)


async def _skip(database: Database, journal: FileJournal, directory: Path, committed: Position, gap: Gap) -> None:
    """Let the writer go on where the journal begins, or refuse to."""
    missing = (
        f"the journal in {directory} begins at position {journal.oldest}, and PostgreSQL has it up to {committed}: "
        f"{journal.oldest - committed} bytes of records are in neither"
    )
    if gap is Gap.REFUSE:
        sentence = (
            f"{missing}. Put PostgreSQL back to a newer backup, or start once with "
            "`medic serve --accept-gap` to go on without them."
        )
        raise ConfigurationError((Fault("MEDIC_DATA_DIR", sentence),))
    _log.warning("going on without a span of the journal, as was asked for", reason=missing)
    await database.execute(_SKIP, journal.journal_id, journal.shard, journal.oldest)


def kept_database_id(folder: Path) -> str | None:
    """The id of the database that the directory belongs to, or None where it belongs to none yet. Blocks."""
    path = folder / _DATABASE
    return path.read_text("ascii").strip() if path.exists() else None


def _compare(path: Path, database_id: str) -> None:
    """Compare with the id the directory keeps, or let it keep this one."""
    kept = kept_database_id(path.parent)
    if kept is not None:
        if kept == database_id:
            return
        sentence = (
            f"{path.parent} belongs to database {kept}, and this is database {database_id}. Set the database back, "
            "or give Medic another data directory."
        )
        raise ConfigurationError((Fault("MEDIC_DATA_DIR", sentence),))
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("w", encoding="ascii") as file:
        file.write(database_id + "\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    sync_directory(path.parent)
