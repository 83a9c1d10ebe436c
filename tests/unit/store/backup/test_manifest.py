"""What a backup says of itself, and which backups this release can restore."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from medic.errors import ConfigurationError
from medic.store.backup.archive import DamagedBackupError
from medic.store.backup.manifest import FORMAT, Manifest, read_manifest
from medic.store.embedded.cluster import POSTGRES_MAJOR
from medic.store.postgres.migrate import known_migrations

NEWEST = known_migrations()[-1].version
MANIFEST = Manifest(
    format=FORMAT,
    medic="1.2.3",
    made_at="2026-11-26T02:03:23.791Z",
    database_id="5e9f3d1c",
    schema=NEWEST,
    postgresql=POSTGRES_MAJOR,
    journal_id="ab",
    position=1234,
    is_complete=True,
    services=3,
    open_alerts=1,
    secret_keys=("0a1b2c3d",),
)


def test_it_is_read_as_it_was_written() -> None:
    assert read_manifest(Path("file"), MANIFEST.as_json()) == MANIFEST


def test_one_of_an_earlier_release_is_taken() -> None:
    assert read_manifest(Path("file"), replace(MANIFEST, schema=1, postgresql=POSTGRES_MAJOR - 1).as_json()).schema == 1


@pytest.mark.parametrize(
    "newer", [{"format": FORMAT + 1}, {"schema": NEWEST + 1}, {"postgresql": POSTGRES_MAJOR + 1}], ids=str
)
def test_one_of_a_newer_release_is_refused(newer: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match=r"was made by Medic 1\.2\.3 .* Restore it with the newer release"):
        read_manifest(Path("file"), replace(MANIFEST, **newer).as_json())


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format": "1"}'])
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(DamagedBackupError):
        read_manifest(Path("file"), content)
