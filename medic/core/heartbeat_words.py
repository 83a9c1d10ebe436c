"""What the status word of a heartbeat means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from medic.core.status import HeartbeatStatus

_MEANINGS: Final[dict[str, HeartbeatStatus]] = {
    kind.value: kind for kind in HeartbeatStatus if kind is not HeartbeatStatus.OTHER
}

_SHARED: Final = {word: word for kind in _MEANINGS for word in (kind, kind.lower(), kind.capitalize())}


PLAIN_KINDS: Final = (HeartbeatStatus.UP, HeartbeatStatus.STARTED, HeartbeatStatus.COMPLETED)
"""Kinds whose word says that all is well."""

_PLAIN: Final = {kind.value: kind for kind in PLAIN_KINDS}


plain_kind: Final[Callable[[str], HeartbeatStatus | None]] = _PLAIN.get
"""What a status means, where it is exactly the word of a kind that says that all is well; else None."""


def kind_of(status: str) -> HeartbeatStatus:
    """What a status means, in any case of A-Z. A word without a meaning is `OTHER`, and counts as UP."""
    kind = _MEANINGS.get(status)
    if kind is None:
        kind = _MEANINGS.get(status.upper(), HeartbeatStatus.OTHER) if status.isascii() else HeartbeatStatus.OTHER
    return kind


def shared_word(status: str) -> str:
    """The same word, as one object for all services where it is a usual one: a million copies of UP are 51 MB."""
    return _SHARED.get(status, status)
