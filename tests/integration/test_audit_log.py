"""Who did what on a real PostgreSQL: with which identity it is written, how it is read, what a snapshot brings back."""

from __future__ import annotations

import uuid
from dataclasses import replace

import orjson
import pytest
import trio

from medic.audit import AuditQuery, SnapshotQuery
from medic.core.author import Author
from medic.core.draft import ServiceDraft
from medic.core.policy import Defaults
from medic.core.snapshot import SnapshotId
from medic.core.units import DurationMs, InstantMs
from medic.errors import DatabaseUnavailableError, SnapshotRestoredError
from medic.ports import Position
from medic.store.audit import log as reading
from medic.store.audit import sign_ins
from medic.store.audit.chain import Head
from medic.store.audit.heads import AuditHeads
from medic.store.audit.log import PgAuditLog
from medic.store.audit.sealer import AuditSealer
from medic.store.audit.sign_ins import SOURCES_MAX, RefusedSignIns
from medic.store.journal.memory_journal import MemoryJournal
from medic.store.postgres.database import Database, StatementRefusedError, open_database
from medic.store.tables.services import PgServiceStore
from medic.store.tables.snapshots import PgServiceSnapshots
from medic.store.tables.webhooks import PgWebhookStore
from tests.fakes.ticking import CountedIds, HandClock

NOW = 1_700_000_000_123
DRAFT = ServiceDraft(
    "Nightly-Ä", "payments", DurationMs(20_000), threshold=3, team="platform", renotify_ms=DurationMs(60_000)
)
ANNA = Author("anna", key_id="k1", address="192.0.2.7", request_id="r1", label="anna@laptop")


class Everything:
    """Implements `Written`: nothing is behind."""

    committed = Position(0)

    async def wait_committed(self, position: Position) -> None:
        await trio.lowlevel.checkpoint()


@pytest.fixture
def store(database: Database) -> PgServiceStore:
    return PgServiceStore(database, CountedIds(7_000), HandClock(NOW), Defaults())


@pytest.fixture
def log(database: Database) -> PgAuditLog:
    return PgAuditLog(database, MemoryJournal(), Everything())


@pytest.fixture
def snapshots(database: Database) -> PgServiceSnapshots:
    return PgServiceSnapshots(database)


async def test_an_entry_says_who_with_which_key_from_where_and_in_which_request(
    store: PgServiceStore, log: PgAuditLog, database: Database
) -> None:
    row, _ = await store.insert(DRAFT, by=ANNA)
    await store.replace(replace(row, version=2, team="core"), by=ANNA)
    await store.delete(row.service_id, by=ANNA)
    await PgWebhookStore(database, HandClock(NOW + 1)).insert(
        url="https://a.example", heartbeat_name=None, headers=(), by=ANNA
    )

    entries, total = await log.page(AuditQuery())

    assert total == 4
    assert {entry.action for entry in entries} == {"register", "update", "delete", "webhook added"}
    assert {(e.actor, e.key_id, e.address, e.request_id, e.label) for e in entries} == {
        ("anna", "k1", "192.0.2.7", "r1", "anna@laptop")
    }


async def test_an_author_does_not_stay_behind_for_the_next_transaction(store: PgServiceStore, log: PgAuditLog) -> None:
    row, _ = await store.insert(DRAFT, by=ANNA)
    async with store.database.transaction() as transaction:
        await transaction.execute("UPDATE medic.services SET version = 2, changed_by = 'nobody said'")

    [newest, _], _ = await log.page(AuditQuery(service_id=row.service_id))

    assert (newest.actor, newest.key_id, newest.address) == ("nobody said", "", "")


async def test_a_change_by_sql_says_which_role_made_it_and_cannot_lend_itself_an_author(
    store: PgServiceStore, log: PgAuditLog
) -> None:
    row, _ = await store.insert(DRAFT, by=ANNA)
    async with open_database(store.database.target, connections_max=1) as operator:
        await operator.execute("SET medic.writer = 'off'")
        await operator.execute("""SELECT set_config('medic.author', '{"key_id": "k9", "name": "anna"}', false)""")
        await operator.execute("UPDATE medic.services SET team = 'core'")
        await operator.execute("DELETE FROM medic.services")

    entries, _ = await log.page(AuditQuery(service_id=row.service_id, actor="SQL"))

    assert [(entry.action, entry.key_id) for entry in entries] == [("delete", ""), ("update", "")]
    assert {entry.label for entry in entries} == {store.database.target.user}


async def test_a_session_is_not_medics_own_by_saying_so(store: PgServiceStore, log: PgAuditLog) -> None:
    await store.insert(DRAFT, by=ANNA)
    async with open_database(store.database.target, connections_max=1) as operator:
        await operator.execute("SET medic.writer = 'on'")
        with pytest.raises(StatementRefusedError, match="written by what they are about"):
            await operator.execute(
                "INSERT INTO medic.audit_log (at, actor, action, subject) VALUES (now(), 'anna', 'delete', 'nightly')"
            )
        await operator.execute("UPDATE medic.services SET team = 'core'")

    [newest, _], _ = await log.page(AuditQuery())
    assert (newest.actor, newest.action, newest.label) == ("SQL", "update", store.database.target.user)
    assert await store.database.fetch("SELECT FROM medic.service_changes"), "the actor hears of it"


async def test_whoever_has_only_a_grant_is_audited_and_can_neither_write_the_audit_nor_be_medic(
    store: PgServiceStore, log: PgAuditLog
) -> None:
    await store.insert(DRAFT, by=ANNA)
    role = f"clerk_{uuid.uuid4().hex}"
    async with open_database(store.database.target, connections_max=1) as operator:
        await operator.execute(
            f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA medic TO {role};"
            f" GRANT SELECT, UPDATE, DELETE ON medic.services TO {role};"
            f" SET ROLE {role}; SET medic.writer = 'on'"
        )
        for sql in (
            "SELECT word FROM medic.own_sessions",
            "INSERT INTO medic.audit_log (at, actor, action, subject) VALUES (now(), 'anna', 'delete', 'nightly')",
        ):
            with pytest.raises(StatementRefusedError, match="permission denied"):
                await operator.execute(sql)
        await operator.execute("UPDATE medic.services SET team = 'core'")
        await operator.execute("DELETE FROM medic.services")
        await operator.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")

    entries, _ = await log.page(AuditQuery(actor="SQL"))
    assert [entry.action for entry in entries] == ["delete", "update"]


async def test_a_change_that_keeps_the_version_leaves_an_entry_and_a_snapshot_too(
    store: PgServiceStore, log: PgAuditLog, snapshots: PgServiceSnapshots
) -> None:
    await store.insert(DRAFT, by=ANNA)
    await store.database.execute("UPDATE medic.services SET team = 'core'")
    await store.database.execute(
        "UPDATE medic.services SET down = 1, muted = 1, mute_reason = 'x', muted_by = 'writer'"
    )

    entries, _ = await log.page(AuditQuery())
    [kept], _ = await snapshots.page(SnapshotQuery())
    assert [entry.action for entry in entries] == ["update", "register"]
    assert kept.action_type == "team_change"


async def test_the_audit_is_narrowed_and_paged(
    store: PgServiceStore, log: PgAuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HandClock(NOW)
    store = PgServiceStore(store.database, CountedIds(1), clock, Defaults())
    for number in range(6):
        clock.at = NOW + number
        await store.insert(replace(DRAFT, heartbeat_name=f"Job-{number}"), by=Author("anna" if number % 2 else "ben"))

    async def found(query: AuditQuery) -> list[str]:
        return [entry.subject for entry in (await log.page(query))[0]]

    assert await found(AuditQuery(actor="anna")) == ["Job-5", "Job-3", "Job-1"]
    assert await found(AuditQuery(subject="job-4")) == ["Job-4"]
    assert await found(AuditQuery(action="delete")) == []
    assert await found(AuditQuery(since=InstantMs(NOW + 1), until=InstantMs(NOW + 2))) == ["Job-2", "Job-1"]
    assert await found(AuditQuery(limit=2, offset=3)) == ["Job-2", "Job-1"]
    assert (await log.page(AuditQuery(limit=2, offset=3)))[1] == 6

    monkeypatch.setattr(reading, "ENTRIES_AT_ONCE", 2)
    portions, after = [], None
    while True:
        entries, after = await log.portion(AuditQuery(since=InstantMs(NOW)), after)
        portions.append([entry.subject for entry in entries])
        if after is None:
            break
    assert portions == [["Job-5", "Job-4"], ["Job-3", "Job-2"], ["Job-1", "Job-0"], []]


async def test_an_entry_shows_its_seal_once_it_has_one(
    store: PgServiceStore, log: PgAuditLog, tmp_path: object, database: Database
) -> None:
    await store.insert(DRAFT, by=ANNA)
    [waiting], _ = await log.page(AuditQuery())
    heads = AuditHeads(tmp_path)
    await AuditSealer(database, HandClock(NOW), heads).seal_waiting()

    [sealed], _ = await log.page(AuditQuery())

    assert (waiting.place, waiting.hash) == (None, None)
    assert heads.expected == Head(1, bytes.fromhex(sealed.hash or ""))


async def test_without_postgresql_nothing_is_listed_and_that_is_said(log: PgAuditLog, database: Database) -> None:
    database.hold("away")

    for ask in (log.page(AuditQuery()), log.portion(AuditQuery(), None), PgServiceSnapshots(database).find(1)):
        with pytest.raises(DatabaseUnavailableError):
            await ask


# ----------------------------------------------------------------------------------------------------------- snapshots


async def test_each_change_of_columns_leaves_the_row_before_it(
    store: PgServiceStore, snapshots: PgServiceSnapshots
) -> None:
    row, _ = await store.insert(DRAFT, by=ANNA)
    changes = (
        {"team": "core"},
        {"priority": "p1"},
        {"active": False},
        {"active": True},
        {"interval_ms": DurationMs(60_000)},
        {"team": "x", "priority": "p2"},
    )
    for change in changes:
        row = replace(row, version=row.version + 1, date_modified=InstantMs(row.date_modified + 1), **change)
        assert await store.replace(row, by=Author("ben"))
    await store.replace(replace(row, version=row.version + 1), by=Author("ben"))
    await store.delete(row.service_id, by=ANNA)

    found, total = await snapshots.page(SnapshotQuery(service_id=row.service_id))

    words = ["team_change", "priority_change", "deactivate", "activate", "edit", "edit", "delete"]
    assert ([snapshot.action_type for snapshot in reversed(found)], total) == (words, 7)
    assert found[-1].draft == DRAFT
    assert found[0].actor == "anna"
    assert orjson.loads(found[-1].shown)["heartbeat_name"] == "Nightly-Ä"
    [edited], _ = await snapshots.page(SnapshotQuery(heartbeat_name="nightly-Ä", action_type="deactivate"))
    assert (edited.draft.priority, edited.draft.active) == ("p1", True)
    assert await snapshots.page(SnapshotQuery(until=InstantMs(0))) == ([], 0)


async def test_mutes_and_what_the_writer_writes_leave_no_snapshot(
    store: PgServiceStore, snapshots: PgServiceSnapshots
) -> None:
    await store.insert(DRAFT, by=ANNA)
    async with open_database(store.database.target, connections_max=1) as operator:
        await operator.execute("SET medic.writer = 'off'")
        await operator.execute("UPDATE medic.services SET muted = 1")

    assert await snapshots.page(SnapshotQuery()) == ([], 0)


async def test_a_snapshot_is_used_up_by_the_change_that_restores_it(
    store: PgServiceStore, snapshots: PgServiceSnapshots, log: PgAuditLog
) -> None:
    row, _ = await store.insert(DRAFT, by=ANNA)
    row = replace(row, version=2, team="core")
    await store.replace(row, by=ANNA)
    [kept], _ = await snapshots.page(SnapshotQuery())

    restored = kept.edit().apply(row, InstantMs(NOW + 9), "ben")
    assert await store.replace_from(kept.snapshot_id, restored, by=Author("ben"))
    with pytest.raises(SnapshotRestoredError):
        await store.replace_from(kept.snapshot_id, replace(restored, version=4), by=Author("ben"))

    stored = await store.read(row.service_id)
    assert stored is not None
    assert (stored.team, stored.version) == ("platform", 3)
    used_up = await snapshots.find(kept.snapshot_id)
    assert used_up is not None
    assert (used_up.restored_at, used_up.restored_by) == (NOW, "ben")
    [before], _ = await snapshots.page(SnapshotQuery(action_type="restore"))
    assert before.draft.team == "core"
    entries, _ = await log.page(AuditQuery(service_id=row.service_id))
    assert [entry.action for entry in entries] == ["restore", "update", "register"]


async def test_a_deleted_service_comes_back_under_its_name_unless_that_is_taken(
    store: PgServiceStore, snapshots: PgServiceSnapshots, log: PgAuditLog
) -> None:
    row, _ = await store.insert(DRAFT, by=ANNA)
    await store.delete(row.service_id, by=ANNA)
    [kept], _ = await snapshots.page(SnapshotQuery())
    other, _ = await store.insert(DRAFT, by=ANNA)

    assert await store.insert_from(kept.snapshot_id, kept.draft, by=ANNA) == (other, False)
    assert (await snapshots.find(kept.snapshot_id)) == kept
    await store.delete(other.service_id, by=ANNA)
    again, is_new = await store.insert_from(kept.snapshot_id, kept.draft, by=ANNA)

    assert is_new
    assert again.service_id not in {row.service_id, other.service_id}
    found = [await store.find_restored(service) for service in (row.service_id, other.service_id, again.service_id)]
    assert found == [again.service_id, None, None]
    [newest], _ = await log.page(AuditQuery(limit=1, service_id=again.service_id))
    assert (newest.action, newest.before) == ("restore", None)
    assert await snapshots.find(SnapshotId(999)) is None


async def test_a_service_is_found_through_all_its_restores(
    store: PgServiceStore, snapshots: PgServiceSnapshots
) -> None:
    first, _ = await store.insert(DRAFT, by=ANNA)
    row = first
    for _ in range(2):
        await store.delete(row.service_id, by=ANNA)
        assert await store.find_restored(first.service_id) is None
        [deleted], _ = await snapshots.page(SnapshotQuery(service_id=row.service_id))
        row, _ = await store.insert_from(deleted.snapshot_id, deleted.draft, by=ANNA)

    assert await store.find_restored(first.service_id) == row.service_id
    changed = replace(row, version=2, team="core")
    await store.replace(changed, by=ANNA)
    [edited], _ = await snapshots.page(SnapshotQuery(service_id=row.service_id))
    await store.replace_from(edited.snapshot_id, replace(changed, version=3), by=ANNA)
    assert await store.find_restored(first.service_id) == row.service_id, "an edit leads to the service itself"


# --------------------------------------------------------------------------------------------------- refused sign-ins


async def test_refused_sign_ins_are_one_entry_for_each_source(log: PgAuditLog, database: Database) -> None:
    clock = HandClock(NOW)
    noted = RefusedSignIns(database, clock)
    for _ in range(1_000):
        noted.note_refused_sign_in("wrong_secret", "192.0.2.7", "k1")
    clock.at += 5
    noted.note_refused_sign_in("wrong_secret", "192.0.2.7", "k1")
    noted.note_refused_sign_in("malformed", "192.0.2.8", "\x00" + "x" * 500)
    await noted.write()
    await noted.write()

    entries, total = await log.page(AuditQuery(action=sign_ins.ACTION, limit=5))

    assert total == 2
    known = next(entry for entry in entries if entry.key_id == "k1")
    after = orjson.loads(known.after or "")
    assert (known.address, known.subject, after["reason"], after["refusals"]) == (
        "192.0.2.7", "192.0.2.7", "wrong_secret", 1_001,
    )  # fmt: skip
    assert after["first"] < after["last"]
    assert all(len(entry.key_id) <= 100 and entry.key_id.isprintable() for entry in entries)


async def test_refused_sign_ins_of_many_addresses_take_bounded_memory_and_rows(
    log: PgAuditLog, database: Database
) -> None:
    noted = RefusedSignIns(database, HandClock(NOW))
    database.hold("away")
    for number in range(3 * SOURCES_MAX):
        noted.note_refused_sign_in("unknown", f"192.0.2.{number}", "")
        if number % SOURCES_MAX == 0:
            with pytest.raises(DatabaseUnavailableError):
                await noted.write()
    database.release()
    await noted.write()

    entries, total = await log.page(AuditQuery(limit=3 * SOURCES_MAX))

    assert total == SOURCES_MAX + 1
    assert sum(orjson.loads(entry.after or "")["refusals"] for entry in entries) == 3 * SOURCES_MAX


async def test_what_was_counted_is_written_at_the_end(log: PgAuditLog, database: Database) -> None:
    noted = RefusedSignIns(database, HandClock(NOW))
    async with trio.open_nursery() as nursery:
        await nursery.start(noted.run)
        noted.note_refused_sign_in("expired", "192.0.2.7", "k1")
        nursery.cancel_scope.cancel()

    assert (await log.page(AuditQuery()))[1] == 1


async def test_sign_ins_refused_while_postgresql_is_away_are_written_when_it_is_back(
    log: PgAuditLog, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_ins, "WRITE_EVERY_SECONDS", 0.0)
    noted = RefusedSignIns(database, HandClock(NOW))
    attempted = trio.Event()
    write = noted.write

    async def write_and_tell() -> None:
        try:
            await write()
        finally:
            attempted.set()

    monkeypatch.setattr(noted, "write", write_and_tell)
    database.hold("away")
    noted.note_refused_sign_in("expired", "192.0.2.7", "k1")
    async with trio.open_nursery() as nursery:
        await nursery.start(noted.run)
        await attempted.wait()
        noted.note_refused_sign_in("expired", "192.0.2.7", "k1")
        database.release()
        nursery.cancel_scope.cancel()

    [entry], _ = await log.page(AuditQuery())
    assert orjson.loads(entry.after or "")["refusals"] == 2
