"""`medic migrate`: the schema brought up to this release, also beside a Medic that runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from medic.config.folder import prepare
from medic.config.settings import Settings
from medic.errors import ConfigurationError, Fault
from medic.store.embedded.server import ServerState, open_embedded_server, running_target
from medic.store.postgres.bridge import Bridge, open_bridge
from medic.store.postgres.database import Database, open_database
from medic.store.postgres.migrate import migrate
from medic.store.postgres.target import ConnectionTarget


async def migrate_database(settings: Settings, announce: Callable[[str], None]) -> None:
    """Apply what is missing, and say what that was.

    Raises:
        ConfigurationError, DatabaseUnavailableError: it cannot be done; the sentence says why.
    """
    async with (
        open_bridge() as bridge,
        open_target(settings, bridge) as target,
        open_database(target, connections_max=1, bridge=bridge) as database,
    ):
        applied = await migrate(database)
    for name in applied:
        announce(f"applied {name}")
    if not applied:
        announce("The schema is up to date.")


async def require_table(database: Database, name: str) -> None:
    """Return if the schema has that table: a command that only looks brings no schema forward.

    Raises:
        ConfigurationError: it has not.
    """
    row = await database.fetchrow("SELECT to_regclass($1) IS NOT NULL AS is_there", name)
    if row is None or not row["is_there"]:
        sentence = "has no schema of this release: start `medic serve` or run `medic migrate` first"
        raise ConfigurationError((Fault("database", sentence),))


@asynccontextmanager
async def open_target(settings: Settings, bridge: Bridge) -> AsyncIterator[ConnectionTarget]:
    """The operators' PostgreSQL; else the embedded one, started for the block where it does not run."""
    target = settings.database.target
    if target is not None:
        yield target
        return
    prepare(settings.storage.folder)
    running = running_target(settings.storage.folder)
    if running is not None:
        yield running
        return
    async with open_embedded_server(settings.storage.folder, bridge=bridge) as server:
        await server.wait_state(ServerState.READY)
        yield server.target
