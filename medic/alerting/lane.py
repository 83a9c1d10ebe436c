"""The errands of one alert key at one target: strictly in order, and never many.

The problem. A vendor that is down for a day while services come and go must not be told the whole day when it is back,
and what waits for it must not grow without a limit. Yet nothing may be lost: whoever was told that a service is late
has to be told that it is well again, and whether somebody was told is not always known (a request that was sent and
not answered may have been taken).

The workload. A million lanes in the worst hour; in each, a trigger, now and then a reminder, and a resolve. Lanes exist
only while something in them waits.

The rules, from CONTRACT 2.9 and HARD-CASES H30. An *end* is a RESOLVE, or a DEGRADED_OVER; a *claim* is what it ends.
When an end arrives, what waits in its lane on the same subject is taken out:

    the claim was …                                         the claim becomes   the end
    never attempted                                         dropped             dropped
    attempted, certainly not taken (refused connection,
      TLS, 4xx, 429)                                        given up            dropped
    attempted, perhaps taken (timeout, reset, 5xx,
      attempted before a restart)                           given up            sent
    under way                                               (decided when the attempt ends)
    delivered                                               -                   sent
    refused for good by this target                         -                   dropped
    not known to this process (told before a restart)       -                   sent

A newer reminder replaces one that waits. A test and its resolve arrive together and are both sent.

The invariant. A lane holds at most: one end that waits, the claim behind it with its reminder, escalations and
acknowledgement, and a few pieces of other news. `LANE_ERRANDS_MAX` holds where that argument would not.

Rejected: to cancel an attempt that is under way when the alert closes. It would turn a trigger that is about to be
answered into one whose fate is not known.
"""

from __future__ import annotations

from typing import Final, assert_never

from medic.alerting.attempt import Attempt, Delivered, Refused, Retry, Throttled
from medic.alerting.errand import Ending, Errand, Subject, is_first_claim
from medic.core.status import NotificationKind, Outcome

LANE_ERRANDS_MAX: Final = 64
"""News that repeats without an end to it (blindness in a crash loop, tests) is kept this far back."""

_ENDS: Final = frozenset({NotificationKind.RESOLVE, NotificationKind.DEGRADED_OVER})
_ANSWERED_BY_AN_END: Final = frozenset(
    {
        NotificationKind.TRIGGER,
        NotificationKind.REMINDER,
        NotificationKind.ESCALATION,
        NotificationKind.DEGRADED,
        NotificationKind.TEST,
        # PagerDuty is told of another's refusal under the alert's own key.
        NotificationKind.UNTOLD,
    }
)
_OVER_WITH_THE_END: Final = _ANSWERED_BY_AN_END - {NotificationKind.TEST} | {NotificationKind.ACKNOWLEDGE}
_NEVER_CROWDED_OUT: Final = _ENDS | {NotificationKind.TRIGGER, NotificationKind.ESCALATION}


class Standing:
    """Of which open subjects a target may have been told, and of which it certainly was not, by this process.

    Bounded by open alerts: a subject leaves with its end.
    """

    __slots__ = ("_taken", "_untaken")

    def __init__(self) -> None:
        self._taken: set[Subject] = set()
        self._untaken: set[Subject] = set()

    @property
    def has_untaken(self) -> bool:
        """Whether it is certain of any subject that its claim was not taken."""
        return bool(self._untaken)

    def needs_end(self, subject: Subject) -> bool:
        """Whether the end has to be told: unless it is certain that the claim was not taken."""
        return subject not in self._untaken

    def taken(self, subject: Subject) -> None:
        """A claim was taken, or may have been."""
        self._taken.add(subject)
        self._untaken.discard(subject)

    def untaken(self, subject: Subject) -> None:
        """A claim was certainly not taken; an earlier one may have been."""
        if subject not in self._taken:
            self._untaken.add(subject)

    def over(self, subject: Subject) -> None:
        """The end was dealt with."""
        self._taken.discard(subject)
        self._untaken.discard(subject)

    def __len__(self) -> int:
        return len(self._taken) + len(self._untaken)


class Lane:
    """What waits for one alert key at one target, the head first. Only the head is ever under way.

    Attributes:
        key: The alert's key.
        errands: In order of arrival.
        ticket: Grows with each scheduling; an older one in a heap is stale.
    """

    __slots__ = ("errands", "key", "ticket")

    def __init__(self, key: str) -> None:
        self.key = key
        self.errands: list[Errand] = []
        self.ticket = 0

    @property
    def head(self) -> Errand:
        """What is tried next, or is being tried."""
        return self.errands[0]

    @property
    def priority(self) -> int:
        """The most urgent errand's: what stands before it must not hold it up."""
        if len(self.errands) == 1:
            return self.errands[0].priority
        return min(errand.priority for errand in self.errands)

    def add(self, errand: Errand, standing: Standing) -> list[Ending]:
        """Take an errand in; gives those that ended because of it."""
        endings: list[Ending] = []
        kind = errand.notification.kind
        if kind in _ENDS:
            endings += self._end(errand.subject, _OVER_WITH_THE_END, standing)
        elif kind is NotificationKind.REMINDER:
            endings += self._end(errand.subject, frozenset({NotificationKind.REMINDER}), standing)
        self.errands.append(errand)
        if len(self.errands) > LANE_ERRANDS_MAX:
            endings += self._crowd_out(standing)
        if standing.has_untaken:
            endings += self._drop_needless_ends(standing)
        return endings

    def settle(self, attempt: Attempt, standing: Standing) -> list[Ending]:
        """The attempt at the head has ended; gives what ended with it. Nothing: the head is to be tried again."""
        errand = self.head
        errand.in_flight = False
        errand.attempts += 1
        endings: list[Ending] = []
        match attempt:
            case Delivered():
                endings.append(self._leave(errand, Outcome.DELIVERED, "", standing, taken=True))
            case Refused(detail=detail):
                endings.append(self._leave(errand, Outcome.REFUSED, detail, standing, taken=errand.maybe_taken))
            case Retry(detail=detail, maybe_taken=maybe_taken):
                errand.detail = detail
                errand.maybe_taken = errand.maybe_taken or maybe_taken
            case Throttled(detail=detail):
                errand.detail = detail
            case _:
                assert_never(attempt)
        if errand.over and not errand.ended:
            endings.append(self.give_up(errand, standing))
        return endings + self._drop_needless_ends(standing)

    def give_up(self, errand: Errand, standing: Standing) -> Ending:
        """End an errand that is not under way: dropped if it was never attempted, else given up."""
        outcome = Outcome.GIVEN_UP if errand.attempted else Outcome.DROPPED
        return self._leave(errand, outcome, errand.detail, standing, taken=errand.maybe_taken)

    def expire(self, errand: Errand, standing: Standing) -> list[Ending]:
        """The errand's time is up: at once, or with the attempt that is under way."""
        if errand.in_flight:
            errand.over = True
            return []
        ending = self._leave(errand, Outcome.GIVEN_UP, errand.detail, standing, taken=errand.maybe_taken)
        return [ending, *self._drop_needless_ends(standing)]

    def _leave(self, errand: Errand, outcome: Outcome, detail: str, standing: Standing, *, taken: bool) -> Ending:
        self.errands.remove(errand)
        errand.ended = True
        if errand.kind in _ENDS:
            standing.over(errand.subject)
        elif errand.kind in _ANSWERED_BY_AN_END:
            if taken:
                standing.taken(errand.subject)
            elif is_first_claim(errand.notification):
                standing.untaken(errand.subject)
        return Ending(errand, outcome, detail)

    def _end(self, subject: Subject, kinds: frozenset[NotificationKind], standing: Standing) -> list[Ending]:
        endings = []
        for errand in [found for found in self.errands if found.subject == subject and found.kind in kinds]:
            if errand.in_flight:
                errand.over = True
            else:
                endings.append(self.give_up(errand, standing))
        return endings

    def _crowd_out(self, standing: Standing) -> list[Ending]:
        for errand in self.errands:
            if not errand.in_flight and errand.kind not in _NEVER_CROWDED_OUT:
                return [self.give_up(errand, standing)]
        return []

    def _drop_needless_ends(self, standing: Standing) -> list[Ending]:
        """An end whose claim was certainly not taken is not told, once no claim of it waits before it."""
        if not standing.has_untaken:
            return []
        needless = [
            errand
            for errand in self.errands
            if errand.kind in _ENDS and not errand.in_flight and not errand.attempted
            if not standing.needs_end(errand.subject) and not self._is_claimed(errand.subject)
        ]
        return [self.give_up(errand, standing) for errand in needless]

    def _is_claimed(self, subject: Subject) -> bool:
        return any(errand.subject == subject and errand.kind in _ANSWERED_BY_AN_END for errand in self.errands)
