"""The half of the file journal that blocks: files in a directory, opened, read, written, synced. Called in threads.

A journal is a list of extents, each a file and the positions from its start to the start of the next one. The last
one grows. A new one is begun for two reasons:

* The last one is long enough to be a segment. It is synced, and the next record begins an extent more at the end.
  Whoever has no use for old positions any more says so (`discard`), and there is one extent fewer at the beginning.
* The last one cannot be trusted any more, because a write or a sync of it failed: what it holds behind the last good
  sync is then unknown for ever, since a failed fsync may have dropped the pages it could not write, and the next fsync
  would report success without them. The new file begins at the position of that last good sync, repeats from memory
  what came after it, and is whole before it gets its name; from then on the old file ends where the new one begins,
  whatever else it holds.

Either way all but the last extent were synced to their ends, so only the last one can have a torn tail, and an opening
reads no other. And either way an extent begins where a commit does, so that no turn lies in two of them.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from medic.core.effects import Effect
from medic.errors import ConfigurationError, Fault
from medic.ports import Entry, Position, Records
from medic.store.codec import decode
from medic.store.journal.frames import HEADER_BYTES, Damage, FileHeader, Frame, read_header, scan, seed_of
from medic.store.journal.tail import find_end

_log = structlog.get_logger(__name__)

SEGMENT_BYTES: Final = 64 << 20
"""How long a file grows: a minute or two of the promised peak. An opening reads one of them, a deletion frees one."""

READ_FRAMES_BYTES: Final = 8 << 20
"""The most one read takes from the files, however short its records are; but for the rest of the last one's turn."""

_FILE_NAME: Final = re.compile(r"(\d{20})-(\d{6})\.journal")
_IDENTITY: Final = "identity"
_UNFINISHED: Final = "unfinished"
_BEGINNING: Final = Position(0)


class Disk:
    """The calls that may fail under a journal, in one place so that tests can make them fail."""

    def write(self, fd: int, frames: bytes, offset: int) -> None:
        """Write all of it, in as many calls as that takes."""
        view = memoryview(frames)
        while view:
            written = os.pwrite(fd, view, offset)
            view, offset = view[written:], offset + written

    def sync(self, fd: int) -> None:
        """Make what was written outlive a loss of power."""
        os.fdatasync(fd)


@dataclass(frozen=True, slots=True)
class Extent:
    """A file and the position at which its first frame begins. It ends where the next extent starts."""

    path: Path
    start: int
    generation: int


@dataclass(frozen=True, slots=True)
class Opening:
    """What was found when the journal was opened.

    Attributes:
        end: The position at which it ended then.
        torn_bytes: Cut off at the end: written, perhaps in part, and never answered for, unless the disk spoilt it.
        damage: Stretches of the last file that were synced once and cannot be read any more.
    """

    end: int
    torn_bytes: int
    damage: tuple[Damage, ...]


@dataclass(frozen=True, slots=True)
class Reached:
    """How far the files of a journal go that another process may be writing.

    Attributes:
        journal_id: Which one it is.
        position: Whatever was answered for stands before it. Some of what stands there may still be on its way.
        oldest: Where the files begin.
    """

    journal_id: str
    position: Position
    oldest: Position = _BEGINNING


def reached(directory: Path) -> Reached | None:
    """How far the journal in that directory goes, or None where there is none. Changes nothing.

    Raises:
        OSError: it cannot be read.
    """
    try:
        journal_id = (directory / _IDENTITY).read_text("ascii").strip()
    except FileNotFoundError:
        return None
    named = [
        (int(name[2]), int(name[1]), path)
        for path in directory.iterdir()
        if (name := _FILE_NAME.fullmatch(path.name)) is not None
    ]
    if not named:
        return Reached(journal_id, Position(0))
    # The newest is the one that is written, and the last that would ever be deleted.
    _, start, newest = max(named)
    end = start + max(0, newest.stat().st_size - HEADER_BYTES)
    return Reached(journal_id, Position(end), Position(min(start for _, start, _ in named)))


class JournalFiles:
    """The files of one journal. One thread at a time writes; others may read meanwhile.

    Args:
        directory: Made if it is not there, with mode 0700.
        shard: Whose journal it is.
        disk: Where tests put a disk that fails.
        segment_bytes: How long a file grows.

    Raises:
        ConfigurationError: the directory holds what is no journal of this shard.
        OSError: it cannot be read or written.
    """

    def __init__(
        self, directory: Path, *, shard: int = 0, disk: Disk | None = None, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self._directory = directory
        self._disk = disk or Disk()
        self._segment_bytes = segment_bytes
        self.shard = shard
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.journal_id = self._identify()
        self.seed = seed_of(self.journal_id, shard)
        self._reported: dict[int, int] = {}
        self._extents = self._list_extents()
        if not self._extents:
            self._extents = (self._begin_file(0, 0, b""),)
        self._fd = os.open(self._extents[-1].path, os.O_RDWR | os.O_CLOEXEC)
        self.opening, self.end = self._cut_torn_tail()

    @property
    def oldest(self) -> int:
        """Where the journal begins: what ended before it is gone."""
        return self._extents[0].start

    @property
    def segments(self) -> int:
        """How many files hold it."""
        return len(self._extents)

    @property
    def damaged_bytes(self) -> int:
        """How much could not be read, as far as anybody has tried to."""
        return sum(self._reported.values())

    @property
    def unreadable(self) -> list[tuple[Position, Position]]:
        """From where to where that was, in order."""
        return [(Position(start), Position(start + size)) for start, size in sorted(self._reported.items())]

    def close(self) -> None:
        """Give the file back. Does not sync."""
        os.close(self._fd)

    # ------------------------------------------------------------------------------------------------------ writing

    def append(self, frames: bytes, at: int) -> None:
        """Write frames that begin at the position `at`, which is where the last ones ended."""
        if at - self._extents[-1].start >= self._segment_bytes:
            self._disk.sync(self._fd)
            self.begin_anew(at, b"")
        self._disk.write(self._fd, frames, self._offset(self._extents[-1], at))
        self.end = at + len(frames)

    def append_durably(self, frames: bytes, at: int) -> None:
        """Write frames, and make everything appended so far outlive a loss of power."""
        self.append(frames, at)
        self._disk.sync(self._fd)

    def begin_anew(self, start: int, frames: bytes) -> None:
        """Go on in a new file that begins at `start` with `frames`, synced. The old file ends there."""
        last = self._extents[-1]
        extent = self._begin_file(start, last.generation + 1, frames)
        fd = os.open(extent.path, os.O_RDWR | os.O_CLOEXEC)
        os.close(self._fd)
        self._fd = fd
        self._extents = (*(kept for kept in self._extents if kept.start < start), extent)
        self.end = start + len(frames)

    def discard(self, position: int) -> int:
        """Delete the files that hold nothing after `position`; how many positions are gone. Not while one is begun."""
        before = self.oldest
        starts = [extent.start for extent in self._extents[1:]]
        gone = sum(start <= position for start in starts)
        self._extents = self._extents[gone:]
        kept = {extent.path for extent in self._extents}
        for path in self._directory.iterdir():
            # What a later file replaced after a failed sync goes with what is old: nobody reads it either.
            if _FILE_NAME.fullmatch(path.name) is not None and path not in kept:
                path.unlink()
        if gone:
            sync_directory(self._directory)
        return self.oldest - before

    def _begin_file(self, start: int, generation: int, frames: bytes) -> Extent:
        """Make a file under another name, and give it its own once it is whole."""
        unfinished = self._directory / _UNFINISHED
        header = FileHeader(journal_id=self.journal_id, shard=self.shard, generation=generation, start=start)
        fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            self._disk.write(fd, header.pack() + frames, 0)
            self._disk.sync(fd)
        finally:
            os.close(fd)
        path = self._directory / f"{start:020d}-{generation:06d}.journal"
        unfinished.rename(path)
        sync_directory(self._directory)
        return Extent(path, start, generation)

    # ------------------------------------------------------------------------------------------------------ reading

    def read(self, position: int, until: int, *, most: int) -> list[Entry]:
        """Up to `most` records after `position` and not beyond `until`, which are positions of records; whole turns.

        Raises:
            UnreadableRecordError: a whole frame holds what this release does not know.
        """
        return entries_of(self.read_records(position, until, most=most))

    def read_records(self, position: int, until: int, *, most: int) -> Records:
        """The same, not decoded."""
        positions: list[Position] = []
        records: list[bytes | Effect] = []
        enough = position + READ_FRAMES_BYTES
        for found in self.scan(position, until):
            if isinstance(found, Damage):
                self._report(found)
                continue
            positions.append(Position(found.end))
            records.append(found.record)
            if not found.more_follows and (len(records) >= most or found.end >= enough):
                break
        return Records(positions, records)

    def scan(self, position: int, until: int) -> Iterable[Frame | Damage]:
        """Every frame and every damaged stretch between two positions, over all files."""
        extents = self._extents
        for number, extent in enumerate(extents):
            end = extents[number + 1].start if number + 1 < len(extents) else until
            start = max(position, extent.start)
            if start >= min(end, until):
                continue
            fd = os.open(extent.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                yield from self._scan_file(fd, extent, start, min(end, until))
            finally:
                os.close(fd)

    def _scan_file(self, fd: int, extent: Extent, start: int, end: int) -> Iterable[Frame | Damage]:
        def read_at(position: int, most: int) -> bytes:
            return os.pread(fd, most, self._offset(extent, position))

        return scan(read_at, self.seed, start, end)

    @staticmethod
    def _offset(extent: Extent, position: int) -> int:
        return HEADER_BYTES + position - extent.start

    # ------------------------------------------------------------------------------------------------------ opening

    def _identify(self) -> str:
        """The journal's id: as it stands in the directory, or made now."""
        path = self._directory / _IDENTITY
        if path.exists():
            journal_id = path.read_text("ascii").strip()
            if re.fullmatch(r"[0-9a-f]{32}", journal_id):
                return journal_id
        for extent in self._list_extents(check=False):
            header = self._header(extent)
            if header is not None:
                self._write_identity(header.journal_id)
                return header.journal_id
            raise _refusal(f"{self._directory} holds a journal whose id is lost. Restore this directory from a backup.")
        journal_id = uuid.uuid4().hex
        self._write_identity(journal_id)
        return journal_id

    def _write_identity(self, journal_id: str) -> None:
        unfinished = self._directory / _UNFINISHED
        with unfinished.open("w", encoding="ascii") as file:
            file.write(journal_id + "\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._directory / _IDENTITY)
        sync_directory(self._directory)

    def _list_extents(self, *, check: bool = True) -> tuple[Extent, ...]:
        """The files that hold positions of this journal, in order of their positions."""
        named = [
            Extent(path, int(name[1]), int(name[2]))
            for path in self._directory.iterdir()
            if (name := _FILE_NAME.fullmatch(path.name)) is not None
        ]
        extents: list[Extent] = []
        for extent in sorted(named, key=lambda extent: extent.generation):
            if check:
                self._check_header(extent)
            # A later file repeats what an earlier one holds from this position on.
            extents = [*(kept for kept in extents if kept.start < extent.start), extent]
        return tuple(extents)

    @staticmethod
    def _header(extent: Extent) -> FileHeader | None:
        with extent.path.open("rb") as file:
            return read_header(file.read(HEADER_BYTES))

    def _check_header(self, extent: Extent) -> None:
        header = self._header(extent)
        if header is None:
            _log.error("the header of a journal file is damaged; its name says what it held", file=extent.path.name)
        elif (header.journal_id, header.shard, header.start) != (self.journal_id, self.shard, extent.start):
            raise _refusal(
                f"{extent.path} belongs to journal {header.journal_id}, shard {header.shard}; "
                f"this directory is journal {self.journal_id}, shard {self.shard}. Move the file away."
            )

    def _cut_torn_tail(self) -> tuple[Opening, int]:
        """Find where the journal ends, and make the file end there too."""
        last = self._extents[-1]
        size = max(0, os.fstat(self._fd).st_size - HEADER_BYTES)
        written = last.start + size
        end, damage = find_end(self.scan(last.start, written), last.start)
        for stretch in damage:
            self._report(stretch)
        if end < written:
            _log.warning("the journal's torn tail was cut off", bytes=written - end, position=end)
        os.ftruncate(self._fd, HEADER_BYTES + end - last.start)
        os.fsync(self._fd)
        return Opening(end=end, torn_bytes=written - end, damage=damage), end

    def _report(self, stretch: Damage) -> None:
        """Say it once, however often the place is read over."""
        if stretch.start in self._reported:
            return
        self._reported[stretch.start] = stretch.end - stretch.start
        _log.error(
            "the journal is damaged; what is behind the place is read on",
            position=stretch.start,
            bytes=stretch.end - stretch.start,
            files=[extent.path.name for extent in self._files_of(stretch)],
        )

    def _files_of(self, stretch: Damage) -> Sequence[Extent]:
        starts = [extent.start for extent in self._extents[1:]] + [stretch.end + 1]
        return [
            extent
            for extent, end in zip(self._extents, starts, strict=True)
            if extent.start < stretch.end and stretch.start < end
        ]


def entries_of(run: Records) -> list[Entry]:
    """The records of a run, decoded."""
    return [
        Entry(position, decode(record) if isinstance(record, bytes) else record)
        for position, record in zip(run.positions, run.records, strict=True)
    ]


def sync_directory(directory: Path) -> None:
    """Make new names in a directory outlive a loss of power."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _refusal(sentence: str) -> ConfigurationError:
    return ConfigurationError((Fault("MEDIC_DATA_DIR", sentence),))
