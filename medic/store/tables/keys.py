"""API keys in PostgreSQL, each change with its audit entry. Digests are stored, secrets never; no entry shows either.

Where the connection is lost during COMMIT the outcome is read back: the secret of a key is shown once, so a caller must
not be refused a key that was made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import date, timedelta
from typing import Final

from medic.access.caller import Author
from medic.access.keys import ApiKey
from medic.access.scope import Scope
from medic.access.uses import COVERAGE_DAYS, Day, KeyUse, Unwritten, day_of
from medic.core.units import DAY_MS, DurationMs, InstantMs, ServiceId
from medic.errors import Fault, InvalidInputError
from medic.ports import Clock
from medic.store.postgres.database import CommitUnknownError, Database, Row, RowRefusedError, Transaction
from medic.store.postgres.time_limit import answered_within
from medic.store.tables.audit import Shown, audit

KEYS_MAX: Final = 10_000
"""Keys stored, revoked ones among them: one for each of as many teams and hosts as anybody tends. They take 10 MB."""

REVOKED_KEPT_MS: Final = DurationMs(90 * DAY_MS)
"""How long a revoked key stays, so that whoever still shows it is told so. What was done with it stays in the audit."""

CHANGE_SECONDS: Final = 5.0
"""Longest change by an operator. A server that hangs is told as one that is away, before the client gives up."""

_COLUMNS: Final = (
    "key_id, name, scopes, names, teams, digest, former_digest, former_until, date_added, added_by, expires_at, "
    "revoked_at, rotated_at, told_days_left"
)
_EPOCH: Final = date(1970, 1, 1)


class PgKeyStore:
    """Implements `medic.access.ports.KeyStore`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def insert(self, key: ApiKey, *, author: Author) -> None:
        """Store a new key.

        Raises:
            InvalidInputError: another key has its name, or there are as many as there may be.
        """
        try:
            with answered_within(CHANGE_SECONDS):
                async with self._database.transaction() as transaction:
                    await self._require_room(transaction)
                    await transaction.execute(
                        f"INSERT INTO medic.api_keys ({_COLUMNS})"  # noqa: S608 - constants
                        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
                        *_values(key),
                        operation="insert key",
                    )
                    await self._audit(transaction, "key added", author, after=key)
        except CommitUnknownError:
            if await self._read(key.key_id) is None:
                raise
        except RowRefusedError as error:
            if error.constraint == "api_keys_name":
                raise InvalidInputError((Fault("name", f"must be unlike other keys': {key.name} is one"),)) from None
            raise

    async def rotate(self, key_id: str, digest: bytes, overlap_ms: DurationMs, *, author: Author) -> ApiKey | None:
        """The key with its new secret; None where there is none of that id that works."""
        try:
            with answered_within(CHANGE_SECONDS):
                async with self._database.transaction() as transaction:
                    before = await self._working(transaction, key_id)
                    if before is None:
                        return None
                    after = before.rotated(digest, self._clock.now(), overlap_ms)
                    await self._update(transaction, after)
                    await self._audit(transaction, "key rotated", author, before=before, after=after)
        except CommitUnknownError:
            stored = await self._read(key_id)
            if stored is None or stored.digest != digest:
                raise
            return stored
        return after

    async def revoke(self, key_id: str, *, author: Author) -> ApiKey | None:
        """The key, which works no more; None where there is none of that id that was not revoked."""
        try:
            with answered_within(CHANGE_SECONDS):
                async with self._database.transaction() as transaction:
                    before = await self._locked(transaction, key_id)
                    if before is None or before.revoked_at is not None:
                        return None
                    after = before.revoked(self._clock.now())
                    await self._update(transaction, after)
                    await self._audit(transaction, "key revoked", author, before=before, after=after)
        except CommitUnknownError:
            stored = await self._read(key_id)
            if stored is None or stored.revoked_at is None:
                raise
            return stored
        return after

    async def all(self) -> Sequence[ApiKey]:
        """Every key, revoked ones among them."""
        with answered_within(CHANGE_SECONDS):  # changes wait while it reads
            records = await self._database.fetch(f"SELECT {_COLUMNS} FROM medic.api_keys", operation="list keys")  # noqa: S608
        return [_key_of(record) for record in records]

    async def note_told(self, key: ApiKey, days_left: int) -> bool:
        """Remember that people were told how many days this key has left; False where that was known, or it is gone."""
        async with self._database.transaction() as transaction:
            tag = await transaction.execute(
                "UPDATE medic.api_keys SET told_days_left = $3 WHERE key_id = $1 AND expires_at = $2"
                " AND (told_days_left IS NULL OR told_days_left > $3)",
                key.key_id,
                key.expires_at,
                days_left,
                operation="key told",
            )
        return tag == "UPDATE 1"

    async def write_uses(self, unwritten: Unwritten) -> None:
        """Store a batch; what is newer in the table stays."""
        async with self._database.transaction() as transaction:
            if unwritten.uses:
                await transaction.execute(
                    "INSERT INTO medic.key_uses AS known (key_id, last_used_at, address)"
                    " SELECT new.* FROM unnest($1::text[], $2::timestamptz[], $3::text[]) AS new (key_id, at, address)"
                    " JOIN medic.api_keys USING (key_id) ON CONFLICT (key_id) DO UPDATE"
                    " SET last_used_at = EXCLUDED.last_used_at, address = EXCLUDED.address"
                    " WHERE known.last_used_at < EXCLUDED.last_used_at",
                    [use.key_id for use in unwritten.uses],
                    [use.at for use in unwritten.uses],
                    [use.address for use in unwritten.uses],
                    operation="key uses",
                )
            if unwritten.keyless:
                await transaction.execute(
                    "INSERT INTO medic.keyless_services AS known (service_id, day)"
                    " SELECT * FROM unnest($1::bigint[], $2::date[]) ON CONFLICT (service_id) DO UPDATE"
                    " SET day = EXCLUDED.day WHERE known.day < EXCLUDED.day",
                    list(unwritten.keyless),
                    [_EPOCH + timedelta(day) for day in unwritten.keyless.values()],
                    operation="keyless services",
                )

    async def forget_keyless(self) -> None:
        """Remove what nobody is told any more."""
        async with self._database.transaction() as transaction:
            await transaction.execute(
                "DELETE FROM medic.keyless_services WHERE day <= $1",
                self._first_day,
                operation="forget keyless services",
            )

    async def uses(self) -> Sequence[KeyUse]:
        """The newest use of each key that was used."""
        records = await self._database.fetch(
            "SELECT key_id, last_used_at, address FROM medic.key_uses", operation="list key uses"
        )
        return [KeyUse(*record) for record in records]

    async def keyless(self) -> AsyncIterator[dict[ServiceId, Day]]:
        """The services that were heard without a key in the last days, in slices."""
        sql = "SELECT service_id, day - DATE '1970-01-01' FROM medic.keyless_services WHERE day > $1"
        async with aclosing(self._database.stream(sql, self._first_day)) as slices:
            async for records in slices:
                yield {ServiceId(service_id): day for service_id, day in records}

    @property
    def _first_day(self) -> date:
        return _EPOCH + timedelta(day_of(self._clock.now()) - COVERAGE_DAYS)

    async def _require_room(self, transaction: Transaction) -> None:
        await transaction.execute(
            "DELETE FROM medic.api_keys WHERE revoked_at < $1",
            InstantMs(self._clock.now() - REVOKED_KEPT_MS),
            operation="forget revoked keys",
        )
        counted = await transaction.fetchrow("SELECT count(*) FROM medic.api_keys", operation="count keys")
        if counted is not None and counted[0] >= KEYS_MAX:
            raise InvalidInputError((Fault("name", f"cannot be added: there are {KEYS_MAX} keys already"),))

    async def _locked(self, transaction: Transaction, key_id: str) -> ApiKey | None:
        record = await transaction.fetchrow(
            f"SELECT {_COLUMNS} FROM medic.api_keys WHERE key_id = $1 FOR UPDATE",  # noqa: S608 - a constant
            key_id,
            operation="lock key",
        )
        return None if record is None else _key_of(record)

    async def _working(self, transaction: Transaction, key_id: str) -> ApiKey | None:
        key = await self._locked(transaction, key_id)
        return None if key is None or key.fault_at(self._clock.now()) is not None else key

    async def _read(self, key_id: str) -> ApiKey | None:
        record = await self._database.fetchrow(
            f"SELECT {_COLUMNS} FROM medic.api_keys WHERE key_id = $1",  # noqa: S608 - a constant
            key_id,
            operation="key by id",
        )
        return None if record is None else _key_of(record)

    async def _update(self, transaction: Transaction, key: ApiKey) -> None:
        await transaction.execute(
            "UPDATE medic.api_keys SET digest = $2, former_digest = $3, former_until = $4, expires_at = $5,"
            " revoked_at = $6, rotated_at = $7, told_days_left = $8 WHERE key_id = $1",
            key.key_id,
            key.digest,
            key.former_digest,
            key.former_until,
            key.expires_at,
            key.revoked_at,
            key.rotated_at,
            key.told_days_left,
            operation="update key",
        )

    async def _audit(
        self,
        transaction: Transaction,
        action: str,
        author: Author,
        *,
        before: ApiKey | None = None,
        after: ApiKey,
    ) -> None:
        await audit(
            transaction,
            at=self._clock.now(),
            author=author,
            action=action,
            subject=after.name,
            before=None if before is None else _shown(before),
            after=_shown(after),
        )


def _values(key: ApiKey) -> tuple[object, ...]:
    return (
        key.key_id,
        key.name,
        sorted(scope.value for scope in key.scopes),
        list(key.names),
        list(key.teams),
        key.digest,
        key.former_digest,
        key.former_until,
        key.date_added,
        key.added_by,
        key.expires_at,
        key.revoked_at,
        key.rotated_at,
        key.told_days_left,
    )


def _key_of(record: Row) -> ApiKey:
    return ApiKey(
        key_id=record["key_id"],
        name=record["name"],
        scopes=frozenset(map(Scope, record["scopes"])),
        digest=record["digest"],
        date_added=record["date_added"],
        added_by=record["added_by"],
        names=tuple(record["names"]),
        teams=tuple(record["teams"]),
        former_digest=record["former_digest"],
        former_until=record["former_until"],
        expires_at=record["expires_at"],
        revoked_at=record["revoked_at"],
        rotated_at=record["rotated_at"],
        told_days_left=record["told_days_left"],
    )


def _shown(key: ApiKey) -> Shown:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "scopes": sorted(scope.value for scope in key.scopes),
        "names": list(key.names),
        "teams": list(key.teams),
        "expires_at": key.expires_at,
        "former_until": key.former_until,
        "rotated_at": key.rotated_at,
        "revoked_at": key.revoked_at,
    }
