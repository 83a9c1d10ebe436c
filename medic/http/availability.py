"""`GET /v2/services/{service_id}/availability`: how a service was over a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from medic.access.reach import reach_of
from medic.core.availability import Outage, Span, overlap
from medic.core.status import HeartbeatStatus
from medic.core.units import DAY_MS, DurationMs, InstantMs, ServiceId, isoformat, ms_to_seconds
from medic.errors import Fault, InvalidInputError, UnknownServiceError
from medic.history import ServiceRecord
from medic.http.answers import Answer, JsonObject, JsonValue, success
from medic.http.call import Call
from medic.http.cursor import ID_MAX
from medic.http.moments import read_moment
from medic.http.parts import ApiParts

WINDOW_DEFAULT_MS: Final = DurationMs(30 * DAY_MS)

WINDOW_MAX_DAYS: Final = 3_660
"""Ten years: longer than counts are kept."""

RATIO_DIGITS: Final = 9
"""A second in thirty years shows in it."""


async def show_availability(parts: ApiParts, call: Call) -> Answer:
    """How the service was; it may be deleted."""
    service_id = ServiceId(call.number("service_id"))
    window = _window(call, parts.clock.now())
    record = None if service_id > ID_MAX else await parts.records.record(service_id, window)
    if record is None or not reach_of(call.caller).covers(record.heartbeat_name, record.team):
        raise UnknownServiceError(f"service {service_id}")
    return success(200, "", record_json(record))


def record_json(record: ServiceRecord) -> JsonObject:
    """How a service was."""
    found, ratio = record.availability, record.availability.ratio
    outages: list[JsonValue] = [_outage_json(outage, record.window) for outage in record.outages]
    return {
        "service_id": record.service_id,
        "heartbeat_name": record.heartbeat_name,
        "service_name": record.service_name,
        "team": record.team,
        "from": isoformat(record.window.begins),
        "to": isoformat(record.window.ends),
        "availability": None if ratio is None else round(ratio, RATIO_DIGITS),
        "watched_seconds": ms_to_seconds(found.watched),
        "up_seconds": ms_to_seconds(found.up),
        "late_seconds": ms_to_seconds(found.late),
        "reported_seconds": ms_to_seconds(found.reported),
        "muted_seconds": ms_to_seconds(found.muted),
        "heartbeats": {kind.value: record.heartbeats.get(kind.value, 0) for kind in HeartbeatStatus},
        "outages_count": found.outages,
        "outages": outages,
        "outages_kept_from": None if record.outages_from is None else isoformat(record.outages_from),
    }


def _outage_json(outage: Outage, window: Span) -> JsonObject:
    """One alert; `seconds` are those within the window."""
    ends = window.ends if outage.ends is None else outage.ends
    return {
        "alert_id": outage.alert_id,
        "reason": outage.reason,
        "from": isoformat(outage.begins),
        "to": None if outage.ends is None else isoformat(outage.ends),
        "seconds": ms_to_seconds(overlap(Span(outage.begins, ends), window).length),
        "muted": int(outage.muted),
    }


def _window(call: Call, now: InstantMs) -> Span:
    """What is asked for, as far as it is not to come."""
    until = read_moment(call, "to", timedelta(days=1))
    ends = now if until is None else min(until, now)
    since = read_moment(call, "from", timedelta())
    begins = InstantMs(max(0, ends - WINDOW_DEFAULT_MS)) if since is None else since
    if begins >= ends:
        raise InvalidInputError((Fault("from", "must be before `to`, and in the past"),))
    if ends - begins > WINDOW_MAX_DAYS * DAY_MS:
        raise InvalidInputError((Fault("from", f"must be at most {WINDOW_MAX_DAYS} days before `to`"),))
    return Span(begins, ends)
