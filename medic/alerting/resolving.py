"""Values in place of references, at the moment of sending: a secret that was changed is in the next attempt.

A secret that is not there refuses nothing for good: who is paged that way is paged once somebody has stored it. Medic
knows when that is (`Alerting.try_lacking_again`), so that attempts meanwhile are few; they send nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from medic.access.references import UnresolvedReferenceError, resolved
from medic.alerting.attempt import SecretMissing

MISSING_RETRY_SECONDS: Final = 60.0
"""For a change that Medic was not told of. Most are known at once."""

Resolve = Callable[[str], str | SecretMissing]
"""The text to send; `SecretMissing` where it refers to a secret that is not there."""


class SecretSource(Protocol):
    """What alerting asks of stored secrets."""

    def find(self, name: str) -> str | None:
        """The value of the secret of that name; None where there is none that can be read."""
        ...

    def conceal(self, owner: str, values: Iterable[str]) -> None:
        """Keep these out of every log line: they are a webhook's own secrets."""
        ...


class NoSecrets:
    """Implements `SecretSource` where none are stored."""

    def find(self, name: str) -> str | None:  # noqa: ARG002 - as the protocol has it
        """None."""
        return None

    def conceal(self, owner: str, values: Iterable[str]) -> None:
        """Nothing keeps them out."""


def resolve_from(source: SecretSource) -> Resolve:
    """Resolves references by what that source finds."""

    def resolve(text: str) -> str | SecretMissing:
        try:
            return resolved(text, source.find)
        except UnresolvedReferenceError as error:
            detail = f"the secret {error.name} is not there, or no key opens it: medic-cli secret set stores it"
            return SecretMissing(detail, maybe_taken=False, retry_after=MISSING_RETRY_SECONDS)

    return resolve


resolve_nothing = resolve_from(NoSecrets())
"""Where no secret is stored."""
