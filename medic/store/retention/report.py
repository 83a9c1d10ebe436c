"""What a cleanup did, what it would do, and how cleanups go: plain values, for people, metrics and health."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from medic.core.units import InstantMs


@dataclass(frozen=True, slots=True)
class Day:
    """A day (UTC) of heartbeats as PostgreSQL has it.

    Attributes:
        day: Which.
        is_counted: Its heartbeats are in the counts; what comes late is added by a trigger.
        is_leaving: It is half detached: somebody read it at that moment.
        heartbeats: How many it holds, as PostgreSQL estimates.
        size: Bytes on disk, indexes included.
    """

    day: dt.date
    is_counted: bool
    is_leaving: bool
    heartbeats: int
    size: int


@dataclass(frozen=True, slots=True)
class CountedDay:
    """A day whose heartbeats were counted: how many hours of services that came to, and how long it took."""

    day: dt.date
    hours: int
    seconds: float


@dataclass(slots=True)
class Report:
    """What a cleanup did.

    Attributes:
        counted: Days whose heartbeats are in the counts now.
        removed_days: Days that are gone.
        folded: Rows of days that hours were folded into.
        removed: Rows of other kinds that are gone, by a word for each kind.
        left: What it could not do now, a sentence each. None: all that was due is done.
    """

    counted: list[CountedDay] = field(default_factory=list)
    removed_days: list[dt.date] = field(default_factory=list)
    folded: int = 0
    removed: dict[str, int] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a cleanup would do now.

    Attributes:
        written_until: Up to which instant PostgreSQL has everything that came; None: no Medic ever wrote to it.
        to_count: Days that would be counted.
        to_remove: Days that would go.
        waiting: Days that are old enough to go, and stay because not all that belongs to them is written yet.
        rows: Rows of other kinds that would go, by a word for each kind.
    """

    written_until: InstantMs | None
    to_count: Sequence[Day]
    to_remove: Sequence[Day]
    waiting: Sequence[Day]
    rows: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CleanupStatistics:
    """How cleanups go.

    Attributes:
        last_success_at: When one did all that was due, by whichever way; None: none did yet, as far as is known.
        next_at: When the next one is due.
        failing: Why the last one did not; None: it did.
        failures: How many of this process did not.
        seconds: How long the last one took; None before the first.
    """

    last_success_at: InstantMs | None
    next_at: InstantMs | None
    failing: str | None
    failures: int
    seconds: float | None
