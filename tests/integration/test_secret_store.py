"""Secrets in PostgreSQL and in the data directory: what is written down of a change, and that no value is."""

from __future__ import annotations

from pathlib import Path

import orjson

from medic.access.caller import Author
from medic.store.postgres.database import Database
from medic.store.sealing import Sealing
from medic.store.tables.secret_copy import FILE, SecretCopy
from medic.store.tables.secrets import PgSecretStore
from tests.fakes.secrets import KEY, OTHER_KEY
from tests.fakes.ticking import HandClock

ANNA = Author("anna", address="192.0.2.7")


async def entries(database: Database) -> list[tuple[str, str, str]]:
    records = await database.fetch(
        "SELECT actor, action, subject, before, after FROM medic.audit_log ORDER BY at, ctid"
    )
    for record in records:
        for shown in (record["before"], record["after"]):
            assert shown is None or not {"nonce", "sealed"} & orjson.loads(shown).keys()
    return [(record["actor"], record["action"], record["subject"]) for record in records]


async def test_each_change_is_written_down_once_whoever_makes_it(database: Database) -> None:
    store = PgSecretStore(database, HandClock())
    await store.put("a", Sealing(KEY).seal("a", "value-of-a"), author=ANNA)
    await store.put("a", Sealing(KEY).seal("a", "another-value"), author=ANNA)
    both = Sealing(OTHER_KEY, before=KEY)
    await store.rotate(both.reseal, both.key_id, author=Author("medic secrets rotate"))
    await store.rotate(both.reseal, both.key_id, author=Author("medic secrets rotate"))
    await store.delete("a", author=ANNA)
    assert await entries(database) == [
        ("anna", "secret added", "a"),
        ("anna", "secret replaced", "a"),
        ("medic secrets rotate", "secrets rotated", "secrets"),
        ("anna", "secret removed", "a"),
    ]


async def test_a_change_by_sql_is_written_down_as_well(database: Database) -> None:
    store = PgSecretStore(database, HandClock())
    await store.put("a", Sealing(KEY).seal("a", "value-of-a"), author=ANNA)
    async with database.transaction() as transaction:
        await transaction.execute("SET LOCAL medic.writer = 'off'; DELETE FROM medic.secrets")
    assert (await entries(database))[-1] == ("SQL", "secret removed", "a")


async def test_whoever_listens_for_keys_hears_of_secrets(database: Database) -> None:
    store = PgSecretStore(database, HandClock())
    async with database.listening("medic_keys") as listener:
        await store.put("a", Sealing(KEY).seal("a", "value-of-a"), author=ANNA)
        await listener.wait()


async def test_the_copy_is_what_was_stored_last_and_of_no_use_without_the_key(
    tmp_path: Path, database: Database
) -> None:
    store, copy = PgSecretStore(database, HandClock()), SecretCopy(tmp_path)
    assert list(await copy.read()) == []
    await store.put("a", Sealing(KEY).seal("a", "value-of-a"), author=ANNA)
    await copy.write(await store.all())
    read = await SecretCopy(tmp_path).read()
    assert list(read) == list(await store.all())
    assert Sealing(KEY).unseal(read[0]) == "value-of-a"
    assert b"value-of-a" not in (tmp_path / FILE).read_bytes()
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


async def test_a_copy_that_cannot_be_read_or_written_is_none(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b'[{"name":"a"}]')
    assert list(await SecretCopy(tmp_path).read()) == []
    await SecretCopy(tmp_path / "missing").write([])
    assert not (tmp_path / "missing").exists()
