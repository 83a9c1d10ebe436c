"""A PostgreSQL of one's own for an external-database Medic: started, stopped and started again at the test's will.

Run as a module it keeps a real server on a directory until SIGTERM, and prints the variables that lead to it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import trio

from medic.store.embedded.leftovers import server_processes
from medic.store.embedded.server import open_embedded_server
from medic.store.postgres.bridge import open_bridge
from tests.patience import PATIENCE_SECONDS
from tests.postgres_server import find_tool

OURS = ("DB_HOST", "DB_PORT", "DB_NAME", "PG_USER", "PG_PASS")


class PostgresProcess:
    """A context manager; `environment` points Medic at the server."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._child: subprocess.Popen[str] | None = None
        self.environment: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server; returns once it answers."""
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.postgres", str(self._directory)],
            cwd=Path(__file__).resolve().parents[2],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        assert line, "the server did not start"
        self.environment = {name: value for name, value in json.loads(line).items() if name in OURS}

    def stop(self) -> None:
        """Stop the server, if it runs."""
        if self._child is None:
            return
        self._child.send_signal(signal.SIGTERM)
        self._child.wait(PATIENCE_SECONDS)
        # On a busy machine whoever keeps it may give up waiting a moment before the server is through.
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (self._directory / "postgres" / "data" / "postmaster.pid").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._child.stdout is not None:
            self._child.stdout.close()
        self._child = None

    def ask(self, sql: str, *, database: str = "") -> str:
        """What its owner is answered, as psql prints it without ornaments."""
        where = self.environment | ({"DB_NAME": database} if database else {})
        names = ["-h", where["DB_HOST"], "-p", where["DB_PORT"], "-U", where["PG_USER"], "-d", where["DB_NAME"]]
        done = subprocess.run([find_tool("psql"), *names, "-AtXc", sql], check=True, capture_output=True, text=True)
        return done.stdout

    def freeze(self) -> None:
        """Stop every process of the server where it stands: connections stay open and nobody answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, order: signal.Signals) -> None:
        for pid in server_processes(self._directory / "postgres" / "data"):
            os.kill(pid, order)


async def keep(directory: Path) -> None:
    """Keep a server on the directory until SIGTERM."""
    async with open_bridge() as bridge, open_embedded_server(directory, bridge=bridge) as server:
        print(json.dumps(dict(server.target.environment())), flush=True)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                return


if __name__ == "__main__":
    trio.run(keep, Path(sys.argv[1]))
