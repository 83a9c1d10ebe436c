"""When people are told that a key is about to end, and of how many days left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from medic.access.keys import ApiKey
from medic.core.units import DAY_MS, InstantMs

TOLD_DAYS: Final = (1, 3, 14)
"""Days before the end of a key at which that is told: in time for a change that is planned, for one that is not, and at
the last. A key that was made for no longer than the longest of them is meant to end soon, and its end is told once."""


@dataclass(frozen=True, slots=True)
class KeyStatistics:
    """Keys that work, and those of them whose end is to be told (`days_left`)."""

    working: int
    ending: int


def days_left(key: ApiKey, now: InstantMs) -> int | None:
    """Within how many of `TOLD_DAYS` the key ends; None: in none of them, or it works no more.

    A key that lives no longer than the longest of them is told of in its last day, or in the second half of its life
    where that is shorter: else it would be about to end from the moment it was made.
    """
    lifetime = key.lifetime_ms
    if key.expires_at is None or lifetime is None or key.fault_at(now) is not None:
        return None
    left = key.expires_at - now
    if lifetime <= TOLD_DAYS[-1] * DAY_MS:
        return TOLD_DAYS[0] if left <= min(TOLD_DAYS[0] * DAY_MS, lifetime // 2) else None
    return next((days for days in TOLD_DAYS if left <= days * DAY_MS), None)


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
