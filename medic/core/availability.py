"""What availability means, in plain arithmetic over spans of time.

A service is *watched* from its registration to its deletion, but for the time in which it is inactive. Watched time is
*late* while an alert is open because of silence, *reported* while one is open because the service said DOWN or FAILED,
and *up* otherwise: also before it was first heard of, while it is degraded, and while Medic itself was down with no
alert open, since what Medic cannot know it holds against nobody. Availability is up by watched. *Muted* is watched time
in which a mute was in force; it takes nothing from the others.

Closed alerts are kept for a while. What is before that comes from counts by the hour or the day, and is added as it
stands (`Counted`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from medic.core.units import DurationMs, EventId, InstantMs


class Span(NamedTuple):
    """From an instant on, up to another one, which is not part of it."""

    begins: InstantMs
    ends: InstantMs

    @property
    def length(self) -> DurationMs:
        """Nothing where it ends before it begins."""
        return DurationMs(max(0, self.ends - self.begins))


@dataclass(frozen=True, slots=True)
class Switch:
    """Something that was changed about a service. None: this says nothing of it.

    Attributes:
        at: When.
        active: Whether it is watched from then on.
        muted: Whether it is muted from then on.
        until: When that mute ends by itself; None: it does not.
    """

    at: InstantMs
    active: bool | None = None
    muted: bool | None = None
    until: InstantMs | None = None


@dataclass(frozen=True, slots=True)
class Life:
    """A service from its registration on.

    Attributes:
        registered_at: When it was registered.
        deleted_at: When it was deleted; None: it is there.
        active: Whether it was watched before the first switch that is known.
        muted: Whether it was muted then.
        switches: In their order.
    """

    registered_at: InstantMs
    deleted_at: InstantMs | None = None
    active: bool = True
    muted: bool = False
    switches: tuple[Switch, ...] = ()


@dataclass(frozen=True, slots=True)
class Outage:
    """An alert as availability sees it; open where it has no end."""

    alert_id: EventId
    reason: str
    begins: InstantMs
    ends: InstantMs | None
    is_reported: bool
    muted: bool


@dataclass(frozen=True, slots=True)
class Counted:
    """What counts say of the part of a window of which the alerts are gone."""

    late_ms: int = 0
    reported_ms: int = 0
    outages: int = 0


@dataclass(frozen=True, slots=True)
class Availability:
    """How a service was within a window, in milliseconds. `up + late + reported` is `watched`."""

    watched: DurationMs
    up: DurationMs
    late: DurationMs
    reported: DurationMs
    muted: DurationMs
    outages: int

    @property
    def ratio(self) -> float | None:
        """Up by watched; None where nothing was watched."""
        return self.up / self.watched if self.watched else None


def reckon(
    life: Life, window: Span, outages: Iterable[Outage], earlier: Counted, alerts_from: InstantMs
) -> Availability:
    """How a service was.

    Args:
        life: Of the service.
        window: Of which to tell.
        outages: All that reach into the window from `alerts_from` on, in the order in which they began.
        earlier: Counts of the window before `alerts_from`.
        alerts_from: From when on all alerts are there.
    """
    watched = list(watched_spans(life, window))
    known = Span(max(window.begins, alerts_from), window.ends)
    late, reported, opened = earlier.late_ms, earlier.reported_ms, earlier.outages
    reached = known.begins
    for outage in outages:
        down = Span(max(outage.begins, reached), known.ends if outage.ends is None else min(outage.ends, known.ends))
        length = sum(overlap(down, span).length for span in watched)
        late, reported = (late, reported + length) if outage.is_reported else (late + length, reported)
        opened += known.begins <= outage.begins < known.ends
        reached = max(reached, down.ends)
    total = sum(span.length for span in watched)
    # Hours that were counted as a whole may reach out of the window by a part of one.
    late = min(late, total)
    reported = min(reported, total - late)
    return Availability(
        watched=DurationMs(total),
        up=DurationMs(total - late - reported),
        late=DurationMs(late),
        reported=DurationMs(reported),
        muted=DurationMs(
            sum(overlap(muted, span).length for muted in muted_spans(life, window.ends) for span in watched)
        ),
        outages=opened,
    )


def overlap(one: Span, other: Span) -> Span:
    """What is part of both."""
    return Span(max(one.begins, other.begins), min(one.ends, other.ends))


def watched_spans(life: Life, window: Span) -> Iterator[Span]:
    """The parts of a window in which the service was watched, in their order."""
    ends = window.ends if life.deleted_at is None else min(window.ends, life.deleted_at)
    there = overlap(window, Span(life.registered_at, ends))
    active, since = life.active, life.registered_at
    for switch in _ended(life.switches, there.ends):
        if active:
            yield from _if_any(overlap(there, Span(since, switch.at)))
        since = switch.at
        active = active if switch.active is None else switch.active
    if active:
        yield from _if_any(overlap(there, Span(since, there.ends)))


def muted_spans(life: Life, ends: InstantMs) -> Iterator[Span]:
    """The times before an instant in which a mute was in force, in their order."""
    muted, since, until = life.muted, life.registered_at, ends
    for switch in _ended(life.switches, ends):
        if switch.muted is None:
            continue
        if muted:
            yield from _if_any(Span(since, min(until, switch.at)))
        muted, since = switch.muted, switch.at
        until = ends if switch.until is None else min(ends, switch.until)
    if muted:
        yield from _if_any(Span(since, min(until, ends)))


def _ended(switches: Sequence[Switch], ends: InstantMs) -> Iterator[Switch]:
    return (switch for switch in switches if switch.at < ends)


def _if_any(span: Span) -> Iterator[Span]:
    if span.length:
        yield span
