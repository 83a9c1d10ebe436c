"""Clients write down every 201 they got, while Medic and PostgreSQL are killed and the journal's end is spoilt.

Four rounds of what `python -m bench.crash` does for fifty: the same clients, the same faults, the same questions.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import crash

FAULTS = ("kill", "kill PostgreSQL too", "flip", "cut")


@pytest.mark.slow
def test_what_was_answered_201_is_there_once_and_everybody_was_told_once_whatever_ends_medic(tmp_path: Path) -> None:
    figures, facts = crash.measure(tmp_path, FAULTS, 20_260_101)
    assert [f"{figure.name}: {figure}" for figure in figures if not figure.met] == []
    assert facts["faults"] == dict.fromkeys(FAULTS, 1)
    answers = facts["answers"]
    assert isinstance(answers, dict)
    assert answers["201"] > 100
