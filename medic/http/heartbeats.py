"""`POST /heartbeat` and `GET /heartbeat`, and what all forms of a heartbeat have in common.

Reading, checking and answering a heartbeat are plain functions over bytes, so that every way into Medic gives the same
status and the same body: Quart calls `take_heartbeat` through its view, and whoever frames requests himself calls it
directly. `medic.http.bulk` takes many at once, `medic.http.named` one whose name stands in the path.

An ordinary heartbeat (a name and a status of printable ASCII, at most a label beside them) is recognised by
`plain_beat` without pydantic: 2 µs in place of 5, reading the JSON included. Whatever it does not recognise is left to
the model, whose refusals name the fields. It accepts nothing that the model refuses: a test says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from pydantic_core import PydanticCustomError

from medic.access.caller import Caller
from medic.access.reach import reach_of
from medic.core.heartbeat_words import kind_of
from medic.core.names import NAME_MAX, normal_name
from medic.core.status import HeartbeatStatus
from medic.errors import (
    Fault,
    ForbiddenError,
    InactiveServiceError,
    InvalidInputError,
    MedicError,
    OverloadedError,
    RateLimitedError,
    UnauthorizedError,
    UnknownServiceError,
)
from medic.http.answers import Answer, JsonObject, success
from medic.http.bodies import HeartbeatBody, check_fields, read_json
from medic.http.call import Call
from medic.http.checks import check_idempotency_key
from medic.http.limits import FAULTS_MAX, HEARTBEATS_MAX, QUOTED_MAX, STATUS_MAX
from medic.http.narrowing import sees
from medic.http.parts import ApiParts
from medic.http.refusals import refuse
from medic.http.refused import (
    FORBIDDEN,
    INACTIVE,
    INVALID,
    NOT_REGISTERED,
    RATE_LIMITED,
    UNAUTHORIZED,
    UNAVAILABLE,
)
from medic.http.shown import heartbeat_json
from medic.ports import Beat

POSTED: Final = "Heartbeat Posted Successfully."

WORDS: Final = tuple(kind.value for kind in HeartbeatStatus if kind is not HeartbeatStatus.OTHER)
"""Statuses that have a meaning."""

_ACCEPTED: Final = success(201, POSTED, "")
_PLAIN_FIELDS: Final = frozenset({"heartbeat_name", "status", "service_name"})
_KNOWN_FIELDS: Final = frozenset(HeartbeatBody.model_fields)


class HeartbeatRead(NamedTuple):
    """A heartbeat as read from a body, and the names of the fields that were ignored."""

    beat: Beat
    ignored: tuple[str, ...] = ()


def read_heartbeat(body: bytes, *, strict_status: bool, idempotency_key: str = "") -> HeartbeatRead:
    """The heartbeat a body holds.

    Args:
        body: The request's body.
        strict_status: `MEDIC_STRICT_STATUS`: refuse a status without a meaning.
        idempotency_key: That header, empty where it was not sent.

    Raises:
        InvalidInputError: names each faulty field and its bounds.
    """
    key = read_key(idempotency_key) if idempotency_key else None
    return check_heartbeat(read_json(body), strict_status=strict_status, key=key)


def read_key(header: str) -> str | None:
    """The Idempotency-Key of a request, None where the header is empty.

    Raises:
        InvalidInputError: it is too long, or not printable.
    """
    try:
        return check_idempotency_key(header.strip())
    except PydanticCustomError as error:
        raise InvalidInputError((Fault("Idempotency-Key", error.message()),)) from None


def check_heartbeat(given: JsonObject, *, strict_status: bool, key: str | None = None) -> HeartbeatRead:
    """The heartbeat an object describes. `key` is that of the request; a field of its own stands before it.

    Raises:
        InvalidInputError: names each faulty field and its bounds.
    """
    beat = None if strict_status else plain_beat(given, key)
    if beat is not None:
        return HeartbeatRead(beat)
    checked = check_fields(HeartbeatBody, given)
    if strict_status and kind_of(checked.status) is HeartbeatStatus.OTHER:
        raise InvalidInputError((Fault("status", f"must be one of {', '.join(WORDS)}"),))
    beat = Beat(
        name=checked.heartbeat_name,
        status=checked.status,
        run_id=checked.run_id,
        said_at=checked.time,
        key=checked.idempotency_key or key,
    )
    return HeartbeatRead(beat, tuple(name for name in given if name not in _KNOWN_FIELDS))


def accepted(ignored: tuple[str, ...] = ()) -> Answer:
    """The answer to a heartbeat that was taken."""
    return success(201, POSTED + named_ignored(ignored), "") if ignored else _ACCEPTED


def named_ignored(ignored: Sequence[str]) -> str:
    """The sentence that names the fields which were ignored, a bounded number of them; empty where there are none."""
    names = ", ".join(name[:QUOTED_MAX] for name in ignored[:FAULTS_MAX])
    return f" Ignored fields: {names}." if names else ""


async def take_heartbeat(parts: ApiParts, body: bytes, caller: Caller, idempotency_key: str = "") -> Answer:
    """Take the heartbeat a body holds, and answer it. Never raises what the caller could have caused.

    Args:
        parts: The parts of the API.
        body: The request's body.
        caller: Who sends it, and may come in.
        idempotency_key: That header, empty where it was not sent.
    """
    strict = parts.settings.strict_status
    return await answer_one(
        parts, caller, lambda: read_heartbeat(body, strict_status=strict, idempotency_key=idempotency_key)
    )


async def answer_one(parts: ApiParts, caller: Caller, read_one: Callable[[], HeartbeatRead]) -> Answer:
    """Take what `read_one` reads or refuses to, and answer it."""
    read = None
    try:
        read = read_one()
        read.beat.caller = caller
        require_admitted(parts, read.beat.name, caller)
        await parts.intake.take(read.beat)
    except MedicError as error:
        name = None if read is None else read.beat.name
        note_refused(parts, error, name=name, address=caller.address)
        return refuse(error, name=name)
    return accepted(read.ignored)


def require_admitted(parts: ApiParts, name: str, caller: Caller) -> None:
    """Return if the caller may send heartbeats of that name now.

    Raises:
        MedicError: what the gatekeeper says instead.
    """
    refusal = parts.gatekeeper.admit_heartbeat(caller, name)
    if refusal is not None:
        raise refusal


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
    return await take_heartbeat(parts, call.body, call.caller, call.idempotency_key)


async def list_heartbeats(parts: ApiParts, call: Call) -> Answer:
    """The newest heartbeats, newest first."""
    most = _most(call.query.get("maxCount"))
    name, label = call.query.get("heartbeat_name"), call.query.get("service_name")
    service = None
    if name:
        service = parts.roster.find(normal_name(name))
        if service is None or not sees(call, service):
            return success(200, "", [])
    if not most:
        return success(200, "", [])
    rows = await parts.history.heartbeats(
        service=service, service_name=label or None, limit=most, reach=reach_of(call.caller)
    )
    return success(200, "", [heartbeat_json(row) for row in rows])


def plain_beat(given: JsonObject, key: str | None) -> Beat | None:
    """An ordinary heartbeat, read the quick way, or None where the model has to look at it."""
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
        and (len(given) == 2 or given.keys() <= _PLAIN_FIELDS)
    ):
        return Beat(name=name, status=status, key=key)
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
    if isinstance(error, UnauthorizedError):
        return UNAUTHORIZED
    if isinstance(error, ForbiddenError):
        return FORBIDDEN
    if isinstance(error, RateLimitedError):
        return RATE_LIMITED
    return INVALID if isinstance(error, InvalidInputError) else "fault"
