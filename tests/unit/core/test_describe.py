"""The page on service states is what the machine does today."""

from __future__ import annotations

import runpy
from pathlib import Path

from medic.core import describe
from medic.core.describe import service_states
from medic.core.status import Status

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "service-states.md"


def test_the_page_is_made_from_the_code_as_it_is():
    assert PAGE.read_text(encoding="utf-8") == service_states(), (
        "python -m medic.core.describe > docs/reference/service-states.md"
    )


def test_every_status_is_in_the_diagram():
    diagram = service_states().partition("stateDiagram-v2")[2]
    for status in Status:
        assert f"--> {status}:" in diagram
        assert f"    {status} --> [*]: delete" in diagram


def test_the_command_prints_the_page(capsys):
    runpy.run_path(describe.__file__, run_name="__main__")
    assert capsys.readouterr().out == service_states()
