"""A bounded memory by name that forgets what was not asked for lately: two dicts, the older of which is dropped.

What a limit remembers of a caller means nothing once its backlog is over, at most a minute after the last request. So
nothing has to be looked for and removed one by one: what is used moves into the younger generation, and whatever is
still in the older one when a minute is over is dropped with it. An entry that is dropped because there are too many of
them is a limit that begins anew for that name; it is never one that refuses wrongly.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from medic.access.gcra import MINUTE_US

ENTRIES_MAX: Final = 65_536
"""Names in one generation, so twice as many in all: some 20 MB of addresses, 35 MB of services that beat too fast."""

_Kept = TypeVar("_Kept")


class Generations(Generic[_Kept]):
    """Remembers each name for one to two minutes after it was last kept.

    Attributes:
        young, old: The two generations. Until `turns_at`, what is in `young` may be set there directly.
    """

    __slots__ = ("_most", "old", "turns_at", "young")

    def __init__(self, *, most: int = ENTRIES_MAX) -> None:
        self._most = most
        self.turns_at = 0
        self.young: dict[str, _Kept] = {}
        self.old: dict[str, _Kept] = {}

    def find(self, name: str) -> _Kept | None:
        """What is remembered of the name."""
        kept = self.young.get(name)
        return self.old.get(name) if kept is None else kept

    def keep(self, name: str, kept: _Kept, now: int) -> None:
        """Remember it from now on; `now` in microseconds, never going back."""
        if now >= self.turns_at or len(self.young) >= self._most:
            self.turns_at = now + MINUTE_US
            self.old, self.young = self.young, {}
        self.young[name] = kept

    def __len__(self) -> int:
        return len(self.young) + len(self.old)
