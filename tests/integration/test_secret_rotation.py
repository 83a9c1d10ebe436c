"""`medic secrets rotate`, and what the doctor says of secrets: on a real PostgreSQL, beside a Medic and without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medic.access.caller import Author
from medic.cli.checks.secrets import look_at_secrets
from medic.cli.checks.vendors import look_at_slack
from medic.cli.secrets import rotate_secrets
from medic.config.load import load_settings
from medic.config.settings import Settings
from medic.errors import ConfigurationError
from medic.store.directory_lock import DirectoryLock
from medic.store.postgres.database import Database
from medic.store.sealing import Sealing
from medic.store.tables.secret_copy import SecretCopy
from medic.store.tables.secrets import PgSecretStore
from tests.fakes.secrets import KEY, OTHER_KEY
from tests.fakes.ticking import HandClock

ANNA = Author("anna")
OURS = ("DB_HOST", "DB_PORT", "DB_NAME", "PG_USER", "PG_PASS")
ROTATING = {"MEDIC_SECRETS_KEY": OTHER_KEY, "MEDIC_SECRETS_KEY_BEFORE": KEY}


def settings_for(database: Database, folder: Path, **environment: str) -> Settings:
    reached = {name: value for name, value in database.target.environment().items() if name in OURS}
    return load_settings({**reached, "MEDIC_DATA_DIR": str(folder), **environment})


@pytest.fixture
async def store(database: Database) -> PgSecretStore:
    """Two secrets are in it."""
    found = PgSecretStore(database, HandClock())
    for name in ("a", "b"):
        await found.put(name, Sealing(KEY).seal(name, f"value-of-{name}"), author=ANNA)
    return found


async def test_without_a_medic_the_copy_is_renewed_as_well(
    database: Database, store: PgSecretStore, tmp_path: Path
) -> None:
    said: list[str] = []
    rotation = await rotate_secrets(settings_for(database, tmp_path, **ROTATING), said.append)
    newest = Sealing(OTHER_KEY)
    assert rotation.rotated == ("a", "b")
    assert said == [
        f"2 secrets sealed anew with the key {newest.key_id}.",
        "MEDIC_SECRETS_KEY_BEFORE is needed no more.",
    ]
    copied = await SecretCopy(tmp_path).read()
    assert [newest.unseal(secret) for secret in copied] == ["value-of-a", "value-of-b"]
    assert list(copied) == list(await store.all())


async def test_beside_a_medic_the_copy_is_left_to_that(
    database: Database, store: PgSecretStore, tmp_path: Path
) -> None:
    said: list[str] = []
    with DirectoryLock(tmp_path):
        await rotate_secrets(settings_for(database, tmp_path, **ROTATING), said.append)
    assert list(await SecretCopy(tmp_path).read()) == []
    await store.put("c", Sealing(KEY).seal("c", "value-of-c"), author=ANNA)
    said.clear()
    await rotate_secrets(settings_for(database, tmp_path / "missing", **ROTATING), said.append)
    assert said[0].startswith("1 secret sealed anew")
    assert said[1] == "2 had been before."
    assert not (tmp_path / "missing").exists()


async def test_what_no_key_opens_is_named_and_kept(database: Database, store: PgSecretStore, tmp_path: Path) -> None:
    said: list[str] = []
    before = list(await store.all())
    settings = settings_for(database, tmp_path, MEDIC_SECRETS_KEY=OTHER_KEY)
    rotation = await rotate_secrets(settings, said.append)
    key_id = Sealing(KEY).key_id
    assert rotation.unknown == (("a", key_id), ("b", key_id))
    assert f"a stays as it is: it was sealed with the key {key_id}, which is not set." in said
    assert list(await store.all()) == before


async def test_without_a_key_there_is_nothing_to_seal_with(database: Database, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="openssl rand -base64 32"):
        await rotate_secrets(settings_for(database, tmp_path), [].append)


async def found(settings: Settings, part: str) -> list[Any]:
    looks = {"secrets": look_at_secrets, "Slack": look_at_slack}
    return [(finding.verdict.value, finding.found) for finding in await looks[part](settings)]


async def test_the_doctor_asks_the_copy(database: Database, store: PgSecretStore, tmp_path: Path) -> None:
    slack = {"SLACK_API_TOKEN": "${secrets.a}", "SLACK_CHANNEL_ID": "C1", "SLACK_API_URL": "http://127.0.0.1:1"}
    settings = settings_for(database, tmp_path, MEDIC_SECRETS_KEY=KEY, **slack)
    assert await found(settings, "secrets") == [("bad", "SLACK_API_TOKEN: there is no secret a")]
    assert await found(settings, "Slack") == [], "said once"
    await SecretCopy(tmp_path).write(await store.all())
    assert await found(settings, "secrets") == [("ok", "2 stored, none is missing")]
    [(verdict, said)] = await found(settings, "Slack")
    assert (verdict, "cannot be reached" in said) == ("bad", True)
    assert await found(settings_for(database, tmp_path), "secrets") == []
