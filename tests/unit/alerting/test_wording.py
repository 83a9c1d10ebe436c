from __future__ import annotations

from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from medic.alerting.wording import (
    HEADLINES,
    clipped,
    duration_words,
    headline,
    printable,
    reason_words,
    shown_at,
    summary,
)
from medic.core.status import ClosedReason, NotificationKind, OpenedReason
from medic.core.units import DurationMs, InstantMs
from tests.fakes.alerting import NOON, follow, trigger


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (12, "12 s"),
        (119.9, "119 s"),
        (120, "2 min"),
        (12 * 60 + 59, "12 min"),
        (7199, "119 min"),
        (7200, "2 h"),
        (3 * 3600 + 20 * 60, "3 h 20 min"),
        (48 * 3600 - 1, "47 h 59 min"),
        (48 * 3600, "2 d"),
        (50 * 3600, "2 d 2 h"),
        (400 * 86400 + 3600, "400 d 1 h"),
    ],
)
def test_lengths_of_time_in_at_most_two_units(seconds, words):
    assert duration_words(DurationMs(round(seconds * 1000))) == words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "no heartbeat for 12 min"),
        ({"reason": None}, "no heartbeat for 12 min"),
        ({"last_seen": None}, "no heartbeat for 5 min"),
        ({"last_seen": None, "late_since": None}, "no heartbeat"),
        ({"last_seen": InstantMs(NOON + 5)}, "no heartbeat for 0 s"),
        ({"threshold": 3}, "fewer than 3 heartbeats in 5 min"),
        ({"reason": OpenedReason.NEVER_HEARD}, "never heard of since it was registered"),
        ({"reason": OpenedReason.REPORTED_DOWN}, "it reported DOWN"),
        ({"reason": OpenedReason.REPORTED_FAILED}, "it reported FAILED"),
    ],
)
def test_the_reason_is_said_as_of_the_notification(changes, words):
    assert reason_words(replace(trigger(), **changes)) == words


def test_every_kind_has_a_headline_and_a_sentence():
    for kind in NotificationKind:
        said = replace(trigger(), kind=kind)
        assert headline(said) == HEADLINES[kind]
        assert summary(said).startswith("service-1: ")


@pytest.mark.parametrize(
    ("closed_reason", "by", "head", "said"),
    [
        (ClosedReason.RECOVERED, "", "RECOVERED", "it is well again, after 9 min"),
        (ClosedReason.BY_HAND, "ada", "RESOLVED", "resolved by hand by ada, after 9 min"),
        (ClosedReason.BY_HAND, "", "RESOLVED", "resolved by hand, after 9 min"),
        (ClosedReason.DELETED, "ada", "CLOSED", "it was deleted, after 9 min"),
        ("something new", "", "RECOVERED", "the alert is over, after 9 min"),
    ],
)
def test_an_end_says_how_and_after_how_long(closed_reason, by, head, said):
    over = follow(trigger(), NotificationKind.RESOLVE, later_ms=9 * 60_000)
    over = replace(over, closed_reason=closed_reason, by=by)
    assert headline(over) == head
    assert summary(over) == f"service-1: {said}"
    assert summary(replace(over, lasted_ms=None)) == f"service-1: {said.removesuffix(', after 9 min')}"


def test_flapping_acknowledgement_and_a_text_of_its_own():
    assert summary(replace(trigger(), flapping=True)).endswith("no heartbeat for 12 min, flapping")
    acknowledged = replace(trigger(), kind=NotificationKind.ACKNOWLEDGE)
    assert summary(acknowledged) == "service-1: acknowledged"
    assert summary(replace(acknowledged, by="ada")) == "service-1: acknowledged by ada"
    assert summary(replace(trigger(), kind=NotificationKind.BLIND, text="blind a while")) == "blind a while"


def test_times_are_shown_in_their_zone():
    assert shown_at(NOON, ZoneInfo("America/Chicago")) == "2026-01-01 06:00:00 CST"
    assert shown_at(NOON, ZoneInfo("UTC")) == "2026-01-01 12:00:00 UTC"


def test_text_is_cut_and_kept_on_one_line():
    assert clipped("abcdef", 6) == "abcdef"
    assert clipped("abcdefg", 6) == "abcde…"
    assert printable("naïve\x1b[31m\n") == "naïve\\x1b[31m\\n"
