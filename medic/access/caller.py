"""Who asks for something, and who a change is written down under."""

from __future__ import annotations

from dataclasses import dataclass

from medic.access.introduction import Introduction
from medic.access.keys import ApiKey
from medic.core.author import MEDIC, Author

__all__ = ["MEDIC", "Author", "Caller"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request.

    Attributes:
        address: As CONTRACT 3 finds it: the connection's other end, or what a trusted proxy says.
        key: The key that was shown and is valid; None where none was, which the mode allows.
    """

    address: str
    key: ApiKey | None = None


NOBODY = Caller("")
"""Where it does not matter, or nobody asks."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a connection was recognised by, and as whom.

    Attributes:
        introduction: What it showed.
        version: The gatekeeper's, of that moment.
        until: Instant of trio's clock from which it has to be recognised anew.
        caller: Who it is.
    """

    introduction: Introduction
    version: int
    until: float
    caller: Caller
