"""Heartbeats as rows of `"heartbeatEvents"`, in the very bytes that a binary COPY sends.

The problem. At 10 000 heartbeats a second the writer runs on the same core as intake, and every microsecond a row is a
hundredth of that core. Decoded into an effect, made a tuple and encoded again by the driver, a row cost three to four.

The way. Nearly every record is a plain heartbeat of one length, which `medic.store.codec` unpacks with one struct. One
more struct packs the row: numbers are big-endian, each behind its length in bytes; a NULL has the length -1; the time
is in microseconds since 2000. What is the same in every row of a kind (lengths, the status) is packed once. Any other
heartbeat takes the long way, through its effect.

Numbers are in docs/decisions/0013-the-cost-of-a-turn.md.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final

from medic.core.effects import Effect, RecordHeartbeat
from medic.core.units import DAY_MS, InstantMs, ServiceId
from medic.store.codec import KIND_WORDS, PLAIN_HEARTBEAT_BYTES, is_plain_heartbeat, unpack_plain_heartbeat
from medic.store.postgres.errors import RowRefusedError

HEARTBEAT_COLUMNS: Final = ("heartbeat_id", "time", "status", "service_id", "run_id", "said_at")

_2000_MS: Final = 946_684_800_000
"""PostgreSQL counts time from 2000-01-01."""

_NUMBER: Final = struct.Struct(">iq")
_LENGTH: Final = struct.Struct(">i")
_NULL: Final = _LENGTH.pack(-1)
_FIELDS: Final = struct.pack(">h", len(HEARTBEAT_COLUMNS))
_BEGINNING: Final = _FIELDS + _LENGTH.pack(8)
_EIGHT: Final = _LENGTH.pack(8)
_END: Final = _NULL + _NULL
_OUT_OF_RANGE: Final = "22003"

Pack = Callable[[bytes, int, bytes, int, bytes, int, bytes], bytes]


def _text(said: str) -> bytes:
    encoded = said.encode()
    return _LENGTH.pack(len(encoded)) + encoded


def _plain_row(word: str) -> tuple[Pack, bytes]:
    """What packs the row of a plain heartbeat of that word, and what stands in it between time and service_id."""
    between = _text(word) + _EIGHT
    return struct.Struct(f">{len(_BEGINNING)}sq{len(_EIGHT)}sq{len(between)}sq{len(_END)}s").pack, between


_PLAIN_ROWS: Final = tuple(_plain_row(word) for word in KIND_WORDS)
"""By the number that the codec gives a kind."""


class HeartbeatRows:
    """The rows of a batch's heartbeats, in order.

    Attributes:
        packed: The rows, as COPY sends them.
        count: How many they are.
        days: Days since 1970 on which they came.
        heard: The services that they are of.
    """

    __slots__ = ("count", "days", "heard", "packed")

    def __init__(self) -> None:
        self.packed = bytearray()
        self.count = 0
        self.days: set[int] = set()
        self.heard: set[ServiceId] = set()

    def add(self, effect: RecordHeartbeat) -> None:
        """Take any heartbeat.

        Raises:
            RowRefusedError: no row can say what it says.
        """
        try:
            row = b"".join(
                (
                    _FIELDS,
                    _NUMBER.pack(8, effect.heartbeat_id),
                    _NUMBER.pack(8, _time_of(effect.at)),
                    _text(effect.status),
                    _NUMBER.pack(8, effect.service_id),
                    _NULL if effect.run_id is None else _text(effect.run_id),
                    _NULL if effect.said_at is None else _NUMBER.pack(8, _time_of(effect.said_at)),
                )
            )
        except (struct.error, UnicodeEncodeError) as error:
            raise _refusal(error) from error
        self._keep([row])
        self.days.add(effect.at // DAY_MS)
        self.heard.add(effect.service_id)

    def add_records(self, records: Sequence[bytes | Effect], add_other: Callable[[bytes | Effect], None]) -> None:
        """Take the plain heartbeats among these records of the journal; give all others to `add_other`, in their order.

        Costs half a microsecond a heartbeat. This loop is most of what a row costs Medic, so it is written out.

        Raises:
            RowRefusedError: no row can say what one of them says.
        """
        rows: list[bytes] = []
        heard, days = self.heard, self.days
        unpack, plain_rows = unpack_plain_heartbeat, _PLAIN_ROWS
        day_begins = day_ends = 0
        try:
            for record in records:
                if type(record) is not bytes or len(record) != PLAIN_HEARTBEAT_BYTES or not is_plain_heartbeat(record):
                    self._keep(rows)
                    rows = []
                    add_other(record)
                    continue
                _, _, service_id, at, _, heartbeat_id, number, _, _, _ = unpack(record)
                if not day_begins <= at < day_ends:
                    day = at // DAY_MS
                    days.add(day)
                    day_begins, day_ends = day * DAY_MS, (day + 1) * DAY_MS
                heard.add(service_id)
                pack, between = plain_rows[number]
                rows.append(pack(_BEGINNING, heartbeat_id, _EIGHT, (at - _2000_MS) * 1000, between, service_id, _END))
        except struct.error as error:
            raise _refusal(error) from error
        self._keep(rows)

    def _keep(self, rows: list[bytes]) -> None:
        self.packed += b"".join(rows)
        self.count += len(rows)


def _time_of(at: InstantMs) -> int:
    return (at - _2000_MS) * 1000


def _refusal(error: Exception) -> RowRefusedError:
    return RowRefusedError(f"PostgreSQL refuses these rows: {error}", sqlstate=_OUT_OF_RANGE)
