"""API keys: what one is, its form, and the ring that finds the one that was shown.

A key is `mdk_<id>_<secret>`. The id finds it, in one look into a dict; the secret proves it. What is kept of a secret
is its SHA-256: the secret is 256 random bits, so there is nothing to guess that a slow hash would make slower, and the
check stands in the way of every heartbeat (docs/decisions/0017 has the figures).

How long a refusal takes says nothing about which ids there are or how much of a secret was right: a secret is hashed
and compared with two digests whoever it is said to belong to, with those of nobody where the id is unknown, and each
comparison takes the same time wherever the first difference is. Only whoever knows the secret is told that the key has
expired or was revoked.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from medic.access.scope import Scope
from medic.core.units import DurationMs, InstantMs
from medic.errors import UnauthorizedError

KEY_PREFIX: Final = "mdk_"
"""What every key begins with, so that scanners for leaked secrets can find them."""

ID_LENGTH: Final = 12
ID_BYTES: Final = 8
"""Random bytes of which an id is made: its 12 characters hold 60 bits of them."""

SECRET_BYTES: Final = 32
SECRET_LENGTH: Final = 43
"""Characters of a secret: 62 to the 43rd is the first power that holds 256 bits."""

KEY_LENGTH: Final = len(KEY_PREFIX) + ID_LENGTH + 1 + SECRET_LENGTH

ADMIN_ID: Final = "admin"
"""Id and name of the key that `MEDIC_ADMIN_API_KEY` is. No stored key has such an id: it is too short."""

ADMIN_LENGTH_MIN: Final = 32
"""Characters of `MEDIC_ADMIN_API_KEY` at least; CONTRACT's."""

SHOWN_LENGTH_MAX: Final = 8_192
"""Characters of what is shown as a key, at most: the longest head that HTTP takes. Nothing longer is hashed."""

_ID_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FORM: Final = re.compile(rf"mdk_([{_ID_LETTERS}]{{{ID_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH}}})")
_NO_DIGEST: Final = bytes(32)
"""The digest of no secret: finding one would be finding a preimage."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One API key, without its secret.

    Attributes:
        key_id: The part of `mdk_<id>_<secret>` by which it is found.
        name: What people call it; unique among keys that are not revoked.
        scopes: What it may do.
        digest: Hash of the secret.
        date_added: When it was made.
        added_by: Who made it.
        names: Heartbeat names it is restricted to, with `*`; empty: every name.
        teams: Teams it is restricted to; empty: every team.
        former_digest: Hash of the secret before the last rotation, valid until `former_until`; None: none.
        expires_at, revoked_at: When it ends, and ended; None: it does not, did not.
        rotated_at: When it got its present secret; None: it still has the first one.
        told_days_left: Of how many days left people were told last; None: of none yet.
    """

    key_id: str
    name: str
    scopes: frozenset[Scope]
    digest: bytes
    date_added: InstantMs
    added_by: str = ""
    names: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    former_digest: bytes | None = None
    former_until: InstantMs | None = None
    expires_at: InstantMs | None = None
    revoked_at: InstantMs | None = None
    rotated_at: InstantMs | None = None
    told_days_left: int | None = None

    def fault_at(self, now: InstantMs) -> str | None:
        """Why it does not work at that instant, `revoked` or `expired`; None: it does."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and now >= self.expires_at:
            return "expired"
        return None

    @property
    def lifetime_ms(self) -> DurationMs | None:
        """How long a secret of this key lives from its making; None: for ever."""
        if self.expires_at is None:
            return None
        return DurationMs(self.expires_at - (self.date_added if self.rotated_at is None else self.rotated_at))

    def rotated(self, digest: bytes, now: InstantMs, overlap_ms: DurationMs) -> ApiKey:
        """The same key with a new secret, which lives as long as the present one was to.

        The present secret works on for the overlap, but not beyond its own end. The one before it does not.
        """
        lifetime = self.lifetime_ms
        until = InstantMs(now + overlap_ms)
        return replace(
            self,
            digest=digest,
            former_digest=self.digest,
            former_until=until if self.expires_at is None else min(until, self.expires_at),
            expires_at=None if lifetime is None else InstantMs(now + lifetime),
            rotated_at=now,
            told_days_left=None,
        )

    def revoked(self, now: InstantMs) -> ApiKey:
        """The same key, which works no more."""
        return replace(self, revoked_at=now)


@dataclass(frozen=True, slots=True)
class KeyDraft:
    """A key somebody wants made: names and teams normalised, `lifetime_ms` None for ever."""

    name: str
    scopes: frozenset[Scope]
    names: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    lifetime_ms: DurationMs | None = None

    def key(self, key_id: str, digest: bytes, at: InstantMs, by: str) -> ApiKey:
        """The key as it is made."""
        return ApiKey(
            key_id=key_id,
            name=self.name,
            scopes=self.scopes,
            digest=digest,
            date_added=at,
            added_by=by,
            names=self.names,
            teams=self.teams,
            expires_at=None if self.lifetime_ms is None else InstantMs(at + self.lifetime_ms),
        )


def key_id_of(entropy: bytes) -> str:
    """An id made of `ID_BYTES` random bytes."""
    number = int.from_bytes(entropy)
    return "".join(_ID_LETTERS[number >> 5 * place & 31] for place in range(ID_LENGTH))


def secret_of(entropy: bytes) -> str:
    """A secret made of `SECRET_BYTES` random bytes, all of which are in it."""
    number = int.from_bytes(entropy)
    letters = []
    for _ in range(SECRET_LENGTH):
        number, letter = divmod(number, len(_BASE62))
        letters.append(_BASE62[letter])
    return "".join(letters)


def digest_of(secret: str) -> bytes:
    """What is kept of a secret."""
    return sha256(secret.encode()).digest()


def text_of(key_id: str, secret: str) -> str:
    """The key as its owner gets it, once."""
    return f"{KEY_PREFIX}{key_id}_{secret}"


def admin_key(text: str) -> ApiKey:
    """The key that `MEDIC_ADMIN_API_KEY` is."""
    return ApiKey(ADMIN_ID, ADMIN_ID, frozenset({Scope.ADMIN}), digest_of(text), InstantMs(0), "MEDIC_ADMIN_API_KEY")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A key, and what is found where the secret before its last rotation is shown: it ends when that secret does."""

    key: ApiKey
    former: ApiKey
    digest: bytes
    former_digest: bytes


class KeyRing:
    """All keys there are, in memory.

    Args:
        keys: Those that are stored.
        admin: `MEDIC_ADMIN_API_KEY`, or None where it is not set.

    Attributes:
        version: Grows with every change. A connection may go on with the key that it was shown for as long as this
            number is the same and `ApiKey.fault_at` says None.
    """

    def __init__(self, keys: Iterable[ApiKey] = (), *, admin: str | None = None) -> None:
        self.version = 0
        self._entries = {key.key_id: _entry(key) for key in keys}
        self._admin = None if admin is None else admin_key(admin)

    def find(self, text: str, now: InstantMs) -> ApiKey:
        """The key that this is, valid at that instant. Costs 2 µs, however many keys there are.

        Found by the secret before its last rotation, a key has that secret's end as its `expires_at`.

        Args:
            text: What was shown as a key, as HTTP carries it: one character a byte.
            now: Wall time.

        Raises:
            UnauthorizedError: it is none, or none that works; `reason` is malformed, unknown, wrong_secret, expired or
                revoked.
        """
        form = _FORM.fullmatch(text)
        if form is None:
            return self._find_admin(text, reason="malformed", message="This is no API key of Medic.")
        entry = self._entries.get(form[1], _NOBODY)
        shown = sha256(form[2].encode()).digest()
        is_present = hmac.compare_digest(shown, entry.digest)
        is_former = hmac.compare_digest(shown, entry.former_digest)
        if not (is_present or is_former):
            reason = "unknown" if entry is _NOBODY else "wrong_secret"
            return self._find_admin(text, reason=reason, message=_NOT_VALID)
        key = entry.key if is_present else entry.former
        fault = key.fault_at(now)
        if fault is not None:
            raise UnauthorizedError(_ENDED[fault], reason=fault)
        return key

    def put(self, key: ApiKey) -> None:
        """Know this key, in place of what was known of it."""
        self._entries[key.key_id] = _entry(key)
        self.version += 1

    def remove(self, key_id: str) -> None:
        """Forget this key, if it is known."""
        if self._entries.pop(key_id, None) is not None:
            self.version += 1

    def replace_all(self, keys: Iterable[ApiKey]) -> bool:
        """Know these stored keys and no others; whether that changed anything."""
        entries = {key.key_id: _entry(key) for key in keys}
        if entries == self._entries:
            return False
        self._entries = entries
        self.version += 1
        return True

    def all(self) -> Sequence[ApiKey]:
        """The stored keys, in the order of their names; those that do not work any more among them."""
        return sorted((entry.key for entry in self._entries.values()), key=lambda key: (key.name, key.key_id))

    def by_id(self, key_id: str) -> ApiKey | None:
        """The key of that id, stored or not."""
        if key_id == ADMIN_ID:
            return self._admin
        entry = self._entries.get(key_id)
        return None if entry is None else entry.key

    @property
    def has_admin_variable(self) -> bool:
        """Whether `MEDIC_ADMIN_API_KEY` is set."""
        return self._admin is not None

    def usable(self, now: InstantMs) -> bool:
        """Whether there is any key at all that works. Looks at all of them: for a start."""
        return self._admin is not None or any(entry.key.fault_at(now) is None for entry in self._entries.values())

    def _find_admin(self, text: str, *, reason: str, message: str) -> ApiKey:
        if self._admin is not None and len(text) <= SHOWN_LENGTH_MAX:
            shown = sha256(_octets(text)).digest()
            if hmac.compare_digest(shown, self._admin.digest):
                return self._admin
        raise UnauthorizedError(message, reason=reason)


_NOT_VALID: Final = "This API key is not valid."
_ENDED: Final = {"expired": "This API key has expired.", "revoked": "This API key was revoked."}


def _entry(key: ApiKey) -> _Entry:
    if key.former_digest is None:
        return _Entry(key, key, key.digest, _NO_DIGEST)
    return _Entry(key, replace(key, expires_at=key.former_until), key.digest, key.former_digest)


_NOBODY: Final = _entry(ApiKey("", "", frozenset(), _NO_DIGEST, InstantMs(0)))
"""Stands where no key has the id."""


def _octets(text: str) -> bytes:
    """The bytes that were sent. What is no byte a character came another way, as UTF-8."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
