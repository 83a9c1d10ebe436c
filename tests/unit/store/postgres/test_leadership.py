"""When a Medic that stands by may try for the lock."""

from __future__ import annotations

import pytest

from medic.core.units import InstantMs
from medic.store.postgres.leadership import (
    HEAD_START_SECONDS,
    TAKE_BACK_SECONDS,
    WATCH_EVERY_SECONDS,
    Sighting,
    may_take,
)

OURS, THEIRS = "ours", "theirs"
SINCE = InstantMs(1)


@pytest.mark.parametrize(
    ("held", "directory", "since", "free_seconds", "expected"),
    [
        (True, THEIRS, SINCE, 0.0, False),
        (True, OURS, SINCE, 99.0, False),
        (True, "", None, 99.0, False),
        (False, "", None, 0.0, True),
        (False, THEIRS, None, 0.0, True),
        (False, OURS, SINCE, 0.0, True),
        (False, THEIRS, SINCE, 0.0, False),
        (False, THEIRS, SINCE, HEAD_START_SECONDS - 0.1, False),
        (False, THEIRS, SINCE, HEAD_START_SECONDS, True),
    ],
)
def test_a_free_lock_is_left_for_a_while_to_the_medic_that_lost_it(
    *, held: bool, directory: str, since: InstantMs | None, free_seconds: float, expected: bool
) -> None:
    sighting = Sighting(token=3, directory=directory, name="n", address="a", since=since, held=held)
    assert may_take(sighting, directory=OURS, free_seconds=free_seconds) is expected


def test_the_one_that_lost_the_lock_has_several_tries_before_the_others_have_one() -> None:
    assert HEAD_START_SECONDS >= 4 * TAKE_BACK_SECONDS
    assert HEAD_START_SECONDS >= 2 * WATCH_EVERY_SECONDS
