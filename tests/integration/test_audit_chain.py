"""The audit on a real PostgreSQL: sealed behind the changes, verified, and found out where somebody touched it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from medic.cli.audit_verify import verify_audit
from medic.config.load import load_settings
from medic.core.author import Author
from medic.core.draft import ServiceDraft
from medic.core.policy import Defaults
from medic.core.units import DurationMs
from medic.errors import ConfigurationError
from medic.store.audit import sealer as sealing
from medic.store.audit import verify as verifying
from medic.store.audit.chain import Head
from medic.store.audit.heads import FILE_NAME, AuditHeads
from medic.store.audit.sealer import ENTRIES_AT_ONCE, AuditSealer
from medic.store.audit.verify import Verdict, verify
from medic.store.postgres.database import Database, StatementRefusedError, open_database
from medic.store.tables.services import PgServiceStore
from tests.fakes.ticking import CountedIds, HandClock

DRAFT = ServiceDraft("nightly", "payments", DurationMs(20_000))
FORGED = """
INSERT INTO medic.audit_log (audit_id, at, actor, action, subject) OVERRIDING SYSTEM VALUE
VALUES (0, now(), 'ben', 'delete', 'nightly')
"""
SWAPPED = """
UPDATE medic.audit_log a SET before = b.before, after = b.after FROM medic.audit_log b
WHERE (a.audit_id, b.audit_id) IN (({1}, {2}), ({2}, {1}))
"""
CUT = "DELETE FROM medic.audit_seals WHERE place = 4; DELETE FROM medic.audit_log WHERE audit_id = {3}"
TAMPERED = (
    ("UPDATE medic.audit_log SET actor = 'eve' WHERE audit_id = {1}", "entry {1} does not fit its seal"),
    ("UPDATE medic.audit_log SET at = at + interval '1 us' WHERE audit_id = {1}", "entry {1} does not fit"),
    ("UPDATE medic.audit_log SET before = NULL WHERE audit_id = {1}", "entry {1} does not fit"),
    ("DELETE FROM medic.audit_log WHERE audit_id = {2}", "entry {2} is missing"),
    (CUT.replace("4", "3").replace("{3}", "{2}"), "seals 3 to 3 are missing"),
    ("DELETE FROM medic.audit_seals WHERE audit_id = {1}", "entry {1} has no seal"),
    ("UPDATE medic.audit_seals SET hash = sha256('x') WHERE audit_id = {1}", "entry {1} does not fit its seal"),
    (FORGED, "entry 0 has no seal, though later ones have"),
    (SWAPPED, "entry {2} does not fit its seal"),
    (CUT, "its end was cut off"),
)
"""What somebody may do, and what is said of it; `{n}` is the number of the n-th entry."""

REMOVE_UP_TO = """
BEGIN; SET LOCAL medic.audit_retention = 'on';
INSERT INTO medic.audit_checkpoints SELECT place, hash FROM medic.audit_seals WHERE place = {0};
DELETE FROM medic.audit_log WHERE audit_id IN (SELECT audit_id FROM medic.audit_seals WHERE place <= {0});
DELETE FROM medic.audit_seals WHERE place <= {0}; COMMIT
"""

ANNA = Author("anna", key_id="k1", address="192.0.2.7", request_id="r1", label="anna@laptop")


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "AGAIN_SECONDS", 0.0)


class Audited:
    """A database with some changes in it, and a sealer."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.clock = HandClock()
        self.store = PgServiceStore(database, CountedIds(7_000), self.clock, Defaults())
        self.sealer = AuditSealer(database, self.clock, AuditHeads(folder))

    async def change(self, times: int = 4) -> None:
        """Register a service and edit it so often, less one; then seal that."""
        row, _ = await self.store.insert(DRAFT, by=ANNA)
        for number in range(1, times):
            row = replace(row, version=row.version + 1, team=f"team {number}")
            assert await self.store.replace(row, by=Author("ben"))
        await self.sealer.seal_waiting()

    async def verify(self) -> Verdict:
        heads = AuditHeads(self.folder)
        return await verify(self.database, heads.read(), heads.checkpoints)

    async def keep_checkpoint(self, place: int) -> None:
        """Write down what Medic writes down before it removes entries up to there."""
        row = await self.database.fetchrow("SELECT hash FROM medic.audit_seals WHERE place = $1", place)
        assert row is not None
        self.sealer._heads.keep_checkpoint(Head(place, row["hash"]), self.clock.now())

    async def tamper(self, sql: str) -> None:
        """As somebody who owns the tables and has switched their triggers off."""
        async with open_database(self.database.target, connections_max=1) as session:
            await session.execute("SET session_replication_role = replica")
            await session.execute(sql)


@pytest.fixture
def audited(database: Database, tmp_path: Path) -> Audited:
    return Audited(database, tmp_path)


async def ids(database: Database) -> list[int]:
    return [row["audit_id"] for row in await database.fetch("SELECT audit_id FROM medic.audit_log ORDER BY audit_id")]


async def test_every_entry_is_sealed_once_and_the_chain_is_whole(audited: Audited) -> None:
    await audited.change()
    assert await audited.sealer.seal_waiting() == 0

    verdict = await audited.verify()

    assert (verdict.seals, verdict.wrong, verdict.waiting) == (4, 0, 0)
    assert (audited.folder / FILE_NAME).read_text().split()[:2] == ["4", verdict.head.hash.hex()]
    assert not await audited.database.fetch("SELECT FROM medic.audit_unsealed")


async def test_more_entries_than_one_transaction_takes_are_sealed_in_several(audited: Audited) -> None:
    await audited.tamper(
        "INSERT INTO medic.audit_log (at, actor, action, subject)"
        f" SELECT now(), 'x', 'y', n::text FROM generate_series(1, {ENTRIES_AT_ONCE + 10}) n;"
        "INSERT INTO medic.audit_unsealed SELECT audit_id FROM medic.audit_log"
    )

    assert await audited.sealer.seal_waiting() == ENTRIES_AT_ONCE + 10
    verdict = await audited.verify()
    assert (verdict.seals, verdict.wrong) == (ENTRIES_AT_ONCE + 10, 0)


async def test_a_transaction_that_commits_late_is_sealed_late_and_nothing_waits_for_it(audited: Audited) -> None:
    slow = "INSERT INTO medic.services (heartbeat_name, service_name, alert_interval) VALUES ('slow', 's', 1)"
    async with open_database(audited.database.target, connections_max=1) as other, other.transaction() as transaction:
        await transaction.execute(slow)
        await audited.change()
        assert (await audited.verify()).seals == 4
    await audited.sealer.seal_waiting()

    verdict = await audited.verify()

    assert (verdict.seals, verdict.wrong) == (5, 0)
    first = await ids(audited.database)
    last = await audited.database.fetchrow("SELECT audit_id FROM medic.audit_seals WHERE place = 5")
    assert last is not None
    assert last["audit_id"] == first[0]


async def test_what_somebody_did_to_the_audit_is_found_and_named(audited: Audited) -> None:
    await audited.change()
    known = await ids(audited.database)
    await audited.tamper(
        "CREATE TABLE log AS SELECT * FROM medic.audit_log; CREATE TABLE seals AS SELECT * FROM medic.audit_seals"
    )
    for sql, said in TAMPERED:
        await audited.tamper(_at(sql, known))

        verdict = await audited.verify()

        found = [finding.sentence for finding in verdict.findings]
        assert any(_at(said, known) in sentence for sentence in found), (sql, found)
        await audited.tamper(
            "TRUNCATE medic.audit_log, medic.audit_seals; INSERT INTO medic.audit_seals SELECT * FROM seals;"
            "INSERT INTO medic.audit_log OVERRIDING SYSTEM VALUE SELECT * FROM log"
        )
        assert (await audited.verify()).wrong == 0


async def test_a_chain_computed_anew_is_found_by_what_the_data_directory_knows(audited: Audited) -> None:
    await audited.change()
    await audited.tamper("UPDATE medic.audit_log SET actor = 'eve'; DELETE FROM medic.audit_seals")
    await audited.tamper("INSERT INTO medic.audit_unsealed SELECT audit_id FROM medic.audit_log")
    elsewhere = audited.folder / "elsewhere"
    elsewhere.mkdir()
    await AuditSealer(audited.database, HandClock(), AuditHeads(elsewhere)).seal_waiting()

    assert (await verify(audited.database, ())).wrong == 0
    [finding] = (await audited.verify()).findings
    assert "the chain was rewritten" in finding.sentence


async def test_a_medic_that_starts_on_a_cut_chain_says_so_and_covers_nothing_up(audited: Audited) -> None:
    await audited.change()
    await audited.tamper(_at(CUT, await ids(audited.database)))

    again = AuditSealer(audited.database, audited.clock, AuditHeads(audited.folder))
    for name in ("one", "two"):
        await audited.store.insert(replace(DRAFT, heartbeat_name=name), by=ANNA)
        await again.seal_waiting()

    lines = (audited.folder / FILE_NAME).read_text().splitlines()
    assert lines[0].endswith("contradicted")
    assert len(lines) == 2
    assert [finding.place for finding in (await audited.verify()).findings] == [4]


@pytest.mark.parametrize("how", ["computed anew", "cut"])
async def test_what_is_done_to_the_chain_while_medic_runs_is_not_covered_by_what_comes_after(
    audited: Audited, how: str
) -> None:
    await audited.change()
    if how == "cut":
        await audited.tamper(_at(CUT, await ids(audited.database)))
    else:
        await audited.tamper("UPDATE medic.audit_log SET actor = 'eve'; DELETE FROM medic.audit_seals")
        await audited.tamper("INSERT INTO medic.audit_unsealed SELECT audit_id FROM medic.audit_log")
        elsewhere = audited.folder / "elsewhere"
        elsewhere.mkdir()
        await AuditSealer(audited.database, HandClock(), AuditHeads(elsewhere)).seal_waiting()
    for name in ("one", "two"):
        await audited.store.insert(replace(DRAFT, heartbeat_name=name), by=ANNA)
        await audited.sealer.seal_waiting()

    [finding] = (await audited.verify()).findings
    assert finding.place == 4


async def test_an_entry_removed_before_its_seal_is_missing(audited: Audited) -> None:
    await audited.store.insert(DRAFT, by=ANNA)
    await audited.tamper("DELETE FROM medic.audit_log")

    assert await audited.sealer.seal_waiting() == 0
    [finding] = (await audited.verify()).findings
    assert "removed before it was sealed" in finding.sentence


async def test_entries_that_wait_for_a_medic_are_no_fault(audited: Audited) -> None:
    await audited.store.insert(DRAFT, by=ANNA)

    verdict = await audited.verify()

    assert (verdict.seals, verdict.wrong, verdict.waiting) == (0, 0, 1)


async def test_an_entry_that_says_it_is_older_than_it_can_be_is_noted(audited: Audited) -> None:
    await audited.change()
    await audited.tamper("UPDATE medic.migrations SET applied_at = '2020-01-01' WHERE version = 7")
    await audited.tamper(
        "INSERT INTO medic.audit_log (at, actor, action, subject) VALUES ('2022-01-01', 'ben', 'delete', 'nightly');"
        "INSERT INTO medic.audit_unsealed SELECT max(audit_id) FROM medic.audit_log"
    )
    await audited.sealer.seal_waiting()

    verdict = await audited.verify()

    assert verdict.wrong == 0
    assert [note.place for note in verdict.notes] == [5]


async def test_retention_leaves_a_checkpoint_and_the_rest_stays_verifiable(audited: Audited) -> None:
    await audited.change()
    await audited.keep_checkpoint(2)
    await audited.database.execute(REMOVE_UP_TO.format(2))

    verdict = await audited.verify()

    assert (verdict.seals, verdict.wrong, verdict.head.place) == (2, 0, 4)
    [note] = verdict.notes
    assert note.place == 2
    assert "Medic removed the entries up to this place on 20" in note.sentence


async def test_a_chain_of_which_everything_was_retained_elsewhere_goes_on(audited: Audited) -> None:
    await audited.change()
    await audited.keep_checkpoint(4)
    await audited.database.execute(REMOVE_UP_TO.format(4))
    assert (await audited.verify()).head.place == 4
    await audited.store.insert(replace(DRAFT, heartbeat_name="x"), by=ANNA)
    await audited.sealer.seal_waiting()

    verdict = await audited.verify()

    assert (verdict.seals, verdict.wrong, verdict.head.place) == (1, 0, 5)
    assert AuditHeads(audited.folder).read()[-1].place == 5


async def test_a_checkpoint_that_medic_did_not_make_hides_nothing(audited: Audited) -> None:
    await audited.change()
    await audited.keep_checkpoint(1)
    await audited.database.execute(REMOVE_UP_TO.format(3))

    found = {finding.place: finding.sentence for finding in (await audited.verify()).findings}

    assert "somebody wrote it" in found[3]
    assert found[4].startswith("seals 1 to 3 are missing")


async def test_seals_that_still_stand_before_a_checkpoint_are_verified(audited: Audited) -> None:
    await audited.change()
    await audited.keep_checkpoint(3)
    await audited.tamper(
        "INSERT INTO medic.audit_checkpoints SELECT place, hash FROM medic.audit_seals WHERE place = 3"
    )
    assert (await audited.verify()).wrong == 0
    await audited.tamper(
        _at("UPDATE medic.audit_log SET actor = 'eve' WHERE audit_id = {1}", await ids(audited.database))
    )

    assert [finding.place for finding in (await audited.verify()).findings] == [2]


async def test_the_audit_is_only_ever_added_to(audited: Audited) -> None:
    await audited.change()

    for table in ("audit_log", "audit_seals"):
        for sql in ("UPDATE medic.{} SET audit_id = DEFAULT", "DELETE FROM medic.{}", "TRUNCATE medic.{}"):
            with pytest.raises(StatementRefusedError, match="only ever added to"):
                await audited.database.execute(sql.format(table))


async def test_entries_by_hand_are_refused(audited: Audited) -> None:
    async with open_database(audited.database.target, connections_max=1) as operator:
        await operator.execute("SET medic.writer = 'off'")
        with pytest.raises(StatementRefusedError, match="written by what they are about"):
            await operator.execute(
                "INSERT INTO medic.audit_log (at, actor, action, subject) VALUES (now(), 'a', 'b', 'c')"
            )


async def test_the_sealer_seals_as_changes_come_and_goes_on_after_postgresql_was_away(
    audited: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "RETRY_SECONDS", 0.01)
    sealed = trio.Event()
    heads = audited.sealer._heads
    keep = heads.keep

    def note(*args: Any) -> None:
        keep(*args)
        trio.from_thread.run_sync(sealed.set)

    monkeypatch.setattr(heads, "keep", note)
    audited.database.hold("away")
    async with trio.open_nursery() as nursery:
        await nursery.start(audited.sealer.run)
        await trio.testing.wait_all_tasks_blocked()
        audited.database.release()
        await audited.store.insert(DRAFT, by=ANNA)
        await sealed.wait()
        nursery.cancel_scope.cancel()

    assert (await audited.verify()).seals == 1


async def test_the_command_verifies_what_the_environment_names(audited: Audited) -> None:
    await audited.change()
    folder = {"MEDIC_DATA_DIR": str(audited.folder)}
    settings = load_settings({**audited.database.target.environment(), **folder})

    verified = await verify_audit(settings)

    assert (verified.verdict.seals, verified.verdict.wrong) == (4, 0)
    (audited.folder / FILE_NAME).write_text("no head")
    with pytest.raises(ConfigurationError, match=FILE_NAME):
        await verify_audit(settings)


async def test_the_command_says_of_a_database_without_the_schema_what_to_do(audited: Audited) -> None:
    await audited.database.execute("DROP SCHEMA medic CASCADE")
    folder = {"MEDIC_DATA_DIR": str(audited.folder)}
    with pytest.raises(ConfigurationError, match="medic migrate"):
        await verify_audit(load_settings({**audited.database.target.environment(), **folder}))


async def test_heads_that_cannot_be_read_stop_no_sealing_of_others_and_are_told(audited: Audited) -> None:
    (audited.folder / FILE_NAME).write_text("no head\n")

    with pytest.raises(ValueError, match="no head"):
        await audited.sealer.seal_waiting()


def _at(text: str, known: list[int]) -> str:
    """The text with the numbers of entries in the places of their order."""
    for place, audit_id in enumerate(known):
        text = text.replace(f"{{{place}}}", str(audit_id))
    return text
