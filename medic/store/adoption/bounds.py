"""What a row of the earlier system says that Medic does not take, and the SQL that settles it. Plain functions.

Nothing is bent to fit: a value out of bounds is named, and somebody decides. What the earlier system itself did not
tell apart is taken as it meant it: the case of a priority, a name's Unicode form, an empty text where there is a
default.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Final

from medic.core.draft import DEFAULT_PRIORITY, DEFAULT_TEAM, PRIORITIES, TEAM_MAX
from medic.core.names import NAME_MAX, name_fault, name_key, normal_name
from medic.core.policy import GRACE_MAX_MS, INTERVAL_MAX_MS, THRESHOLD_MAX
from medic.core.units import INSTANT_MAX, INSTANT_MIN, MINUTE_MS, SECOND_MS, InstantMs
from medic.store.adoption.earlier import literal

RUNBOOK_MAX: Final = 2_048
"""As the table's own constraint has it."""

INTERVAL_MAX_MINUTES: Final = INTERVAL_MAX_MS // MINUTE_MS
GRACE_MAX_SECONDS: Final = GRACE_MAX_MS // SECOND_MS

_RUNBOOK: Final = re.compile(r'https?://[^\s"<>]+', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class EarlierService:
    """A service as the earlier system's row has it. None: it says nothing, or has no such column."""

    service_id: int
    heartbeat_name: str | None
    service_name: str | None = None
    active: int | None = 1
    alert_interval: float | None = None
    threshold: int | None = 1
    team: str | None = None
    priority: str | None = None
    muted: int | None = 0
    runbook: str | None = None
    grace_period_seconds: float | None = None
    max_duration_ms: int | None = None
    date_added: InstantMs | None = None
    date_modified: InstantMs | None = None
    date_muted: InstantMs | None = None

    @property
    def name(self) -> str:
        """Its name as Medic will have it, whether or not it is allowed."""
        return normal_name(self.heartbeat_name or "")

    @property
    def label(self) -> str:
        """Its `service_name` as Medic will have it: the name where there is none."""
        return normal_name(self.service_name) if self.service_name else self.name


COLUMNS: Final = tuple(field.name for field in fields(EarlierService))


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Something that has to be settled before, in a sentence, and SQL that settles it in one of the possible ways."""

    what: str
    sql: str


@dataclass(frozen=True, slots=True)
class _Wrong:
    column: str
    sentence: str
    value: str


def unsettled_in(services: Iterable[EarlierService], table: str) -> Iterator[Unsettled]:
    """What of these services' own values has to be settled. `table` is where they are, for the SQL."""
    for service in services:
        for wrong in _wrong_in(service):
            shown = f"{wrong.column} is {getattr(service, wrong.column)!r}"
            yield Unsettled(
                f"service {service.service_id} ({service.heartbeat_name!a}): {shown}, {wrong.sentence}",
                _update(table, service, wrong.column, wrong.value),
            )


def unsettled_names(
    services: Iterable[EarlierService], table: str, last_heard: Mapping[int, InstantMs]
) -> Iterator[Unsettled]:
    """Services whose names are equal but for the case of A-Z: all but the one heard of last need another name."""
    by_key: dict[str, list[EarlierService]] = {}
    for service in services:
        by_key.setdefault(name_key(service.name), []).append(service)
    taken = set(by_key)
    for key, namesakes in by_key.items():
        if len(namesakes) < 2 or not key:
            continue
        kept = max(namesakes, key=lambda one: (last_heard.get(one.service_id, INSTANT_MIN), -one.service_id))
        for service in namesakes:
            if service is kept:
                continue
            another = _another_name(service, taken)
            yield Unsettled(
                f"service {service.service_id} ({service.heartbeat_name!a}) has the name of service {kept.service_id} "
                f"({kept.heartbeat_name!a}) but for its case, which Medic does not tell apart",
                f"{_update(table, service, 'heartbeat_name', literal(another))}  -- or: {_delete(table, service)}",
            )


def _delete(table: str, service: EarlierService) -> str:
    return f"DELETE FROM {table} WHERE service_id = {service.service_id};"  # noqa: S608 - for people to read and to run


def _update(table: str, service: EarlierService, column: str, value: str) -> str:
    # For people to read and to run: the value is quoted, the rest is Medic's own.
    return f"UPDATE {table} SET {column} = {value} WHERE service_id = {service.service_id};"  # noqa: S608


def is_takeable(service: EarlierService) -> bool:
    """Whether Medic takes all of it as it is."""
    return next(_wrong_in(service), None) is None


def _wrong_in(service: EarlierService) -> Iterator[_Wrong]:
    if service.service_id < 0:
        yield _Wrong("service_id", "must not be negative", str(-service.service_id))
    yield from _wrong_words(service)
    yield from _wrong_numbers(service)
    for column in ("date_added", "date_modified", "date_muted"):
        at = getattr(service, column)
        if at is not None and not INSTANT_MIN <= at <= INSTANT_MAX:
            yield _Wrong(column, "must be in the years 1970 to 9999", "now()")


def _wrong_words(service: EarlierService) -> Iterator[_Wrong]:
    fault = name_fault(service.name)
    if fault is not None:
        yield _Wrong("heartbeat_name", fault, literal(_mended(service.name, f"service-{service.service_id}")))
    fault = name_fault(service.label)
    if service.service_name and fault is not None:
        yield _Wrong("service_name", fault, literal(_mended(service.label, f"service-{service.service_id}")))
    if service.team and name_fault(normal_name(service.team), longest=TEAM_MAX) is not None:
        yield _Wrong("team", f"must have 1 to {TEAM_MAX} printable characters", literal(DEFAULT_TEAM))
    if service.priority and service.priority.lower() not in PRIORITIES:
        yield _Wrong("priority", f"must be one of {', '.join(PRIORITIES)}", literal(DEFAULT_PRIORITY))
    runbook = service.runbook
    if runbook and (len(runbook) > RUNBOOK_MAX or not runbook.isprintable() or _RUNBOOK.fullmatch(runbook) is None):
        yield _Wrong("runbook", f"must be a http or https address of at most {RUNBOOK_MAX} characters", "NULL")


def _wrong_numbers(service: EarlierService) -> Iterator[_Wrong]:
    interval, threshold, grace = service.alert_interval, service.threshold, service.grace_period_seconds
    if interval is None or not 1 / 60 <= interval <= INTERVAL_MAX_MINUTES:
        nearest = INTERVAL_MAX_MINUTES if interval is not None and interval > 1 else 1
        yield _Wrong("alert_interval", f"must be minutes up to {INTERVAL_MAX_MINUTES}, 1 s at least", str(nearest))
    if threshold is not None and not 1 <= threshold <= THRESHOLD_MAX:
        yield _Wrong("threshold", f"must be 1 to {THRESHOLD_MAX}", str(min(max(threshold, 1), THRESHOLD_MAX)))
    if grace is not None and not 0 <= grace <= GRACE_MAX_SECONDS:
        nearest = 0 if grace < 0 else GRACE_MAX_SECONDS
        yield _Wrong("grace_period_seconds", f"must be 0 to {GRACE_MAX_SECONDS}", str(nearest))
    for column, usual in (("active", 1), ("muted", 0)):
        if getattr(service, column) not in {0, 1}:
            yield _Wrong(column, "must be 0 or 1", str(usual))


def _mended(words: str, otherwise: str) -> str:
    """The words without what is not allowed in them."""
    kept = "".join(letter if letter.isprintable() else " " for letter in words).strip()
    kept = kept[:NAME_MAX].strip()
    return kept or otherwise


def _another_name(service: EarlierService, taken: set[str]) -> str:
    """A name like the service's that nobody has."""
    number = service.service_id
    while True:
        ending = f"-{number}"
        name = _mended(service.name, "service")[: NAME_MAX - len(ending)].strip() + ending
        if name_key(name) not in taken:
            taken.add(name_key(name))
            return name
        number += 1_000_000
