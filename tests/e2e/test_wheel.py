"""The wheel, built and installed without a network into an environment that has nothing but what is locked."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.e2e.image import installed_parts, locked_names
from tests.patience import PATIENCE_SECONDS
from tests.shape.checkout import ROOT

SOURCES = ("medic", "docs", "dashboards", "deploy", "requirements/runtime.in")
FILES = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md")

PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input")


def run(words: list[str | Path], folder: Path, *, status: int = 0) -> str:
    """What a command says on stdout; nothing of this process's environment but a PATH."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == status, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the checkout: a build leaves its files beside what it reads."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in (*SOURCES, *FILES):
        if (ROOT / name).exists():
            (source / name).parent.mkdir(exist_ok=True)
            without = shutil.ignore_patterns("__pycache__", "*.egg-info")
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=without)
            else:
                shutil.copy(ROOT / name, source / name)
    (source / "deploy" / ".env").write_text("PG_PASS=planted")  # where deploy/compose.yaml has its secrets
    build = [*PIP, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", target, source]
    run([sys.executable, *build], target)
    [built] = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with the wheel in it, which sees what is locked and nothing else."""
    place = tmp_path_factory.mktemp("installed")
    locked = place / "locked"
    locked.mkdir()
    for part in {part for name in locked_names() for part in installed_parts(name)}:
        (locked / part.name).symlink_to(part)
    run([sys.executable, "-m", "venv", "--without-pip", place / "venv"], place)
    [packages] = (place / "venv" / "lib").glob("python*/site-packages")
    (packages / "locked.pth").write_text(f"{locked}\n")
    python = place / "venv" / "bin" / "python"
    run([sys.executable, *PIP, "--python", python, "install", "--no-index", "--no-deps", wheel], place)
    return python.parent


def files_below(folder: str, pattern: str) -> set[str]:
    return {str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob(pattern) if path.is_file()}


def test_the_wheel_holds_what_medic_needs_and_what_its_users_read(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert files_below("medic", "*.py") <= names
    assert {"medic/py.typed"} | files_below("medic/store", "*.sql") | files_below("medic/http", "docs.*") <= names
    shipped = (
        files_below("docs", "*.md") | files_below("dashboards", "*") | files_below("deploy", "*") | {"CHANGELOG.md"}
    )
    assert {f"medic/shipped/{name}" for name in shipped} <= names
    assert not [name for name in names if name.startswith(("tests/", "bench/", "docs/")) or name.endswith("/.env")]


def test_the_commands_are_there_and_need_nothing_that_is_not_locked(installed: Path, tmp_path: Path) -> None:
    version = run([installed / "medic", "--version"], tmp_path)
    assert re.fullmatch(r"Medic \d+\.\d+\.\d+\S*\n", version)
    assert run([installed / "medic-cli", "--version"], tmp_path) == version
    # The configuration is read, PostgreSQL's programs are found, and nobody answers.
    assert "does not answer" in run([installed / "medic", "doctor", "--live"], tmp_path, status=1)
    assert "PGDATABASE" in run([installed / "medic", "env"], tmp_path)


def test_pages_are_listed_and_printed_as_they_are_in_the_checkout(installed: Path, tmp_path: Path) -> None:
    listed = run([installed / "medic", "docs"], tmp_path)
    for name in ("operations", "reference/cli", "topics/durability", "deploy/systemd/medic.service"):
        assert re.search(rf"^{name}\s", listed, re.MULTILINE), listed
    page = run([installed / "medic", "docs", "operations"], tmp_path)
    assert page == (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert run([installed / "medic", "docs", "operatoins"], tmp_path, status=1) == ""
