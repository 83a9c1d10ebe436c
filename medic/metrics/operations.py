"""Times what Medic asks of PostgreSQL, by operation: the store calls it, and knows nothing of metrics."""

from __future__ import annotations

from typing import Final

from medic.metrics.distribution import Distribution, Reading

OPERATION_BOUNDS_SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""The earlier system's bounds, and two beyond them: a batch of the writer may take seconds where the disk is slow."""

OPERATIONS_MAX: Final = 64
"""Operations told apart; they are words of ours (select, copy, commit, …), a dozen or two."""


class OperationMeter:
    """Takes one call an operation."""

    def __init__(self) -> None:
        self._durations: dict[str, Distribution] = {}

    def observe(self, operation: str, seconds: float) -> None:
        """Count one operation, whether it succeeded or not."""
        duration = self._durations.get(operation)
        if duration is None:
            known = operation if len(self._durations) < OPERATIONS_MAX else "other"
            duration = self._durations.setdefault(known, Distribution(OPERATION_BOUNDS_SECONDS))
        duration.observe(seconds)

    def statistics(self) -> dict[str, Reading]:
        """Durations by operation."""
        return {operation: duration.reading() for operation, duration in self._durations.items()}
