"""Whether another Medic is well, judged from outside: what was seen at each look goes in, what is to be told comes out.

The problem. Whoever pages because somebody else does not answer must be right. A Medic that answers may watch nobody;
one that is silent may be restarting, or handing over to the one that stands by; and most often, when nothing answers,
it is the watcher's own network that is gone, or the watcher itself that was stopped.

The rules.

* Well is what was seen to make progress: an answer that says when work last went through it, and says another instant
  than the answer before. So a first look proves nothing, nor does the first one after the watcher's own restart.
* One address that is well is enough: the addresses are those of one Medic and of those that stand by for it, and a
  takeover moves progress from one to the other. One that stands by proves nothing.
* Raised is what was not well for longer than the grace, in time in which the watcher could have seen it. Time between
  two looks that lie too far apart is the watcher's own absence; time in which it reaches nothing else either is its own
  network's. Neither counts, so after both the rest of the grace is still to be waited for.
* Resolved is what was raised and is well again. Raised and resolved are told once each.

Pure: an instant comes with each look. Medic's own silence is measured on a clock that never runs backwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never


class Reply(StrEnum):
    """What came back from one address."""

    ACTIVE = "active"
    """The one that watches and pages; whether it makes progress its `progress` shows."""
    STANDS_BY = "stands by"
    STALLED = "stalled"
    """It says so itself."""
    OTHER = "other"
    """An answer that no Medic gives that is in order."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Seen:
    """One address at one look.

    Attributes:
        address: Which.
        reply: What came back.
        progress: What an active one said of its progress; another text the next time, if it makes any. Empty: it said
            nothing (an earlier release), and its answer has to do.
        detail: For people: what is the matter.
    """

    address: str
    reply: Reply
    progress: str = ""
    detail: str = ""


class Verdict(StrEnum):
    """What follows from a look."""

    NOTHING = "nothing"
    RAISE = "raise"
    RESOLVE = "resolve"
    CUT_OFF = "cut off"
    """The watcher reaches nothing at all, and knows nothing: said once."""
    REJOINED = "rejoined"
    """It does again."""


class Outside:
    """What is known of the Medic that is watched.

    Args:
        at: Seconds of a clock that never runs backwards: now.
        grace: Seconds for which it may be silent.
        gap: Seconds between two looks beyond which the watcher itself was away.
        is_raised: Whether it was told before that this Medic is not well, and not resolved.

    Attributes:
        is_raised: The same, now.
        is_cut_off: Whether nothing at all was reached at the last look.
        is_well: Whether it was seen to make progress at the last look.
        silent: Seconds of silence that count.
    """

    def __init__(self, *, at: float, grace: float, gap: float, is_raised: bool = False) -> None:
        self._grace = grace
        self._gap = gap
        self._looked_at = at
        self._progress: dict[str, str] = {}
        self.is_raised = is_raised
        self.is_cut_off = False
        self.is_well = False
        self.silent = 0.0

    def look(self, seen: Sequence[Seen], *, reaches_others: bool, at: float) -> Verdict:
        """Take what was seen at one look.

        Args:
            seen: Every address.
            reaches_others: Whether anything was reached, this Medic or something else that is nearly always there.
            at: The instant of the look.
        """
        between, self._looked_at = at - self._looked_at, at
        proven = [self._is_proven(one) for one in seen]
        self.is_well = any(proven)
        if self.is_well:
            self.silent = 0.0
        elif between <= self._gap and reaches_others:
            self.silent += between
        if not reaches_others:
            is_news, self.is_cut_off = not self.is_cut_off, True
            return Verdict.CUT_OFF if is_news else Verdict.NOTHING
        if self.is_cut_off:
            self.is_cut_off = False
            return Verdict.REJOINED
        if self.is_raised and self.is_well:
            self.is_raised = False
            return Verdict.RESOLVE
        if not self.is_raised and self.silent >= self._grace:
            self.is_raised = True
            return Verdict.RAISE
        return Verdict.NOTHING

    def _is_proven(self, one: Seen) -> bool:
        if one.reply is not Reply.ACTIVE:
            return False
        before = self._progress.get(one.address)
        self._progress[one.address] = one.progress
        return not one.progress or (before is not None and before != one.progress)


def complaint(seen: Sequence[Seen]) -> str:
    """What is the matter, in one sentence without its end: that of every address, each matter once."""
    if all(one.reply is Reply.STANDS_BY for one in seen):
        return "only a Medic that stands by answers, and nobody is active"
    matters: dict[str, list[str]] = {}
    for one in seen:
        matters.setdefault(_matter(one), []).append(one.address)
    return "; ".join(f"{', '.join(addresses)} {matter}" for matter, addresses in matters.items())


def _matter(one: Seen) -> str:
    match one.reply:
        case Reply.ACTIVE:
            return "answers and makes no progress"
        case Reply.STANDS_BY:
            return "stands by"
        case Reply.STALLED | Reply.OTHER | Reply.NONE:
            return one.detail
        case _:
            assert_never(one.reply)
