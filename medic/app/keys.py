"""API keys as operators change them: stored first, then known to whoever checks them, then answered.

One change at a time, and none while the keys are read anew: what is read was committed before it was asked for, and
must not take the place of a key that was made meanwhile.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import structlog
import trio

from medic.access.caller import Author
from medic.access.keys import (
    ADMIN_ID,
    ID_BYTES,
    SECRET_BYTES,
    ApiKey,
    KeyDraft,
    KeyRing,
    digest_of,
    key_id_of,
    secret_of,
    text_of,
)
from medic.access.ports import KeyStore
from medic.access.scope import Scope
from medic.access.uses import Day, KeyUse, KeyUses
from medic.core.units import DurationMs, ServiceId
from medic.errors import Fault, InvalidInputError, LastAdminKeyError, UnknownKeyError
from medic.ports import Clock
from medic.store.tables.key_copy import KeyCopy

_log = structlog.get_logger(__name__)


class OperatorKeys:
    """Implements `medic.access.ports.Keys`.

    Args:
        store: PostgreSQL's.
        copy: What the next start knows if PostgreSQL is away then.
        ring: What heartbeats and requests are checked against.
        clock: Where instants come from.

    Attributes:
        ring: As given.
        uses: Where whoever checks keys notes what was used, and what was heard without one.
    """

    def __init__(self, store: KeyStore, copy: KeyCopy, ring: KeyRing, clock: Clock) -> None:
        self.ring = ring
        self.uses = KeyUses()
        self._store = store
        self._copy = copy
        self._clock = clock
        self._turn = trio.Lock()
        self._changed = trio.Event()

    async def create(self, draft: KeyDraft, *, author: Author) -> tuple[ApiKey, str]:
        """The key, and its text, which is never to be had again.

        Raises:
            InvalidInputError: another key has its name, or there are as many as there may be.
        """
        key_id, secret = key_id_of(secrets.token_bytes(ID_BYTES)), secret_of(secrets.token_bytes(SECRET_BYTES))
        key = draft.key(key_id, digest_of(secret), self._clock.now(), author.name)
        async with self._turn:
            await self._store.insert(key, author=author)
            await self._know(key)
        return key, text_of(key_id, secret)

    async def rotate(self, key_id: str, overlap_ms: DurationMs, *, author: Author) -> tuple[ApiKey, str]:
        """The key with its new text; the one before works on for the overlap.

        Raises:
            UnknownKeyError: there is none of that id that works.
        """
        _require_stored(key_id)
        secret = secret_of(secrets.token_bytes(SECRET_BYTES))
        async with self._turn:
            key = await self._store.rotate(key_id, digest_of(secret), overlap_ms, author=author)
            if key is None:
                raise UnknownKeyError(key_id)
            await self._know(key)
        return key, text_of(key_id, secret)

    async def revoke(self, key_id: str, *, author: Author) -> ApiKey:
        """The key, which works no more.

        Raises:
            UnknownKeyError: there is none of that id that was not revoked.
        """
        _require_stored(key_id)
        async with self._turn:
            key = await self._store.revoke(key_id, author=author)
            if key is None:
                raise UnknownKeyError(key_id)
            await self._know(key)
        return key

    def require_other_admin(self, key_id: str) -> None:
        """Return unless nobody could make keys any more without this one.

        Raises:
            LastAdminKeyError: nobody could.
        """
        key, now = self.ring.by_id(key_id), self._clock.now()
        if key is None or self.ring.has_admin_variable or not _makes_keys(key):
            return
        others = (other for other in self.ring.all() if other.key_id != key_id and other.fault_at(now) is None)
        if key.fault_at(now) is None and not any(map(_makes_keys, others)):
            raise LastAdminKeyError(key.name)

    def all(self) -> Sequence[ApiKey]:
        """Every stored key, in the order of names."""
        return self.ring.all()

    def last_use(self, key_id: str) -> KeyUse | None:
        """The newest use of that key, or None where none is known."""
        return self.uses.last_use(key_id)

    def keyless_on(self, service_id: ServiceId) -> Day | None:
        """The newest day of the last seven on which that service was heard without a key."""
        return self.uses.keyless_on(service_id, self._clock.now())

    async def follow(self) -> None:
        """Know what is stored: somebody may have changed it by another way.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer.
        """
        async with self._turn:
            if self.ring.replace_all(await self._store.all()):
                _log.info("API keys were changed", keys=len(self.ring.all()))
                await self._note_changed()

    async def wait_newer(self, version: int) -> None:
        """Return once the ring has another version than this."""
        while self.ring.version == version:
            await self._changed.wait()

    async def _know(self, key: ApiKey) -> None:
        self.ring.put(key)
        await self._note_changed()

    async def _note_changed(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
        await self._copy.write(self.ring.all())


def _makes_keys(key: ApiKey) -> bool:
    return Scope.ADMIN in key.scopes


def _require_stored(key_id: str) -> None:
    if key_id == ADMIN_ID:
        sentence = "admin is MEDIC_ADMIN_API_KEY: set another value, or none, and start Medic anew"
        raise InvalidInputError((Fault("key_id", sentence),))
