"""What a backup says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from medic.errors import ConfigurationError, Fault
from medic.store.backup.archive import DamagedBackupError
from medic.store.embedded.cluster import POSTGRES_MAJOR
from medic.store.postgres.migrate import known_migrations

FORMAT: Final = 1
"""Grows when an earlier release could not restore what is written."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Stands in `manifest.json`. Times are ISO 8601.

    Attributes:
        format: `FORMAT` of the release that made it.
        medic: That release.
        made_at: When it was begun.
        database_id: Which database it is of.
        schema: The newest migration that had been applied.
        postgresql: The major version of the server.
        journal_id, position: How far the writer had brought which journal.
        is_complete: Whether everything is in it that was answered before it was begun.
        services, open_alerts: How many there were.
        secret_keys: The ids of the keys that its secrets were sealed with.
    """

    format: int
    medic: str
    made_at: str
    database_id: str
    schema: int
    postgresql: int
    journal_id: str
    position: int
    is_complete: bool
    services: int
    open_alerts: int
    secret_keys: tuple[str, ...]

    def as_json(self) -> bytes:
        """For the file; people may read it as well."""
        return _STORED.dump_json(self, indent=2) + b"\n"


_STORED: Final = TypeAdapter(Manifest)


def read_manifest(path: Path, content: bytes) -> Manifest:
    """What stands in the manifest of a backup that this release can restore.

    Raises:
        ConfigurationError: a newer release made it, or it is no manifest.
    """
    try:
        manifest = _STORED.validate_json(content, strict=True)
    except ValidationError as error:
        raise DamagedBackupError(path, "its manifest says something else than a manifest does") from error
    known = known_migrations()[-1].version
    if manifest.format > FORMAT or manifest.schema > known or manifest.postgresql > POSTGRES_MAJOR:
        sentence = (
            f"was made by Medic {manifest.medic} (schema {manifest.schema:04d}, PostgreSQL {manifest.postgresql}), and "
            f"this release knows schemas up to {known:04d} and PostgreSQL up to {POSTGRES_MAJOR}. Restore it with the "
            "newer release"
        )
        raise ConfigurationError((Fault(str(path), sentence),))
    return manifest
