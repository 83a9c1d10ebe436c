"""The reference says what is served."""

from __future__ import annotations

from pathlib import Path

from medic.http.reference import reference
from medic.http.routes import ROUTES

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "api.md"


def test_the_reference_is_what_the_description_makes_of_it() -> None:
    assert PAGE.read_text() == reference(), "run: python -m medic.http.reference > docs/reference/api.md"


def test_every_route_is_in_the_reference() -> None:
    page = PAGE.read_text()
    assert all(f"### `{route.method} {route.path}`" in page for route in ROUTES)
