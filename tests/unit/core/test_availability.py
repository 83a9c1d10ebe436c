"""Availability: watched time is late, reported or up, to the millisecond."""

from __future__ import annotations

import pytest

from medic.core.availability import (
    Availability,
    Counted,
    Life,
    Outage,
    Span,
    Switch,
    muted_spans,
    reckon,
    watched_spans,
)

HOUR = 3_600_000
BORN = 10 * HOUR
NOTHING = Counted()


def outage(begins: float, ends: float | None, *, reported: bool = False) -> Outage:
    return Outage(
        1,
        "reported_down" if reported else "late",
        round(begins * HOUR),
        None if ends is None else round(ends * HOUR),
        reported,
        False,
    )


def window(begins: float, ends: float) -> Span:
    return Span(round(begins * HOUR), round(ends * HOUR))


def spans(found) -> list[tuple[float, float]]:
    return [(span.begins / HOUR, span.ends / HOUR) for span in found]


ACTIVITY = (
    Switch(BORN, active=True, muted=False),
    Switch(12 * HOUR, active=False),
    Switch(13 * HOUR, muted=True),
    Switch(15 * HOUR, active=True),
)


@pytest.mark.parametrize(
    ("life", "asked", "expected"),
    [
        (Life(BORN), window(0, 20), [(10, 20)]),
        (Life(BORN), window(12, 20), [(12, 20)]),
        (Life(BORN), window(0, 9), []),
        (Life(BORN, 15 * HOUR), window(0, 20), [(10, 15)]),
        (Life(BORN, 15 * HOUR), window(16, 20), []),
        (Life(BORN, switches=ACTIVITY), window(0, 20), [(10, 12), (15, 20)]),
        (Life(BORN, switches=ACTIVITY), window(11, 12), [(11, 12)]),
        (Life(BORN, switches=ACTIVITY), window(12.5, 15), []),
        (Life(BORN, 14 * HOUR, switches=ACTIVITY), window(0, 20), [(10, 12)]),
        (Life(BORN, active=False), window(0, 20), []),
        (Life(BORN, active=False, switches=(Switch(12 * HOUR, active=True),)), window(0, 20), [(12, 20)]),
    ],
)
def test_a_service_is_watched_while_it_is_there_and_active(life, asked, expected):
    found = spans(watched_spans(life, asked))
    joined = [found[0]] if found else []
    for begins, ends in found[1:]:
        joined[-1:] = [(joined[-1][0], ends)] if joined[-1][1] == begins else [joined[-1], (begins, ends)]
    assert joined == expected


@pytest.mark.parametrize(
    ("life", "expected"),
    [
        (Life(BORN), []),
        (Life(BORN, muted=True), [(10, 20)]),
        (Life(BORN, muted=True, switches=(Switch(12 * HOUR, muted=False),)), [(10, 12)]),
        (Life(BORN, switches=(Switch(12 * HOUR, muted=True, until=13 * HOUR),)), [(12, 13)]),
        (Life(BORN, switches=(Switch(12 * HOUR, muted=True, until=30 * HOUR),)), [(12, 20)]),
        (Life(BORN, switches=(Switch(12 * HOUR, muted=True), Switch(14 * HOUR, active=False))), [(12, 20)]),
        (
            # Muting again starts the mute anew.
            Life(
                BORN,
                switches=(
                    Switch(12 * HOUR, muted=True, until=16 * HOUR),
                    Switch(13 * HOUR, muted=True, until=14 * HOUR),
                    Switch(25 * HOUR, muted=True),
                ),
            ),
            [(12, 13), (13, 14)],
        ),
    ],
)
def test_a_mute_is_in_force_until_it_ends_or_is_ended(life, expected):
    assert spans(muted_spans(life, 20 * HOUR)) == expected


def test_watched_time_is_late_reported_or_up():
    life = Life(BORN, switches=(Switch(18 * HOUR, active=False), Switch(11 * HOUR + 1, muted=True)))
    outages = [outage(9, 10.5), outage(12, 13, reported=True), outage(17, 19)]

    found = reckon(life, window(0, 20), outages, NOTHING, 0)

    assert found == Availability(
        watched=8 * HOUR, up=round(5.5 * HOUR), late=round(1.5 * HOUR), reported=HOUR, muted=7 * HOUR - 1, outages=3
    )
    assert found.ratio == 5.5 / 8


def test_an_open_alert_lasts_to_the_end_and_one_that_began_before_is_no_outage_of_this_window():
    found = reckon(Life(0), window(12, 20), [outage(11, 13), outage(18, None)], NOTHING, 0)
    assert (found.late, found.outages) == (3 * HOUR, 1)


def test_no_time_is_down_twice():
    """The database closed an older alert where the younger one began, or later."""
    found = reckon(Life(0), window(0, 10), [outage(1, 5), outage(4, 6, reported=True), outage(2, 3)], NOTHING, 0)
    assert (found.late, found.reported, found.up) == (4 * HOUR, HOUR, 5 * HOUR)


def test_what_is_before_the_alerts_comes_from_counts():
    counted = Counted(late_ms=HOUR, reported_ms=2 * HOUR, outages=4)
    found = reckon(Life(0), window(0, 24), [outage(11, 13)], counted, 12 * HOUR)
    assert (found.late, found.reported, found.outages, found.up) == (2 * HOUR, 2 * HOUR, 4, 20 * HOUR)


def test_counts_of_whole_hours_never_come_to_more_than_was_watched():
    counted = Counted(late_ms=HOUR, reported_ms=2 * HOUR)
    found = reckon(Life(0), window(0, 0.5), [], counted, 24 * HOUR)
    assert (found.late, found.reported, found.up) == (HOUR // 2, 0, 0)
    assert found.ratio == 0


def test_of_a_service_that_was_not_watched_nothing_can_be_said():
    found = reckon(Life(BORN), window(0, 5), [], NOTHING, 0)
    assert (found.watched, found.ratio) == (0, None)
