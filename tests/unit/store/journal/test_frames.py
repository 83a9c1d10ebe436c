from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medic.store.journal import frames
from medic.store.journal.frames import (
    FRAME_HEAD_BYTES,
    RECORD_BYTES_MAX,
    Damage,
    FileHeader,
    Frame,
    Pending,
    mark,
    read_header,
    scan,
    seed_of,
)

JOURNAL_ID = "0123456789abcdef0123456789abcdef"
SEED = seed_of(JOURNAL_ID, 0)
START = 1_000

records = st.lists(st.binary(min_size=1, max_size=60).map(lambda tail: b"\x01" + tail), min_size=1, max_size=12)


def framed(contents: list[bytes], start: int = START) -> tuple[bytes, list[int]]:
    pending = Pending(SEED, start)
    ends = [pending.add(record) for record in contents]
    return pending.take(synced=-1), ends


def scanned(block: bytes, *, start: int = START, end: int | None = None) -> list[Frame | Damage]:
    def read_at(position: int, most: int) -> bytes:
        return block[position - start : position - start + most]

    return list(scan(read_at, SEED, start, start + len(block) if end is None else end))


@given(records)
def test_frames_come_back_in_order_with_their_positions(contents):
    block, ends = framed(contents)
    assert scanned(block) == [Frame(end, False, record) for end, record in zip(ends, contents, strict=True)]


@given(records)
def test_reading_may_begin_behind_any_record(contents):
    block, ends = framed(contents)
    for count, end in enumerate(ends, start=1):
        rest = scanned(block[end - START :], start=end)
        assert [found.record for found in rest] == contents[count:]


def test_a_batch_is_marked_once_everything_before_it_is_synced():
    pending = Pending(SEED, START)
    pending.add(b"\x01first")
    pending.add(b"\x01second")
    first = pending.take(synced=START)
    pending.add(b"\x01third")
    second = pending.take(synced=START)
    assert [found.marked for found in scanned(first + second)] == [True, False, False]
    assert pending.take(synced=START + 1_000) == b""


@given(records, st.data())
def test_a_flipped_bit_costs_the_frames_it_touches_and_no_other(contents, data):
    block, ends = framed(contents)
    place = data.draw(st.integers(0, len(block) - 1))
    flipped = bytearray(block)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    hit = next(number for number, end in enumerate(ends) if START + place < end)
    starts = [START, *ends]
    expected = [Frame(end, False, record) for end, record in zip(ends, contents, strict=True)]
    expected[hit] = Damage(starts[hit], ends[hit])
    assert scanned(bytes(flipped)) == expected


@given(records, st.data())
def test_a_cut_end_is_damage_from_the_frame_that_was_cut(contents, data):
    block, ends = framed(contents)
    cut = data.draw(st.integers(0, len(block) - 1))
    found = scanned(block[:cut], end=START + len(block))
    whole = [end for end in ends if end <= START + cut]
    reached = whole[-1] if whole else START
    assert [frame.end for frame in found[:-1]] == whole
    assert found[-1] == Damage(reached, START + len(block))


def test_a_frame_of_another_place_or_journal_is_no_frame():
    block, _ = framed([b"\x01old"], start=START + 1)
    assert scanned(block) == [Damage(START, START + len(block))]
    foreign = mark(seed_of("f" * 32, 0), START, framed([b"\x01old"])[0])
    assert scanned(foreign) == [Damage(START, START + len(foreign))]


def test_a_frame_inside_a_record_is_not_taken_for_one_behind_damage():
    inner, _ = framed([b"\x01forged"], start=0)
    block, ends = framed([b"\x01" + inner + b"tail", b"\x01real"])
    broken = b"\xff" + block[1:]
    assert scanned(broken) == [Damage(START, ends[0]), Frame(ends[1], False, b"\x01real")]


def test_zeros_are_no_frames_and_are_passed_over_quickly():
    block, _ = framed([b"\x01kept"])
    real, ends = framed([b"\x01behind"], start=START + len(block) + 3_000_000)
    found = scanned(block + bytes(3_000_000) + real)
    assert [type(one) for one in found] == [Frame, Damage, Frame]
    assert found[-1].end == ends[0]


def test_records_longer_than_a_block_are_read_whole(monkeypatch):
    monkeypatch.setattr(frames, "BLOCK_BYTES", 512)
    contents = [b"\x01" * RECORD_BYTES_MAX, b"\x01tiny", b"\x01" * 3_000]
    block, _ = framed(contents)
    assert [found.record for found in scanned(block)] == contents
    broken = bytearray(block)
    broken[5_000] ^= 1
    assert [type(one) for one in scanned(bytes(broken))] == [Damage, Frame, Frame]


@pytest.mark.parametrize("tail", range(1, 20))
def test_a_tail_shorter_than_a_frame_is_damage(tail):
    block, ends = framed([b"\x01kept"])
    assert scanned(block + b"\x00" * tail)[-1] == Damage(ends[0], ends[0] + tail)


def test_a_header_comes_back_and_a_damaged_one_does_not():
    header = FileHeader(journal_id=JOURNAL_ID, shard=3, generation=7, start=1 << 40)
    packed = header.pack()
    assert len(packed) == frames.HEADER_BYTES
    assert read_header(packed + b"more") == header
    for place in range(len(packed)):
        broken = bytearray(packed)
        broken[place] ^= 0x10
        assert read_header(bytes(broken)) is None
    assert read_header(packed[:-1]) is None


def test_a_frame_costs_eight_bytes_beside_its_record():
    block, _ = framed([b"\x01x"])
    assert len(block) == FRAME_HEAD_BYTES + 2


def test_all_frames_of_a_turn_but_the_last_say_that_more_follows_and_a_mark_leaves_that_be():
    pending = Pending(SEED, START)
    ends = [*pending.add_turn([b"\x01one", b"\x01two", b"\x01three"]), pending.add(b"\x01alone")]
    assert pending.newest == ends[-1]
    for synced, marked in ((-1, False), (START, True)):
        taken = Pending(SEED, START)
        taken.add_turn([b"\x01one", b"\x01two", b"\x01three"])
        taken.add(b"\x01alone")
        assert scanned(taken.take(synced)) == [
            Frame(ends[0], marked, b"\x01one", more_follows=True),
            Frame(ends[1], False, b"\x01two", more_follows=True),
            Frame(ends[2], False, b"\x01three"),
            Frame(ends[3], False, b"\x01alone"),
        ]


def test_a_frame_of_a_turn_is_found_behind_damage():
    pending = Pending(SEED, START)
    ends = pending.add_turn([b"\x01one", b"\x01two", b"\x01three"])
    block = b"\xff" + pending.take(synced=-1)[1:]
    found = [Damage(START, ends[0]), Frame(ends[1], False, b"\x01two", more_follows=True)]
    assert scanned(block)[:2] == found


def test_a_turn_of_one_record_is_the_frame_it_always_was():
    """As releases wrote it that knew no turns: a marked frame and one that is not."""
    pending = Pending(SEED, START)
    ends = [*pending.add_turn([b"\x01first"]), *pending.add_turn([b"\x01second"])]
    block = pending.take(synced=START)
    assert block.hex() == "06000080ce4d0aef0166697273740700000031074d4e017365636f6e64"
    assert scanned(block) == [Frame(ends[0], True, b"\x01first"), Frame(ends[1], False, b"\x01second")]


@given(st.integers(1, 60), st.integers(1, 12))
def test_many_records_of_one_length_are_sealed_as_one_after_the_other(length, count):
    contents = [bytes([1]) * (length - 1) + bytes([number]) for number in range(count)]
    block, ends = framed([b"\x01before", *contents])
    pending = Pending(SEED, START)
    assert [pending.add(b"\x01before"), *pending.add_many(contents)] == ends
    assert pending.newest == ends[-1]
    assert pending.take(synced=-1) == block
