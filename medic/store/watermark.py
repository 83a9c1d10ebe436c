"""The last moment at which intake was known to work, kept so that it outlives a `kill -9`.

From it the next start learns for how long Medic was away, and where sighted time goes on (HARD-CASES H1, H2). It is
written several times a second, so it must cost nothing: 32 bytes with a checksum, overwritten in place in two slots by
turns, so that one of them is whole whenever the process dies. They are not synced. After a loss of power the mark may
be half a minute old; then Medic takes itself for blind for so much longer, which pages later, never wrongly.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import google_crc32c

from medic.core.blind import BLIND_MIN_MS, BlindSpan
from medic.core.units import DurationMs, InstantMs, SightedMs

_SLOT: Final = struct.Struct("<4sqqQI")
_SUM: Final = struct.Struct("<I")
_SUMMED: Final = _SLOT.size - _SUM.size
_MAGIC: Final = b"MARK"


@dataclass(frozen=True, slots=True)
class Mark:
    """Intake worked at this moment.

    Attributes:
        at: The moment in wall time.
        sighted: The same in sighted time.
        clean: Whether Medic was stopped in order then. It was away all the same.
    """

    at: InstantMs
    sighted: SightedMs
    clean: bool = False


class Watermark:
    """A file of two slots. Opening it makes the file.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._turn, self._newest = self._load()

    def write(self, mark: Mark) -> None:
        """Overwrite the older slot. Some 5 µs: the page is in memory, and nothing is synced.

        Raises:
            OSError: the disk is full or gone.
        """
        self._turn += 1
        summed = _SLOT.pack(_MAGIC, mark.at, mark.sighted, self._turn << 1 | mark.clean, 0)[:_SUMMED]
        slot = summed + _SUM.pack(google_crc32c.value(summed))
        os.pwrite(self._fd, slot, self._turn % 2 * _SLOT.size)
        self._newest = mark

    def read(self) -> Mark | None:
        """The newest whole mark, or None where there is none yet."""
        return self._newest

    def close(self) -> None:
        """Give the file back."""
        os.close(self._fd)

    def _load(self) -> tuple[int, Mark | None]:
        found: list[tuple[int, Mark]] = []
        for place in (0, 1):
            slot = os.pread(self._fd, _SLOT.size, place * _SLOT.size)
            if len(slot) < _SLOT.size:
                continue
            magic, at, sighted, turn, checksum = _SLOT.unpack(slot)
            if magic == _MAGIC and checksum == google_crc32c.value(slot[:_SUMMED]):
                found.append((turn >> 1, Mark(InstantMs(at), SightedMs(sighted), clean=bool(turn & 1))))
        return max(found, key=lambda numbered: numbered[0], default=(0, None))


def outage(mark: Mark | None, now: InstantMs, blind_max_ms: DurationMs) -> BlindSpan | None:
    """The span in which Medic was away, or None where it was too short to matter or there is no mark.

    Beyond `blind_max_ms` the time counts as elapsed, so the span ends there. A wall clock that was set back makes none.
    """
    if mark is None:
        return None
    credited = _credited(mark, now, blind_max_ms)
    if credited < BLIND_MIN_MS:
        return None
    return BlindSpan(begun_at=mark.at, ended_at=InstantMs(mark.at + credited), sighted=mark.sighted, cause="down")


def resumes_at(mark: Mark | None, now: InstantMs, blind_max_ms: DurationMs) -> SightedMs:
    """Where sighted time goes on: at the mark, further on by what is not credited, and by one millisecond.

    Without a mark it begins as wall time.
    """
    if mark is None:
        return SightedMs(now)
    gap = max(0, now - mark.at)
    credited = _credited(mark, now, blind_max_ms)
    return SightedMs(mark.sighted + 1 + gap - (credited if credited >= BLIND_MIN_MS else 0))


def later(mark: Mark | None, at: InstantMs, sighted: SightedMs) -> Mark:
    """The mark, or the moment itself where it is later: what the journal saw last, or what PostgreSQL was told."""
    if mark is None or sighted > mark.sighted:
        return Mark(at, sighted)
    return mark


def _credited(mark: Mark, now: InstantMs, blind_max_ms: DurationMs) -> int:
    return min(max(0, now - mark.at), blind_max_ms)
