"""A stream of whose other end nobody knows whether it is read: written to within a time, or not at all.

Whoever reads what Medic says may stop: Ctrl-S in a terminal, a container engine whose log is stuck, a pager. Then a
write waits for ever, and where the loop does it Medic takes no heartbeat and does not end. A thread only moves that: it
keeps the lock of Python's stream, for which the next one to write waits.

So it is asked first whether there is room. A pipe that says so takes `PIPE_BUF` bytes at once (POSIX), and a longer
text goes in pieces of that. The file is written past Python's stream, which would keep what it could not write.
"""

from __future__ import annotations

import os
import select
from time import monotonic
from typing import Final, TextIO

PIECE_BYTES: Final = select.PIPE_BUF


class Outlet:
    """Writes to a stream's file.

    Args:
        stream: Open. One that has no file is written to as it is.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_torn = False

    def write(self, text: str, *, seconds: float) -> None:
        """Write all of it. What was cut off before ends with a line of its own.

        Raises:
            OSError: it is not taken: nobody reads (`TimeoutError`, after `seconds`), nobody can, the disk is full.
            ValueError: the stream is closed.
        """
        self._stream.flush()
        encoding = self._stream.encoding or "utf-8"
        left = ("\n" * self._is_torn + text).encode(encoding, "backslashreplace")
        try:
            file = self._stream.fileno()
        except OSError:  # io.UnsupportedOperation
            self._stream.write(left.decode(encoding))
            self._stream.flush()
            return
        until, begun = monotonic() + seconds, self._is_torn
        room = select.poll()
        room.register(file, select.POLLOUT)
        try:
            while left:
                if not room.poll(max(0.0, until - monotonic()) * 1_000):
                    raise TimeoutError("nobody reads it")
                left = left[os.write(file, left[:PIECE_BYTES]) :]
                begun = True
        finally:
            self._is_torn = begun and bool(left)
