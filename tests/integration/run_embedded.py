"""A Medic that does nothing but run the embedded server: `python run_embedded.py DATA_DIR [UID]`.

Prints one line once the server is ready, and runs until its input ends. With a UID it drops to that user first, after
everything was imported: that user need not be able to read this checkout.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - asyncio loads it when the first connection is made
import os
import sys
from pathlib import Path

import structlog
import trio

from medic.store.embedded.server import open_embedded_server
from medic.store.postgres.bridge import open_bridge
from medic.store.postgres.database import open_database


async def main(data_dir: Path) -> None:
    async with (
        open_bridge() as bridge,
        open_embedded_server(data_dir, bridge=bridge) as server,
        open_database(server.target, bridge=bridge) as database,
    ):
        await database.execute("CREATE TABLE IF NOT EXISTS kept (at timestamptz DEFAULT now())")
        await database.execute("INSERT INTO kept DEFAULT VALUES")
        row = await database.fetchrow("SELECT count(*) AS starts FROM kept")
        assert row is not None
        print(f"ready {row['starts']} {server.target.host}", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    if len(sys.argv) > 2:
        user = int(sys.argv[2])
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    trio.run(main, Path(sys.argv[1]))
