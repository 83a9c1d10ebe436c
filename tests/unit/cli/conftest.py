"""A small Medic on loopback, and `medic-cli` as its entry point runs it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from medic.cli import operator
from tests.unit.cli.small_medic import SmallMedic


@dataclass
class Ended:
    """How a run ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ended]


@pytest.fixture
def small() -> Iterator[SmallMedic]:
    with SmallMedic() as medic:
        yield medic


@pytest.fixture
def run(small: SmallMedic, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `medic-cli` with these words against the small Medic."""
    monkeypatch.setenv("MEDIC_BASE_URL", small.url)
    monkeypatch.setenv("USER", "ann")
    for name in ("MEDIC_API_KEY", "MEDIC_API_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def run_words(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["medic-cli", *words])
        with pytest.raises(SystemExit) as ended:
            operator.main()
        captured = capsys.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run_words
