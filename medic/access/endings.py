"""When people are told that a key is about to end, and of how many days left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from medic.access.keys import ApiKey
from medic.core.units import DAY_MS, InstantMs

TOLD_DAYS: Final = (1, 3, 14)
"""Days before the end of a key at which that is told: in time for a change that is planned, for one that is not, and at
the last."""


@dataclass(frozen=True, slots=True)
class KeyStatistics:
    """Keys that work, and those of them that end within the longest of `TOLD_DAYS`."""

    working: int
    ending: int


def days_left(key: ApiKey, now: InstantMs) -> int | None:
    """Within how many of `TOLD_DAYS` the key ends; None: in none of them, or it works no more."""
    if key.expires_at is None or key.fault_at(now) is not None:
        return None
    return next((days for days in TOLD_DAYS if key.expires_at - now <= days * DAY_MS), None)


def untold(keys: Iterable[ApiKey], now: InstantMs) -> list[tuple[ApiKey, int]]:
    """The keys whose end is to be told now, each with the days of which it is told."""
    found = ((key, days_left(key, now)) for key in keys)
    return [
        (key, days)
        for key, days in found
        if days is not None and (key.told_days_left is None or days < key.told_days_left)
    ]


def count_keys(keys: Iterable[ApiKey], now: InstantMs) -> KeyStatistics:
    """How many work, and how many of these are about to end."""
    working = [key for key in keys if key.fault_at(now) is None]
    return KeyStatistics(len(working), sum(days_left(key, now) is not None for key in working))
