"""`POST /heartbeat` and `GET /heartbeat`.

Reading, checking and answering a heartbeat are plain functions over bytes, so that every way into Medic gives the same
status and the same body: Quart calls `take_heartbeat` through its view, and whoever frames requests himself calls it
directly. An ordinary heartbeat (a name and a status of printable ASCII, at most a label beside them) is recognised by
`_plain_beat` without pydantic: 2 µs in place of 5, reading the JSON included. Whatever it does not recognise is left to
the model, whose refusals name the fields. It accepts nothing that the model refuses: a test says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from medic.core.heartbeat_words import kind_of
from medic.core.names import NAME_MAX, normal_name
from medic.core.status import HeartbeatStatus
from medic.errors import (
    Fault,
    InactiveServiceError,
    InvalidInputError,
    MedicError,
    OverloadedError,
    UnknownServiceError,
)
from medic.http.answers import Answer, JsonObject, success
from medic.http.bodies import HeartbeatBody, check_fields, read_json
from medic.http.call import Call
from medic.http.limits import FAULTS_MAX, HEARTBEATS_MAX, QUOTED_MAX, STATUS_MAX
from medic.http.parts import ApiParts
from medic.http.refusals import refuse
from medic.http.refused import INACTIVE, INVALID, NOT_REGISTERED, UNAVAILABLE
from medic.http.shown import heartbeat_json
from medic.ports import Beat

POSTED: Final = "Heartbeat Posted Successfully."

WORDS: Final = tuple(kind.value for kind in HeartbeatStatus if kind is not HeartbeatStatus.OTHER)
"""Statuses that have a meaning."""

_ACCEPTED: Final = success(201, POSTED, "")
_PLAIN_FIELDS: Final = frozenset({"heartbeat_name", "status", "service_name"})
_KNOWN_FIELDS: Final = frozenset(HeartbeatBody.model_fields)


@dataclass(frozen=True, slots=True)
class HeartbeatRead:
    """A heartbeat as read from a body, and the names of the fields that were ignored."""

    beat: Beat
    ignored: tuple[str, ...] = ()


def read_heartbeat(body: bytes, *, strict_status: bool) -> HeartbeatRead:
    """The heartbeat a body holds.

    Args:
        body: The request's body.
        strict_status: `MEDIC_STRICT_STATUS`: refuse a status without a meaning.

    Raises:
        InvalidInputError: names each faulty field and its bounds.
    """
    given = read_json(body)
    beat = None if strict_status else _plain_beat(given)
    if beat is not None:
        return HeartbeatRead(beat)
    checked = check_fields(HeartbeatBody, given)
    if strict_status and kind_of(checked.status) is HeartbeatStatus.OTHER:
        raise InvalidInputError((Fault("status", f"must be one of {', '.join(WORDS)}"),))
    beat = Beat(name=checked.heartbeat_name, status=checked.status, run_id=checked.run_id, said_at=checked.time)
    return HeartbeatRead(beat, tuple(name for name in given if name not in _KNOWN_FIELDS))


def accepted(ignored: tuple[str, ...] = ()) -> Answer:
    """The answer to a heartbeat that was taken."""
    if not ignored:
        return _ACCEPTED
    names = ", ".join(name[:QUOTED_MAX] for name in ignored[:FAULTS_MAX])
    return success(201, f"{POSTED} Ignored fields: {names}.", "")


async def take_heartbeat(parts: ApiParts, body: bytes, address: str) -> Answer:
    """Take the heartbeat a body holds, and answer it. Never raises what the caller could have caused.

    Args:
        parts: The parts of the API.
        body: The request's body.
        address: The caller's address.
    """
    read = None
    try:
        read = read_heartbeat(body, strict_status=parts.settings.strict_status)
        await parts.intake.take(read.beat)
    except MedicError as error:
        note_refused(parts, error, name=read.beat.name if read is not None else None, address=address)
        return refuse(error)
    return accepted(read.ignored)


def note_refused(parts: ApiParts, error: MedicError, *, name: str | None, address: str) -> None:
    """Count a heartbeat that was refused and remember whose it was."""
    reason = _reason(error)
    parts.meter.refuse_heartbeat(reason)
    if name is None:
        return
    at = parts.clock.now()
    if isinstance(error, UnknownServiceError):
        parts.refused.note_unknown(name, address=address, at=at)
        return
    service = parts.roster.find(name)
    if service is not None:
        parts.refused.note_refusal(service.row.service_id, reason, address=address, at=at)


async def post_heartbeat(parts: ApiParts, call: Call) -> Answer:
    """Take one heartbeat."""
    return await take_heartbeat(parts, call.body, call.address)


async def list_heartbeats(parts: ApiParts, call: Call) -> Answer:
    """The newest heartbeats, newest first."""
    most = _most(call.query.get("maxCount"))
    name, label = call.query.get("heartbeat_name"), call.query.get("service_name")
    service = None
    if name:
        service = parts.roster.find(normal_name(name))
        if service is None:
            return success(200, "", [])
    rows = await parts.history.heartbeats(service=service, service_name=label or None, limit=most) if most else ()
    return success(200, "", [heartbeat_json(row) for row in rows])


def _plain_beat(given: JsonObject) -> Beat | None:
    name, status = given.get("heartbeat_name"), given.get("status")
    if (
        type(name) is str
        and type(status) is str
        and name.isascii()
        and name.isprintable()
        and 0 < len(name) <= NAME_MAX
        and name[0] != " "
        and name[-1] != " "
        and 0 < len(status) <= STATUS_MAX
        and status.isascii()
        and status.isprintable()
        and given.keys() <= _PLAIN_FIELDS
    ):
        return Beat(name=name, status=status)
    return None


def _most(text: str | None) -> int:
    """The limit as the earlier system had it: more than 250, or no number, means 250."""
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 9:
        return HEARTBEATS_MAX
    return min(int(text), HEARTBEATS_MAX)


def _reason(error: MedicError) -> str:
    if isinstance(error, UnknownServiceError):
        return NOT_REGISTERED
    if isinstance(error, InactiveServiceError):
        return INACTIVE
    if isinstance(error, OverloadedError):
        return UNAVAILABLE
    return INVALID if isinstance(error, InvalidInputError) else "fault"
