"""What alerting knows of itself, for metrics and health: values, made when asked for."""

from __future__ import annotations

from dataclasses import dataclass

from medic.core.units import EventId, InstantMs

SUCCESS = "success"
FAILURE = "failure"
"""The values of the label `status` in the earlier system's counters, kept."""


@dataclass(frozen=True, slots=True)
class RequestCount:
    """How many requests of one action (trigger, acknowledge, resolve, …) ended in one status (success, failure)."""

    action: str
    status: str
    count: int


@dataclass(frozen=True, slots=True)
class TargetStatistics:
    """One target since the process began.

    Attributes:
        target: pagerduty, slack, console, or webhook:<id>.
        description: For people, without secrets.
        pending: Notifications not settled, those under way included.
        in_flight: Attempts under way.
        attempts: Attempts that ended.
        retries: Those of them after which another is needed.
        delivered, refused, given_up, dropped: Notifications by outcome.
        throttled: Attempts answered with "too many".
        crashes: Bugs of the notifier or its task, survived.
        paused: The target asked for a pause that has not passed.
        out: In an outage: tried one at a time until it answers.
        failing_since: Wall time since which no attempt succeeded though some were made, or None.
        last_error: The newest failure, for people; empty when the newest attempt succeeded.
        requests: By action and status.
        withheld: Notifications that were not attempted because `MEDIC_NOTIFY` is off.
    """

    target: str
    description: str
    pending: int
    in_flight: int
    attempts: int
    retries: int
    delivered: int
    refused: int
    given_up: int
    dropped: int
    throttled: int
    crashes: int
    paused: bool
    out: bool
    failing_since: InstantMs | None
    last_error: str
    requests: tuple[RequestCount, ...]
    withheld: int = 0


@dataclass(frozen=True, slots=True)
class AlertingStatistics:
    """All targets, and the alerts that somebody should know of and does not.

    Attributes:
        untold: Open alerts that no target took within 60 s, or that a target refused for good and has not taken since.
        unsettled: Outcomes that the journal did not take; after a restart these are told again.
        withholds: Whether `MEDIC_NOTIFY` is off, so that nobody is told.
    """

    targets: tuple[TargetStatistics, ...]
    untold: tuple[EventId, ...]
    unsettled: int
    withholds: bool = False

    @property
    def withheld(self) -> int:
        """Notifications that were withheld, over all targets."""
        return sum(target.withheld for target in self.targets)

    @property
    def pending(self) -> int:
        """Notifications not settled, over all targets."""
        return sum(target.pending for target in self.targets)

    @property
    def retries(self) -> int:
        """Attempts after which another was needed, over all targets."""
        return sum(target.retries for target in self.targets)

    def target(self, name: str) -> TargetStatistics | None:
        """The statistics of one target, or None if it is not configured."""
        return next((found for found in self.targets if found.target == name), None)
