"""The file of a backup: a tar archive of four members, in this order, each exactly once.

    database.dump   pg_dump's custom format
    audit-heads     what the data directory knew of the audit's chain
    manifest.json   what is in the other two, and of which Medic
    SHA256SUMS      of these three, as `sha256sum -c` reads it

A tar archive, so that a backup can be opened on a day on which there is no Medic: `tar -xf FILE`, `sha256sum -c
SHA256SUMS`, `pg_restore database.dump`.

A backup that is half there, cut, or in which anything was changed must be refused, and not by luck. So it is not read
as tar readers read, who pass over what they do not know: `read_archive` goes through all of it and takes nothing but
what `write_archive` would have written. Each header has to be the one that its name, length and time make; each
member's content has its checksum; what fills the last block is zeros; and behind the end there is nothing.

How long the dump will be is not known when it is begun. Its header is written last, over zeros, so a file of which the
writing was cut short begins with no header, whatever follows.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import io
import os
import secrets
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from medic.core.units import InstantMs
from medic.errors import ConfigurationError, Fault
from medic.store.journal.files import sync_directory

DUMP: Final = "database.dump"
HEADS: Final = "audit-heads"
MANIFEST: Final = "manifest.json"
SUMS: Final = "SHA256SUMS"

PORTION_BYTES: Final = 1 << 20
"""How much of the dump is in memory at once."""

LEFT_OVER_SECONDS: Final = 86_400.0
"""A file that nobody wrote to for so long is no backup in the making."""

SMALL_BYTES_MAX: Final = 4 << 20
"""The longest of the other members: heads of the audit's chain are 800 kB at most."""

_BLOCK: Final = tarfile.BLOCKSIZE
_END: Final = bytes(2 * _BLOCK)
_MODE: Final = 0o600


class DamagedBackupError(ConfigurationError):
    """The file is no backup, or not all of one as it was written."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__((Fault(str(path), f"is not a whole backup of Medic: {why}. Nothing was changed"),))


@dataclass(frozen=True, slots=True)
class Archive:
    """A backup that was read through and is whole.

    Attributes:
        path: Its file.
        manifest, heads: Two of its members.
        dump_at, dump_bytes: Where in the file the dump is.
    """

    path: Path
    manifest: bytes
    heads: bytes
    dump_at: int
    dump_bytes: int

    def portions(self) -> Iterator[bytes]:
        """The dump. Blocks."""
        with self.path.open("rb") as file:
            file.seek(self.dump_at)
            left = self.dump_bytes
            while left and (portion := file.read(min(left, PORTION_BYTES))):
                left -= len(portion)
                yield portion


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` at the end of the block, durably; mode 0600. Blocks.

    Left by an exception, the block leaves what was there before.

    Raises:
        OSError: it cannot be written.
    """
    if path.exists() and not path.is_file():
        # A name in /dev, most likely: a file in its place would be missed by the whole machine.
        raise OSError(errno.EINVAL, "is there already, and is not a file")
    _remove_left_over(path)
    # Not the process id: in a container the next backup may well have the one of a backup that was killed.
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.unfinished")
    fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    try:
        with os.fdopen(fd, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise
    sync_directory(path.absolute().parent)


def _remove_left_over(path: Path) -> None:
    """Remove what backups to that name left that were killed, so that they do not fill the disk one by one."""
    for file in path.parent.glob(f".{glob.escape(path.name)}.*.unfinished"):
        with suppress(OSError):
            if time.time() - file.stat().st_mtime > LEFT_OVER_SECONDS:
                file.unlink()


def write_archive(
    file: BinaryIO, *, at: InstantMs, dump: Iterator[bytes], heads: Callable[[], bytes], manifest: Callable[[], bytes]
) -> None:
    """Write all of it. Blocks.

    Args:
        file: Empty, and where one can go back.
        at: The time of its members.
        dump: Taken first, in portions.
        heads: Asked for afterwards.
        manifest: Asked for last.

    Raises:
        OSError: it cannot be written.
    """
    sums: list[str] = []
    file.write(bytes(_BLOCK))
    digest, size = hashlib.sha256(), 0
    for portion in dump:
        file.write(portion)
        digest.update(portion)
        size += len(portion)
    file.write(_padding(size))
    sums.append(_sum_line(digest.hexdigest(), DUMP))
    for name, content in ((HEADS, heads()), (MANIFEST, manifest())):
        _write_small(file, name, content, at)
        sums.append(_sum_line(hashlib.sha256(content).hexdigest(), name))
    _write_small(file, SUMS, "".join(sums).encode("ascii"), at)
    file.write(_END)
    # The dump is on its way to the disk before what makes it count.
    file.flush()
    os.fsync(file.fileno())
    file.seek(0)
    file.write(_header(DUMP, size, at))
    file.seek(0, io.SEEK_END)


def read_archive(path: Path) -> Archive:
    """Go through all of a backup. Blocks, for as long as reading the file takes.

    Raises:
        DamagedBackupError: it is none, or not whole.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        reading = _Reading(path, file)
        dump_bytes = reading.begin(DUMP)
        digest = reading.digest(dump_bytes)
        sums = [_sum_line(digest, DUMP)]
        small: dict[str, bytes] = {}
        for name in (HEADS, MANIFEST, SUMS):
            content = small[name] = reading.small(name)
            sums.append(_sum_line(hashlib.sha256(content).hexdigest(), name))
        if small[SUMS] != "".join(sums[:-1]).encode("ascii"):
            raise DamagedBackupError(path, "its content is not what its checksums say")
        reading.end()
    return Archive(path, small[MANIFEST], small[HEADS], _BLOCK, dump_bytes)


class _Reading:
    """Reads members one after the other, and takes nothing but what is as it would have been written."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file

    def begin(self, name: str) -> int:
        """The length of the next member, which has to be this one."""
        head = self._exactly(_BLOCK)
        try:
            found = tarfile.TarInfo.frombuf(head, "utf-8", "strict")
            written = _header(name, found.size, InstantMs(int(found.mtime) * 1000))
        except (tarfile.HeaderError, ValueError):
            raise self._misplaced(name) from None
        if head != written:
            raise self._misplaced(name)
        return found.size

    def _misplaced(self, name: str) -> DamagedBackupError:
        return DamagedBackupError(self._path, f"{name} does not begin where it should")

    def small(self, name: str) -> bytes:
        """All of the next member, which has to be this one."""
        size = self.begin(name)
        if size > SMALL_BYTES_MAX:
            raise DamagedBackupError(self._path, f"{name} is longer than it can be")
        content = self._exactly(size)
        self._padding(size)
        return content

    def digest(self, size: int) -> str:
        """The checksum of a member's content."""
        digest, left = hashlib.sha256(), size
        while left:
            portion = self._exactly(min(left, PORTION_BYTES))
            digest.update(portion)
            left -= len(portion)
        self._padding(size)
        return digest.hexdigest()

    def end(self) -> None:
        """Return where the file ends as it should."""
        if self._file.read(len(_END) + 1) != _END:
            raise DamagedBackupError(self._path, "it does not end where it should")

    def _exactly(self, size: int) -> bytes:
        content = self._file.read(size)
        if len(content) < size:
            raise DamagedBackupError(self._path, "it was cut short")
        return content

    def _padding(self, size: int) -> None:
        padding = _padding(size)
        if self._exactly(len(padding)) != padding:
            raise DamagedBackupError(self._path, "there is something between its members")


def _write_small(file: BinaryIO, name: str, content: bytes, at: InstantMs) -> None:
    file.write(_header(name, len(content), at) + content + _padding(len(content)))


def _header(name: str, size: int, at: InstantMs) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, _MODE, at // 1000
    return member.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


def _sum_line(digest: str, name: str) -> str:
    return f"{digest}  {name}\n"
