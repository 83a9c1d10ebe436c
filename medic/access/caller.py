"""Who asks for something, and who a change is written down under."""

from __future__ import annotations

from dataclasses import dataclass

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
