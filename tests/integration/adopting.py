"""What tests of the taking over share: a small fleet of the earlier system, as it was and taken over; the two steps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from medic.core.policy import Defaults
from medic.store.adoption.adopt import Adopted, adopt, plan_adoption
from medic.store.postgres.bridge import open_bridge
from medic.store.postgres.database import Database, open_database
from tests.earlier_system import small_fleet
from tests.postgres_server import PostgresServer

DEFAULTS = Defaults()
DAYS = 30


@pytest.fixture(scope="session")
def templates(postgres: PostgresServer) -> PostgresServer:
    """The server, with two databases to copy: the small fleet as it was, and as it is when it was taken over."""

    async def make() -> None:
        async with open_bridge() as bridge, open_database(postgres.target("postgres"), bridge=bridge) as server:
            await server.execute("CREATE DATABASE earlier_fleet")
            async with open_database(postgres.target("earlier_fleet"), bridge=bridge) as database:
                for statement in small_fleet():
                    await database.execute(statement)
            await server.execute("CREATE DATABASE adopted_fleet TEMPLATE earlier_fleet STRATEGY file_copy")
            async with open_database(postgres.target("adopted_fleet"), bridge=bridge) as database:
                await take(database)

    trio.run(make)
    return postgres


@pytest.fixture
async def earlier(templates: PostgresServer) -> AsyncIterator[Database]:
    """A database with the earlier system's small fleet in it, and nothing of Medic's."""
    async with templates.fresh_database(template="earlier_fleet") as (database, _):
        yield database


@pytest.fixture
async def adopted(templates: PostgresServer) -> AsyncIterator[Database]:
    """The same, taken over."""
    async with templates.fresh_database(template="adopted_fleet") as (database, _):
        yield database


@asynccontextmanager
async def filled(postgres: PostgresServer, *statements: str) -> AsyncIterator[Database]:
    async with postgres.fresh_database(template="template1") as (database, _):
        for statement in statements:
            await database.execute(statement)
        yield database


async def take(database: Database, announce=lambda _line: None) -> Adopted:
    return await adopt(database, DEFAULTS, zone="America/Chicago", retention_days=DAYS, announce=announce)


async def look(database: Database, zone: str = "America/Chicago"):
    return await plan_adoption(database, DEFAULTS, zone=zone, retention_days=DAYS)


async def column(database: Database, sql: str, *args: object) -> list[object]:
    return [row[0] for row in await database.fetch(sql, *args)]
