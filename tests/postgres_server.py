"""A real PostgreSQL for a test run: the embedded one, run by the code under test in a thread of its own."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from medic.store.embedded.cluster import find_install
from medic.store.embedded.server import open_embedded_server
from medic.store.postgres.bridge import Bridge, open_bridge
from medic.store.postgres.database import Database, open_database
from medic.store.postgres.migrate import migrate
from medic.store.postgres.target import ConnectionTarget
from tests.patience import PATIENCE_SECONDS

TEMPLATE = "medic_template"

SETTINGS = {"fsync": "off"}
"""A test run outlives no loss of power. What must survive one is tested on servers of its own."""


def find_tool(name: str) -> Path:
    """A client program of the packaged PostgreSQL: psql, pg_dump, …"""
    return find_install() / "bin" / name


class PostgresServer:
    """A server that runs from `start` to `stop`, with a migrated database to copy."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._names = (f"test_{number}" for number in itertools.count(1))
        self._said: queue.Queue[tuple[ConnectionTarget, trio.CancelScope, trio.lowlevel.TrioToken] | BaseException]
        self._said = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="postgres")

    def start(self) -> None:
        """Start the server and make the template."""
        self._thread.start()
        said = self._said.get()
        if isinstance(said, BaseException):
            raise said
        self._target, self._scope, self._token = said

    def stop(self) -> None:
        """Stop the server and wait for it."""
        self._token.run_sync_soon(self._scope.cancel)
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()

    def target(self, database: str) -> ConnectionTarget:
        """Where one of its databases is."""
        return replace(self._target, database=database)

    @asynccontextmanager
    async def fresh_database(self, *, template: str = TEMPLATE) -> AsyncIterator[tuple[Database, Bridge]]:
        """A database of its own for the block, migrated unless another template is named."""
        name = next(self._names)
        async with open_bridge() as bridge, open_database(self.target("postgres"), bridge=bridge) as server:
            await server.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
            async with open_database(self.target(name), bridge=bridge) as database:
                yield database, bridge
            with trio.CancelScope(shield=True):
                await server.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _run(self) -> None:
        try:
            trio.run(self._serve)
        except Exception as error:  # noqa: BLE001 - `start` raises it
            self._said.put(error)

    async def _serve(self) -> None:
        with trio.CancelScope() as scope:
            async with (
                open_bridge() as bridge,
                open_embedded_server(self._data_dir, bridge=bridge, settings=SETTINGS) as server,
            ):
                async with open_database(replace(server.target, database="postgres"), bridge=bridge) as database:
                    await database.execute(f"CREATE DATABASE {TEMPLATE}")
                async with open_database(replace(server.target, database=TEMPLATE), bridge=bridge) as database:
                    await migrate(database)
                self._said.put((server.target, scope, trio.lowlevel.current_trio_token()))
                await trio.sleep_forever()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """The embedded server, started when the first test asks for it and stopped at the end of the run."""
    server = PostgresServer(tmp_path_factory.mktemp("postgres"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["fake", "postgres"])
def server(request: pytest.FixtureRequest) -> PostgresServer | None:
    """For suites that hold the fake and the real store to one contract: None stands for the fake."""
    return None if request.param == "fake" else request.getfixturevalue("postgres")


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[Database]:
    """A migrated database that no other test sees."""
    async with postgres.fresh_database() as (fresh, _bridge):
        yield fresh
