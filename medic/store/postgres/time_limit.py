"""How long a caller waits for PostgreSQL: a server that was stopped or cut off says nothing, not even an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from medic.errors import DatabaseUnavailableError


@contextmanager
def answered_within(seconds: float) -> Iterator[None]:
    """The block, ended after so long as if PostgreSQL were away.

    Raises:
        DatabaseUnavailableError: it took longer. Whether a change was committed is then not known.
    """
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise DatabaseUnavailableError("PostgreSQL does not answer in time.")
