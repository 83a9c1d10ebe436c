"""What cannot be said is lost, and stops nobody."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from medic.cli.announcing import announce, let_go_of_streams

FULL = Path("/dev/full")
"""Takes nothing, as a disk does that is full."""


def test_what_the_disk_does_not_take_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    with FULL.open("w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        announce("Medic is stopping")
        with pytest.raises(OSError, match="No space left"):
            stream.flush()  # Python tries that again at its end
        let_go_of_streams()
        stream.flush()


def test_streams_that_take_what_is_said_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    announce("Medic listens")
    let_go_of_streams()
    announce("Medic is stopping")
    assert capsys.readouterr().out == "Medic listens\nMedic is stopping\n"
