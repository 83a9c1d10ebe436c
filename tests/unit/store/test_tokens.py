"""Whether a directory may start without PostgreSQL."""

from __future__ import annotations

import pytest

from medic.store.tokens import Tokens, may_start_alone


@pytest.mark.parametrize(
    ("own", "newest_seen", "inheriting", "expected"),
    [
        (0, 0, False, False),
        (0, 3, False, False),
        (3, 3, False, True),
        (3, 4, False, False),
        (3, 3, True, False),
    ],
    ids=["new", "only stood by", "active last", "was overtaken", "had begun to take over"],
)
def test_a_directory_starts_alone_only_if_it_was_the_active_one_last(
    *, own: int, newest_seen: int, inheriting: bool, expected: bool
) -> None:
    tokens = Tokens("directory", own=own, newest_seen=newest_seen, inheriting=inheriting)
    assert may_start_alone(tokens) is expected
