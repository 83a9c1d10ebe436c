"""What operators read about variables is what Medic reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from medic.config.load import known_names
from medic.config.reference import renewed

DOCUMENT = Path(__file__).parents[3] / "docs" / "reference" / "configuration.md"


def test_the_reference_is_made_from_the_variables() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert renewed(text) == text, "run: python -m medic.config.reference docs/reference/configuration.md"
    assert [name for name in known_names() if not name.endswith("_FILE") and f"`{name}`" not in text] == []


def test_a_document_without_its_marks_is_not_written_over() -> None:
    with pytest.raises(ValueError, match="begin"):
        renewed("# Something else")
