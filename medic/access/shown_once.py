"""Remembers what was shown within some time, so that it is taken once: signatures, against replay.

What is remembered is bounded: two generations, each `span` or `REMEMBERED_MAX` signatures long, of which the younger
becomes the older and the older is forgotten. Whoever has the secret and sends more than that makes Medic forget early:
a signature may then be taken a second time, while it is still good. The other choice, to refuse what there is no room
to remember, would make well services late, or a press be lost, to keep a copied one out.
"""

from __future__ import annotations

from typing import Final

from medic.core.units import DurationMs, InstantMs

REMEMBERED_MAX: Final = 100_000
"""Signatures a generation: 160 a second for ten minutes, and 11 MB."""


class ShownOnce:
    """A memory of signatures.

    Args:
        span: For how long one is good, and is remembered at least, counted from when it is first seen.
        since: The beginning of the first generation.
    """

    def __init__(self, span: DurationMs, since: InstantMs) -> None:
        self._span = span
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()
        self._turned_at = since

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def is_new(self, signature: bytes, now: InstantMs) -> bool:
        """Whether it was not shown before, as far as is remembered. It was, from now on."""
        # A clock that was set back must not keep a generation for longer than the clock's own error.
        if abs(now - self._turned_at) > self._span or len(self._young) >= REMEMBERED_MAX:
            self._old, self._young = self._young, set()
            self._turned_at = now
        if signature in self._young or signature in self._old:
            return False
        self._young.add(signature)
        return True
