"""One line a service and family, streamed: a million services cost memory for one slice, and no label child is kept.

prometheus_client's own text for four million series took 41 s and 2.3 GB (HARD-CASES H29). Here a listing is written in
slices of at most `SLICE_SECONDS`, and between two slices every task that is ready runs.

The exposition formats want each family in one piece. So the services asked for are chosen in one walk over the roster,
which keeps 8 bytes for each, and every family goes through what was chosen: a shard of many pays for all services once
and not once a family, and a service that comes or goes meanwhile is in all families of that scrape or in none.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from medic.access.reach import EVERYTHING, Reach
from medic.core.deadline import late_deadline
from medic.core.names import name_key
from medic.core.service import Service
from medic.core.status import Status
from medic.core.units import InstantMs, SkewMs
from medic.errors import Fault, InvalidInputError
from medic.ports import Clock, Roster

SLICE_SECONDS: Final = 0.004
"""How long one slice may hold the loop: a tenth of the stall that Medic allows itself."""

SERVICES_BETWEEN_LOOKS: Final = 64
"""Services written between two looks at the clock: some 0.1 ms."""

SHARDS_MAX: Final = 1_000
"""Parts a scrape may be divided into; choosing a part looks at every service once, 0.5 µs each."""


@dataclass(frozen=True, slots=True)
class ServiceFilter:
    """Which services a scrape asks for; None asks for all.

    Attributes:
        team: The team, exactly.
        name: The heartbeat's name, case of A-Z aside; `*` stands for any characters.
        status: The status.
        reach: What whoever asks may see.
        shard: (i, n): the i-th of n parts, counted from 1. A service stays in its part as long as its name does.
    """

    team: str | None = None
    name: str | None = None
    status: Status | None = None
    shard: tuple[int, int] | None = None
    reach: Reach = EVERYTHING

    @classmethod
    def parse(
        cls, *, team: str | None = None, name: str | None = None, status: str | None = None, shard: str | None = None
    ) -> ServiceFilter:
        """The filter a query string asks for.

        Raises:
            InvalidInputError: `status` is no status, or `shard` is not i/n with 1 <= i <= n <= `SHARDS_MAX`.
        """
        faults = []
        if status is not None and status not in set(Status):
            faults.append(Fault("status", f"must be one of {', '.join(Status)}"))
        place = None if shard is None else _parse_shard(shard)
        if shard is not None and place is None:
            faults.append(Fault("shard", f"must be i/n, the i-th of n parts, with 1 <= i <= n <= {SHARDS_MAX}"))
        if faults:
            raise InvalidInputError(tuple(faults))
        return cls(team=team, name=name, status=None if status is None else Status(status), shard=place)

    def accept(self) -> Callable[[Service], bool] | None:
        """Whether a service was asked for; None where all of them are."""
        questions = tuple(self._questions())
        if len(questions) <= 1:
            return questions[0] if questions else None
        return lambda service: all(question(service) for question in questions)

    def _questions(self) -> Iterator[Callable[[Service], bool]]:
        """One for each thing that is asked for: a shard of a million services should not pay for the others."""
        if self.team is not None:
            yield lambda service: service.row.team == self.team
        if self.status is not None:
            yield lambda service: service.status is self.status
        if not self.reach.is_everything:
            yield lambda service: self.reach.covers(name_key(service.row.heartbeat_name), service.row.team)
        if self.name is not None:
            pattern = _star_pattern(name_key(self.name))
            yield lambda service: pattern.fullmatch(name_key(service.row.heartbeat_name)) is not None
        if self.shard is not None:
            place, parts = self.shard[0] - 1, self.shard[1]
            yield lambda service: zlib.crc32(name_key(service.row.heartbeat_name).encode()) % parts == place


@dataclass(frozen=True, slots=True)
class Family:
    """One metric of every service; `value` gives None for a service that has none."""

    name: str
    kind: str
    summary: str
    value: Callable[[Service, SkewMs], str | None]

    def head(self, *, openmetrics: bool) -> bytes:
        """The HELP and TYPE lines. OpenMetrics names a counter without its `_total` there."""
        name = self.name.removesuffix("_total") if openmetrics and self.kind == "counter" else self.name
        return f"# HELP {name} {self.summary}\n# TYPE {name} {self.kind}\n".encode()


def _up(service: Service, skew: SkewMs) -> str | None:  # noqa: ARG001 - one signature for all families
    return _UP.get(service.status)


def _last_heartbeat(service: Service, skew: SkewMs) -> str | None:  # noqa: ARG001
    return _seconds(service.last_heartbeat_at) if service.heard else None


def _deadline(service: Service, skew: SkewMs) -> str | None:
    deadline = late_deadline(service)
    return None if deadline is None else _seconds(InstantMs(deadline + skew))


def _heartbeats(service: Service, skew: SkewMs) -> str | None:  # noqa: ARG001
    return str(service.heartbeats_total)


def _muted(service: Service, skew: SkewMs) -> str | None:  # noqa: ARG001
    return "0" if service.mute is None else "1"


FAMILIES: Final = (
    Family(
        "medic_service_up",
        "gauge",
        "1 while the service is up or degraded, 0 while it is late or reported down; absent while new or inactive.",
        _up,
    ),
    Family(
        "medic_service_last_heartbeat_timestamp_seconds",
        "gauge",
        "When the newest heartbeat arrived; absent before the first.",
        _last_heartbeat,
    ),
    Family(
        "medic_service_deadline_timestamp_seconds",
        "gauge",
        "When silence will mean late; absent while inactive or while an alert is open.",
        _deadline,
    ),
    Family("medic_service_heartbeats_total", "counter", "Heartbeats taken since registration.", _heartbeats),
    Family("medic_service_muted", "gauge", "1 while the service is muted.", _muted),
)


def service_lines(
    roster: Roster,
    clock: Clock,
    wanted: ServiceFilter,
    *,
    openmetrics: bool,
    most: int | None = None,
) -> Iterator[bytes]:
    """The families of `FAMILIES` over the services asked for, as text in pieces; without the end line of OpenMetrics.

    Each step takes at most `SLICE_SECONDS`; pieces are empty while services are chosen. Whoever
    iterates lets other tasks run between two steps (`medic.metrics.exposition.Pieces`). Plain code and not an async
    generator, because one of those that a client leaves in the middle is finalised by nobody in particular.

    Args:
        roster: Where services come from.
        clock: Where time comes from.
        wanted: Which services.
        openmetrics: Whether the text is OpenMetrics.
        most: At most so many services, the first by name; None for all.
    """
    chosen: list[Service] = []
    for _ in _choose(roster, wanted, most, chosen):
        yield b""
    for family in FAMILIES:
        yield family.head(openmetrics=openmetrics)
        yield from _family_lines(family, chosen, clock)


def _choose(roster: Roster, wanted: ServiceFilter, most: int | None, chosen: list[Service]) -> Iterator[None]:
    """Put the services asked for into `chosen`, a slice at each step."""
    accept = wanted.accept()
    services = iter(roster.services())
    began = time.perf_counter()
    while looked_at := list(islice(services, SERVICES_BETWEEN_LOOKS)):
        chosen += looked_at if accept is None else filter(accept, looked_at)
        if most is not None and len(chosen) >= most:
            del chosen[most:]
            return
        if time.perf_counter() - began >= SLICE_SECONDS:
            yield
            began = time.perf_counter()


def _family_lines(family: Family, chosen: Sequence[Service], clock: Clock) -> Iterator[bytes]:
    lines: list[str] = []
    name, value_of = family.name, family.value
    began, skew = time.perf_counter(), clock.skew
    for first in range(0, len(chosen), SERVICES_BETWEEN_LOOKS):
        for service in chosen[first : first + SERVICES_BETWEEN_LOOKS]:
            value = value_of(service, skew)
            if value is not None:
                lines.append(f"{name}{_labels(service)} {value}\n")
        if time.perf_counter() - began >= SLICE_SECONDS:
            yield "".join(lines).encode()
            lines.clear()
            began, skew = time.perf_counter(), clock.skew
    yield "".join(lines).encode()


def escape_label(value: str) -> str:
    """A label value as both text formats want it between its quotes."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _labels(service: Service) -> str:
    row = service.row
    name, owner, team = row.heartbeat_name, row.service_name, row.team
    together = f"{name}{owner}{team}"
    if '"' in together or "\\" in together or "\n" in together:
        name, owner, team = escape_label(name), escape_label(owner), escape_label(team)
    return f'{{heartbeat_name="{name}",service_name="{owner}",team="{team}",priority="{row.priority}"}}'


def _seconds(instant: InstantMs) -> str:
    return repr(instant / 1000)


def _star_pattern(name: str) -> re.Pattern[str]:
    # Atomic groups: a pattern of many stars costs one pass over a name, not a search through all ways to match.
    first, *rest = (re.escape(part) for part in name.split("*"))
    if not rest:
        return re.compile(first)
    return re.compile(first + "".join(f"(?>.*?{part})" for part in rest[:-1] if part) + f".*{rest[-1]}", re.DOTALL)


def _parse_shard(text: str) -> tuple[int, int] | None:
    match = _SHARD.fullmatch(text)
    if match is None:
        return None
    place, parts = int(match[1]), int(match[2])
    return (place, parts) if 1 <= place <= parts <= SHARDS_MAX else None


_UP: Final = {Status.UP: "1", Status.DEGRADED: "1", Status.LATE: "0", Status.DOWN: "0"}
_SHARD: Final = re.compile(r"([0-9]{1,4})/([0-9]{1,4})")
