"""Puts a backup back: a data directory as the backup has it, beside which what was there before stays.

The backup is made into a data directory of its own first, below the real one: a cluster is initialised, the dump loaded
in one transaction, the schema brought forward. Only when that is whole do the two change places. So a restore that
fails, for want of room or because the dump is refused, has changed nothing.

Changing places is many renames, and a crash may come between any two. An empty directory must not be taken for a new
Medic then: it would start, and watch nothing. So a marker is written before the first rename and removed after the
last, and no Medic starts beside it. The next restore goes on: what is still there of the old directory goes to where
the rest of it went.

Nothing is deleted. What was there before is in `before-restore-…`, whole: moved back, it is the directory it was.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from medic.core.author import Author
from medic.core.units import InstantMs
from medic.errors import ConfigurationError, Fault
from medic.ports import Position
from medic.store.audit.heads import FILE_NAME as HEADS_NAME
from medic.store.backup.archive import Archive, read_archive
from medic.store.backup.dump import restore_dump
from medic.store.backup.manifest import Manifest, read_manifest
from medic.store.embedded.leftovers import end_left_over
from medic.store.embedded.server import ServerState, open_embedded_server
from medic.store.embedded.unfinished import MARKER
from medic.store.journal.files import reached, sync_directory
from medic.store.postgres.bridge import open_bridge
from medic.store.postgres.database import Database, open_database
from medic.store.postgres.migrate import migrate
from medic.store.private_file import replace_private_file
from medic.store.restored import free_name, mark_copy
from medic.store.tables.audit import audit

STAGED: Final = "restoring"
"""The directory in the making."""

ASIDE: Final = "before-restore"

_STAYS: Final = ("lock", "postgres.lock", MARKER, STAGED, "lost+found")
"""Held, part of the restore itself, or the file system's: where a volume is mounted, only root may move that."""

_OWN_FOLDERS: Final = ("journal", "postgres", "snapshot")
"""These change places, whatever else somebody keeps in them."""

_FORGET: Final = """
UPDATE medic.medic_instance SET active_name = '', active_address = '', active_since = NULL;
UPDATE medic.own_sessions SET word = gen_random_uuid()::text
"""
"""Nobody is active on a copy; and whoever knows the word of the one must not write to the other."""


async def open_archive(path: Path) -> tuple[Archive, Manifest]:
    """Read all of a backup and say what is in it.

    Raises:
        ConfigurationError: it is damaged, or a newer release made it.
        OSError: it cannot be read.
    """
    archive = await trio.to_thread.run_sync(read_archive, path)
    return archive, read_manifest(path, archive.manifest)


async def put_back(archive: Archive, manifest: Manifest, folder: Path, *, at: InstantMs, author: Author) -> Path | None:
    """Put the backup in place of what the data directory has; where that is now, or None where there was nothing.

    Args:
        archive: A whole one.
        manifest: Its own.
        folder: The data directory; its lock is held.
        at: Now.
        author: Who does it, for the audit.

    Raises:
        ConfigurationError: PostgreSQL cannot be started, or refuses the dump. Nothing was changed.
        OSError: there is no room. Nothing was changed, unless a name could not be given: the next restore goes on.
    """
    staged = folder / STAGED
    await _remove_staged(staged)
    try:
        await _make(staged, archive, manifest, at=at, author=author)
    except BaseException:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(_remove_tree, staged)
        raise
    await end_left_over(folder / "postgres" / "data")
    return await trio.to_thread.run_sync(_change_places, folder, archive.path, at)


def require_empty(folder: Path) -> None:
    """Return where nothing was ever journaled in that directory, or a restore was begun that is to go on. Blocks.

    Raises:
        ConfigurationError: something was.
    """
    if (folder / MARKER).exists():
        return
    journal = reached(folder / "journal")
    if journal is not None and journal.position > Position(0):
        sentence = (
            f"is {folder}, and its journal is not empty: a Medic has worked there. With --discard-journal the backup "
            f"takes its place, and all that is there now is kept in a folder {ASIDE}-… in it"
        )
        raise ConfigurationError((Fault("MEDIC_DATA_DIR", sentence),))


async def _make(staged: Path, archive: Archive, manifest: Manifest, *, at: InstantMs, author: Author) -> None:
    async with open_bridge() as bridge, open_embedded_server(staged, bridge=bridge) as server:
        await server.wait_state(ServerState.READY)
        await trio.to_thread.run_sync(restore_dump, server.target, archive.portions())
        async with open_database(server.target, connections_max=1, bridge=bridge) as database:
            await migrate(database)
            await _note(database, manifest, at=at, author=author)
            await mark_copy(database)
            await database.execute(_FORGET)
    if archive.heads:
        await trio.to_thread.run_sync(replace_private_file, staged / HEADS_NAME, archive.heads)


async def _note(database: Database, manifest: Manifest, *, at: InstantMs, author: Author) -> None:
    """Write the restore into the audit that is restored: what came before it is of another time."""
    async with database.transaction() as transaction:
        await audit(
            transaction,
            at=at,
            author=author,
            action="database restored",
            subject=f"backup of {manifest.made_at}",
            after={"made_at": manifest.made_at, "medic": manifest.medic, "database_id": manifest.database_id},
        )


async def _remove_staged(staged: Path) -> None:
    """Remove what a restore that was killed has left; its server ends with it, or is ended."""
    await end_left_over(staged / "postgres" / "data")
    await trio.to_thread.run_sync(_remove_tree, staged)


def _remove_tree(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def _change_places(folder: Path, backup: Path, at: InstantMs) -> Path | None:
    """Move what is there aside, and what was made to where that was, each name in one step."""
    marker, staged = folder / MARKER, folder / STAGED
    aside = folder / marker.read_text("utf-8").strip() if marker.exists() else free_name(folder, ASIDE, at)
    there = _to_move(folder, backup)
    replace_private_file(marker, f"{aside.name}\n".encode())
    if there:
        aside.mkdir(mode=0o700, exist_ok=True)
        for name in there:
            # Of a restore that was cut off, what it had made already comes here as well.
            place = aside / name
            (folder / name).rename(free_name(aside, name, at) if place.exists() else place)
        sync_directory(aside)
    for name in ("postgres", "postgres.log", HEADS_NAME):
        if (staged / name).exists():
            (staged / name).rename(folder / name)
    sync_directory(folder)
    marker.unlink()
    sync_directory(folder)
    _remove_tree(staged)
    return aside if aside.exists() else None


def _to_move(folder: Path, backup: Path) -> Sequence[str]:
    """The names of all that belongs to the Medic that is there; what was put aside before stays where it is.

    So does the backup, with what is beside it in a folder for backups: a container may have no other place for them,
    and whoever restores once more names it again.
    """
    stays = {*_STAYS, _name_in(folder, backup)}
    return [
        name
        for name in sorted(os.listdir(folder))  # noqa: PTH208 - names only
        if name not in stays and not name.startswith((f"{ASIDE}-", "journal-discarded-"))
    ]


def _name_in(folder: Path, backup: Path) -> str:
    """The name in the folder under which the backup is; empty where it is elsewhere."""
    root, place = folder.resolve(), backup.resolve()
    name = place.relative_to(root).parts[0] if place.is_relative_to(root) else ""
    return "" if name in _OWN_FOLDERS else name
