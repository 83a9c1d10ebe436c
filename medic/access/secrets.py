"""Stored secrets: what is stored of one, what is shown of one, and the seams that store and change them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from medic.access.caller import Author
from medic.core.units import InstantMs

SECRETS_MAX: Final = 1_000
"""Secrets stored: tokens of vendors and webhooks, of which a company has some dozens. Each is looked for in every log
line."""

VALUE_MIN: Final = 8
VALUE_MAX: Final = 4_096
"""Characters of a value. A shorter one could be guessed, and could not be kept out of logs; a signed token fits."""

KEY_LINE: Final = "MEDIC_SECRETS_KEY=$(openssl rand -base64 32)"
"""The line that makes a key, for whoever has none."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A value that only the holder of the key can read.

    Attributes:
        key_id: Of the key it was sealed with.
        nonce: 12 bytes, used once.
        content: The sealed value, with its tag.
    """

    key_id: str
    nonce: bytes = field(repr=False)
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret as it is stored: never its value.

    Attributes:
        date_modified: When it got its present value.
        modified_by: Who gave it.
    """

    name: str
    sealed: Sealed
    date_added: InstantMs
    date_modified: InstantMs
    modified_by: str


@dataclass(frozen=True, slots=True)
class ShownSecret:
    """A secret as operators see it.

    Attributes:
        is_readable: Whether one of the keys that are set opens it.
        used_by: What refers to it: names of variables, and `webhook:<id>`.
    """

    secret: Secret
    is_readable: bool
    used_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rotation:
    """What sealing all secrets anew came to.

    Attributes:
        rotated: Names of those that were sealed anew.
        already: How many had been sealed with the newest key before.
        unknown: Names and key ids of those that no key opens: they stay as they are.
    """

    rotated: tuple[str, ...]
    already: int
    unknown: tuple[tuple[str, str], ...]


Reseal = Callable[[Secret], Sealed | None]
"""The same value, sealed with the newest key; None where no key opens it."""


class SecretStore(Protocol):
    """Secrets as stored, each change with its audit entry, which shows no value.

    Every method raises `DatabaseUnavailableError` where PostgreSQL does not answer; then nothing was changed.
    """

    async def put(self, name: str, sealed: Sealed, *, author: Author) -> tuple[Secret, bool]:
        """The stored secret, and whether it is new. Raises `InvalidInputError` where there are too many."""
        ...

    async def delete(self, name: str, *, author: Author) -> bool:
        """Remove one; False if there was none."""
        ...

    async def all(self) -> Sequence[Secret]:
        """Every secret, by name."""
        ...

    async def rotate(self, reseal: Reseal, newest_key_id: str, *, author: Author) -> Rotation:
        """Seal all of them anew, or none."""
        ...


class Secrets(Protocol):
    """Secrets as operators change them: stored first, then known to whoever sends, then answered.

    Every method but `require_known` raises `SecretsKeyMissingError` where `MEDIC_SECRETS_KEY` is not set.
    """

    async def put(self, name: str, value: str, *, author: Author) -> tuple[ShownSecret, bool]:
        """The secret, which takes effect from the next request on, and whether it is new."""
        ...

    async def delete(self, name: str, *, author: Author) -> None:
        """Raises `UnknownSecretError`."""
        ...

    async def require_unused(self, name: str) -> None:
        """Return unless something refers to that secret; else raise `SecretInUseError`."""
        ...

    async def all(self) -> Sequence[ShownSecret]:
        """Every secret by name, with what refers to it."""
        ...

    def require_known(self, field: str, texts: Sequence[str]) -> None:
        """Return if all that these texts refer to is there; else raise `InvalidInputError` about that field."""
        ...
