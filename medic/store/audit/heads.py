"""Heads of the audit's chain, kept in the data directory, so that a chain rewritten or cut in PostgreSQL is found out.

A line a day, and the newest. A head that the database contradicts stays for ever, so that what was done to the chain is
not covered by what comes after: remove the file (`audit-heads`) to accept the database as it is.

Checkpoints stand in it as well, those that Medic made: whoever can write SQL can write a row that says the chain begins
later, and remove what was before. One that is not in this file counts for nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from medic.core.units import DAY_MS, InstantMs, isoformat
from medic.store.audit.chain import Head
from medic.store.journal.files import sync_directory

_log = structlog.get_logger(__name__)

FILE_NAME: Final = "audit-heads"

HEADS_MAX: Final = 4_000
"""Heads kept, and checkpoints: ten years of days, 400 kB each."""


_CONTRADICTED: Final = "contradicted"
_CHECKPOINT: Final = "checkpoint"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A place up to which Medic removed entries and seals, the hash of the last of them, and when."""

    head: Head
    at: InstantMs


@dataclass(frozen=True, slots=True)
class _Kept:
    head: Head
    at: InstantMs
    remark: str = ""

    @property
    def is_pinned(self) -> bool:
        return self.remark == _CONTRADICTED

    def line(self) -> str:
        return f"{self.head.place} {self.head.hash.hex()} {self.at} {isoformat(self.at)} {self.remark}".rstrip() + "\n"


class AuditHeads:
    """The file. Reads and writes block: in a thread, please; in several at a time, they wait for each other.

    Args:
        folder: The data directory.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._kept: list[_Kept] = []
        self._checkpoints: list[_Kept] = []
        self._was_read = False
        self._one_at_a_time = threading.RLock()

    def read(self) -> Sequence[Head]:
        """Every head that is kept, in the order they were; none where there is no file.

        Raises:
            ValueError: the file is no list of heads.
            OSError: it cannot be read.
        """
        with self._one_at_a_time:
            try:
                lines = self._path.read_text("ascii").splitlines()
            except FileNotFoundError:
                lines = []
            found = [_read_line(line) for line in lines]
            self._kept = [kept for kept in found if kept.remark != _CHECKPOINT]
            self._checkpoints = [kept for kept in found if kept.remark == _CHECKPOINT]
            self._was_read = True
            return [kept.head for kept in self._kept]

    @property
    def checkpoints(self) -> Sequence[Checkpoint]:
        """Where Medic itself let the chain begin, in the order it did."""
        return [Checkpoint(kept.head, kept.at) for kept in self._checkpoints]

    @property
    def newest(self) -> Head | None:
        """The last one."""
        return self._kept[-1].head if self._kept else None

    @property
    def expected(self) -> Head | None:
        """The last one, where the chain should have it: Medic has not removed it, nor found it contradicted."""
        if not self._kept or self._kept[-1].is_pinned:
            return None
        newest = self._kept[-1].head
        return None if newest in {kept.head for kept in self._checkpoints} else newest

    def pin_newest(self) -> None:
        """Keep the last one for ever: the database contradicts it."""
        last = self._kept[-1]
        self._kept[-1] = _Kept(last.head, last.at, _CONTRADICTED)

    def begins_day(self, at: InstantMs) -> bool:
        """Whether a head of this instant would be the first of its UTC day."""
        return not self._kept or self._kept[-1].at // DAY_MS != at // DAY_MS

    def keep(self, head: Head, at: InstantMs) -> None:
        """Write the chain's newest head down, durably."""
        with self._one_at_a_time:
            replaces = self._kept and not self.begins_day(at) and not self._kept[-1].is_pinned
            kept = [*(self._kept[:-1] if replaces else self._kept), _Kept(head, at)][-HEADS_MAX:]
            self._write([*self._checkpoints, *kept])
            self._kept = kept

    def keep_checkpoint(self, head: Head, at: InstantMs) -> None:
        """Write down, durably and before anything is removed, that entries up to this head are.

        Raises:
            ValueError: the file is no list of heads.
            OSError: it cannot be read or written.
        """
        with self._one_at_a_time:
            if not self._was_read:
                self.read()
            checkpoints = [*self._checkpoints, _Kept(head, at, _CHECKPOINT)][-HEADS_MAX:]
            self._write([*checkpoints, *self._kept])
            self._checkpoints = checkpoints

    def _write(self, lines: Sequence[_Kept]) -> None:
        unfinished = self._path.with_suffix(".unfinished")
        with unfinished.open("w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.writelines(entry.line() for entry in lines)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._path)
        sync_directory(self._path.parent)


def read_heads(folder: Path) -> bytes:
    """The file as it is, for a backup; empty where there is none. Blocks."""
    try:
        return (folder / FILE_NAME).read_bytes()
    except FileNotFoundError:
        return b""


def merged_heads(before: bytes, after: bytes) -> bytes:
    """The file for a copy of the chain that was made between the two readings: its heads, and every checkpoint.

    Heads that are newer than the copy would call it cut. A checkpoint that the copy does not have says nothing.
    """
    checkpoint = f" {_CHECKPOINT}".encode("ascii")
    checkpoints = [line for line in after.splitlines(keepends=True) if line.rstrip().endswith(checkpoint)]
    heads = [line for line in before.splitlines(keepends=True) if not line.rstrip().endswith(checkpoint)]
    return b"".join([*checkpoints, *heads])


def _read_line(line: str) -> _Kept:
    words = line.split()
    if len(words) not in {4, 5} or words[4:] not in ([], [_CONTRADICTED], [_CHECKPOINT]):
        raise ValueError(f"{FILE_NAME} has a line that is no head: {line[:100]}")
    return _Kept(Head(int(words[0]), bytes.fromhex(words[1])), InstantMs(int(words[2])), "".join(words[4:]))
