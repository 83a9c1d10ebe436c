"""Effects as the records of a journal, none longer than a reader is ready to hold."""

from __future__ import annotations

from collections.abc import Sequence

from medic.core.effects import Effect
from medic.errors import InvariantError
from medic.store.codec import encode
from medic.store.journal import limits
from medic.store.journal.frames import FRAME_HEAD_BYTES, RECORD_BYTES_MAX


def records_of(effects: Sequence[Effect]) -> list[bytes]:
    """The effects of one turn as records, all of them or none.

    Raises:
        InvariantError: a record is longer than any can be, or all together are longer than any turn.
    """
    records = [encode(effect) for effect in effects]
    length = FRAME_HEAD_BYTES * len(records)
    for record in records:
        if len(record) > RECORD_BYTES_MAX:
            raise too_long(record)
        length += len(record)
    if length > limits.TURN_BYTES_MAX:
        raise InvariantError(f"a turn of {length} bytes; {limits.TURN_BYTES_MAX} is the most")
    return records


def too_long(record: bytes) -> InvariantError:
    """What is to be raised of a record that is longer than any can be."""
    return InvariantError(f"a record of {len(record)} bytes; {RECORD_BYTES_MAX} is the most")
