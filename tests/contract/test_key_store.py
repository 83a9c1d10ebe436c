"""What every KeyStore does: the fake that other tests use, and the one on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from medic.access.caller import Author
from medic.access.keys import ApiKey, KeyDraft, digest_of
from medic.access.ports import KeyStore
from medic.access.scope import Scope
from medic.access.uses import KeyUse, Unwritten
from medic.core.units import DAY_MS, HOUR_MS
from medic.errors import InvalidInputError
from medic.store.tables.keys import PgKeyStore
from tests.fakes.keys import MemoryKeyStore
from tests.fakes.ticking import HandClock
from tests.postgres_server import PostgresServer

NOW = 20_000 * DAY_MS + 123
ANNA = Author("anna", address="192.0.2.7")
DRAFT = KeyDraft("hosts", frozenset({Scope.HEARTBEAT, Scope.READ}), ("pay-*", "Ä"), ("shop",), 10 * DAY_MS)


def key_of(draft: KeyDraft = DRAFT, key_id: str = "a" * 12) -> ApiKey:
    return draft.key(key_id, digest_of("secret"), NOW, "anna")


@pytest.fixture
async def store(server: PostgresServer | None) -> AsyncIterator[KeyStore]:
    if server is None:
        yield MemoryKeyStore(HandClock(NOW))
        return
    async with server.fresh_database() as (database, _):
        yield PgKeyStore(database, HandClock(NOW))


async def test_a_key_is_read_back_as_it_was_made(store: KeyStore) -> None:
    forever = key_of(replace(DRAFT, name="web", names=(), teams=(), lifetime_ms=None), "b" * 12)
    await store.insert(key_of(), author=ANNA)
    await store.insert(forever, author=ANNA)

    assert sorted(await store.all(), key=lambda key: key.key_id) == [key_of(), forever]


async def test_a_name_belongs_to_one_key_that_was_not_revoked(store: KeyStore) -> None:
    await store.insert(key_of(), author=ANNA)
    with pytest.raises(InvalidInputError, match="name must be unlike other keys': hosts is one"):
        await store.insert(key_of(key_id="b" * 12), author=ANNA)

    await store.revoke("a" * 12, author=ANNA)
    await store.insert(key_of(key_id="b" * 12), author=ANNA)
    assert len(await store.all()) == 2


async def test_rotation_keeps_the_secret_before_for_the_overlap(store: KeyStore) -> None:
    await store.insert(key_of(), author=ANNA)

    rotated = await store.rotate("a" * 12, digest_of("next"), HOUR_MS, author=ANNA)

    assert rotated == key_of().rotated(digest_of("next"), NOW, HOUR_MS)
    assert list(await store.all()) == [rotated]


async def test_what_is_gone_or_works_no_more_is_neither_rotated_nor_revoked(store: KeyStore) -> None:
    assert await store.rotate("a" * 12, bytes(32), HOUR_MS, author=ANNA) is None
    assert await store.revoke("a" * 12, author=ANNA) is None
    await store.insert(key_of(), author=ANNA)
    await store.insert(replace(key_of(key_id="b" * 12), name="over", expires_at=NOW), author=ANNA)

    assert await store.revoke("a" * 12, author=ANNA) == key_of().revoked(NOW)
    assert await store.revoke("a" * 12, author=ANNA) is None
    assert await store.rotate("a" * 12, bytes(32), HOUR_MS, author=ANNA) is None
    assert await store.rotate("b" * 12, bytes(32), HOUR_MS, author=ANNA) is None
    assert await store.revoke("b" * 12, author=ANNA) is not None


async def test_an_end_is_remembered_as_told_once_and_not_backwards(store: KeyStore) -> None:
    key = key_of()
    await store.insert(key, author=ANNA)

    assert [await store.note_told(key, days) for days in (14, 14, 3, 14, 3)] == [True, False, True, False, False]
    assert not await store.note_told(replace(key, expires_at=NOW), 1), "it was rotated meanwhile"
    assert [stored.told_days_left for stored in await store.all()] == [3]


async def test_uses_are_read_back(store: KeyStore) -> None:
    await store.insert(key_of(), author=ANNA)
    use = KeyUse("a" * 12, NOW, "192.0.2.7")

    await store.write_uses(Unwritten([use], {7: 20_000}))

    assert list(await store.uses()) == [use]
    assert [part async for part in store.keyless()] == [{7: 20_000}]
    await store.forget_keyless()
    assert [part async for part in store.keyless()] == [{7: 20_000}]
