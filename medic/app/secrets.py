"""Secrets as operators change them: stored first, then known to whoever sends, then answered.

One change at a time, and none while the secrets are read anew, as with keys (`medic.app.keys`). The copy in the data
directory is replaced before a change is answered, so that a start without PostgreSQL does not send what was replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import structlog
import trio

from medic.access.caller import Author
from medic.access.references import names_in
from medic.access.secrets import KEY_LINE, Secret, SecretStore, ShownSecret
from medic.config.secret_rules import references_of
from medic.config.settings import Settings
from medic.errors import Fault, InvalidInputError, SecretInUseError, SecretsKeyMissingError, UnknownSecretError
from medic.ports import WebhookStore
from medic.store.sealing import Sealing
from medic.store.tables.secret_copy import SecretCopy
from medic.store.vault import Vault

_log = structlog.get_logger(__name__)


class OperatorSecrets:
    """Implements `medic.access.secrets.Secrets`.

    Args:
        store: PostgreSQL's.
        copy: What the next start knows if PostgreSQL is away then.
        vault: What requests are made with.
        webhooks: Their headers may refer to secrets.
        variables: The secrets that variables refer to, by variable.
        changed: Called once other secrets are known: what waited for one need not wait any longer.
    """

    def __init__(
        self,
        store: SecretStore,
        copy: SecretCopy,
        vault: Vault,
        *,
        webhooks: WebhookStore,
        variables: Mapping[str, tuple[str, ...]],
        changed: Callable[[], None],
    ) -> None:
        self._store = store
        self._copy = copy
        self._vault = vault
        self._webhooks = webhooks
        self._variables = variables
        self._changed = changed
        self._turn = trio.Lock()

    async def put(self, name: str, value: str, *, author: Author) -> tuple[ShownSecret, bool]:
        """The secret, which takes effect from the next request on, and whether it is new.

        Raises:
            SecretsKeyMissingError: `MEDIC_SECRETS_KEY` is not set.
            InvalidInputError: there are as many as there may be.
        """
        sealing = self._require_key()
        async with self._turn:
            secret, is_new = await self._store.put(name, sealing.seal(name, value), author=author)
            self._vault.put(secret)
            self._changed()
            await self._copy.write(self._vault.all())
        return self._shown(secret, await self._references()), is_new

    async def delete(self, name: str, *, author: Author) -> None:
        """Forget a secret.

        Raises:
            SecretsKeyMissingError: `MEDIC_SECRETS_KEY` is not set.
            UnknownSecretError: there is none of that name.
        """
        self._require_key()
        async with self._turn:
            if not await self._store.delete(name, author=author):
                raise UnknownSecretError(name)
            self._vault.drop(name)
            self._changed()
            await self._copy.write(self._vault.all())

    async def require_unused(self, name: str) -> None:
        """Return unless something refers to that secret.

        Raises:
            SecretInUseError: something does.
        """
        used_by = (await self._references()).get(name, ())
        if used_by and any(secret.name == name for secret in self._vault.all()):
            raise SecretInUseError(name, used_by)

    async def all(self) -> Sequence[ShownSecret]:
        """Every secret by name, with what refers to it.

        Raises:
            SecretsKeyMissingError: `MEDIC_SECRETS_KEY` is not set.
        """
        self._require_key()
        references = await self._references()
        return [self._shown(secret, references) for secret in self._vault.all()]

    def require_known(self, field: str, texts: Sequence[str]) -> None:
        """Return if all that these texts refer to is there.

        Raises:
            InvalidInputError: something is not.
        """
        missing = [name for text in texts for name in names_in(text) if self._vault.find(name) is None]
        if not missing:
            return
        if self._vault.sealing is None:
            sentence = f"must not refer to secrets while MEDIC_SECRETS_KEY is not set: start Medic with {KEY_LINE}"
        else:
            names = ", ".join(dict.fromkeys(missing))
            sentence = f"must refer to secrets that are stored, and {names} is not: medic-cli secret set {missing[0]}"
        raise InvalidInputError((Fault(field, sentence),))

    async def follow(self) -> None:
        """Know what is stored: a rotation, or somebody else, may have changed it.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer.
        """
        async with self._turn:
            if self._vault.replace_all(await self._store.all()):
                self._changed()
                _log.info("stored secrets were changed", secrets=len(self._vault.all()))
                await self._copy.write(self._vault.all())

    def _require_key(self) -> Sealing:
        if self._vault.sealing is None:
            raise SecretsKeyMissingError(KEY_LINE)
        return self._vault.sealing

    async def _references(self) -> Mapping[str, tuple[str, ...]]:
        """What refers to each secret."""
        found: dict[str, tuple[str, ...]] = {}
        for variable, names in self._variables.items():
            for name in names:
                found[name] = (*found.get(name, ()), variable)
        for webhook in await self._webhooks.all():
            for name in dict.fromkeys(name for _, text in webhook.headers for name in names_in(text)):
                found[name] = (*found.get(name, ()), webhook.target)
        return found

    def _shown(self, secret: Secret, references: Mapping[str, tuple[str, ...]]) -> ShownSecret:
        return ShownSecret(secret, self._vault.is_readable(secret.name), references.get(secret.name, ()))


def sealing_of(settings: Settings) -> Sealing | None:
    """The keys of these settings; None where `MEDIC_SECRETS_KEY` is not set."""
    key, before = settings.secrets.key, settings.secrets.key_before
    if key is None:
        return None
    return Sealing(key.get_secret_value(), None if before is None else before.get_secret_value())


def secret_remarks(settings: Settings, vault: Vault) -> tuple[str, ...]:
    """What is wrong with secrets at a start, for the first screen: Medic watches all the same, and says so loudly."""
    missing = [
        f"{variable} refers to the secret {name}, which is not there: nobody is told that way. "
        f"medic-cli secret set {name}"
        for variable, names in references_of(settings).items()
        for name in names
        if vault.find(name) is None
    ]
    unreadable = [secret.name for secret in vault.all() if not vault.is_readable(secret.name)]
    if unreadable and vault.sealing is None:
        missing.append(f"secrets are stored that MEDIC_SECRETS_KEY opens, which is not set: {', '.join(unreadable)}")
    elif unreadable:
        missing.append(f"secrets that no key opens: {', '.join(unreadable)}")
    for remark in missing:
        _log.error("a secret is missing", fault=remark)
    return tuple(missing)
