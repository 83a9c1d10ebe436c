"""The reference of both commands names every command and every option there is, and none that there is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from medic.cli import medic, operator

ROOT = Path(__file__).parents[3]
EVERYWHERE = {"--help", "-h", "--version", "--url", "--output", "-o"}


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str]]]:
    """Each command's words and its options."""
    below = getattr(command, "commands", None)
    if below is None:
        options = {
            name for part in command.params for name in (*part.opts, *part.secondary_opts) if name.startswith("-")
        }
        yield " ".join(path), options - EVERYWHERE
        return
    for name, found in below.items():
        yield from commands(found, (*path, name))


def rows(text: str) -> dict[str, str]:
    """The rows of all tables, by the words of the command they begin with."""
    return {
        " ".join(re.findall(r"[a-z]+(?![a-z]*=)", match[1].split(" --")[0])): match[0]
        for match in re.finditer(r"^\| `([^`]+)` \|.*$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("app", [medic.app, operator.app], ids=["medic", "medic-cli"])
def test_every_command_and_option_is_described(app: typer.Typer) -> None:
    text = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    described = rows(text)
    prefix = "medic " if app is medic.app else ""
    for words, options in commands(typer.main.get_command(app)):
        row = text if words == "health" else described[f"{prefix}{words}"]
        missing = {option for option in options - {"--alert-interval"} if option not in row}
        # Beside mute, unmute only repeats how services are chosen.
        assert not missing or words == "service unmute", f"{words}: {missing}"


def test_every_option_in_the_documents_exists() -> None:
    known = {
        option
        for app in (medic.app, operator.app)
        for _, options in commands(typer.main.get_command(app))
        for option in options
    } | EVERYWHERE
    text = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", text))
    shell = {"-h", "-c", "-d"}  # of psql and pg_dump
    assert named - known - shell == set()


@pytest.mark.parametrize("name", ["README.md", "docs/operations.md"])
def test_lines_of_medic_cli_in_documents_are_commands(name: str) -> None:
    known = {words for words, _ in commands(typer.main.get_command(operator.app))}
    text = (ROOT / name).read_text(encoding="utf-8")
    for line in re.findall(r"medic-cli ([a-z]+(?: [a-z]+)?)", text):
        assert any(line == words or line.startswith(f"{words} ") for words in known), line


@pytest.mark.parametrize(
    "name", ["README.md", "docs/operations.md", "docs/reference/cli.md", "docs/reference/configuration.md"]
)
def test_links_lead_somewhere(name: str) -> None:
    document = ROOT / name
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target
