"""A database that was put back to an older state: how a start knows it, and what it makes of it.

Two things can be wrong with such a database, and each is seen by something else.

**It is a copy.** A dump was loaded: by `medic restore`, or by psql. Everything in it is as it was when the dump was
made, and the world went on since: heartbeats came, alerts opened and closed, people were told. The database knows where
it was when a Medic last began on it (`medic_instance.incarnation`: the server's own identifier, the numbers of database
and table, which no dump brings along), and is somewhere else now.

**It is older than the directory.** This folder has seen a newer token in it than it has now, or a head of the audit's
chain that is not in it yet. Tokens and chain only ever grow. So starts, or changes by operators, are missing: rows that
the journal and the snapshot know in a newer version than PostgreSQL will ever give them again. To go on with both would
make edits that have no effect, delete what was registered since, and watch what was deleted. The start is refused, and
the operator says which of the two counts: a newer backup, or the database as it is (`medic serve --discard-journal`).
Who says `--accept-gap` goes on with what the folder knows, whatever the rows say.
A volume that was put back is found in this way as well, though it is no copy.

What is not wrong: a database that merely lacks the newest records, because it was failed over to a replica that was
seconds behind, or restored without that any operator had changed anything since. No row is in two versions, and the
journal has the records: the writer goes on from the position that the database has.

A start that goes on from a copy alone tells nobody anything by itself (`medic.core.afresh`, and the notifications that
were pending are given up), and draws ids from behind all that may have been given out since.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
import trio

from medic.core.units import EventId, InstantMs, isoformat
from medic.errors import ConfigurationError, Fault, InvariantError
from medic.store.audit.heads import FILE_NAME as HEADS_NAME
from medic.store.audit.heads import AuditHeads
from medic.store.journal.files import Reached, reached, sync_directory
from medic.store.pairing import Gap, kept_database_id
from medic.store.postgres.database import Database, Row, StatementRefusedError
from medic.store.postgres.leadership import sight
from medic.store.tables.ids import FILE_NAME as IDS_NAME
from medic.store.tokens import TokenFile, Tokens

_log = structlog.get_logger(__name__)

SKIPPED_BLOCKS: Final = 1 << 20
"""Blocks of ids left out after a restore: what three years at the promised peak take. There are eight thousand times as
many."""

SKIPPED_BY_SQL: Final = 1 << 16
"""The same for services that are inserted by SQL, which have few ids of their own: there are 16 384 times as many."""

COPY: Final = "restored"
"""Stands in `incarnation` where it was said and not found out that this is a copy."""

_INSTANCE: Final = """
SELECT token, incarnation, database_id::text AS database_id,
       greatest((SELECT max(place) FROM medic.audit_seals), (SELECT max(place) FROM medic.audit_checkpoints), 0)
           AS place,
       (SELECT max(watermark_at) FROM medic.journal_positions) AS until
FROM medic.medic_instance
"""
_POSITION: Final = "SELECT position FROM medic.journal_positions WHERE journal_id = $1"
_HERE: Final = "SELECT medic.incarnation_here() AS here"
_KEEP: Final = "UPDATE medic.medic_instance SET incarnation = $1"
_SKIP: Final = """
WITH skipped AS (UPDATE medic.id_blocks SET next_block = least(next_block + $1, 8589934592))
SELECT setval('medic.service_id_by_sql', least(last_value + $2, 1073741822)) FROM medic.service_id_by_sql
"""
_CLOSE: Final = """
WITH closed AS (
    UPDATE medic.alerts SET active = 0, closed_date = $1, closed_reason = 'superseded'
    WHERE active = 1 AND alert_id <> ALL ($2::bigint[])
    RETURNING service_id
)
UPDATE medic.services SET down = 0 FROM closed WHERE services.service_id = closed.service_id
"""
_INSUFFICIENT_PRIVILEGE: Final = "42501"


@dataclass(frozen=True, slots=True)
class Older:
    """A database that lacks what this directory has seen in it.

    Attributes:
        until: Up to when it has everything that was heard, or None where nothing ever was.
        why: What is missing, in words.
    """

    until: InstantMs | None
    why: str

    def sentence(self, folder: Path) -> str:
        """For the operator, who has to say which of the two counts."""
        until = "" if self.until is None else f" It knows what happened until {isoformat(self.until)}."
        return (
            f"is {folder}, and PostgreSQL was put back to before it: {self.why}.{until} "
            "Put a newer backup back; or start once with `medic serve --discard-journal`, and Medic goes on from what "
            "the database has: it puts the journal of this folder aside, and every deadline starts afresh"
        )


@dataclass(frozen=True, slots=True)
class Discard:
    """A start goes on from the database alone.

    Attributes:
        aside: Where what the directory had goes.
        is_taken_over: Another Medic is active on this database now: what is to be gone on from is what that one leaves.
    """

    aside: Path
    is_taken_over: bool


async def find_discard(
    database: Database, folder: Path, tokens: TokenFile, *, gap: Gap, at: InstantMs
) -> Discard | None:
    """Hold database and directory against each other before leading; the discard that has to be made, or None.

    Args:
        database: With its schema in place.
        folder: `MEDIC_DATA_DIR`.
        tokens: The directory's.
        gap: What the operator said of a database that lacks something.
        at: Now.

    Raises:
        ConfigurationError: the database is older than the directory, and nobody said which of the two counts.
        DatabaseUnavailableError: PostgreSQL does not answer.
    """
    row = await _instance(database)
    if await trio.to_thread.run_sync(kept_database_id, folder) != row["database_id"]:
        return None  # new to each other; or not each other's at all, which pairing says
    older = await _find_older(row, folder, tokens.tokens)
    journal = await trio.to_thread.run_sync(reached, folder / "journal")
    if older is None and not _is_copy(row, await _here(database)):
        if gap is not Gap.DISCARD:
            return None
        if not await _lacks_a_span(database, journal):
            _log.warning("no journal was discarded: the database is as new as this folder")
            return None
    if journal is not None and journal.position and gap is not Gap.DISCARD:
        if older is None:
            return None
        if gap is Gap.REFUSE:
            raise ConfigurationError((Fault("MEDIC_DATA_DIR", older.sentence(folder)),))
        _log.error(
            "going on with what this folder knows; operators' changes since are not in the database", why=older.why
        )
        await skip_ids(database)
        return None
    is_taken_over = (await sight(database)).held
    await tokens.begin_inheriting()
    aside = free_name(folder, "journal-discarded", at)
    return Discard(aside, is_taken_over)


async def _find_older(row: Row, folder: Path, tokens: Tokens) -> Older | None:
    """What the database lacks that this directory has seen in it; None where it is as new."""
    if row["token"] < tokens.newest_seen:
        return Older(row["until"], f"its token is {row['token']}, and this folder has seen {tokens.newest_seen}")
    heads = AuditHeads(folder)
    try:
        await trio.to_thread.run_sync(heads.read)
    except ValueError:
        return None  # whoever seals says so
    if heads.expected is not None and row["place"] < heads.expected.place:
        why = f"its audit ends at place {row['place']}, and this folder has seen place {heads.expected.place}"
        return Older(row["until"], why)
    return None


async def _lacks_a_span(database: Database, journal: Reached | None) -> bool:
    """Whether the journal begins behind what the database has of it."""
    if journal is None:
        return False
    row = await database.fetchrow(_POSITION, journal.journal_id, operation="age")
    return (0 if row is None else row["position"]) < journal.oldest


async def carry_out(database: Database, folder: Path, discard: Discard) -> None:
    """Put aside what the directory knows of the database as it was, but for the journal. While leading.

    Raises:
        DatabaseUnavailableError: PostgreSQL does not answer.
        OSError: it cannot be moved.
    """
    if not discard.is_taken_over:
        await mark_copy(database)
    await trio.to_thread.run_sync(_put_aside, folder, discard.aside)
    _log.warning("what this folder had beyond the database is put aside", place=str(discard.aside))


def _put_aside(folder: Path, aside: Path) -> None:
    names = [name for name in (HEADS_NAME, IDS_NAME) if (folder / name).exists()]
    if not names:
        return
    aside.mkdir(mode=0o700)
    for name in names:
        (folder / name).rename(aside / name)
    sync_directory(aside)
    sync_directory(folder)


async def is_copy(database: Database) -> bool:
    """Whether this is a dump that was loaded since a Medic last began on it. While leading: from then on it is known.

    Raises:
        DatabaseUnavailableError: PostgreSQL does not answer.
    """
    row, here = await _instance(database), await _here(database)
    if not row["incarnation"] and here:
        await database.execute(_KEEP, here, operation="age")
    return _is_copy(row, here)


def _is_copy(row: Row, here: str) -> bool:
    kept = row["incarnation"]
    return kept == COPY or (bool(kept) and bool(here) and kept != here)


async def _instance(database: Database) -> Row:
    row = await database.fetchrow(_INSTANCE, operation="age")
    if row is None:
        raise InvariantError("medic.medic_instance has lost its one row")
    return row


async def mark_copy(database: Database) -> None:
    """Say that this database is to be gone on from as a copy, until `settle`.

    Raises:
        DatabaseUnavailableError: PostgreSQL does not answer.
    """
    await database.execute(_KEEP, COPY, operation="age")


async def skip_ids(database: Database) -> None:
    """Let nobody give out an id again that was given out after the copy was made.

    Raises:
        DatabaseUnavailableError: PostgreSQL does not answer.
    """
    await database.execute(_SKIP, SKIPPED_BLOCKS, SKIPPED_BY_SQL, operation="ids")


async def close_unknown(database: Database, known: Collection[EventId], at: InstantMs) -> None:
    """Close the open alerts of which no service knows: the dump was made between an alert and its state.

    Raises:
        DatabaseUnavailableError: PostgreSQL does not answer.
    """
    tag = await database.execute(_CLOSE, at, list(known), operation="close unknown alerts")
    if tag != "UPDATE 0":
        _log.warning("open alerts of which no service knows were closed", alerts=tag.removeprefix("UPDATE "))


async def settle(database: Database) -> None:
    """Say that a Medic has begun on this database as it is: it is a copy no more.

    Raises:
        DatabaseUnavailableError: PostgreSQL does not answer.
    """
    await database.execute(_KEEP, await _here(database), operation="age")


def free_name(folder: Path, name: str, at: InstantMs) -> Path:
    """A name in the folder that nothing has, with the time in it: nothing that is put aside replaces anything."""
    stamp = dt.datetime.fromtimestamp(at / 1000, dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    wanted = folder / f"{name}-{stamp}"
    number = 2
    while wanted.exists():
        wanted = folder / f"{name}-{stamp}-{number}"
        number += 1
    return wanted


async def _here(database: Database) -> str:
    """Which database this is; empty where its role may not ask, and then no copy is ever found out."""
    try:
        row = await database.fetchrow(_HERE, operation="age")
    except StatementRefusedError as error:
        if error.sqlstate != _INSUFFICIENT_PRIVILEGE:
            raise
        return ""
    return "" if row is None else row["here"]
