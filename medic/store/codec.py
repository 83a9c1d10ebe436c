"""Effects and hot state as bytes: what a journal record and a `service_states` row hold.

A record is a version byte, a kind byte, and a body. Nearly every record is a heartbeat, so that one has a body of its
own: a fixed struct and the few bytes of text that the struct cannot say, 40 bytes where the status is a known word and
no run_id came. Everything else is JSON, read back through a pydantic adapter of the very dataclass, so that enums,
nested values and tuples come back as their exact types, a field added later takes its default from old records, and a
value of a wrong type is an error and not a surprise.

What comes by the hundred thousand when a network is cut is the list of its fields in their order (`_LISTED`), in which
an alert or a notification is a list too: half the bytes and a third of the time of an object that repeats every name.
So the order of those fields is part of the layout: none is ever taken out or moved, and a new one goes to the end, with
a default. A list that is longer than this release knows is refused. All the rest is rare, and is an object.

A heartbeat that is known by a mark, or is discounted, has a kind of its own: the same body, with both behind its head.
One that a rate limit refused has kinds of its own too, with the same bodies, so that no table gets a row of it.

The version byte belongs to the layout of the struct forms. A release that changes one gives it the next number and
goes on reading this one. A record that this release cannot read was written by a later one, and the operator is told.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from operator import attrgetter
from types import new_class
from typing import Annotated, Final, NamedTuple, Optional, get_type_hints

import orjson
from pydantic import AfterValidator, TypeAdapter, ValidationError

from medic.core.author import Author
from medic.core.effects import (
    AmendAlert,
    ChangeStatus,
    CloseAlert,
    CreditSigns,
    Effect,
    EndMute,
    NoteHeartbeat,
    Notify,
    OpenAlert,
    RecordBlindSpan,
    RecordHeartbeat,
    RemoveService,
    SetMute,
    SettleNotification,
    StoreService,
)
from medic.core.heartbeat_words import shared_word
from medic.core.notification import Notification
from medic.core.policy import Policy
from medic.core.ring import NO_MARK, Ring
from medic.core.service import LONG_AGO, NEVER, Alert, Deactivation, Mute, Service, ServiceRow, modified_at
from medic.core.status import Discount, HeartbeatStatus, Status
from medic.core.units import EventId, InstantMs, ServiceId, SightedMs
from medic.errors import UnreadableRecordError

RECORD_VERSION: Final = 1
STATE_VERSION: Final = 1
STATE_MARKED_VERSION: Final = 2
"""A state whose ring has marks. All others are written as the release before reads them."""

_HEARTBEAT: Final = 1
_HEARTBEAT_WIDE: Final = 2
"""A heartbeat whose texts do not fit the struct's counters. HTTP's bounds make it impossible; the codec is total."""

_HEARTBEAT_MARKED: Final = 15
"""A heartbeat with a mark or a discount, which stand right behind the head."""

_NOTE: Final = 16
_NOTE_MARKED: Final = 17
_NOTE_WIDE: Final = 18
"""The same three of a heartbeat that a rate limit refused. Its id is 0."""

_NOTES: Final = {_HEARTBEAT: _NOTE, _HEARTBEAT_MARKED: _NOTE_MARKED}
_OF_NOTES: Final = {note: heartbeat for heartbeat, note in _NOTES.items()}
_NO_ID: Final = EventId(0)

_HEARTBEAT_HEAD: Final = struct.Struct("<BBQqqQBBHH")
_HEARTBEAT_MARK: Final = struct.Struct("<qB")
_HEARTBEAT_SAID: Final = struct.Struct("<q")
_TEXT_BYTES_MAX: Final = 0xFFFF

_SAID: Final = 1
_RUN: Final = 2
_WORDED: Final = 4
"""Flags of a heartbeat: it has a said_at; a run_id; a status whose text is not the word of its kind."""

# The number of a word is its place here. Words are only ever added at the end.
_KINDS: Final = (
    HeartbeatStatus.UP,
    HeartbeatStatus.DOWN,
    HeartbeatStatus.DEGRADED,
    HeartbeatStatus.STARTED,
    HeartbeatStatus.COMPLETED,
    HeartbeatStatus.FAILED,
    HeartbeatStatus.OTHER,
)
_DISCOUNTS: Final = (None, Discount.HISTORY, Discount.REPEATED)
_DISCOUNT_NUMBERS: Final = {discount: number for number, discount in enumerate(_DISCOUNTS)}
KIND_WORDS: Final = tuple(kind.value for kind in _KINDS)
"""The word of each kind, by the kind's number."""

_KIND_NUMBERS: Final = {kind: number for number, kind in enumerate(_KINDS)}
_STATUSES: Final = (Status.NEW, Status.UP, Status.DEGRADED, Status.LATE, Status.DOWN, Status.INACTIVE)
_STATUS_NUMBERS: Final = {status: number for number, status in enumerate(_STATUSES)}

_OBJECTS: Final[dict[int, type[Effect]]] = {
    _HEARTBEAT_WIDE: RecordHeartbeat,
    3: CreditSigns,
    4: ChangeStatus,
    5: OpenAlert,
    6: AmendAlert,
    7: CloseAlert,
    8: SetMute,
    9: EndMute,
    10: StoreService,
    11: RemoveService,
    12: Notify,
    13: SettleNotification,
    14: RecordBlindSpan,
    _NOTE_WIDE: NoteHeartbeat,
}
_LISTED: Final[dict[int, type[Effect]]] = {
    19: ChangeStatus,
    20: OpenAlert,
    21: AmendAlert,
    22: CloseAlert,
    23: Notify,
    24: SettleNotification,
}
"""Kind bytes. A number is never used again for something else. What is listed was an object once, and is read as it."""

PREFIX_BYTES: Final = 2
"""Version and kind, which stand before every body."""

_PREFIXES: Final = {effect: bytes((RECORD_VERSION, number)) for number, effect in (_OBJECTS | _LISTED).items()}
_FIELDS_OF: Final[dict[type, Callable[[object], tuple[object, ...]]]] = {
    kind: attrgetter(*(field.name for field in fields(kind)))
    for kind in (*_LISTED.values(), Alert, Notification, Author)
}


def _fields_of(listed: object) -> tuple[object, ...]:
    """The fields of what is written as a list, in their order."""
    return _FIELDS_OF[type(listed)](listed)


def _reader(shape: object) -> Callable[[bytes], Effect]:
    adapter: TypeAdapter[Effect] = TypeAdapter(shape)  # type: ignore[arg-type]  # a type that is made here
    return lambda body: adapter.validate_json(body, strict=True)


def _read_as(hint: object) -> object:
    """What a field of such a list is read as: one that is listed itself, or may be, as its own list."""
    if hint == Author | None:
        return Optional[_list_of(Author)]  # noqa: UP045 - made at run time
    return _list_of(hint) if isinstance(hint, type) and hint in _FIELDS_OF else hint


def _list_of(kind: type) -> object:
    """What pydantic reads such a list as: a named tuple, of which the value is made."""
    hints = {name: _read_as(hint) for name, hint in get_type_hints(kind).items()}
    body = {field.name: field.default for field in fields(kind) if field.default is not MISSING}
    body |= {"__module__": __name__, "__annotations__": {field.name: hints[field.name] for field in fields(kind)}}
    row = new_class(kind.__name__, (NamedTuple,), exec_body=lambda namespace: namespace.update(body))
    return Annotated[row, AfterValidator(lambda values: kind(*values))]


@dataclass(frozen=True, slots=True)
class _StoredRow:
    """`StoreService` with a row whose columns can be filled one by one."""

    service_id: ServiceId
    at: InstantMs
    sighted: SightedMs
    row: ServiceRow.wide  # type: ignore[name-defined]  # made by `sharing`


_STORED_ROWS: Final = TypeAdapter(_StoredRow)
_ROW_COLUMNS: Final = tuple(column.name for column in fields(ServiceRow))


def _read_row(body: bytes) -> StoreService:
    stored = _STORED_ROWS.validate_json(body, strict=True)
    columns = {name: getattr(stored.row, name) for name in _ROW_COLUMNS}
    columns["date_modified"] = modified_at(columns["date_added"], columns["date_modified"])
    row = ServiceRow(**columns)
    return StoreService(stored.service_id, stored.at, stored.sighted, row)


_READERS: Final[dict[int, Callable[[bytes], Effect]]] = {
    **{number: _read_row if kind is StoreService else _reader(kind) for number, kind in _OBJECTS.items()},
    **{number: _reader(_list_of(kind)) for number, kind in _LISTED.items()},
}


def encode(effect: Effect) -> bytes:
    """The record of an effect. Costs about a microsecond for a heartbeat, a few for anything else."""
    if type(effect) is RecordHeartbeat:
        return _encode_heartbeat(effect)
    if type(effect) is NoteHeartbeat:
        return _encode_note(effect)
    kind = type(effect)
    if kind in _FIELDS_OF:
        body = orjson.dumps(effect, default=_fields_of, option=orjson.OPT_PASSTHROUGH_DATACLASS)
    else:
        body = orjson.dumps(effect)
    return _PREFIXES[kind] + body


def decode(record: bytes) -> Effect:
    """The effect of a record, equal to the one that was encoded.

    Raises:
        UnreadableRecordError: a later release wrote it, or it was never a record.
    """
    if len(record) < PREFIX_BYTES:
        raise UnreadableRecordError(f"a journal record of {len(record)} bytes")
    version, kind = record[0], record[1]
    if version != RECORD_VERSION:
        raise UnreadableRecordError(f"a journal record of version {version}; this Medic reads {RECORD_VERSION}")
    if kind in (_HEARTBEAT, _HEARTBEAT_MARKED):
        return _decode_heartbeat(record, kind)
    if kind in _OF_NOTES:
        return _decode_note(record, kind)
    reader = _READERS.get(kind)
    if reader is None:
        raise UnreadableRecordError(f"a journal record of the unknown kind {kind}")
    try:
        return reader(record[PREFIX_BYTES:])
    except ValidationError as error:
        name = (_OBJECTS | _LISTED)[kind].__name__
        raise UnreadableRecordError(
            f"a journal record of kind {kind} ({name}) that does not say what one must"
        ) from error


def encode_plain_heartbeat(
    service_id: ServiceId, at: InstantMs, sighted: SightedMs, heartbeat_id: EventId, kind: HeartbeatStatus
) -> bytes:
    """The record of a heartbeat whose status is the word of its kind and that has nothing else to say: a third of 1 µs.

    Equal to what `encode` makes of the `RecordHeartbeat` that says so.
    """
    return _HEARTBEAT_HEAD.pack(
        RECORD_VERSION, _HEARTBEAT, service_id, at, sighted, heartbeat_id, _KIND_NUMBERS[kind], 0, 0, 0
    )


def encode_plain_heartbeats(
    services: Sequence[ServiceId],
    at: InstantMs,
    sighted: SightedMs,
    heartbeat_ids: Sequence[EventId],
    kinds: Sequence[HeartbeatStatus],
) -> list[bytes]:
    """The records of plain heartbeats that came in one instant, as `encode_plain_heartbeat` makes each of them."""
    pack, numbers = _HEARTBEAT_HEAD.pack, _KIND_NUMBERS
    return [
        pack(RECORD_VERSION, _HEARTBEAT, service_id, at, sighted, heartbeat_id, numbers[kind], 0, 0, 0)
        for service_id, heartbeat_id, kind in zip(services, heartbeat_ids, kinds, strict=True)
    ]


PLAIN_HEARTBEAT_BYTES: Final = _HEARTBEAT_HEAD.size
"""The length of every plain heartbeat's record, and of hardly any other's."""

unpack_plain_heartbeat: Final = _HEARTBEAT_HEAD.unpack
"""Version, kind of record, service_id, at, sighted, heartbeat_id, number of the kind, and three zeros."""

_PLAIN_PREFIX: Final = bytes((RECORD_VERSION, _HEARTBEAT))
_PLAIN_FLAGS_AT: Final = struct.calcsize("<BBQqqQB")


def is_plain_heartbeat(record: bytes) -> bool:
    """Whether a record of `PLAIN_HEARTBEAT_BYTES` is a plain heartbeat that this release can read."""
    return (
        record[:2] == _PLAIN_PREFIX and record[_PLAIN_FLAGS_AT] == 0 and record[_PLAIN_FLAGS_AT - 1] < len(KIND_WORDS)
    )


def _encode_heartbeat(effect: RecordHeartbeat) -> bytes:
    kind = effect.kind
    flags = 0
    status = run_id = said = b""
    if effect.status != kind:
        flags = _WORDED
        status = effect.status.encode()
    if effect.run_id is not None:
        flags |= _RUN
        run_id = effect.run_id.encode()
    if effect.said_at is not None:
        flags |= _SAID
        said = _HEARTBEAT_SAID.pack(effect.said_at)
    if len(status) > _TEXT_BYTES_MAX or len(run_id) > _TEXT_BYTES_MAX:
        return _PREFIXES[RecordHeartbeat] + orjson.dumps(effect)
    mark = b""
    if effect.mark != NO_MARK or effect.discount is not None:
        mark = _HEARTBEAT_MARK.pack(effect.mark, _DISCOUNT_NUMBERS[effect.discount])
    elif not flags:
        return encode_plain_heartbeat(effect.service_id, effect.at, effect.sighted, effect.heartbeat_id, kind)
    head = _HEARTBEAT_HEAD.pack(
        RECORD_VERSION,
        _HEARTBEAT_MARKED if mark else _HEARTBEAT,
        effect.service_id,
        effect.at,
        effect.sighted,
        effect.heartbeat_id,
        _KIND_NUMBERS[kind],
        flags,
        len(status),
        len(run_id),
    )
    return head + mark + said + status + run_id


def _decode_heartbeat(record: bytes, record_kind: int) -> RecordHeartbeat:
    try:
        head = _HEARTBEAT_HEAD.unpack_from(record)
        _, _, service_id, at, sighted, heartbeat_id, number, flags, status_bytes, run_bytes = head
        kind = _KINDS[number]
        if not flags and record_kind == _HEARTBEAT:
            return RecordHeartbeat(service_id, at, sighted, heartbeat_id, kind, KIND_WORDS[number])
        place = _HEARTBEAT_HEAD.size
        mark, discount = NO_MARK, None
        if record_kind == _HEARTBEAT_MARKED:
            mark, discount_number = _HEARTBEAT_MARK.unpack_from(record, place)
            discount = _DISCOUNTS[discount_number]
            place += _HEARTBEAT_MARK.size
        said_at = None
        if flags & _SAID:
            said_at = _HEARTBEAT_SAID.unpack_from(record, place)[0]
            place += _HEARTBEAT_SAID.size
        status = record[place : place + status_bytes].decode() if flags & _WORDED else KIND_WORDS[number]
        place += status_bytes
        run_id = record[place : place + run_bytes].decode() if flags & _RUN else None
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise UnreadableRecordError("a heartbeat record that does not say what one must") from error
    return RecordHeartbeat(service_id, at, sighted, heartbeat_id, kind, status, run_id, said_at, mark, discount)


def _encode_note(note: NoteHeartbeat) -> bytes:
    heartbeat = RecordHeartbeat(note.service_id, note.at, note.sighted, _NO_ID, note.kind, note.status, mark=note.mark)
    record = _encode_heartbeat(heartbeat)
    kind = _NOTES.get(record[1])
    if kind is None:
        return _PREFIXES[NoteHeartbeat] + orjson.dumps(note)
    return bytes((RECORD_VERSION, kind)) + record[2:]


def _decode_note(record: bytes, record_kind: int) -> NoteHeartbeat:
    said = _decode_heartbeat(record, _OF_NOTES[record_kind])
    return NoteHeartbeat(said.service_id, said.at, said.sighted, said.kind, said.status, said.mark)


# ---------------------------------------------------------------------------------------------------------- hot state

_STATE_HEAD: Final = struct.Struct("<BBBBqqqqQQHIIII")
_FRESH_GIVEN: Final = 1
_RINGED: Final = 2
_DEACTIVATED: Final = 4
"""When it was made inactive and by whom stands at the end."""

_NOT_HEARD: Final = 0xFF

_ALERTS: Final = TypeAdapter(Alert)
_MUTES: Final = TypeAdapter(Mute)
_DEACTIVATIONS: Final = TypeAdapter(Deactivation)


def pack_state(service: Service) -> bytes:
    """The hot state of a service: everything but row, policy and mailbox. Some 80 bytes while all is well."""
    last_status = service.last_status.encode()
    ring = b"" if service.ring is None else _pack_ring(service.ring)
    is_marked = service.ring is not None and service.ring.marks is not None
    openings = struct.pack(f"<{len(service.openings)}q", *service.openings)
    alert = b"" if service.alert is None else orjson.dumps(service.alert)
    mute = b"" if service.mute is None else orjson.dumps(service.mute)
    deactivated = b"" if service.deactivated is None else orjson.dumps(service.deactivated)
    head = _STATE_HEAD.pack(
        STATE_MARKED_VERSION if is_marked else STATE_VERSION,
        _STATUS_NUMBERS[service.status],
        _NOT_HEARD if service.heard_kind is None else _KIND_NUMBERS[service.heard_kind],
        _FRESH_GIVEN * service.fresh_interval_given
        | _RINGED * (service.ring is not None)
        | _DEACTIVATED * (service.deactivated is not None),
        service.registered,
        service.last_sign,
        service.last_heartbeat_at,
        service.gap_ms,
        service.heartbeats_total,
        service.position,
        len(last_status),
        0 if service.ring is None else len(service.ring),
        len(service.openings),
        len(alert),
        len(mute),
    )
    return b"".join((head, last_status, ring, openings, alert, mute, deactivated))


def unpack_state(state: bytes, row: ServiceRow, policy: Policy) -> Service:
    """The service of that row as it was packed.

    Raises:
        UnreadableRecordError: a later release packed it, or it was never a packed state.
    """
    if not state or state[0] not in (STATE_VERSION, STATE_MARKED_VERSION):
        version = state[0] if state else "none"
        raise UnreadableRecordError(f"a state of service {row.service_id} of version {version}")
    try:
        return _unpack_state(state, row, policy)
    except (struct.error, IndexError, ValueError) as error:
        raise UnreadableRecordError(f"a state of service {row.service_id} that does not say what one must") from error


def _unpack_state(state: bytes, row: ServiceRow, policy: Policy) -> Service:
    """A start does it for every service, so nothing is called here that the plain case does without: 2 µs."""
    head = _STATE_HEAD.unpack_from(state)
    version, status, heard_kind, flags, registered, last_sign, last_heartbeat_at, gap_ms, total, position = head[:10]
    word_bytes, ring_signs, openings, alert_bytes, mute_bytes = head[10:]
    rest = _STATE_HEAD.size + word_bytes
    ring_bytes = ring_signs * (16 if version == STATE_MARKED_VERSION else 8)
    end = rest + ring_bytes + 8 * openings + alert_bytes + mute_bytes
    if end > len(state) or (end < len(state) and not flags & _DEACTIVATED):
        raise ValueError(f"{len(state)} bytes are not what is announced")
    heard = last_heartbeat_at != NEVER  # earlier releases kept the registration of a service that was heard of
    service = Service(row, policy, registered=LONG_AGO if heard else registered)
    service.last_sign = last_sign
    service.status = _STATUSES[status]
    service.heard_kind = None if heard_kind == _NOT_HEARD else _KINDS[heard_kind]
    service.fresh_interval_given = bool(flags & _FRESH_GIVEN)
    service.last_heartbeat_at = last_heartbeat_at
    service.gap_ms = gap_ms
    service.heartbeats_total = total
    service.position = position
    service.last_status = shared_word(state[_STATE_HEAD.size : rest].decode())
    service.ring = _unpack_ring(state[rest : rest + ring_bytes], ring_signs) if flags & _RINGED else None
    if openings or alert_bytes or mute_bytes:
        _unpack_rare(service, state[rest + ring_bytes : end], openings, alert_bytes)
    # Not what the row says: it may be newer than the state, and what it says of that is still to be folded.
    if flags & _DEACTIVATED:
        service.deactivated = _DEACTIVATIONS.validate_json(state[end:], strict=True)
    elif not row.active:
        service.deactivated = None
    return service


def _unpack_rare(service: Service, state: bytes, openings: int, alert_bytes: int) -> None:
    alert = state[8 * openings :][:alert_bytes]
    mute = state[8 * openings + alert_bytes :]
    service.openings = struct.unpack_from(f"<{openings}q", state)
    service.alert = _ALERTS.validate_json(alert, strict=True) if alert else None
    service.mute = _MUTES.validate_json(mute, strict=True) if mute else None


def _pack_ring(ring: Ring) -> bytes:
    """Its signs, and behind them its marks where it has any."""
    values = [*ring, *(ring.marks or ())]
    return struct.pack(f"<{len(values)}q", *values)


def _unpack_ring(packed: bytes, signs: int) -> Ring:
    values = struct.unpack(f"<{len(packed) // 8}q", packed)
    return Ring(values[:signs], values[signs:])
