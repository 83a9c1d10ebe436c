"""The layout of a journal file: a header, then frames that say of themselves whether they are whole.

A file begins with a header of `HEADER_BYTES`. The rest is frames, one a record, without a byte between them:

    word     u32   bits 0 to 23: length of the record; bit 30: the next frame is of the same turn; bit 31: the mark, all
                   before this was synced when it was written; the others 0
    checksum u32   CRC32C over journal id, shard, word, position and record
    record         1 to RECORD_BYTES_MAX bytes, as medic.store.codec writes them

A position counts the bytes of frames over all files of the journal, headers left out, so that it grows with each record
and leads to its place on the disk by a subtraction.

The checksum covers more than the record. With the position in it, a frame that an old file left behind on the disk is
no frame here; with the journal's id in it, which nobody outside knows, no run_id that a client makes up can be taken
for a frame while a reader looks for the next whole one behind a damaged place.

The mark tells a torn tail from damage. After a crash, the frames behind the last sync may be cut, missing in the
middle, or half old and half new; nobody was told that they are safe, so the journal ends at the first of them that is
not whole. A damaged place with a marked frame anywhere behind it was once synced, and then lost: that is reported,
and reading goes on at the next whole frame. Without the mark both look alike, and a reader either drops what was safe
or keeps what never was.

Bit 30 keeps a turn together. What an actor decides in one turn is several records (the alert is closed, its end is to
be told), each true only with the others. They are sealed in one go and so are in one commit, but a crash may leave the
first of them on the disk and not the last; an opening then cuts all of them off (`tail.py`). A record alone, which
nearly every heartbeat is, has the bit clear. So have all frames of releases that did not know the bit: each was a turn
of its own to them, and is read as one. Those releases in turn look at no bit but the mark, so they read these frames.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import google_crc32c

RECORD_BYTES_MAX: Final = 1 << 20
"""The longest record. Bounds of HTTP keep each below a tenth of it; a reader may have to hold one as a whole."""

BLOCK_BYTES: Final = 4 << 20
"""How much of a file is in memory at once while it is read."""

HEADER_BYTES: Final = 64
FRAME_HEAD_BYTES: Final = 8
_FRAME_BYTES_MAX: Final = FRAME_HEAD_BYTES + RECORD_BYTES_MAX

SYNCED_BEFORE: Final = 1 << 31
MORE_FOLLOWS: Final = 1 << 30
_LENGTH: Final = 0x00FF_FFFF

_HEADER: Final = struct.Struct("<8sHHIQ32s4xI")
_MAGIC: Final = b"MEDICJNL"
_FILE_VERSION: Final = 1
_HEAD: Final = struct.Struct("<II")
_WORD: Final = struct.Struct("<I")
_STAMP: Final = struct.Struct("<IQ")
_extend: Final = google_crc32c.extend

# What a frame can begin with: a length up to RECORD_BYTES_MAX, its bits, a checksum, a record's version. Not zeros.
_CANDIDATE: Final = re.compile(rb"(?s)..[\x00-\x10][\x00\x40\x80\xc0]....[\x01-\x0f]")


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What a journal file says of itself.

    Attributes:
        journal_id: 32 hexadecimal digits, the same in all files of a journal.
        shard: Whose journal it is.
        generation: Grows by one with each file. Where two files claim the same positions, the later one is right.
        start: The position at which its first frame begins.
    """

    journal_id: str
    shard: int
    generation: int
    start: int

    def pack(self) -> bytes:
        """The header as it stands in the file."""
        head = _HEADER.pack(
            _MAGIC, _FILE_VERSION, self.shard, self.generation, self.start, self.journal_id.encode("ascii"), 0
        )
        return head[:-4] + _WORD.pack(google_crc32c.value(head[:-4]))


def read_header(head: bytes) -> FileHeader | None:
    """The header of a file that begins with `head`, or None where it is damaged or no journal's."""
    if len(head) < _HEADER.size:
        return None
    magic, version, shard, generation, start, journal_id, checksum = _HEADER.unpack_from(head)
    if magic != _MAGIC or version != _FILE_VERSION or google_crc32c.value(head[: _HEADER.size - 4]) != checksum:
        return None
    return FileHeader(journal_id=journal_id.decode("ascii"), shard=shard, generation=generation, start=start)


def seed_of(journal_id: str, shard: int) -> int:
    """Where the checksum of every frame of this journal begins."""
    return int(google_crc32c.value(f"{journal_id}/{shard}".encode("ascii")))


def seal(seed: int, start: int, record: bytes, bits: int = 0) -> bytes:
    """The head of the frame that begins at the position `start` and holds `record`."""
    word = len(record) | bits
    return _HEAD.pack(word, _extend(seed, _STAMP.pack(word, start) + record))


class Frame(NamedTuple):
    """A whole frame.

    Attributes:
        end: The position of its record.
        marked: Whether everything before it was synced when it was written.
        record: What it holds.
        more_follows: Whether the next frame is of the same turn.
    """

    end: int
    marked: bool
    record: bytes
    more_follows: bool = False


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch of a journal, from one position to another, in which no frame is whole."""

    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.end - self.start} bytes at position {self.start}"


class Pending:
    """Frames that were sealed and not yet handed to a file. Positions are assigned here.

    Attributes:
        newest: The position of the newest record.
        taken: The position up to which the frames were taken; `newest` where none are here.
    """

    __slots__ = ("_frames", "_seed", "newest", "taken")

    def __init__(self, seed: int, newest: int) -> None:
        self._seed = seed
        self._frames = bytearray()
        self.newest = self.taken = newest

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, record: bytes) -> int:
        """Seal a record that is a turn of its own behind the others and return its position."""
        start = self.newest
        length = len(record)
        checksum = _extend(self._seed, _STAMP.pack(length, start) + record)
        self._frames += _HEAD.pack(length, checksum) + record
        self.newest = end = start + FRAME_HEAD_BYTES + length
        return end

    def add_turn(self, records: Sequence[bytes]) -> list[int]:
        """Seal the records of one turn behind the others and return their positions: they survive together or not."""
        seed, stamp, head, extend = self._seed, _STAMP.pack, _HEAD.pack, _extend
        frames, end, left = self._frames, self.newest, len(records)
        ends: list[int] = []
        for record in records:
            left -= 1
            word = len(record) | MORE_FOLLOWS if left else len(record)
            frames += head(word, extend(seed, stamp(word, end) + record)) + record
            end += FRAME_HEAD_BYTES + len(record)
            ends.append(end)
        self.newest = end
        return ends

    def add_many(self, records: Sequence[bytes]) -> range:
        """Seal records of one length behind the others, each a turn of its own, and return their positions."""
        length = len(records[0])
        stride = FRAME_HEAD_BYTES + length
        starts = range(self.newest, self.newest + stride * len(records), stride)
        seed, stamp, head, extend = self._seed, _STAMP.pack, _HEAD.pack, _extend
        frames: list[bytes] = []
        for start, record in zip(starts, records, strict=True):
            frames += (head(length, extend(seed, stamp(length, start) + record)), record)
        self._frames += b"".join(frames)
        self.newest = starts.stop
        return range(starts.start + stride, starts.stop + stride, stride)

    def begin_at(self, position: int) -> None:
        """Let the next frame begin at the position. Only while none are here."""
        self.newest = self.taken = position

    def take(self, synced: int) -> bytes:
        """All frames, to be written next. They are marked if everything before them is synced."""
        frames = bytes(self._frames)
        start = self.newest - len(frames)
        self._frames = bytearray()
        self.taken = self.newest
        return mark(self._seed, start, frames) if frames and synced >= start else frames


def mark(seed: int, start: int, frames: bytes) -> bytes:
    """The frames, which begin at position `start`, with the first one marked."""
    word = _WORD.unpack_from(frames)[0]
    record = frames[FRAME_HEAD_BYTES : FRAME_HEAD_BYTES + (word & _LENGTH)]
    head = seal(seed, start, record, SYNCED_BEFORE | (word & MORE_FOLLOWS))
    return head + frames[FRAME_HEAD_BYTES:]


ReadAt = Callable[[int, int], bytes]
"""Up to so many bytes (second) of frames from a position (first); fewer only where there are no more."""


def scan(read_at: ReadAt, seed: int, start: int, end: int) -> Iterator[Frame | Damage]:
    """Everything between two positions, in order. `start` must be where a frame begins or damage was.

    Holds at most `BLOCK_BYTES` and one frame. Costs about a microsecond a frame.
    """
    block, base, place = b"", start, 0
    damaged_from: int | None = None
    wanted = end
    while base + place < end:
        at_end = base + len(block) >= end
        if len(block) - place <= _FRAME_BYTES_MAX and not at_end:
            more = read_at(base + len(block), min(BLOCK_BYTES, end - base - len(block)))
            block, base, place = block[place:] + more, base + place, 0
            end = end if more else base + len(block)
            continue
        if damaged_from is None:
            frame = _frame_at(seed, block, place, base + place)
            if frame is not None:
                yield frame
                place = frame.end - base
                continue
            damaged_from = base + place
            place += 1
        limit = len(block) if at_end else len(block) - _FRAME_BYTES_MAX
        place = _next_whole(seed, block, place, limit, base)
        if place < limit:
            yield Damage(damaged_from, base + place)
            damaged_from = None
    # What is missing at the end, because the files are shorter than they should be, is damage like any other.
    if damaged_from is not None or end < wanted:
        yield Damage(end if damaged_from is None else damaged_from, wanted)


def _frame_at(seed: int, block: bytes, place: int, position: int) -> Frame | None:
    if len(block) - place <= FRAME_HEAD_BYTES:
        return None
    word, checksum = _HEAD.unpack_from(block, place)
    length = word & _LENGTH
    record = block[place + FRAME_HEAD_BYTES : place + FRAME_HEAD_BYTES + length]
    if not 0 < length <= RECORD_BYTES_MAX or len(record) < length:
        return None
    if google_crc32c.extend(seed, _STAMP.pack(word, position) + record) != checksum:
        return None
    end = position + FRAME_HEAD_BYTES + length
    return Frame(end, word & SYNCED_BEFORE != 0, record, word & MORE_FOLLOWS != 0)


def _next_whole(seed: int, block: bytes, place: int, limit: int, base: int) -> int:
    """Where the next whole frame of the block begins, or `limit`."""
    while place < limit:
        candidate = _CANDIDATE.search(block, place)
        if candidate is None or candidate.start() >= limit:
            return limit
        place = candidate.start()
        if _frame_at(seed, block, place, base + place) is not None:
            return place
        place += 1
    return limit
