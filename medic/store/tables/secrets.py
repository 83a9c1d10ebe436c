"""Stored secrets in PostgreSQL, sealed before they come here, each change with its audit entry.

No value reaches PostgreSQL, so none can stand in its log, its dumps or its replicas.
"""

from __future__ import annotations

from collections.abc import Sequence

from medic.access.caller import Author
from medic.access.secrets import SECRETS_MAX, Reseal, Rotation, Sealed, Secret
from medic.core.units import isoformat
from medic.errors import Fault, InvalidInputError, InvariantError
from medic.ports import Clock
from medic.store.postgres.database import Database, Row, Transaction
from medic.store.postgres.time_limit import answered_within
from medic.store.tables.audit import Shown, audit
from medic.store.tables.keys import CHANGE_SECONDS

_COLUMNS = "name, key_id, nonce, sealed, date_added, date_modified, modified_by"


class PgSecretStore:
    """Implements `medic.access.secrets.SecretStore`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def put(self, name: str, sealed: Sealed, *, author: Author) -> tuple[Secret, bool]:
        """The stored secret, and whether it is new.

        Raises:
            InvalidInputError: there are as many as there may be.
        """
        with answered_within(CHANGE_SECONDS):
            async with self._database.transaction() as transaction:
                before = await self._locked(transaction, name)
                if before is None:
                    await self._require_room(transaction)
                record = await transaction.fetchrow(
                    f"INSERT INTO medic.secrets ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $5, $6)"  # noqa: S608
                    " ON CONFLICT (name) DO UPDATE SET key_id = EXCLUDED.key_id, nonce = EXCLUDED.nonce,"
                    " sealed = EXCLUDED.sealed, date_modified = EXCLUDED.date_modified,"
                    f" modified_by = EXCLUDED.modified_by RETURNING {_COLUMNS}",
                    name,
                    sealed.key_id,
                    sealed.nonce,
                    sealed.content,
                    self._clock.now(),
                    author.name,
                    operation="put secret",
                )
                if record is None:
                    raise InvariantError("INSERT … RETURNING gave no row")
                secret = _secret_of(record)
                action = "secret added" if before is None else "secret replaced"
                await self._audit(transaction, action, author, name, before, secret)
        return secret, before is None

    async def delete(self, name: str, *, author: Author) -> bool:
        """Remove one; False if there was none."""
        with answered_within(CHANGE_SECONDS):
            async with self._database.transaction() as transaction:
                before = await self._locked(transaction, name)
                if before is None:
                    return False
                await transaction.execute("DELETE FROM medic.secrets WHERE name = $1", name, operation="delete secret")
                await self._audit(transaction, "secret removed", author, name, before, None)
        return True

    async def all(self) -> Sequence[Secret]:
        """Every secret, by name."""
        records = await self._database.fetch(
            f"SELECT {_COLUMNS} FROM medic.secrets ORDER BY name",  # noqa: S608 - a constant
            operation="list secrets",
        )
        return [_secret_of(record) for record in records]

    async def rotate(self, reseal: Reseal, newest_key_id: str, *, author: Author) -> Rotation:
        """Seal all of them anew in one transaction, or none. Those that no key opens stay as they are."""
        rotated: list[str] = []
        unknown: list[tuple[str, str]] = []
        already = 0
        async with self._database.transaction() as transaction:
            records = await transaction.fetch(
                f"SELECT {_COLUMNS} FROM medic.secrets ORDER BY name FOR UPDATE",  # noqa: S608 - a constant
                operation="lock secrets",
            )
            for secret in map(_secret_of, records):
                if secret.sealed.key_id == newest_key_id:
                    already += 1
                    continue
                sealed = reseal(secret)
                if sealed is None:
                    unknown.append((secret.name, secret.sealed.key_id))
                    continue
                await self._reseal(transaction, secret.name, sealed)
                rotated.append(secret.name)
            if rotated:
                shown: Shown = {"key_id": newest_key_id, "secrets": rotated}
                await audit(
                    transaction,
                    at=self._clock.now(),
                    author=author,
                    action="secrets rotated",
                    subject="secrets",
                    after=shown,
                )
        return Rotation(tuple(rotated), already, tuple(unknown))

    async def _reseal(self, transaction: Transaction, name: str, sealed: Sealed) -> None:
        await transaction.execute(
            "UPDATE medic.secrets SET key_id = $2, nonce = $3, sealed = $4 WHERE name = $1",
            name,
            sealed.key_id,
            sealed.nonce,
            sealed.content,
            operation="reseal secret",
        )

    async def _locked(self, transaction: Transaction, name: str) -> Secret | None:
        record = await transaction.fetchrow(
            f"SELECT {_COLUMNS} FROM medic.secrets WHERE name = $1 FOR UPDATE",  # noqa: S608 - a constant
            name,
            operation="lock secret",
        )
        return None if record is None else _secret_of(record)

    async def _require_room(self, transaction: Transaction) -> None:
        counted = await transaction.fetchrow("SELECT count(*) FROM medic.secrets", operation="count secrets")
        if counted is not None and counted[0] >= SECRETS_MAX:
            raise InvalidInputError((Fault("name", f"cannot be added: there are {SECRETS_MAX} secrets already"),))

    async def _audit(
        self,
        transaction: Transaction,
        action: str,
        author: Author,
        name: str,
        before: Secret | None,
        after: Secret | None,
    ) -> None:
        await audit(
            transaction,
            at=self._clock.now(),
            author=author,
            action=action,
            subject=name,
            before=None if before is None else _shown(before),
            after=None if after is None else _shown(after),
        )


def _secret_of(record: Row) -> Secret:
    return Secret(
        name=record["name"],
        sealed=Sealed(record["key_id"], record["nonce"], record["sealed"]),
        date_added=record["date_added"],
        date_modified=record["date_modified"],
        modified_by=record["modified_by"],
    )


def _shown(secret: Secret) -> Shown:
    return {
        "name": secret.name,
        "key_id": secret.sealed.key_id,
        "date_modified": isoformat(secret.date_modified),
        "modified_by": secret.modified_by,
    }
