"""A KeyStore that is a dict, and keys over it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from medic.access.caller import Author
from medic.access.keys import ApiKey, KeyRing
from medic.access.uses import Day, KeyUse, Unwritten
from medic.app.keys import OperatorKeys
from medic.core.units import DurationMs, ServiceId
from medic.errors import DatabaseUnavailableError, Fault, InvalidInputError
from medic.ports import Clock
from medic.store.tables.key_copy import KeyCopy


class MemoryKeyStore:
    """Implements `medic.access.ports.KeyStore`. Set `available` to False for a PostgreSQL that does not answer."""

    def __init__(self, clock: Clock) -> None:
        self.available = True
        self.written: list[Unwritten] = []
        self._clock = clock
        self._keys: dict[str, ApiKey] = {}

    async def insert(self, key: ApiKey, *, author: Author) -> None:
        self._require_available()
        if any(known.name == key.name and known.revoked_at is None for known in self._keys.values()):
            raise InvalidInputError((Fault("name", f"must be unlike other keys': {key.name} is one"),))
        self._keys[key.key_id] = key

    async def rotate(self, key_id: str, digest: bytes, overlap_ms: DurationMs, *, author: Author) -> ApiKey | None:
        self._require_available()
        key, now = self._keys.get(key_id), self._clock.now()
        if key is None or key.fault_at(now) is not None:
            return None
        self._keys[key_id] = key.rotated(digest, now, overlap_ms)
        return self._keys[key_id]

    async def revoke(self, key_id: str, *, author: Author) -> ApiKey | None:
        self._require_available()
        key = self._keys.get(key_id)
        if key is None or key.revoked_at is not None:
            return None
        self._keys[key_id] = key.revoked(self._clock.now())
        return self._keys[key_id]

    async def all(self) -> Sequence[ApiKey]:
        self._require_available()
        return tuple(self._keys.values())

    async def note_told(self, key: ApiKey, days_left: int) -> bool:
        self._require_available()
        known = self._keys.get(key.key_id)
        if known is None or known.expires_at != key.expires_at:
            return False
        if known.told_days_left is not None and known.told_days_left <= days_left:
            return False
        self._keys[key.key_id] = replace(known, told_days_left=days_left)
        return True

    async def write_uses(self, unwritten: Unwritten) -> None:
        self._require_available()
        self.written.append(unwritten)

    async def forget_keyless(self) -> None:
        self._require_available()

    async def uses(self) -> Sequence[KeyUse]:
        self._require_available()
        return [use for unwritten in self.written for use in unwritten.uses]

    async def keyless(self) -> AsyncIterator[Mapping[ServiceId, Day]]:
        self._require_available()
        for unwritten in self.written:
            yield unwritten.keyless

    def _require_available(self) -> None:
        if not self.available:
            msg = "PostgreSQL does not answer"
            raise DatabaseUnavailableError(msg)


class NoCopy(KeyCopy):
    """Keeps the copy in memory."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"))
        self.kept: Sequence[ApiKey] = ()

    async def write(self, keys: Sequence[ApiKey]) -> None:
        self.kept = tuple(keys)

    async def read(self) -> Sequence[ApiKey]:
        return self.kept


def keys_over(store: MemoryKeyStore, clock: Clock, *, admin: str | None = None) -> OperatorKeys:
    """The operators' keys over a store in memory."""
    return OperatorKeys(store, NoCopy(), KeyRing(admin=admin), clock)
