"""The secrets in memory, opened: what requests are made with. Nothing else holds a value.

Values are opened when records are read, not when they are used: a page must not depend on a key that was changed since.
A record that cannot be opened keeps the value that was known of it. That is what a rotation looks like to a Medic that
was not given the new key, and the value is the same then; it is said in the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import structlog

from medic.access.concealment import Concealer
from medic.access.secrets import Secret
from medic.store.sealing import Sealing

_log = structlog.get_logger(__name__)

OWNER: Final = "stored secrets"


class Vault:
    """What is stored, and the values of it.

    Args:
        sealing: The keys; None where `MEDIC_SECRETS_KEY` is not set: then no value is known.
        concealer: Told every value, so that no log line shows one.
    """

    def __init__(self, sealing: Sealing | None, concealer: Concealer) -> None:
        self.sealing = sealing
        self._concealer = concealer
        self._secrets: dict[str, Secret] = {}
        self._values: dict[str, str] = {}
        self._unreadable: frozenset[str] = frozenset()

    def find(self, name: str) -> str | None:
        """The value of the secret of that name; None where there is none that can be read."""
        return self._values.get(name)

    def is_readable(self, name: str) -> bool:
        """Whether one of the keys opens the record that is stored under that name."""
        return name in self._secrets and name not in self._unreadable

    def all(self) -> Sequence[Secret]:
        """Every secret by name."""
        return [self._secrets[name] for name in sorted(self._secrets)]

    def conceal(self, owner: str, values: Iterable[str]) -> None:
        """Keep these out of every log line as well: they are somebody else's secrets."""
        self._concealer.know(owner, values)

    def replace_all(self, secrets: Iterable[Secret]) -> bool:
        """Know these and no others; False where nothing was changed."""
        stored = {secret.name: secret for secret in secrets}
        if stored == self._secrets:
            return False
        values: dict[str, str] = {}
        unreadable: set[str] = set()
        for name, secret in stored.items():
            value = self._values.get(name) if secret == self._secrets.get(name) else None
            if value is None or name in self._unreadable:
                value = None if self.sealing is None else self.sealing.unseal(secret)
            if value is None:
                unreadable.add(name)
                value = self._values.get(name)
            if value is not None:
                values[name] = value
        self._secrets, self._values = stored, values
        self._note_unreadable(frozenset(unreadable))
        self._concealer.know(OWNER, values.values())
        return True

    def put(self, secret: Secret) -> None:
        """Know this one from now on."""
        self.replace_all([*(known for known in self._secrets.values() if known.name != secret.name), secret])

    def drop(self, name: str) -> None:
        """Know it no more."""
        self.replace_all([known for known in self._secrets.values() if known.name != name])

    def _note_unreadable(self, names: frozenset[str]) -> None:
        for name in sorted(names - self._unreadable):
            _log.error(
                "a stored secret cannot be opened: neither MEDIC_SECRETS_KEY nor MEDIC_SECRETS_KEY_BEFORE sealed it",
                name=name,
                key_id=self._secrets[name].sealed.key_id,
            )
        self._unreadable = names
