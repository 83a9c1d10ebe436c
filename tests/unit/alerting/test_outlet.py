"""A stream that nobody reads takes nothing, and holds nobody up."""

from __future__ import annotations

import fcntl
import os
import select
from collections.abc import Iterator
from io import StringIO
from typing import TextIO

import pytest
from structlog.testing import capture_logs

from medic.alerting.outlet import PIECE_BYTES, Outlet
from medic.app.logs import LogStream

FULL = "x" * (PIECE_BYTES - 1) + "\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """Both ends of a pipe that has room for one piece."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, select.PIPE_BUF)
    with os.fdopen(writing, "w", encoding="ascii") as stream:
        yield reading, stream
    os.close(reading)


def test_what_there_is_no_room_for_is_not_written(pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    outlet = Outlet(stream)
    outlet.write(FULL, seconds=0)
    with pytest.raises(TimeoutError):
        outlet.write("lost\n", seconds=0)
    assert os.read(reading, 2 * PIECE_BYTES) == FULL.encode()
    outlet.write("é read again\n", seconds=0)
    assert os.read(reading, PIECE_BYTES) == b"\\xe9 read again\n"


def test_a_text_that_was_cut_off_does_not_run_into_the_next_one(pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    outlet = Outlet(stream)
    with pytest.raises(TimeoutError):
        outlet.write("y" * PIECE_BYTES + "cut off\n", seconds=0)
    with pytest.raises(TimeoutError):
        outlet.write("lost\n", seconds=0)
    assert os.read(reading, 2 * PIECE_BYTES) == b"y" * PIECE_BYTES
    outlet.write("next\n", seconds=0)
    assert os.read(reading, PIECE_BYTES) == b"\nnext\n"
    outlet.write("and next\n", seconds=0)
    assert os.read(reading, PIECE_BYTES) == b"and next\n"


def test_a_stream_without_a_file_is_written_to_as_it_is() -> None:
    stream = StringIO()
    Outlet(stream).write("a line\n", seconds=0)
    assert stream.getvalue() == "a line\n"


def test_a_log_says_how_many_lines_were_lost_once_there_is_room(pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    log = LogStream(Outlet(stream))
    with capture_logs() as lines:
        log.write(FULL)
        for _ in range(3):
            log.write("lost\n")
        assert lines == []
        os.read(reading, PIECE_BYTES)
        log.write("a line\n")
        log.flush()
        assert os.read(reading, PIECE_BYTES) == b"a line\n"
        log.write("another\n")
    assert [line["lines"] for line in lines] == [3]
    assert os.read(reading, PIECE_BYTES) == b"another\n"
