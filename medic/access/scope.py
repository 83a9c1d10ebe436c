"""What a key may do, in four words."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from enum import Enum


class Scope(Enum):
    """One thing a key may be made for. `write` includes `read`; `admin` includes all; `heartbeat` stands alone."""

    HEARTBEAT = "heartbeat"
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def is_granted_by(self, held: AbstractSet[Scope]) -> bool:
        """Whether whoever holds these scopes has this one."""
        return self in held or Scope.ADMIN in held or (self is Scope.READ and Scope.WRITE in held)
