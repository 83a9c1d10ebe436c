"""What every SecretStore does: the fake that other tests use, and the one on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from medic.access import secrets as promised
from medic.access.caller import Author
from medic.access.secrets import Sealed, Secret, SecretStore
from medic.core.units import DAY_MS, InstantMs
from medic.errors import InvalidInputError
from medic.store.sealing import Sealing
from medic.store.tables import secrets as tables
from medic.store.tables.secrets import PgSecretStore
from tests.fakes import secrets as fakes
from tests.fakes.secrets import KEY, OTHER_KEY, MemorySecretStore
from tests.fakes.ticking import HandClock
from tests.postgres_server import PostgresServer

NOW = InstantMs(20_000 * DAY_MS + 123)
ANNA = Author("anna", address="192.0.2.7")
OLD, BOTH = Sealing(KEY), Sealing(OTHER_KEY, before=KEY)


@pytest.fixture
def clock() -> HandClock:
    return HandClock(NOW)


@pytest.fixture
async def store(server: PostgresServer | None, clock: HandClock) -> AsyncIterator[SecretStore]:
    if server is None:
        yield MemorySecretStore(clock)
        return
    async with server.fresh_database() as (database, _):
        yield PgSecretStore(database, clock)


async def test_a_secret_is_listed_as_it_was_stored(store: SecretStore) -> None:
    second, is_new = await store.put("b.2", OLD.seal("b.2", "value-of-b"), author=ANNA)
    first, _ = await store.put("A-1", OLD.seal("A-1", "value-of-a"), author=ANNA)
    assert is_new
    assert (second.date_added, second.date_modified, second.modified_by) == (NOW, NOW, "anna")
    assert list(await store.all()) == [first, second]
    assert OLD.unseal(second) == "value-of-b"


async def test_a_secret_is_replaced_and_keeps_when_it_was_added(store: SecretStore, clock: HandClock) -> None:
    await store.put("a", OLD.seal("a", "value-1"), author=ANNA)
    clock.at = NOW + DAY_MS
    replaced, is_new = await store.put("a", OLD.seal("a", "value-2"), author=Author("ben"))
    assert not is_new
    assert (replaced.date_added, replaced.date_modified, replaced.modified_by) == (NOW, NOW + DAY_MS, "ben")
    assert [OLD.unseal(secret) for secret in await store.all()] == ["value-2"]


async def test_a_secret_is_deleted_once(store: SecretStore) -> None:
    await store.put("a", OLD.seal("a", "value-1"), author=ANNA)
    assert await store.delete("a", author=ANNA)
    assert not await store.delete("a", author=ANNA)
    assert list(await store.all()) == []


async def test_there_are_only_so_many(store: SecretStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (promised, tables, fakes):
        monkeypatch.setattr(module, "SECRETS_MAX", 1)
    await store.put("a", OLD.seal("a", "value-1"), author=ANNA)
    await store.put("a", OLD.seal("a", "value-2"), author=ANNA)
    with pytest.raises(InvalidInputError, match="there are 1 secrets already"):
        await store.put("b", OLD.seal("b", "value-1"), author=ANNA)


async def test_all_are_sealed_anew_and_what_no_key_opens_stays(store: SecretStore) -> None:
    lost = Sealed("0123abcd", bytes(12), bytes(20))
    await store.put("lost", lost, author=ANNA)
    for name in ("a", "b"):
        await store.put(name, OLD.seal(name, f"value-of-{name}"), author=ANNA)
    await store.put("c", BOTH.seal("c", "value-of-c"), author=ANNA)

    rotation = await store.rotate(BOTH.reseal, BOTH.key_id, author=Author("medic secrets rotate"))

    assert (rotation.rotated, rotation.already, rotation.unknown) == (("a", "b"), 1, (("lost", "0123abcd"),))
    newest = Sealing(OTHER_KEY)
    values = {secret.name: newest.unseal(secret) for secret in await store.all()}
    assert values == {"a": "value-of-a", "b": "value-of-b", "c": "value-of-c", "lost": None}
    assert [secret.sealed for secret in await store.all() if secret.name == "lost"] == [lost]
    again = await store.rotate(BOTH.reseal, BOTH.key_id, author=ANNA)
    assert (again.rotated, again.already) == ((), 3)


async def test_a_rotation_that_fails_in_the_middle_changes_nothing(store: SecretStore) -> None:
    for name in ("a", "b"):
        await store.put(name, OLD.seal(name, "a-value-of"), author=ANNA)
    before = list(await store.all())

    def fail_at_b(secret: Secret) -> Sealed | None:
        if secret.name == "b":
            msg = "as the machine was switched off"
            raise RuntimeError(msg)
        return BOTH.reseal(secret)

    with pytest.raises(RuntimeError, match="switched off"):
        await store.rotate(fail_at_b, BOTH.key_id, author=ANNA)
    assert list(await store.all()) == before
