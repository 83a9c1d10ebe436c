"""`medic docs`: which page is meant, and what is said where none is."""

from __future__ import annotations

from pathlib import Path

import pytest

from medic.cli.pages import Page, find_page, nearest_names, print_list, print_page, shipped_pages

PAGES = [
    Page(name, Path(f"/{name}"))
    for name in ("changelog", "operations", "reference/cli", "topics/security", "topics/security/keys", "a/keys")
]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("operations", "operations"),
        ("docs/operations.md", "operations"),
        ("CHANGELOG", "changelog"),
        ("cli", "reference/cli"),
        ("security", "topics/security"),
        ("security/keys", "topics/security/keys"),
        ("keys", None),
        ("operation", None),
        ("", None),
    ],
)
def test_a_page_is_found_by_its_name_or_the_end_of_it(asked: str, found: str | None) -> None:
    page = find_page(asked, PAGES)
    assert (None if page is None else page.name) == found


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        ("keys", ["topics/security/keys", "a/keys"]),
        ("operatoins", ["operations"]),
        ("clii", ["reference/cli"]),
        ("xyzzy", []),
        ("", []),
    ],
)
def test_what_may_have_been_meant_is_named(asked: str, nearest: list[str]) -> None:
    assert nearest_names(asked, PAGES) == nearest


def test_every_page_has_a_name_of_its_own_and_the_documents_have_titles() -> None:
    pages = shipped_pages()
    names = [page.name for page in pages]
    assert len(set(names)) == len(names)
    assert {"changelog", "operations", "decisions/0001-the-shape", "deploy/systemd/medic.service"} <= set(names)
    assert [
        page.name for page in pages if not page.title and not page.name.startswith(("deploy/", "dashboards/"))
    ] == []


def test_pages_are_listed_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_list()
    captured = capsys.readouterr()
    assert "operations" in captured.out
    assert "shipped" in captured.err
    assert print_page("operations")
    assert capsys.readouterr().out.startswith("# Running Medic\n")
    assert not print_page("operatoins")
    assert "did you mean operations" in capsys.readouterr().err
    assert not print_page("xyzzy")
    assert "medic docs lists them" in capsys.readouterr().err
