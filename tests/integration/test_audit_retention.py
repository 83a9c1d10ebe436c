"""The audit's own retention on a real PostgreSQL: old entries go, and what is left is as verifiable as before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from medic.core.author import Author
from medic.core.draft import ServiceDraft
from medic.core.policy import Defaults
from medic.core.units import DAY_MS, DurationMs
from medic.store.audit import retention as retaining
from medic.store.audit.heads import FILE_NAME, AuditHeads
from medic.store.audit.retention import ACTION, AuditRetention
from medic.store.audit.sealer import AuditSealer
from medic.store.audit.verify import Verdict, verify
from medic.store.postgres.database import Database
from medic.store.tables.services import PgServiceStore
from tests.fakes.ticking import CountedIds, HandClock

START = 1_790_000_000_000


class Sealed:
    """A database of which an entry was sealed each day."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.clock = HandClock(START)
        self.heads = AuditHeads(folder)
        self.sealer = AuditSealer(database, self.clock, self.heads)
        self.retention = AuditRetention(database, self.heads, self.clock.now)

    async def days(self, count: int) -> None:
        store = PgServiceStore(self.database, CountedIds(7_000), self.clock, Defaults())
        row, _ = await store.insert(ServiceDraft("nightly", "payments", DurationMs(20_000)), by=Author("anna"))
        await self.sealer.seal_waiting()
        for number in range(1, count):
            self.clock.at = START + number * DAY_MS
            row = replace(row, version=row.version + 1, team=f"team {number}")
            assert await store.replace(row, by=Author("ben"))
            await self.sealer.seal_waiting()

    async def verify(self) -> Verdict:
        heads = AuditHeads(self.folder)
        return await verify(self.database, heads.read(), heads.checkpoints)

    async def places(self) -> list[int]:
        return [row["place"] for row in await self.database.fetch("SELECT place FROM medic.audit_seals ORDER BY 1")]


@pytest.fixture
def sealed(database: Database, tmp_path: Path) -> Sealed:
    return Sealed(database, tmp_path)


async def test_old_entries_go_in_portions_and_the_rest_is_verified(
    sealed: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retaining, "ENTRIES_AT_ONCE", 2)
    await sealed.days(6)

    assert await sealed.retention.remove_before(START + 3 * DAY_MS) == 3
    assert await sealed.retention.remove_before(START + 3 * DAY_MS) == 0
    await sealed.sealer.seal_waiting()

    verdict = await sealed.verify()
    assert (verdict.wrong, await sealed.places()) == (0, [4, 5, 6, 7, 8])
    assert [note.place for note in verdict.notes] == [2, 3]
    said = await sealed.database.fetch(
        "SELECT actor, after FROM medic.audit_log WHERE action = $1 ORDER BY 1, 2", ACTION
    )
    assert [tuple(row) for row in said] == [("Medic", '{"up_to_place": 2}'), ("Medic", '{"up_to_place": 3}')]


async def test_the_newest_seal_stays_so_that_the_next_start_finds_it(sealed: Sealed) -> None:
    assert await sealed.retention.remove_before(START) == 0
    await sealed.days(3)

    await sealed.retention.remove_before(START + 100 * DAY_MS)

    assert await sealed.places() == [3]
    another = AuditSealer(sealed.database, sealed.clock, AuditHeads(sealed.folder))
    await another.seal_waiting()
    assert "contradicted" not in (sealed.folder / FILE_NAME).read_text()
    assert (await sealed.verify()).wrong == 0


async def test_heads_that_were_not_read_yet_are_not_lost_by_a_checkpoint(sealed: Sealed) -> None:
    await sealed.days(3)
    fresh = AuditRetention(sealed.database, AuditHeads(sealed.folder), sealed.clock.now)

    await fresh.remove_before(START + DAY_MS)

    assert [head.place for head in AuditHeads(sealed.folder).read()] == [1, 2, 3]


async def test_a_gap_is_not_hidden_by_beginning_behind_it(sealed: Sealed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retaining, "ENTRIES_AT_ONCE", 2)
    await sealed.days(5)
    await sealed.database.execute(
        "BEGIN; SET LOCAL session_replication_role = replica; DELETE FROM medic.audit_seals WHERE place = 2; COMMIT"
    )

    assert await sealed.retention.remove_before(START + 4 * DAY_MS) == 0

    assert (await sealed.verify()).wrong > 0
