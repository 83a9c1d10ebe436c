"""Rows of heartbeats, read back from the bytes as PostgreSQL reads them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medic.core.effects import EndMute, RecordHeartbeat
from medic.core.status import HeartbeatStatus
from medic.core.units import DAY_MS
from medic.store.codec import PLAIN_HEARTBEAT_BYTES, RECORD_VERSION, decode, encode, is_plain_heartbeat
from medic.store.postgres.errors import RowRefusedError
from medic.store.tables.heartbeat_rows import HEARTBEAT_COLUMNS, HeartbeatRows
from tests import strategies

THE_YEAR_2000_MS = 946_684_800_000

PLAIN = RecordHeartbeat(7, 1_790_000_000_000, 1_790_000_000_000, 9, HeartbeatStatus.UP, "UP")


def rows_in(packed):
    """The rows' fields, each as bytes or None, by the rules of the binary format and nothing else."""
    rows, place = [], 0
    while place < len(packed):
        (count,) = struct.unpack_from(">h", packed, place)
        place += 2
        fields = []
        for _ in range(count):
            (length,) = struct.unpack_from(">i", packed, place)
            place += 4
            fields.append(None if length < 0 else bytes(packed[place : place + length]))
            place += max(0, length)
        rows.append(fields)
    return rows


def fields_of(heartbeat):
    def number(value):
        return struct.pack(">q", value)

    def time(at):
        return number((at - THE_YEAR_2000_MS) * 1000)

    said = heartbeat.said_at
    return [
        number(heartbeat.heartbeat_id),
        time(heartbeat.at),
        heartbeat.status.encode(),
        number(heartbeat.service_id),
        None if heartbeat.run_id is None else heartbeat.run_id.encode(),
        None if said is None else time(said),
    ]


plain_heartbeats = st.builds(
    lambda heartbeat, kind: RecordHeartbeat(
        heartbeat.service_id, heartbeat.at, heartbeat.sighted, heartbeat.heartbeat_id, kind, kind.value
    ),
    strategies.heartbeats,
    st.sampled_from(HeartbeatStatus),
)


@given(st.lists(plain_heartbeats | strategies.effects, max_size=8))
def test_rows_say_what_the_records_say_in_their_order_and_the_rest_is_handed_on(effects):
    rows = HeartbeatRows()
    others = []

    def add_other(record):
        effect = decode(record) if isinstance(record, bytes) else record
        if isinstance(effect, RecordHeartbeat):
            rows.add(effect)
        else:
            others.append(effect)

    rows.add_records(
        [effect if number % 3 == 0 else encode(effect) for number, effect in enumerate(effects)], add_other
    )
    heartbeats = [effect for effect in effects if isinstance(effect, RecordHeartbeat)]
    assert rows_in(rows.packed) == [fields_of(heartbeat) for heartbeat in heartbeats]
    assert rows.count == len(heartbeats)
    assert rows.days == {heartbeat.at // DAY_MS for heartbeat in heartbeats}
    assert rows.heard == {heartbeat.service_id for heartbeat in heartbeats}
    assert others == [effect for effect in effects if not isinstance(effect, RecordHeartbeat)]


@given(strategies.effects | plain_heartbeats)
def test_only_a_plain_heartbeat_is_taken_for_one(effect):
    record = encode(effect)
    is_plain = len(record) == PLAIN_HEARTBEAT_BYTES and is_plain_heartbeat(record)
    assert is_plain == (
        isinstance(effect, RecordHeartbeat)
        and effect.status == effect.kind.value
        and (effect.run_id, effect.said_at, effect.mark, effect.discount) == (None, None, 0, None)
    )


def test_a_record_of_another_version_or_of_a_kind_to_come_is_left_to_the_decoder():
    record = encode(PLAIN)
    assert is_plain_heartbeat(record)
    assert not is_plain_heartbeat(bytes((RECORD_VERSION + 1,)) + record[1:])
    kind_at = struct.calcsize("<BBQqqQ")
    assert not is_plain_heartbeat(record[:kind_at] + b"\xf0" + record[kind_at + 1 :])


@pytest.mark.parametrize("heartbeat_id", [1 << 63, (1 << 64) - 1])
def test_a_number_that_no_column_holds_is_refused_as_postgresql_would(heartbeat_id):
    for status in ("UP", "well"):
        record = encode(RecordHeartbeat(7, 1, 1, heartbeat_id, HeartbeatStatus.UP, status))
        rows = HeartbeatRows()
        with pytest.raises(RowRefusedError) as refused:
            rows.add_records([record], lambda other, rows=rows: rows.add(decode(other)))
        assert refused.value.sqlstate == "22003"


def test_there_are_as_many_fields_as_columns():
    rows = HeartbeatRows()
    rows.add(PLAIN)
    rows.add_records([encode(PLAIN), encode(EndMute(1, 2, 3, ""))], lambda _record: None)
    assert [len(row) for row in rows_in(rows.packed)] == [len(HEARTBEAT_COLUMNS)] * 2
