"""What happens when PostgreSQL is found after a start without it, or is not as the directory left it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medic.core.author import Author
from medic.core.draft import ServiceDraft
from medic.core.service import Service
from medic.errors import ConfigurationError, DatabaseUnavailableError, UnknownServiceError
from medic.store.journal.file_journal import FileJournal
from medic.store.pairing import Gap, Shorter, pair
from medic.store.reconciling import reconcile
from medic.store.tables import services as service_table
from tests.integration.test_recovery import DEFAULTS, MINUTE, NOW, Directory


@pytest.fixture
def directory(database, tmp_path) -> Directory:
    return Directory(database, tmp_path)


class Actors:
    """A roster and a follower: services in memory, and what they were told."""

    def __init__(self, rows) -> None:
        self.members = {row.service_id: Service(row, row.policy(DEFAULTS), registered=NOW) for row in rows}
        self.rows: list[int] = []
        self.deleted: list[int] = []

    def by_id(self, service_id):
        return self.members.get(service_id)

    def services(self, after=""):
        yield from self.members.values()

    async def take_row(self, row) -> None:
        self.rows.append(row.service_id)

    async def take_deletion(self, service_id, *, by) -> None:
        self.deleted.append(service_id)
        if len(self.deleted) == 2:
            raise UnknownServiceError("somebody was quicker")


async def test_only_rows_that_are_newer_unknown_or_gone_are_told(directory, monkeypatch):
    monkeypatch.setattr(service_table, "SLICE_ROWS", 2)
    rows = [
        (
            await directory.store.insert(
                ServiceDraft(heartbeat_name=f"s-{n}", service_name="s", interval_ms=MINUTE), by=Author("")
            )
        )[0]
        for n in range(7)
    ]
    actors = Actors(rows[:6])
    newer = replace(rows[2], version=2, team="another")
    assert await directory.store.replace(newer, by=Author("Ann"))
    for gone in rows[3:5]:
        assert await directory.store.delete(gone.service_id, by=Author("Ann"))
    assert await reconcile(directory.store, actors, actors) == 4
    assert sorted(actors.rows) == sorted([newer.service_id, rows[6].service_id])
    assert sorted(actors.deleted) == sorted(row.service_id for row in rows[3:5])


async def test_a_service_registered_while_the_rows_are_read_is_not_taken_for_gone(directory):
    row, _ = await directory.store.insert(
        ServiceDraft(heartbeat_name="late", service_name="s", interval_ms=MINUTE), by=Author("")
    )

    class Before:
        """The table as it was before the registration was committed."""

        read = directory.store.read

        async def load_beyond(self, _version_of):
            yield [], []

    actors = Actors([row])
    assert await reconcile(Before(), actors, actors) == 0
    assert actors.deleted == []


async def test_a_database_that_is_held_is_away_for_everybody(directory):
    directory.database.hold("not yet")
    with pytest.raises(DatabaseUnavailableError, match="not yet"):
        await directory.store.read(1)
    assert directory.database.statistics().reachable is False
    directory.database.release()
    assert await directory.store.read(1) is None


async def test_a_database_put_back_to_before_the_journal_begins_is_refused_unless_that_is_accepted(directory):
    async with directory.process(finish=True) as journal:
        service = await directory.register(journal, "first")
        for _ in range(400):
            directory.beat(journal, service)
    await directory.database.execute("UPDATE medic.journal_positions SET position = 5")
    journal = FileJournal(directory.path / "journal", bytes_max=40_000)
    journal._files.begin_anew(journal.newest, b"")
    assert await journal.discard(journal.newest) > 0
    with pytest.raises(ConfigurationError, match=rf"begins at position {journal.oldest}.*--accept-gap"):
        await pair(directory.database, journal, directory.path)
    pairing = await pair(directory.database, journal, directory.path, gap=Gap.ACCEPT)
    assert pairing.committed == journal.oldest
    assert (await pair(directory.database, journal, directory.path)).committed == journal.oldest


async def test_a_journal_that_runs_already_cannot_go_on_behind_what_it_has_lost(directory):
    async with directory.process(finish=True) as journal:
        service = await directory.register(journal, "first")
        directory.beat(journal, service)
    file = next((directory.path / "journal").glob("*.journal"))
    file.write_bytes(file.read_bytes()[:-10])
    journal = FileJournal(directory.path / "journal")
    with pytest.raises(ConfigurationError, match="Start Medic again while PostgreSQL answers"):
        await pair(directory.database, journal, directory.path, shorter=Shorter.REFUSE)
