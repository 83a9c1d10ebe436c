"""Backups of a real PostgreSQL, and how what was made of one takes the place of a data directory."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from medic.cli import backup as commands
from medic.config.load import load_settings
from medic.core.status import HeartbeatStatus
from medic.errors import ConfigurationError, DatabaseUnavailableError
from medic.ports import Position
from medic.store.backup import dump as dumping
from medic.store.backup.archive import read_archive
from medic.store.backup.dump import make_backup, restore_dump
from medic.store.backup.manifest import read_manifest
from medic.store.backup.restore import MARKER, STAGED, _change_places, require_empty
from medic.store.directory_lock import DirectoryLock
from medic.store.embedded.unfinished import require_finished
from medic.store.journal.file_journal import FileJournal
from medic.store.journal.files import Reached, reached
from tests.patience import PATIENCE_SECONDS

AT = 1_790_000_000_000
PLACE = Reached("j1", Position(100))

ALERT = (
    "INSERT INTO medic.alerts (alert_id, alert_name, service_id, heartbeat_name, service_name, team, priority, reason,"
    " created_date) VALUES (9, '', $1, 'a', 'a', 't', 'p1', 'late', now())"
)
STATE = (
    "INSERT INTO medic.service_states (service_id, version, journal_id, position, status, hot)"
    " VALUES ($1, 1, 'j1', 1, 'late', '')"
)


async def back_up(database, tmp_path: Path, *, place: Reached | None = PLACE, serves: bool = True):
    return await make_backup(
        tmp_path / "backup", folder=tmp_path, database=database, reached=place, at=AT, medic="1.0", serves=serves
    )


async def move_position(database, position: int) -> None:
    await database.execute(
        "INSERT INTO medic.journal_positions (journal_id, position) VALUES ('j1', $1)"
        " ON CONFLICT (journal_id) DO UPDATE SET position = EXCLUDED.position",
        position,
    )


async def register(database) -> int:
    row = await database.fetchrow(
        "INSERT INTO medic.services (heartbeat_name, service_name, alert_interval) VALUES ('a', 'a', 5)"
        " RETURNING service_id"
    )
    return row["service_id"]


async def test_what_was_answered_before_is_waited_for(database, tmp_path):
    await move_position(database, 99)
    made = []

    async def make() -> None:
        made.append(await back_up(database, tmp_path))

    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(make)
            await trio.sleep(dumping.LOOK_SECONDS)
            assert not made
            await register(database)
            await move_position(database, 100)
    [backup] = made
    assert (backup.manifest.position, backup.manifest.services, backup.missing) == (100, 1, "")
    archive = read_archive(tmp_path / "backup")
    assert read_manifest(archive.path, archive.manifest) == backup.manifest
    assert backup.size == archive.path.stat().st_size


async def test_a_writer_that_does_not_get_there_is_said(database, tmp_path, monkeypatch):
    monkeypatch.setattr(dumping, "WRITTEN_SECONDS", 0.0)
    backup = await back_up(database, tmp_path)
    assert "100 bytes of the journal were not in PostgreSQL yet" in backup.missing
    assert "the writer is behind" in backup.missing
    assert not backup.manifest.is_complete


async def test_where_no_medic_runs_nobody_is_waited_for(database, tmp_path):
    assert "no Medic runs that would bring them there" in (await back_up(database, tmp_path, serves=False)).missing
    await move_position(database, 100)
    assert not (await back_up(database, tmp_path, serves=False)).missing
    assert not (await back_up(database, tmp_path, place=None)).missing


async def test_an_alert_of_which_its_service_does_not_know_yet_is_waited_for(database, tmp_path, monkeypatch):
    await move_position(database, 100)
    service_id = await register(database)
    await database.execute(ALERT, service_id)
    monkeypatch.setattr(dumping, "AGREED_SECONDS", 0.0)
    assert "of some it may hold only half" in (await back_up(database, tmp_path)).missing
    await database.execute(STATE, service_id)
    assert not (await back_up(database, tmp_path)).missing
    await database.execute("UPDATE medic.alerts SET active = 0, closed_date = now()")
    assert (await back_up(database, tmp_path)).missing


async def test_what_is_dumped_is_restored_all_of_it_or_nothing(postgres, database, tmp_path):
    service_id = await register(database)
    await database.execute("SELECT medic.ensure_heartbeat_day('2026-09-21')")
    await database.execute(
        'INSERT INTO medic."heartbeatEvents" (heartbeat_id, "time", status, service_id) VALUES (1, $1, $2, $3)',
        AT, "läuft", service_id,
    )  # fmt: skip
    backup = await back_up(database, tmp_path, place=None)
    assert (backup.manifest.services, backup.manifest.open_alerts) == (1, 0)
    archive = read_archive(tmp_path / "backup")
    async with postgres.fresh_database(template="template0") as (empty, _):
        broken = iter([next(archive.portions())[:5_000]])
        with pytest.raises(ConfigurationError, match="pg_restore ended with an error"):
            await trio.to_thread.run_sync(restore_dump, empty.target, broken)
        row = await empty.fetchrow("SELECT to_regclass('medic.services') AS made")
        assert row["made"] is None
        await trio.to_thread.run_sync(restore_dump, empty.target, archive.portions())
        row = await empty.fetchrow(
            'SELECT service_id, status FROM medic."heartbeatEvents" JOIN medic.services USING (service_id)'
        )
        assert tuple(row) == (service_id, "läuft")
        with pytest.raises(ConfigurationError, match="pg_restore ended with an error"):
            await trio.to_thread.run_sync(restore_dump, empty.target, archive.portions())


async def test_a_dump_that_is_refused_leaves_no_file(database, tmp_path, monkeypatch):
    monkeypatch.setattr(dumping, "DUMP_OPTIONS", ("--format=custom", "--no-such-option"))
    with pytest.raises(ConfigurationError, match=r"pg_dump ended with an error: .*unrecognized option"):
        await back_up(database, tmp_path, place=None)
    assert list(tmp_path.iterdir()) == []


async def test_a_database_without_a_schema_is_nothing_to_back_up(postgres, tmp_path):
    async with postgres.fresh_database(template="template0") as (empty, _):
        with pytest.raises(ConfigurationError, match="nothing to back up"):
            await back_up(empty, tmp_path)


async def test_a_medic_whose_postgresql_does_not_run_is_asked_again_later(tmp_path):
    settings = load_settings({"MEDIC_DATA_DIR": str(tmp_path)})
    with pytest.raises(ConfigurationError, match="no database of Medic's is there"):
        await commands.back_up(settings, tmp_path / "backup", print)
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    with DirectoryLock(tmp_path), pytest.raises(DatabaseUnavailableError, match="try again"):
        await commands.back_up(settings, tmp_path / "backup", print)


async def test_a_file_that_cannot_be_used_is_said_in_one_sentence(tmp_path):
    settings = load_settings({"MEDIC_DATA_DIR": str(tmp_path / "data")})
    for path, why in ((tmp_path / "nowhere", "no such file"), (tmp_path, "is a directory")):
        with pytest.raises(ConfigurationError, match=why):
            await commands.restore(settings, path, print, may_discard=False)
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------------------- the directory, offline


async def test_how_far_a_journal_goes_is_read_off_its_files(tmp_path):
    directory = tmp_path / "journal"
    assert reached(directory) is None
    require_empty(tmp_path)
    async with trio.open_nursery() as nursery:
        journal = FileJournal(directory)
        assert reached(directory) == Reached(journal.journal_id, Position(0))
        require_empty(tmp_path)
        await nursery.start(journal.run)
        position = journal.append_heartbeat_nowait(1, AT, AT, 1, HeartbeatStatus.UP)
        await journal.wait_durable(position)
        assert reached(directory) == Reached(journal.journal_id, position)
        nursery.cancel_scope.cancel()
    FileJournal(directory).go_on_from(Position(9_000))
    assert reached(directory) == Reached(journal.journal_id, Position(9_000))
    min(directory.glob("*.journal")).unlink()
    assert reached(directory) == Reached(journal.journal_id, Position(9_000), oldest=Position(9_000))
    with pytest.raises(ConfigurationError, match="its journal is not empty"):
        require_empty(tmp_path)
    (tmp_path / MARKER).touch()
    require_empty(tmp_path)
    for path in directory.glob("*.journal"):
        path.unlink()
    assert reached(directory) == Reached(journal.journal_id, Position(0))


THERE = {"journal": "old", "postgres": "old", "postgres.log": "old", "token": "old", "audit-heads": "old"}
BACKUP = Path("/elsewhere/backup")
MADE = {"postgres": "new", "postgres.log": "new", "audit-heads": "new"}


def stage(folder: Path) -> None:
    (folder / STAGED).mkdir()
    for name, content in MADE.items():
        (folder / STAGED / name).write_text(content)


class PulledPlugError(Exception):
    """The machine went away between two steps."""


@pytest.mark.parametrize("steps", range(12))
def test_places_are_changed_whenever_the_machine_goes_away_meanwhile(tmp_path, monkeypatch, steps):
    (tmp_path / "lock").touch()
    (tmp_path / "before-restore-1").mkdir()
    for name, content in THERE.items():
        (tmp_path / name).write_text(content)
    stage(tmp_path)
    with monkeypatch.context() as patch:
        plain, left = Path.rename, iter(range(steps))

        def rename(self: Path, target: Path) -> Path:
            if next(left, None) is None:
                raise PulledPlugError
            return plain(self, target)

        patch.setattr(Path, "rename", rename)
        try:
            aside = _change_places(tmp_path, BACKUP, AT)
        except PulledPlugError:
            with pytest.raises(ConfigurationError, match="run medic restore once more"):
                require_finished(tmp_path)
            aside = None
    if aside is None:
        for path in (tmp_path / STAGED).iterdir():
            path.unlink()
        (tmp_path / STAGED).rmdir()
        stage(tmp_path)
        aside = _change_places(tmp_path, BACKUP, AT + 60_000)
    require_finished(tmp_path)
    assert aside == tmp_path / "before-restore-20260921T141320Z"
    assert {name: (aside / name).read_text() for name in THERE} == THERE
    assert {path.name for path in tmp_path.iterdir()} == {*MADE, "lock", "before-restore-1", aside.name}
    assert {name: (tmp_path / name).read_text() for name in MADE} == MADE


def test_into_an_empty_directory_nothing_is_put_aside(tmp_path):
    stage(tmp_path)
    assert _change_places(tmp_path, BACKUP, AT) is None
    assert {path.name for path in tmp_path.iterdir()} == set(MADE)


@pytest.mark.parametrize("place", ["backup", "backups/daily/backup"])
def test_a_backup_within_the_directory_and_what_the_file_system_has_there_stay_where_they_are(tmp_path, place):
    backup = tmp_path / place
    backup.parent.mkdir(parents=True, exist_ok=True)
    backup.write_text("backup")
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "token").write_text("old")
    stage(tmp_path)
    aside = _change_places(tmp_path, backup, AT)
    assert [path.name for path in aside.iterdir()] == ["token"]
    assert backup.read_text() == "backup"
    assert (tmp_path / "lost+found").is_dir()


def test_a_backup_among_medics_own_files_keeps_these_from_nothing(tmp_path):
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "backup").write_text("backup")
    stage(tmp_path)
    aside = _change_places(tmp_path, tmp_path / "journal" / "backup", AT)
    assert (aside / "journal" / "backup").exists()
    assert not (tmp_path / "journal").exists()
