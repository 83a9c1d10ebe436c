"""Services that were not heard of when the earlier system's database was taken over: told once, all at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from medic.core.units import InstantMs
from medic.store.postgres.database import Database

_THERE: Final = "SELECT to_regclass('medic_before.adoption') IS NOT NULL AS there"
_UNTOLD: Final = """
SELECT adopted_at, unheard, retention_days, EXISTS (
    SELECT FROM medic.notifications WHERE notification_id = $1 || (extract(epoch FROM adopted_at) * 1000)::bigint
) AS decided
FROM medic_before.adoption WHERE finished_at IS NOT NULL AND told_at IS NULL AND cardinality(unheard) > 0
"""
_TOLD: Final = "UPDATE medic_before.adoption SET told_at = now()"

_ID: Final = "adopted."


@dataclass(frozen=True, slots=True)
class Unheard:
    """Who they are.

    Attributes:
        adopted_at: When the database was taken over.
        names: Theirs.
        retention_days: For how long they have not been heard of.
        decided: The telling of it was decided before.
    """

    adopted_at: InstantMs
    names: tuple[str, ...]
    retention_days: int
    decided: bool

    @property
    def notification_id(self) -> str:
        """That of the one notification about them."""
        return f"{_ID}{self.adopted_at}"


async def read_unheard(database: Database) -> Unheard | None:
    """Who has still to be told of; None where nothing was taken over, or all of it was told.

    Raises:
        DatabaseUnavailableError: PostgreSQL does not answer.
    """
    there = await database.fetchrow(_THERE, operation="adopted")
    if there is None or not there["there"]:
        return None
    row = await database.fetchrow(_UNTOLD, _ID, operation="adopted")
    if row is None:
        return None
    return Unheard(row["adopted_at"], tuple(row["unheard"]), row["retention_days"], row["decided"])


async def note_told(database: Database) -> None:
    """Remember that it was decided to be told, once PostgreSQL or the journal has that.

    Raises:
        DatabaseUnavailableError: PostgreSQL does not answer.
    """
    await database.execute(_TOLD, operation="adopted")
