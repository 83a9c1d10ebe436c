"""`medic backup` and `medic restore`: the embedded database in one file, and that file in place of the database.

With a database of the operators' own both are PostgreSQL's business, and say with which lines.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

import trio
import typer

from medic.actors.clock import wall_now
from medic.app.secrets import sealing_of
from medic.cli.ending import EXIT_CONFIGURATION, say
from medic.config.folder import prepare
from medic.config.settings import Settings
from medic.core.author import Author
from medic.errors import ConfigurationError, DatabaseUnavailableError, Fault
from medic.store.backup.dump import make_backup
from medic.store.backup.manifest import Manifest
from medic.store.backup.restore import open_archive, put_back, require_empty
from medic.store.directory_lock import DirectoryInUseError, DirectoryLock
from medic.store.embedded.server import ServerState, open_embedded_server, running_target
from medic.store.journal.files import reached
from medic.store.postgres.bridge import Bridge, open_bridge
from medic.store.postgres.database import open_database
from medic.store.postgres.target import ConnectionTarget

AUTHOR: Final = Author("medic restore")

BACKUP_LINES: Final = ("pg_dump -h $DB_HOST -U $PG_USER -d $DB_NAME > medic_backup_$(date +%Y%m%d).sql",)
"""The runbook's."""

RESTORE_LINES: Final = (
    'eval "$(medic env)"',
    r'psql -c "ALTER DATABASE \"$DB_NAME\" RENAME TO \"${DB_NAME}_before\"" -h $DB_HOST -U $PG_USER -d postgres',
    (
        r"""psql -c "CREATE DATABASE \"$DB_NAME\" ENCODING 'UTF8' TEMPLATE template0" """
        "-h $DB_HOST -U $PG_USER -d postgres"
    ),
    "psql -h $DB_HOST -U $PG_USER -d $DB_NAME -v ON_ERROR_STOP=1 --single-transaction -q -f FILE.sql",
)
"""How a dump of the runbook's line is put back: what is there is renamed, and kept."""


async def back_up(settings: Settings, path: Path, announce: Callable[[str], None]) -> bool:
    """Make a backup and say what is in it; whether it has everything that was answered before.

    Raises:
        ConfigurationError, DatabaseUnavailableError, OSError: it cannot be made; the sentence says why.
    """
    if settings.database.target is not None:
        _leave_to_postgresql("Make the backup with pg_dump, while Medic runs:", BACKUP_LINES)
    folder = settings.storage.folder
    if not (folder / "postgres" / "data").exists():
        raise ConfigurationError((Fault("MEDIC_DATA_DIR", f"is {folder}, and no database of Medic's is there"),))
    # First of all: what is answered from now on need not be in it.
    at, place = wall_now(), await trio.to_thread.run_sync(reached, folder / "journal")
    async with (
        open_bridge() as bridge,
        _source(folder, bridge) as (target, serves),
        open_database(target, connections_max=2, bridge=bridge) as database,
    ):
        with _named(path):
            made = await make_backup(
                path,
                folder=folder,
                database=database,
                reached=place,
                at=at,
                medic=version("medic-monitor"),
                serves=serves,
            )
    announce(f"{path}: {made.size:,} bytes, {_content(made.manifest)}.")
    if made.missing:
        say(f"{path} may lack something: {made.missing}.")
    return not made.missing


async def restore(settings: Settings, path: Path, announce: Callable[[str], None], *, may_discard: bool) -> None:
    """Put a backup back, and say what to do next.

    Raises:
        ConfigurationError, OSError: it cannot be done; the sentence says why, and nothing was changed.
    """
    if settings.database.target is not None:
        lines = (*RESTORE_LINES, "medic serve --discard-journal")
        _leave_to_postgresql("Stop Medic, load the dump, and start Medic once like this:", lines)
    folder = settings.storage.folder
    with _named(path):
        archive, manifest = await open_archive(path)
    prepare(folder)
    await trio.to_thread.run_sync(_require_owner, folder)
    with _stopped(folder):
        if not may_discard:
            await trio.to_thread.run_sync(require_empty, folder)
        aside = await put_back(archive, manifest, folder, at=wall_now(), author=AUTHOR)
    announce(f"{folder} is what {path} has: {_content(manifest)}, as of {manifest.made_at}.")
    if aside is not None:
        announce(f"What was there before is in {aside}. Remove it when nobody wants to go back.")
    if not manifest.is_complete:
        say(f"{path} said when it was made that it may lack something of the time just before.")
    if missing := _secrets_missing(settings, manifest):
        say(missing)
    announce("Start it: medic serve. Nobody is told anything by that; every deadline starts afresh.")


@asynccontextmanager
async def _source(folder: Path, bridge: Bridge) -> AsyncIterator[tuple[ConnectionTarget, bool]]:
    """Where the database of the folder is for the block, started where it does not run; whether a Medic runs there."""
    with ExitStack() as stack:
        try:
            stack.enter_context(DirectoryLock(folder))
        except DirectoryInUseError:
            running = running_target(folder)
            if running is None:
                sentence = "Medic runs, and its PostgreSQL does not at this moment: try again"
                raise DatabaseUnavailableError(sentence) from None
            yield running, True
            return
        async with open_embedded_server(folder, bridge=bridge) as server:
            await server.wait_state(ServerState.READY)
            yield server.target, False


@contextmanager
def _stopped(folder: Path) -> Iterator[None]:
    """No Medic runs in the folder for the block.

    Raises:
        ConfigurationError: one does.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(DirectoryLock(folder))
        except DirectoryInUseError as error:
            sentence = (
                f"is {folder}, and a Medic runs there (process {error.holder}). Stop it first: a restore takes "
                "the place of its database"
            )
            raise ConfigurationError((Fault("MEDIC_DATA_DIR", sentence),)) from None
        yield


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What the system says of that file in the block is the operator's to read.

    Raises:
        ConfigurationError: it cannot be read or written.
    """
    try:
        yield
    except OSError as error:
        raise ConfigurationError((Fault(str(path), (error.strerror or "cannot be used").lower()),)) from error


def _require_owner(folder: Path) -> None:
    """Return where what is made in the folder will belong to whom it belongs to. Blocks.

    Raises:
        ConfigurationError: somebody else's Medic works there, and could not use what this process makes.
    """
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        sentence = f"is {folder}, which belongs to user {owner}: restore as that user, who runs Medic there"
        raise ConfigurationError((Fault("MEDIC_DATA_DIR", sentence),))


def _leave_to_postgresql(what: str, lines: Sequence[str]) -> None:
    say(f"this Medic uses a PostgreSQL of yours, not one of its own. {what}")
    for line in lines:
        print(line)
    raise typer.Exit(EXIT_CONFIGURATION)


def _content(manifest: Manifest) -> str:
    services = f"{manifest.services} {'service' if manifest.services == 1 else 'services'}"
    alerts = f"{manifest.open_alerts} open {'alert' if manifest.open_alerts == 1 else 'alerts'}"
    return f"{services}, {alerts}"


def _secrets_missing(settings: Settings, manifest: Manifest) -> str:
    """What to set so that the secrets in the backup can be opened; empty where nothing is missing."""
    sealing = sealing_of(settings)
    unknown = [key for key in manifest.secret_keys if sealing is None or not sealing.holds(key)]
    if not unknown:
        return ""
    is_what = "not set" if sealing is None else "another one"
    return (
        f"secrets in it were sealed with the key {', '.join(unknown)}, and MEDIC_SECRETS_KEY is {is_what}: set "
        "that of the machine the backup is of. Until then nobody is told by what needs them."
    )
