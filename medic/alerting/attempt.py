"""How one attempt to tell somebody ended. A notifier returns one of these and raises nothing.

What matters after a failure is not what went wrong but two questions: is it worth another attempt, and may the vendor
have taken the notification all the same? The second decides whether an alert that closed meanwhile must be resolved
there (HARD-CASES H30). "Certainly not taken" is said only where the request cannot have been acted on: no connection,
no TLS, or an answer that says no.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Delivered:
    """The vendor took it.

    Attributes:
        status: Of its answer, here and below, for whoever traces attempts; None where none came, or none is known. It
            decides nothing: two attempts that differ in it alone ended alike.
    """

    status: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """The vendor will never take it: a wrong key, a wrong address, a 4xx other than 408 and 429.

    Attributes:
        detail: The vendor's reason, fit for people's eyes: no secret, no internals.
    """

    detail: str
    status: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Retry:
    """It may go better another time.

    Attributes:
        detail: What happened, fit for people's eyes.
        maybe_taken: The vendor may have acted on it: it was sent, and no answer says otherwise.
        retry_after: Seconds the vendor asked for, or None.
    """

    detail: str
    maybe_taken: bool
    retry_after: float | None = None
    status: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class SecretMissing(Retry):
    """Nothing was sent: what it refers to is not stored, or no key opens it. Storing it mends that, for every lane.

    The detail names the secret: it is for those who may see its name, not for `/health` (`SECRET_MISSING`).
    """


SECRET_MISSING: Final = "a stored secret that it needs is not there, or no key opens it"  # noqa: S105 - a sentence
"""What everybody may know of it."""


@dataclass(frozen=True, slots=True)
class Throttled:
    """The vendor asks for fewer requests, and took nothing: a pause for the whole target.

    Attributes:
        detail: What it said.
        retry_after: Seconds it asked for, or None.
    """

    detail: str
    retry_after: float | None = None
    status: int | None = field(default=None, compare=False)


Attempt = Delivered | Refused | Retry | Throttled
