"""Counts what the HTTP side did: requests by route template, heartbeats refused, failed authentications.

Both ways into Medic, Quart and the express lane, count here, so that a heartbeat is counted whichever way it came.
Labels are bounded whatever a client sends: a method that HTTP does not define is `other`, and so is any route beyond
the limit.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from medic.metrics.distribution import Distribution, Reading

REQUEST_BOUNDS_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The earlier system's bounds, and three finer ones below them: a heartbeat takes about a millisecond."""

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

ROUTES_MAX: Final = 128
"""Method and route pairs told apart: several times the routes there are. More means raw paths were passed, a bug."""

REASONS_MAX: Final = 64
"""Reasons told apart; they are words of ours, a dozen of them."""

OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class RequestStatistics:
    """What the HTTP side did since the process began.

    Attributes:
        durations: By method and route.
        requests: By method, route and status.
        heartbeats_refused: By reason.
        auth_failures: By reason.
    """

    durations: dict[tuple[str, str], Reading]
    requests: dict[tuple[str, str, int], int]
    heartbeats_refused: dict[str, int]
    auth_failures: dict[str, int]


class RequestMeter:
    """Takes one call a request. Costs about a microsecond; keeps nothing of the request."""

    def __init__(self) -> None:
        self._durations: dict[tuple[str, str], Distribution] = {}
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._refused: Counter[str] = Counter()
        self._auth_failures: Counter[str] = Counter()

    def observe(self, method: str, route: str, status: int, seconds: float, count: int = 1) -> None:
        """Count an answered request, or several.

        Args:
            method: As the client sent it.
            route: The template, such as `/service/{heartbeat_name}`, never the path; empty where none matched.
            status: The status answered.
            seconds: From the end of the head to the end of the answer.
            count: How many were alike: the express lane reads many together, and one commit answers them.
        """
        duration = self._durations.get((method, route))
        if duration is None:
            method, route = self._bounded(method, route)
            duration = self._durations.setdefault((method, route), Distribution(REQUEST_BOUNDS_SECONDS))
        duration.observe(seconds, count)
        self._requests[method, route, status] += count

    def refuse_heartbeat(self, reason: str) -> None:
        """Count a heartbeat that was not taken; `reason` is one word."""
        self._refused[self._bounded_reason(self._refused, reason)] += 1

    def fail_authentication(self, reason: str) -> None:
        """Count a caller that was turned away for its key; `reason` is one word."""
        self._auth_failures[self._bounded_reason(self._auth_failures, reason)] += 1

    def statistics(self) -> RequestStatistics:
        """What was counted so far."""
        return RequestStatistics(
            durations={key: distribution.reading() for key, distribution in self._durations.items()},
            requests=dict(self._requests),
            heartbeats_refused=dict(self._refused),
            auth_failures=dict(self._auth_failures),
        )

    def _bounded(self, method: str, route: str) -> tuple[str, str]:
        method = method if method in METHODS else OTHER
        if (method, route) in self._durations or len(self._durations) < ROUTES_MAX:
            return method, route or OTHER
        return OTHER, OTHER

    @staticmethod
    def _bounded_reason(counts: Counter[str], reason: str) -> str:
        return reason if reason in counts or len(counts) < REASONS_MAX else OTHER
