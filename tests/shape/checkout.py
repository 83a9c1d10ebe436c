"""The checkout as the house rules see it: its files, its Python, and the names that its code gives to things."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

LEFT_OUT = {".git", ".venv", "__pycache__", "medic-data", "build", "dist", "htmlcov"}


@cache
def files(*suffixes: str) -> tuple[Path, ...]:
    """The files under version control that end in one of `suffixes`; all of them where none is given."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode == 0:
        found = [ROOT / name for name in listing.stdout.split("\0") if name]
    else:
        # A copy without its history: whatever is there, but what tools leave behind.
        found = [path for path in ROOT.rglob("*") if not LEFT_OUT & set(path.relative_to(ROOT).parts)]
    # A symbolic link is another name for a file that is looked at under its own.
    found = [path for path in found if path.is_file() and not path.is_symlink()]
    return tuple(path for path in found if not suffixes or path.suffix in suffixes)


@cache
def python_files(*folders: str) -> tuple[Path, ...]:
    """Python files under one of these folders of the checkout."""
    return tuple(path for path in files(".py") if path.relative_to(ROOT).parts[0] in folders)


@cache
def parsed(path: Path) -> ast.Module:
    """The module's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def at(path: Path, line: int) -> str:
    """`file:line`, for a list of findings."""
    return f"{path.relative_to(ROOT)}:{line}"


def listed(found: list[str]) -> str:
    """Findings, one a line, as an assertion's message."""
    return "\n  ".join(["", *found])


def names_given(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every name that the module itself gives to something: functions, classes, parameters, variables, attributes."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, node.lineno
            case ast.arg():
                yield node.arg, node.lineno
            case ast.Name(ctx=ast.Store()):
                yield node.id, node.lineno
            case ast.Attribute(value=ast.Name(id="self"), ctx=ast.Store()):
                yield node.attr, node.lineno
            case ast.alias(asname=str() as name):
                yield name, node.lineno
            case _:
                pass
