"""One budget for all request bodies that are kept until they are whole, and until they are answered.

The problem. Each request may bring its megabytes, and nobody has been asked for a key while they come: without a sum
over all of them, 10 000 connections of 4 MiB, or the 100 requests of each HTTP/2 connection, are more memory than any
machine has. So there is a sum, `BODIES_BYTES_MAX`, and what does not fit into it is read and thrown away, and answered
503 at its end.

Ordinary heartbeats must not suffer for it. A body of up to `BODY_SMALL_BYTES` may use all of the budget, a larger one
leaves `BODIES_RESERVE_BYTES` of it to them. And the express lane, where nearly all heartbeats are answered, keeps none
but small ones: it hands larger bodies to Hypercorn with their head, so that this file has one user, the body of
`requests.py`, and a heartbeat on the lane pays nothing. What the lane keeps is bounded by itself: 10 000 connections of
one small body each.

Counted is what has arrived, not what a head promises: who wants to use the budget up has to send it, and all over
again every `BODY_SECONDS_MAX`.

Rejected: counting on both ways, which costs the lane a look at each piece and gives two places where a share may be
lost; having the largest give way, since a body that was thrown away behind its client's back costs the client its work
as well as one that was never taken, and the next attacker's is as large.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from medic.http.limits import BODIES_BYTES_MAX, BODIES_RESERVE_BYTES, BODY_SMALL_BYTES


class BodyBudget:
    """How many bytes all bodies may keep together.

    Args:
        most: Bytes.
        reserve: How many of them are for small bodies alone.
    """

    def __init__(self, most: int = BODIES_BYTES_MAX, *, reserve: int = BODIES_RESERVE_BYTES) -> None:
        self._most = most
        self._reserve = reserve
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes that are kept now."""
        return self._held

    def share(self) -> Share:
        """The share of one request, empty yet."""
        return Share(self)

    def change(self, held: int, whole: int) -> bool:
        """Have `whole` bytes counted for a body instead of `held`. False: it may not grow, and nothing changed."""
        most = self._most if whole <= BODY_SMALL_BYTES else self._most - self._reserve
        if whole > held and self._held + whole - held > most:
            return False
        self._held += whole - held
        return True


class Share:
    """What one body keeps of the budget; as a context it is given back at the end, however that comes."""

    __slots__ = ("_budget", "_held")

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._held = 0

    def keep(self, whole: int) -> bool:
        """Count the body as of so many bytes. False: there is no room for them; it counts as before."""
        fits = self._budget.change(self._held, whole)
        if fits:
            self._held = whole
        return fits

    def give_back(self) -> None:
        """Count nothing any more."""
        self._budget.change(self._held, 0)
        self._held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.give_back()
