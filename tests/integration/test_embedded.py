"""The embedded PostgreSQL (HARD-CASES H25): made, found again, restarted, ended; nothing foreign is ever touched."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psutil
import pytest
import trio

from medic.errors import ConfigurationError
from medic.store.embedded.cluster import embedded_target, make_data_dir, prepare_cluster
from medic.store.embedded.leftovers import read_pid_file, server_processes
from medic.store.embedded.server import EmbeddedServer, FirstStart, ServerState, open_embedded_server, running_target
from medic.store.postgres.bridge import open_bridge
from medic.store.postgres.database import Database, open_database
from tests.patience import PATIENCE_SECONDS
from tests.postgres_server import find_tool

SCRIPT = Path(__file__).with_name("run_embedded.py")
IS_ROOT = os.geteuid() == 0
NOBODY = 65_534


@pytest.fixture
def new_data_dir(tmp_path: Path) -> Path:
    """A data directory that is not there yet."""
    return tmp_path / "data"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a cluster that was never started; making one takes a second of CPU."""
    made = make_data_dir(tmp_path_factory.mktemp("cluster") / "data")
    prepare_cluster(made)
    return made


@pytest.fixture
def data_dir(cluster: Path, tmp_path: Path) -> Path:
    """A data directory with a cluster in it, of this test alone."""
    subprocess.run(["/bin/cp", "-a", str(cluster), str(tmp_path)], check=True)
    return tmp_path / "data"


@asynccontextmanager
async def running(
    data_dir: Path, first_start: FirstStart = FirstStart.MUST_WORK
) -> AsyncIterator[tuple[EmbeddedServer, Database]]:
    async with (
        open_bridge() as bridge,
        open_embedded_server(data_dir, bridge=bridge, first_start=first_start) as server,
        open_database(server.target, bridge=bridge) as database,
    ):
        yield server, database


def pgdata(data_dir: Path) -> Path:
    return data_dir / "postgres" / "data"


def postmaster(data_dir: Path) -> psutil.Process:
    named = read_pid_file(pgdata(data_dir))
    assert named is not None
    return psutil.Process(named.pid)


async def wait_no_server(data_dir: Path) -> None:
    """The server and its children are gone; waits for each to end."""
    with trio.fail_after(PATIENCE_SECONDS):
        for pid in server_processes(pgdata(data_dir)):
            try:
                process = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            await trio.lowlevel.wait_readable(process)
            os.close(process)
    assert not server_processes(pgdata(data_dir))


@contextmanager
def medic_process(data_dir: Path, *user: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Another process that runs the server, and what it said when it was ready."""
    command = [sys.executable, str(SCRIPT), str(data_dir), *user]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2]), "PG_PASS": "sesame"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/", env=environment
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().split()
        finally:
            process.kill()


def way_of(server: EmbeddedServer) -> Path:
    """The directory of the link to a socket whose own path is too long."""
    return Path(server.target.host).parent


@contextmanager
def foreign_process(uid: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the server's user that has nothing to do with it."""
    with subprocess.Popen(["/bin/sleep", "60"], user=uid if IS_ROOT else None, cwd="/") as process:
        yield process
        process.kill()


# -------------------------------------------------------------------------------------------------- start, stop, again


async def test_a_new_directory_gets_a_server_that_ends_with_its_block(new_data_dir: Path) -> None:
    async with running(new_data_dir) as (server, database):
        settings = await database.fetchrow(
            "SELECT current_setting('data_checksums') AS checksums, current_setting('fsync') AS fsync,"
            " current_setting('listen_addresses') AS listening, current_user AS role, current_database() AS name"
        )
        assert settings is not None
        assert tuple(settings) == ("on", "on", "", "medic", "medic")
        assert server.statistics().state is ServerState.READY
        assert running_target(new_data_dir) == server.target

    assert server.statistics().state is ServerState.STOPPED
    assert not server_processes(pgdata(new_data_dir))
    assert running_target(new_data_dir) is None


async def test_a_second_start_finds_what_the_first_stored(data_dir: Path) -> None:
    async with running(data_dir) as (_, database):
        await database.execute("CREATE TABLE kept AS SELECT 42 AS answer")

    async with running(data_dir) as (_, database):
        row = await database.fetchrow("SELECT answer FROM kept")
        assert row is not None
        assert row["answer"] == 42


async def test_nobody_else_may_enter_and_no_directory_above_was_opened(new_data_dir: Path, tmp_path: Path) -> None:
    before = {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.parents}

    async with running(new_data_dir):
        for folder in (
            new_data_dir,
            new_data_dir / "postgres",
            pgdata(new_data_dir),
            new_data_dir / "postgres" / "socket",
        ):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.parents} == before


async def test_the_server_never_runs_as_root(data_dir: Path) -> None:
    async with running(data_dir):
        assert set(postmaster(data_dir).uids()) == {NOBODY if IS_ROOT else os.geteuid()}


@pytest.mark.parametrize(
    "user", [(str(NOBODY),), ()] if IS_ROOT else [()], ids=lambda user: "".join(user) or "ourselves"
)
def test_medic_runs_it_as_whoever_medic_is(user: tuple[str, ...]) -> None:
    parent = Path(tempfile.mkdtemp(prefix="medic-test-"))
    try:
        if user:
            os.chown(parent, int(user[0]), int(user[0]))
        for start in ("1", "2"):
            with medic_process(parent / "data", *user) as (process, said):
                assert said[:2] == ["ready", start]
                process.communicate()
            assert process.returncode == 0
    finally:
        shutil.rmtree(parent)


def test_the_server_gets_nothing_of_medics_environment(data_dir: Path) -> None:
    with medic_process(data_dir) as (process, _):
        assert "PG_PASS" in psutil.Process(process.pid).environ()
        assert set(postmaster(data_dir).environ()) <= {"PATH", "LC_ALL", "TZ", "PWD", "SHLVL", "_"}
        process.communicate()


async def test_a_long_path_gets_a_short_way_to_its_socket(new_data_dir: Path) -> None:
    deep = new_data_dir / ("x" * 100) / ("y" * 100)

    async with running(deep) as (server, database):
        assert len(server.target.host) < 100
        assert stat.S_IMODE(way_of(server).stat().st_mode) == 0o700
        assert await database.fetch("SELECT 1")
    assert not way_of(server).exists()


# ------------------------------------------------------------------------------------------------------ things that die


async def test_a_server_that_was_killed_is_started_again_and_connections_come_back(data_dir: Path) -> None:
    async with running(data_dir) as (server, database):
        await database.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        first = postmaster(data_dir)
        first.kill()
        with trio.fail_after(PATIENCE_SECONDS):
            await server.wait_state(ServerState.STARTING)
            await server.wait_state(ServerState.READY)

        row = await database.fetchrow("SELECT answer FROM kept")
        assert row is not None
        assert row["answer"] == 42
        assert postmaster(data_dir).pid != first.pid
        assert server.statistics().restarts == 1


async def test_a_medic_that_was_killed_takes_its_server_with_it(data_dir: Path) -> None:
    with medic_process(data_dir) as (process, said):
        assert said[1] == "1"
        assert server_processes(pgdata(data_dir))
        process.kill()
        await wait_no_server(data_dir)

    async with running(data_dir) as (_, database):
        assert len(await database.fetch("SELECT at FROM kept")) == 1


async def test_a_server_whose_keeper_was_killed_too_is_ended_by_the_next_start(data_dir: Path) -> None:
    with medic_process(data_dir) as (process, _):
        left = postmaster(data_dir)
        keeper = left.parent()
        assert keeper is not None
        # First whoever reads the orders, then the keeper: nobody is left to tell the server that Medic is gone.
        for member in (*keeper.children(), keeper):
            if member.pid != left.pid:
                member.kill()
        process.kill()
        process.wait()
        assert left.is_running()

    async with running(data_dir) as (_, database):
        assert postmaster(data_dir).pid != left.pid
        assert left.pid not in server_processes(pgdata(data_dir))
        assert len(await database.fetch("SELECT at FROM kept")) == 1


async def test_a_medic_killed_and_started_at_once_gets_its_server(data_dir: Path) -> None:
    for _ in range(3):
        with medic_process(data_dir) as (process, said):
            assert said[0] == "ready"
            process.kill()
            process.wait()

    async with running(data_dir) as (_, database):
        assert len(await database.fetch("SELECT at FROM kept")) == 3


# ------------------------------------------------------------------------------------------------- nothing foreign


async def test_a_stale_pid_file_harms_no_process_that_has_the_number_now(data_dir: Path) -> None:
    async with running(data_dir):
        shutil.copy2(pgdata(data_dir) / "postmaster.pid", data_dir / "stale.pid")
    owner = pgdata(data_dir).stat()
    with foreign_process(owner.st_uid) as foreign:
        _, *rest = (data_dir / "stale.pid").read_text().splitlines(keepends=True)
        for stale in (pgdata(data_dir) / "postmaster.pid", data_dir / "postgres" / "socket" / ".s.PGSQL.5432.lock"):
            stale.write_text("".join((f"{foreign.pid}\n", *rest)))
            os.chown(stale, owner.st_uid, owner.st_gid)

        async with running(data_dir) as (_, database):
            assert await database.fetch("SELECT 1")
            assert running_target(data_dir) is not None

        assert foreign.poll() is None


async def test_a_postgres_of_another_cluster_is_not_taken_for_ours(data_dir: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    async with running(other):
        theirs = postmaster(other)
        async with running(data_dir):
            pass
        shutil.copy2(pgdata(other) / "postmaster.pid", pgdata(data_dir) / "postmaster.pid")

        async with running(data_dir):
            assert postmaster(data_dir).pid != theirs.pid

        assert theirs.is_running()


async def test_a_second_medic_on_the_directory_is_told_so(data_dir: Path) -> None:
    async with running(data_dir) as (_, database):
        with pytest.raises(ConfigurationError, match="another Medic uses"):
            async with running(data_dir):
                pass
        assert await database.fetch("SELECT 1")


# ------------------------------------------------------------------------------------------------ faults, one sentence


async def refusal(data_dir: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        async with running(data_dir):
            pass
    assert len(caught.value.faults) == 1
    return caught.value.faults[0].message


async def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert await refusal(tmp_path / "file" / "data") == f"{tmp_path}/file/data cannot be made: not a directory."


async def test_a_cluster_of_another_release_is_not_touched(data_dir: Path) -> None:
    async with running(data_dir):
        pass
    (pgdata(data_dir) / "PG_VERSION").write_text("16\n")

    assert "was made by PostgreSQL 16, Medic has 18" in await refusal(data_dir)


async def test_a_server_that_cannot_start_says_what_postgresql_said(data_dir: Path) -> None:
    async with running(data_dir):
        pass
    (pgdata(data_dir) / "pg_hba.conf").write_text("nonsense\n")

    said = await refusal(data_dir)

    assert said.startswith("PostgreSQL does not start: ")
    assert str(data_dir / "postgres.log") in said


async def test_where_medic_can_do_without_it_a_server_that_cannot_start_is_tried_again(data_dir: Path) -> None:
    async with running(data_dir):
        pass
    rules = pgdata(data_dir) / "pg_hba.conf"
    good = rules.read_text()
    rules.write_text("nonsense\n")
    async with running(data_dir, first_start=FirstStart.MAY_FAIL) as (server, _):
        assert server.statistics().state is not ServerState.READY
        rules.write_text(good)
        with trio.fail_after(PATIENCE_SECONDS):
            await server.wait_state(ServerState.READY)


@pytest.mark.parametrize("owner", [0] if IS_ROOT else [])
async def test_a_folder_of_roots_is_not_given_away(new_data_dir: Path, owner: int) -> None:
    (new_data_dir / "postgres").mkdir(parents=True)

    assert "belongs to root, and PostgreSQL does not run as root" in await refusal(new_data_dir)
    assert (new_data_dir / "postgres").stat().st_uid == owner


async def test_an_initdb_that_was_killed_leaves_nothing_that_matters(data_dir: Path) -> None:
    async with running(data_dir):
        pass
    shutil.rmtree(pgdata(data_dir))
    (data_dir / "postgres" / "data.new-1").mkdir()
    (data_dir / "postgres" / "data.new-1" / "half").write_text("")

    async with running(data_dir):
        assert not (data_dir / "postgres" / "data.new-1").exists()


# ------------------------------------------------------------------------------------------------------ the runbook


async def test_the_runbooks_psql_and_pg_dump_lines_reach_it(data_dir: Path, tmp_path: Path) -> None:
    async with running(data_dir) as (_, database):
        await database.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        environment = {
            "PATH": f"{find_tool('psql').parent}:{os.environ['PATH']}",
            **embedded_target(data_dir).environment(),
        }

        async def shell(line: str) -> str:
            done = await trio.run_process(
                ["/bin/sh", "-c", line], env=environment, cwd=tmp_path, capture_stdout=True, capture_stderr=True
            )
            return done.stdout.decode()

        assert "1 row" in await shell('psql -h $DB_HOST -U $PG_USER -d $DB_NAME -c "SELECT 1"')
        await shell("pg_dump -h $DB_HOST -U $PG_USER -d $DB_NAME > medic_backup_$(date +%Y%m%d).sql")

        assert "COPY public.kept (answer) FROM stdin;\n42\n" in await shell("cat medic_backup_*.sql")
