"""House rules that can be read off the files."""

from __future__ import annotations

import ast
import re

import pytest

from tests.shape.checkout import ROOT, at, files, listed, parsed, python_files

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60

TEXT = {
    ".py",
    ".md",
    ".toml",
    ".txt",
    ".in",
    ".sql",
    ".json",
    ".yaml",
    ".yml",
    ".html",
    ".css",
    ".js",
    ".cfg",
    ".ini",
    "",
}

# With a letter in brackets, so that this file does not hold what it looks for.
OPEN_MARKERS = re.compile(r"\b(TO[D]O|FIX[M]E|XX[X]|HAC[K])\b")
STUBS = re.compile(r"NotImplemented[E]rror|mark\.ski[p]|pytest\.ski[p]\(")
INDEXES = re.compile(r"index-ur[l]|find-link[s]|https?://[^ ]+/simpl[e]\b")
HOMES = re.compile(r"(?<![\w.])/(home|root|Users)/\w")


SUPERVISORS = {
    "actors/supervisor.py": "an actor that raises is rebuilt; the others never notice",
    "store/journal/commit.py": "a call that raises is reported; the commit and the other calls never notice",
    "alerting/supervision.py": "a target that raises is started anew",
    "http/hypercorn_server.py": "a connection that raises ends alone",
}
"""Where whatever is raised may be caught, by file under medic/."""


def texts():
    return [path for path in files() if path.suffix in TEXT]


def findings(pattern: re.Pattern[str], paths) -> list[str]:
    found = []
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if pattern.search(line):
                found.append(f"{at(path, number)}: {line.strip()[:120]}")
    return found


def test_no_file_is_longer_than_one_thing_needs():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in python_files("medic", "tests", "bench")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > FILE_LINES_MAX
    }
    assert long == {}


def test_no_function_is_longer_than_a_screen():
    long = []
    for path in python_files("medic", "bench"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    long.append(f"{at(path, node.lineno)} {node.name}: {lines} lines")
    assert not long, listed(long)


def test_nothing_is_left_open_in_the_code():
    code = python_files("medic", "tests", "bench")
    assert not (found := findings(OPEN_MARKERS, code)), listed(found)
    assert not (found := findings(STUBS, code)), listed(found)


def test_no_package_index_is_named():
    assert not (found := findings(INDEXES, texts())), listed(found)


def test_no_path_of_one_machine_is_named():
    assert not (found := findings(re.compile(re.escape(f"{ROOT}/")), texts())), listed(found)
    assert not (found := findings(HOMES, texts())), listed(found)


def test_only_supervisors_catch_whatever_is_raised():
    broad = []
    for path in python_files("medic"):
        if path.relative_to(ROOT / "medic").as_posix() in SUPERVISORS:
            continue
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ExceptHandler):
                caught = "" if node.type is None else ast.unparse(node.type)
                # What is raised again was not swallowed.
                raised_again = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
                if (not caught or re.search(r"\b(Base)?Exception\b", caught)) and not raised_again:
                    broad.append(f"{at(path, node.lineno)}: except {caught}")
    assert not broad, listed(broad)


def test_types_say_what_they_are():
    loose = []
    for path in python_files("medic"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ImportFrom) and node.module == "typing":
                loose += [at(path, node.lineno) for alias in node.names if alias.name in {"Any", "cast"}]
    assert not loose, listed(loose)


@pytest.mark.parametrize(
    "folder", ["unit", "model", "actors", "contract", "integration", "e2e", "stories", "shape", "fakes", "vendors"]
)
def test_every_kind_of_test_has_its_folder(folder):
    assert list((ROOT / "tests" / folder).glob("*.py")) or list((ROOT / "tests" / folder).glob("*/test_*.py"))


def test_every_part_has_unit_tests_of_its_own():
    # Actors are trio tasks, and app and cli are run as processes: their tests stand elsewhere.
    parts = {path.relative_to(ROOT).parts[1] for path in python_files("medic") if len(path.relative_to(ROOT).parts) > 2}
    tested = {path.name for path in (ROOT / "tests" / "unit").iterdir() if list(path.glob("test_*.py"))}
    assert parts - tested - {"actors", "app", "cli"} == set()


def test_medic_may_be_used_by_anybody():
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert licence.startswith("MIT License")
    assert "Medic contributors" in licence
