"""Seals secrets with AES-256-GCM, and opens them.

The name is authenticated beside the value (associated data), so that whoever can write in the table cannot give one
secret the value of another. A nonce is 96 random bits: with one key two meet after some 2**32 sealings with a
likelihood of 2**-33, and operators seal some a day.

A record says which key sealed it, by the first 8 hex digits of a hash: enough to tell keys apart, and nothing to find
one by. Two keys may be held: the newest, which seals, and the one before, so that `medic secrets rotate` can run while
Medic does.

Source: NIST SP 800-38D, 5.2.1.1 and 8.2.2.
"""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from medic.access.secrets import Sealed, Secret

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
KEY_ID_LENGTH: Final = 8

_KEY_ID_CONTEXT: Final = b"medic secrets key id\0"
"""Hashed before the key, so that the id is of no use to anything else that hashes keys."""


class Sealing:
    """The keys that are held.

    Args:
        newest: `MEDIC_SECRETS_KEY`: 32 bytes in base64.
        before: `MEDIC_SECRETS_KEY_BEFORE`, likewise.

    Attributes:
        key_id: Of the newest.
    """

    def __init__(self, newest: str, before: str | None = None) -> None:
        keys = [base64.b64decode(text, validate=True) for text in (newest, before) if text]
        self._ciphers = {key_id_of(key): AESGCM(key) for key in reversed(keys)}
        self.key_id = key_id_of(keys[0])

    def __repr__(self) -> str:
        """No key in it."""
        return f"Sealing({self.key_id})"

    def holds(self, key_id: str) -> bool:
        """Whether one of the keys is that one."""
        return key_id in self._ciphers

    def seal(self, name: str, value: str) -> Sealed:
        """The value, sealed with the newest key."""
        nonce = os.urandom(NONCE_BYTES)
        content = self._ciphers[self.key_id].encrypt(nonce, value.encode(), name.encode())
        return Sealed(self.key_id, nonce, content)

    def unseal(self, secret: Secret) -> str | None:
        """The value; None where no key that is held sealed it under this name, or it was changed since."""
        cipher = self._ciphers.get(secret.sealed.key_id)
        if cipher is None:
            return None
        try:
            return cipher.decrypt(secret.sealed.nonce, secret.sealed.content, secret.name.encode()).decode()
        except (InvalidTag, ValueError):
            return None

    def reseal(self, secret: Secret) -> Sealed | None:
        """The same value sealed with the newest key, and a nonce of its own; None where no key opens it."""
        value = self.unseal(secret)
        return None if value is None else self.seal(secret.name, value)


def key_id_of(key: bytes) -> str:
    """By which records name the key they were sealed with."""
    return hashlib.sha256(_KEY_ID_CONTEXT + key).hexdigest()[:KEY_ID_LENGTH]
