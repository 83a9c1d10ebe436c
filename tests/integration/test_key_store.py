"""Keys in PostgreSQL: what is audited, what is never there, and what SQL by hand does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest
import trio

from medic.access.caller import Author
from medic.access.keys import ApiKey, KeyDraft, KeyRing, digest_of
from medic.access.scope import Scope
from medic.access.uses import COVERAGE_DAYS, KeyUse, Unwritten
from medic.app.keys import OperatorKeys
from medic.core.units import DAY_MS, HOUR_MS
from medic.errors import InvalidInputError, UnauthorizedError
from medic.store.postgres.database import CommitUnknownError, Database, RowRefusedError, Transaction, open_database
from medic.store.tables import key_log
from medic.store.tables.key_copy import KeyCopy
from medic.store.tables.key_log import KeyLog
from medic.store.tables.keys import REVOKED_KEPT_MS, PgKeyStore
from tests.fakes.keys import NoCopy
from tests.fakes.ticking import HandClock
from tests.patience import PATIENCE_SECONDS

NOW = 20_000 * DAY_MS + 123
ANNA = Author("anna")
DRAFT = KeyDraft("hosts", frozenset({Scope.ADMIN}))


def key_of(key_id: str = "a" * 12, name: str = "hosts") -> ApiKey:
    return KeyDraft(name, frozenset({Scope.ADMIN})).key(key_id, digest_of("secret"), NOW, "anna")


@pytest.fixture
def clock() -> HandClock:
    return HandClock(NOW)


@pytest.fixture
def store(database: Database, clock: HandClock) -> PgKeyStore:
    return PgKeyStore(database, clock)


@pytest.fixture
async def sql(database: Database) -> AsyncIterator[Database]:
    """A session as an operator's psql has it: not Medic's own."""
    async with open_database(database.target, connections_max=1) as operator:
        await operator.execute("SET medic.writer = 'off'")
        yield operator


async def audited(database: Database) -> list[tuple[str, str, str]]:
    rows = await database.fetch("SELECT actor, action, subject FROM medic.audit_log ORDER BY audit_id")
    return [tuple(row) for row in rows]


async def test_each_change_is_audited_without_secret_and_digest(database: Database, store: PgKeyStore) -> None:
    await store.insert(key_of(), author=ANNA)
    await store.rotate("a" * 12, digest_of("next"), HOUR_MS, author=Author("ben"))
    await store.revoke("a" * 12, author=ANNA)

    assert await audited(database) == [
        ("anna", "key added", "hosts"),
        ("ben", "key rotated", "hosts"),
        ("anna", "key revoked", "hosts"),
    ]
    entries = await database.fetch("SELECT before, after FROM medic.audit_log")
    text = orjson.dumps([[row["before"], row["after"]] for row in entries]).decode()
    assert "digest" not in text
    assert digest_of("secret").hex() not in text


async def test_a_change_by_sql_is_audited_as_such(database: Database, sql: Database, store: PgKeyStore) -> None:
    await store.insert(key_of(), author=ANNA)
    await sql.execute("UPDATE api_keys SET revoked_at = now() WHERE name = 'hosts'")
    await sql.execute("DELETE FROM api_keys")

    assert (await audited(database))[1:] == [("SQL", "key changed", "hosts"), ("SQL", "key removed", "hosts")]
    row = await database.fetchrow("SELECT before FROM medic.audit_log WHERE action = 'key removed'")
    assert row is not None
    assert "digest" not in orjson.loads(row["before"])


async def test_a_refused_row_that_is_no_double_name_is_a_fault_of_ours(store: PgKeyStore) -> None:
    with pytest.raises(RowRefusedError):
        await store.insert(key_of(key_id="UPPER"), author=ANNA)


async def test_an_admin_key_cannot_be_restricted_by_sql_either(sql: Database, store: PgKeyStore) -> None:
    await store.insert(key_of(), author=ANNA)
    with pytest.raises(RowRefusedError, match="admin_is_not_restricted"):
        await sql.execute("UPDATE api_keys SET names = '{pay-*}'")


async def test_there_is_a_limit_and_revoked_keys_make_room_in_time(
    store: PgKeyStore, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medic.store.tables.keys.KEYS_MAX", 1)
    await store.insert(key_of(), author=ANNA)
    await store.revoke("a" * 12, author=ANNA)
    with pytest.raises(InvalidInputError, match="there are 1 keys already"):
        await store.insert(key_of("b" * 12), author=ANNA)

    clock.at = NOW + REVOKED_KEPT_MS + 1
    await store.insert(key_of("b" * 12), author=ANNA)
    assert [key.key_id for key in await store.all()] == ["b" * 12]


async def test_a_use_of_a_key_that_is_gone_is_dropped_and_older_ones_change_nothing(store: PgKeyStore) -> None:
    await store.insert(key_of(), author=ANNA)
    newest = KeyUse("a" * 12, NOW, "192.0.2.7")
    await store.write_uses(Unwritten([newest, KeyUse("b" * 12, NOW, "")], {7: 20_000}))
    await store.write_uses(Unwritten([KeyUse("a" * 12, NOW - 9, "192.0.2.8")], {7: 19_999, 8: 20_000 - COVERAGE_DAYS}))

    assert list(await store.uses()) == [newest]
    assert [part async for part in store.keyless()] == [{7: 20_000}]


async def test_what_nobody_is_told_any_more_is_removed(database: Database, store: PgKeyStore) -> None:
    await store.write_uses(Unwritten([], {7: 20_000, 8: 20_000 - COVERAGE_DAYS}))
    await store.forget_keyless()
    rows = await database.fetch("SELECT service_id FROM medic.keyless_services")
    assert [row["service_id"] for row in rows] == [7]


class Unsure(PgKeyStore):
    """Loses the connection in the midst of each COMMIT; says nothing of whether it was made."""

    def __init__(self, database: Database, clock: HandClock, *, committed: bool) -> None:
        super().__init__(_Losing(database, committed=committed), clock)  # type: ignore[arg-type]


class _Losing:
    def __init__(self, database: Database, *, committed: bool) -> None:
        self._database = database
        self._committed = committed

    def __getattr__(self, name: str) -> object:
        return getattr(self._database, name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        try:
            async with self._database.transaction() as transaction:
                yield transaction
                if not self._committed:
                    raise CommitUnknownError("lost")
        finally:
            pass
        raise CommitUnknownError("lost")


async def test_a_commit_of_which_nothing_is_known_is_read_back(
    database: Database, store: PgKeyStore, clock: HandClock
) -> None:
    made, lost = Unsure(database, clock, committed=True), Unsure(database, clock, committed=False)
    with pytest.raises(CommitUnknownError):
        await lost.insert(key_of(), author=ANNA)
    await made.insert(key_of(), author=ANNA)
    with pytest.raises(CommitUnknownError):
        await lost.rotate("a" * 12, digest_of("next"), HOUR_MS, author=ANNA)
    rotated = await made.rotate("a" * 12, digest_of("next"), HOUR_MS, author=ANNA)
    assert rotated is not None
    assert rotated.digest == digest_of("next")
    with pytest.raises(CommitUnknownError):
        await lost.revoke("a" * 12, author=ANNA)
    revoked = await made.revoke("a" * 12, author=ANNA)
    assert revoked is not None
    assert list(await store.all()) == [revoked]


# ------------------------------------------------------------------------------------------- changes by another way


async def found(keys: OperatorKeys, text: str, reason: str | None) -> None:
    """Return once that text is refused for that reason; None: once it is a key."""
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            try:
                keys.ring.find(text, NOW)
            except UnauthorizedError as refused:
                if refused.reason == reason:
                    return
            else:
                if reason is None:
                    return
            await trio.sleep(0.005)


async def test_a_key_revoked_by_sql_works_no_more_as_soon_as_that_is_notified(
    database: Database, sql: Database, store: PgKeyStore, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_log, "READ_ANYHOW_SECONDS", 3_600.0)
    keys = OperatorKeys(store, NoCopy(), KeyRing(), clock)
    key, text = await keys.create(DRAFT, author=ANNA)
    async with trio.open_nursery() as nursery:
        await nursery.start(KeyLog(database, keys.follow).run)
        await sql.execute("UPDATE api_keys SET revoked_at = now()")
        await found(keys, text, "revoked")
        await sql.execute("DELETE FROM api_keys")
        await found(keys, text, "unknown")
        nursery.cancel_scope.cancel()
    assert keys.ring.by_id(key.key_id) is None


async def test_a_connection_that_broke_is_made_anew_and_nothing_is_missed(
    database: Database, sql: Database, store: PgKeyStore, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_log, "RETRY_SECONDS", 0.01)
    keys = OperatorKeys(store, NoCopy(), KeyRing(), clock)
    _, text = await keys.create(DRAFT, author=ANNA)
    async with trio.open_nursery() as nursery:
        await nursery.start(KeyLog(database, keys.follow).run)
        await sql.execute("ALTER TABLE api_keys RENAME TO away")
        await sql.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await sql.execute("UPDATE away SET revoked_at = now()")
        await sql.execute("ALTER TABLE away RENAME TO api_keys")
        await found(keys, text, "revoked")
        nursery.cancel_scope.cancel()


async def test_the_copy_says_what_was_known_last_and_is_readable_by_nobody_else(tmp_path, store, clock):
    path = tmp_path / "keys"
    assert await KeyCopy(path).read() == ()
    keys = OperatorKeys(store, KeyCopy(path), KeyRing(), clock)
    first, text = await keys.create(KeyDraft("hosts", frozenset(Scope), lifetime_ms=DAY_MS), author=ANNA)
    assert list(await KeyCopy(path).read()) == [first]
    rotated, _ = await keys.rotate(first.key_id, HOUR_MS, author=ANNA)
    assert list(await KeyCopy(path).read()) == [rotated]
    revoked = await keys.revoke(first.key_id, author=ANNA)
    assert list(await KeyCopy(path).read()) == [revoked]
    assert path.stat().st_mode & 0o777 == 0o600
    assert text.rpartition("_")[2] not in path.read_text()


async def test_a_copy_that_cannot_be_read_or_written_is_said_and_none(tmp_path, store, clock):
    (tmp_path / "keys").write_text("[{")
    assert await KeyCopy(tmp_path / "keys").read() == ()
    keys = OperatorKeys(store, KeyCopy(tmp_path / "missing" / "keys"), KeyRing(), clock)
    key, text = await keys.create(DRAFT, author=ANNA)
    assert keys.ring.find(text, NOW) == key
