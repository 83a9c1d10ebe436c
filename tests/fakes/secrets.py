"""A SecretStore that is a dict, and secrets over it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from medic.access.caller import Author
from medic.access.concealment import Concealer
from medic.access.secrets import SECRETS_MAX, Reseal, Rotation, Sealed, Secret
from medic.app.secrets import OperatorSecrets
from medic.errors import DatabaseUnavailableError, Fault, InvalidInputError
from medic.ports import Clock, WebhookStore
from medic.store.sealing import Sealing
from medic.store.tables.secret_copy import SecretCopy
from medic.store.vault import Vault

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
OTHER_KEY = "YWJjZGVmZ2hpamFiY2RlZmdoaWphYmNkZWZnaGlqYWI="


class MemorySecretStore:
    """Implements `medic.access.secrets.SecretStore`. Set `available` to False for a PostgreSQL that does not answer."""

    def __init__(self, clock: Clock) -> None:
        self.available = True
        self._clock = clock
        self._secrets: dict[str, Secret] = {}

    async def put(self, name: str, sealed: Sealed, *, author: Author) -> tuple[Secret, bool]:
        self._require_available()
        known, now = self._secrets.get(name), self._clock.now()
        if known is None and len(self._secrets) >= SECRETS_MAX:
            raise InvalidInputError((Fault("name", f"cannot be added: there are {SECRETS_MAX} secrets already"),))
        self._secrets[name] = Secret(name, sealed, known.date_added if known else now, now, author.name)
        return self._secrets[name], known is None

    async def delete(self, name: str, *, author: Author) -> bool:
        self._require_available()
        return self._secrets.pop(name, None) is not None

    async def all(self) -> Sequence[Secret]:
        self._require_available()
        return [self._secrets[name] for name in sorted(self._secrets)]

    async def rotate(self, reseal: Reseal, newest_key_id: str, *, author: Author) -> Rotation:
        self._require_available()
        due = [secret for secret in self._secrets.values() if secret.sealed.key_id != newest_key_id]
        anew = {secret.name: reseal(secret) for secret in sorted(due, key=lambda secret: secret.name)}
        rotated = tuple(name for name, sealed in anew.items() if sealed is not None)
        unknown = tuple((name, self._secrets[name].sealed.key_id) for name, sealed in anew.items() if sealed is None)
        already = len(self._secrets) - len(due)
        for name, sealed in anew.items():
            if sealed is not None:
                self._secrets[name] = replace(self._secrets[name], sealed=sealed)
        return Rotation(rotated, already, unknown)

    def _require_available(self) -> None:
        if not self.available:
            msg = "PostgreSQL does not answer"
            raise DatabaseUnavailableError(msg)


class NoCopy(SecretCopy):
    """Keeps the copy in memory."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"))
        self.kept: Sequence[Secret] = ()

    async def write(self, secrets: Sequence[Secret]) -> None:
        self.kept = tuple(secrets)

    async def read(self) -> Sequence[Secret]:
        return self.kept


def secrets_over(
    store: MemorySecretStore,
    webhooks: WebhookStore,
    *,
    key: str | None = KEY,
    variables: Mapping[str, tuple[str, ...]] | None = None,
    vault: Vault | None = None,
    copy: SecretCopy | None = None,
    changed: Callable[[], None] = lambda: None,
) -> OperatorSecrets:
    """The operators' secrets over a store in memory."""
    opened = vault or Vault(None if key is None else Sealing(key), Concealer())
    return OperatorSecrets(
        store, copy or NoCopy(), opened, webhooks=webhooks, variables=variables or {}, changed=changed
    )
