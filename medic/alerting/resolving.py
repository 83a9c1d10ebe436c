"""Values in place of references, at the moment of sending: a secret that was changed is in the next attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from medic.access.references import UnresolvedReferenceError, resolved
from medic.alerting.attempt import Refused

Resolve = Callable[[str], str | Refused]
"""The text to send; `Refused` where it refers to a secret that is not there."""


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

    def resolve(text: str) -> str | Refused:
        try:
            return resolved(text, source.find)
        except UnresolvedReferenceError as error:
            return Refused(f"the secret {error.name} is not there, or no key opens it: medic-cli secret set stores it")

    return resolve


resolve_nothing = resolve_from(NoSecrets())
"""Where no secret is stored."""
