"""The layout of a snapshot file: blocks that say of themselves whether they are whole, and an end that counts them.

    magic    8 bytes, the layout's version, u32, and a checksum of both, u32
    block    section 8 bytes, length u32, checksum u32, payload

The checksum is CRC32C over the block's number, its section, its length and its payload, so that no block can stand in
another's place. The last block is `end` and says how many came before it. A file without it, or with one block that is
not whole, is no snapshot: nothing of it is used, and the one before is.

Sections are named, so that a later release can add one (keys, say). A reader passes over what it does not know; what
must not be passed over raises the version.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import google_crc32c

from medic.errors import MedicError, UnreadableRecordError

LAYOUT_VERSION: Final = 1

BLOCK_BYTES_MAX: Final = 64 << 20
"""No block is as long: a length beyond it is damage, and not asked of the memory."""

_MAGIC: Final = struct.Struct("<8sII")
_VERSIONED: Final = struct.Struct("<8sI")
_NAME: Final = b"MEDICSNP"
_HEAD: Final = struct.Struct("<8sII")
_NUMBERED: Final = struct.Struct("<Q8sI")
_END: Final = b"end"
_COUNT: Final = struct.Struct("<Q")


class DamagedSnapshotError(MedicError):
    """The file is not a whole snapshot; the one before it is to be used."""


class BlockWriter:
    """Makes the bytes of a snapshot, block by block. Knows no file."""

    def __init__(self) -> None:
        self._blocks = 0

    @staticmethod
    def begin() -> bytes:
        """What stands before the first block."""
        return _MAGIC.pack(_NAME, LAYOUT_VERSION, google_crc32c.value(_VERSIONED.pack(_NAME, LAYOUT_VERSION)))

    def block(self, section: bytes, payload: bytes) -> bytes:
        """The next block. The checksum costs some 0.1 ms a megabyte."""
        head = _HEAD.pack(section, len(payload), _checksum(self._blocks, section, payload))
        self._blocks += 1
        return head + payload

    def end(self) -> bytes:
        """The last block."""
        return self.block(_END, _COUNT.pack(self._blocks))


def read_blocks(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Section and payload of each block but the last, in order. What was yielded counts only if no error follows.

    Raises:
        DamagedSnapshotError: something is missing or was changed.
        UnreadableRecordError: a later release wrote it.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        _require_version(file)
        number = 0
        while True:
            section, payload = _read_block(file, number)
            if section == _END:
                if payload != _COUNT.pack(number) or file.read(1):
                    raise DamagedSnapshotError(f"its end does not fit its {number} blocks")
                return
            yield section, payload
            number += 1


def _require_version(file: BinaryIO) -> None:
    begin = file.read(_MAGIC.size)
    if len(begin) < _MAGIC.size:
        raise DamagedSnapshotError("it has no beginning")
    name, version, checksum = _MAGIC.unpack(begin)
    if name != _NAME or google_crc32c.value(_VERSIONED.pack(name, version)) != checksum:
        raise DamagedSnapshotError("its beginning is damaged")
    if version != LAYOUT_VERSION:
        raise UnreadableRecordError(f"a snapshot of version {version}; this Medic reads {LAYOUT_VERSION}")


def _read_block(file: BinaryIO, number: int) -> tuple[bytes, bytes]:
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise DamagedSnapshotError(f"it ends before block {number}")
    padded, length, checksum = _HEAD.unpack(head)
    section = padded.rstrip(b"\0")
    payload = file.read(length) if length <= BLOCK_BYTES_MAX else b""
    if len(payload) < length or _checksum(number, section, payload) != checksum:
        raise DamagedSnapshotError(f"block {number} is damaged")
    return section, payload


def _checksum(number: int, section: bytes, payload: bytes) -> int:
    head = google_crc32c.value(_NUMBERED.pack(number, section, len(payload)))
    return int(google_crc32c.extend(head, payload))
