"""Ends a PostgreSQL that an earlier Medic left behind, and never anything else.

A pid in a file proves nothing: it may be years old and belong to an editor by now. What is believed is what the kernel
says of a process that is there: its working directory is the cluster's (the same inode, whatever the path), and its
executable is called postgres. Of those, the one named in postmaster.pid, with our socket in that file, is the server,
and the only process that is ever signalled, through a descriptor for that very process (pidfd), so that no other can
take its number meanwhile. The rest are its children; they end by themselves. Where pid file, executable, directory and
socket do not agree, nothing is signalled. Why it is ended and not adopted: docs/decisions/0004-embedded-postgresql.md.

Where /proc does not exist this cannot be known, and then a pid file that names a living process is left for the
operator.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
import trio

from medic.errors import ConfigurationError, Fault

_log = structlog.get_logger(__name__)

FAST_SECONDS: Final = 20.0
"""What a fast shutdown gets to write its buffers down, before an immediate one."""
IMMEDIATE_SECONDS: Final = 10.0
PROC: Final = Path("/proc")
_PID_FILE_BYTES_MAX: Final = 4_096


@dataclass(frozen=True, slots=True)
class PidFile:
    """What postmaster.pid says."""

    pid: int
    socket_folder: str


def read_pid_file(pgdata: Path) -> PidFile | None:
    """The server that postmaster.pid names, or None where there is no such file or it says nothing."""
    try:
        handle = os.open(pgdata / "postmaster.pid", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        lines = file.read(_PID_FILE_BYTES_MAX).decode(errors="replace").splitlines()
    if not lines or not lines[0].strip().isdecimal():
        return None
    return PidFile(int(lines[0]), lines[4].strip() if len(lines) > 4 else "")


def server_processes(pgdata: Path) -> frozenset[int]:
    """The living processes called postgres that work in this cluster. Empty where /proc does not exist."""
    try:
        cluster = pgdata.stat()
        candidates = [int(entry) for entry in os.listdir(PROC) if entry.isdecimal()]  # noqa: PTH208 - names only
    except OSError:
        return frozenset()
    return frozenset(pid for pid in candidates if _works_in(pid, cluster))


async def end_left_over(pgdata: Path) -> bool:
    """Make sure that no server works in this cluster; whether there was one.

    Stale lock files, postmaster.pid and the socket's, are removed: PostgreSQL itself would take any living process of
    the number in them, a zombie even, for a server.

    Raises:
        ConfigurationError: one is there that cannot be ended, or that cannot be told from another process.
    """
    named = read_pid_file(pgdata)
    living = await trio.to_thread.run_sync(server_processes, pgdata)
    if not living:
        if named is not None:
            _require_proc_or_dead(pgdata, named.pid)
        _remove_locks(pgdata)
        return False
    if named is not None and named.pid in living and named.socket_folder in {"../socket", ""}:
        _log.info("ending a PostgreSQL that an earlier Medic left", pid=named.pid)
        for order, seconds in ((signal.SIGINT, FAST_SECONDS), (signal.SIGQUIT, IMMEDIATE_SECONDS)):
            _signal(named.pid, pgdata, order)
            if await _wait_gone(pgdata, seconds):
                _remove_locks(pgdata)
                return True
    # Children that lost their server notice it and end.
    elif await _wait_gone(pgdata, FAST_SECONDS):
        _remove_locks(pgdata)
        return True
    pids = ", ".join(str(pid) for pid in sorted(server_processes(pgdata)))
    raise ConfigurationError(
        (
            Fault(
                "MEDIC_DATA_DIR", f"a PostgreSQL that Medic did not start works in {pgdata} (process {pids}): stop it."
            ),
        )
    )


def _remove_locks(pgdata: Path) -> None:
    (pgdata / "postmaster.pid").unlink(missing_ok=True)
    for lock in (pgdata.parent / "socket").glob(".s.PGSQL.*.lock"):
        lock.unlink(missing_ok=True)


def _works_in(pid: int, cluster: os.stat_result) -> bool:
    try:
        where = os.stat(f"{PROC}/{pid}/cwd")  # noqa: PTH116 - a magic link, not a path
        executable = os.readlink(f"{PROC}/{pid}/exe")  # noqa: PTH115
    except OSError:
        return False
    same = (where.st_dev, where.st_ino) == (cluster.st_dev, cluster.st_ino)
    return same and Path(executable.removesuffix(" (deleted)")).name == "postgres"


def _signal(pid: int, pgdata: Path, order: signal.Signals) -> None:
    try:
        process = os.pidfd_open(pid)
    except OSError:
        return
    try:
        # The descriptor is of whoever has this number now; only then is it looked at again.
        if pid in server_processes(pgdata):
            signal.pidfd_send_signal(process, order)
    except ProcessLookupError:
        return
    finally:
        os.close(process)


async def _wait_gone(pgdata: Path, seconds: float) -> bool:
    with trio.move_on_after(seconds):
        while living := await trio.to_thread.run_sync(server_processes, pgdata):
            for pid in living:
                await _wait_ended(pid)
        return True
    return False


async def _wait_ended(pid: int) -> None:
    try:
        process = os.pidfd_open(pid)
    except OSError:
        return
    try:
        await trio.lowlevel.wait_readable(process)
    finally:
        os.close(process)


def _require_proc_or_dead(pgdata: Path, pid: int) -> None:
    if (PROC / "self").exists():
        return
    try:
        os.kill(pid, 0)
    except OSError:
        return
    message = f"{pgdata}/postmaster.pid names the process {pid}, which lives. If it is no PostgreSQL, remove that file."
    raise ConfigurationError((Fault("MEDIC_DATA_DIR", message),))
