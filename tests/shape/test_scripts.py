"""The scripts are what a newcomer meets first: they run anywhere, say in a sentence what is wrong, and are quick."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_SECONDS
from tests.shape.checkout import ROOT

SCRIPTS = ("serve", "test", "medic", "medic-cli", "lock")

TOOLS = ("bash", "env", "dirname", "cat", "cmp", "mkdir", "rm", "head", "grep", "sleep", "uname")
"""What the scripts themselves call, but for Python."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the scripts read, in a folder with a space in its name."""
    copy = tmp_path / "a folder" / "medic"
    copy.mkdir(parents=True)
    for folder in ("scripts", "requirements"):
        shutil.copytree(ROOT / folder, copy / folder)
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A PATH with the ordinary tools and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(shutil.which(tool))
    return folder


def python_on(path: Path, name: str, text: str) -> None:
    (path / name).write_text(f"#!{shutil.which('bash')}\n{text}\n", encoding="utf-8")
    (path / name).chmod(0o755)


def run(checkout: Path, *command: str, path: Path, cwd: Path | None = None, **environment: str):
    return subprocess.run(
        [checkout / "scripts" / command[0], *command[1:]],
        cwd=cwd or checkout,
        env={"PATH": str(path), "HOME": str(checkout), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def ready(checkout: Path) -> None:
    """An environment as the scripts leave it, with commands that only tell how they were called.

    Its Python is none: a link to a real one would be that one to pip, which would then install into it.
    """
    bin_folder = checkout / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    (checkout / ".venv" / "pyvenv.cfg").touch()
    python_on(bin_folder, "python", 'printf "%s " "$@" >>"${0%/*}/asked"; echo >>"${0%/*}/asked"')
    for name in ("medic", "medic-cli"):
        python_on(bin_folder, name, f'printf "%s\\n" {name} "$@" "$PWD" "$MEDIC_DATA_DIR" "${{PYTHONPATH-unset}}"')
    made_from = ("pyproject.toml", "requirements/runtime.in", "requirements/runtime.txt")
    stamp = f"{checkout}\n" + "".join((checkout / name).read_text(encoding="utf-8") for name in made_from)
    (checkout / ".venv" / "stamp-runtime").write_text(stamp, encoding="utf-8")


@pytest.mark.parametrize("name", [f"scripts/{name}" for name in SCRIPTS] + [".ci/run"])
def test_a_script_can_be_run(name):
    script = ROOT / name
    assert script.stat().st_mode & stat.S_IXUSR
    assert script.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")
    subprocess.run(["bash", "-n", script], check=True)


def test_ci_runs_every_check():
    assert "./scripts/test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_a_second_run_installs_nothing_and_hands_its_arguments_on(checkout, path, tmp_path):
    ready(checkout)
    done = run(checkout, "serve", "--flag", "two words", path=path, cwd=tmp_path, PYTHONPATH="/elsewhere")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    data_dir = str(checkout / "medic-data")
    assert done.stdout.splitlines() == ["medic", "serve", "--flag", "two words", str(tmp_path), data_dir, "unset"]


def test_the_operators_command_runs_without_activating_anything(checkout, path):
    ready(checkout)
    done = run(checkout, "medic-cli", "service", "list", path=path)
    assert done.stdout.splitlines()[:3] == ["medic-cli", "service", "list"]


def test_a_data_directory_of_ones_own_is_kept(checkout, path):
    ready(checkout)
    done = run(checkout, "medic", path=path, MEDIC_DATA_DIR="/var/lib/medic")
    assert "/var/lib/medic" in done.stdout.splitlines()


@pytest.mark.parametrize("changed", ["pyproject.toml", "requirements/runtime.in", "requirements/runtime.txt"])
def test_what_was_changed_is_installed_anew(checkout, path, changed):
    ready(checkout)
    with (checkout / changed).open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    done = run(checkout, "medic", path=path)
    assert done.stderr == "Bringing .venv up to date\n"
    asked = (checkout / ".venv" / "bin" / "asked").read_text(encoding="utf-8").splitlines()
    assert len(asked) == 2
    assert f"--require-hashes -r {checkout}/requirements/runtime.txt" in asked[0]
    assert f"--no-build-isolation --editable {checkout}" in asked[1]
    again = run(checkout, "medic", path=path)
    assert again.stderr == ""


def test_a_python_that_is_no_environments_is_not_installed_into(checkout, path):
    ready(checkout)
    (checkout / "pyproject.toml").write_text("# changed", encoding="utf-8")
    (checkout / ".venv" / "pyvenv.cfg").unlink()
    done = run(checkout, "medic", path=path)
    assert done.stderr.startswith("Medic needs Python 3.11 or newer")
    assert not (checkout / ".venv" / "bin" / "asked").exists()


def test_pip_is_told_to_touch_nothing_but_the_environment(checkout, path):
    ready(checkout)
    (checkout / "pyproject.toml").write_text("# changed", encoding="utf-8")
    python_on(checkout / ".venv" / "bin", "python", 'echo "$PIP_REQUIRE_VIRTUALENV" >"${0%/*}/asked"')
    run(checkout, "medic", path=path)
    assert (checkout / ".venv" / "bin" / "asked").read_text(encoding="utf-8") == "1\n"


def test_an_environment_that_was_moved_is_made_anew(checkout, path):
    ready(checkout)
    moved = checkout.with_name("elsewhere")
    checkout.rename(moved)
    done = run(moved, "medic", path=path)
    assert done.returncode == 2
    assert done.stderr.startswith("Medic needs Python 3.11 or newer")


@pytest.mark.parametrize("text", [None, "exit 127", 'case "$2" in *version_info*) exit 1;; esac'])
def test_without_a_python_that_is_new_enough_one_sentence_says_so(checkout, path, text):
    if text is not None:
        python_on(path, "python3", text)
    done = run(checkout, "serve", path=path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        (
            "Medic needs Python 3.11 or newer: install it (it may be called python3.11, python3.12, python3.13 or "
            "python3) and run this again."
        )
    ]
    assert not (checkout / ".venv.making").exists()


def test_without_the_venv_module_one_sentence_says_so(checkout, path):
    python_on(path, "python3", 'case "$2" in *ensurepip*) exit 1;; esac')
    done = run(checkout, "serve", path=path)
    assert done.returncode == 2
    assert done.stderr == (
        "python3 has no venv module: install it (Debian and Ubuntu: apt install python3-venv) and run this again.\n"
    )


def test_another_python_is_taken_where_the_first_has_no_venv_module(checkout, path):
    python_on(path, "python3.12", 'case "$2" in *ensurepip*) exit 1;; esac')
    python_on(path, "python3.11", 'case "$1" in -m) echo it was asked >&2; exit 1;; esac')
    done = run(checkout, "serve", path=path)
    assert done.returncode == 2
    assert "python3.11 could not make a virtual environment" in done.stderr


@pytest.mark.slow
def test_without_a_network_one_sentence_says_so(checkout, path):
    nobody_listens = "http://127.0.0.1:9/"
    done = run(
        checkout,
        "serve",
        path=path,
        MEDIC_PYTHON=sys.executable,
        PIP_CONFIG_FILE=os.devnull,
        PIP_INDEX_URL=nobody_listens,
        PIP_RETRIES="0",
    )
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert lines[0] == "Preparing .venv (once; a minute or so)"
    assert len(lines) == 2
    assert "connect this machine to the network" in lines[1]
    assert "no matching distribution" in (checkout / ".venv" / "install.log").read_text(encoding="utf-8").lower()
    assert not (checkout / ".venv" / "stamp-runtime").exists()


def test_in_a_folder_that_cannot_be_written_one_sentence_says_so(checkout, path):
    # mkdir that fails as on a read-only file system: root may write to a folder whatever its mode says.
    (path / "mkdir").unlink()
    python_on(path, "mkdir", "echo 'mkdir: Read-only file system' >&2; exit 1")
    done = run(checkout, "serve", path=path)
    assert done.returncode == 2
    assert (
        done.stderr
        == f"The folder {checkout} cannot be written to: copy Medic to one of your own and run this there.\n"
    )


APT = """
printf '%s\\n' "$*" >>"$ASKED"
case "$*" in
  *update*) [ -z "$OFFLINE" ] && : >listed || exit 100 ;;
  *) [ -e listed ] || [ -z "$EMPTY$OFFLINE" ] && : >prometheus_2_amd64.deb || exit 100 ;;
esac
"""
"""A package client that has what it was told: lists of its own, none, or no network."""

UNPACK = """
mkdir -p "$3/usr/bin"
for name in prometheus promtool; do printf '#!/bin/sh\\n' >"$3/usr/bin/$name"; chmod +x "$3/usr/bin/$name"; done
"""


def fetch(checkout: Path, path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What `scripts/test` does before it runs."""
    for tool in ("find", "mktemp", "timeout", "mv", "chmod"):
        if not (path / tool).exists():
            (path / tool).symlink_to(shutil.which(tool))
    python_on(path, "apt-get", APT)
    python_on(path, "dpkg-deb", UNPACK)
    settings = {"ASKED": str(checkout / "asked"), "EMPTY": "", "OFFLINE": "", **environment}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", '. "$1"; fetch_prometheus', "bash", checkout / "scripts" / "_venv.sh"],
        env={"PATH": str(path), "HOME": str(checkout), **settings},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.mark.parametrize(("empty", "asked"), [("", 1), ("yes", 3)])
def test_prometheus_is_fetched_once_and_kept(checkout, path, empty, asked):
    ready(checkout)
    done = fetch(checkout, path, EMPTY=empty)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (0, "", 1)
    assert (checkout / ".venv" / "prometheus" / "usr" / "bin" / "promtool").exists()
    again = fetch(checkout, path, EMPTY=empty)
    assert (again.returncode, again.stderr) == (0, "")
    assert len((checkout / "asked").read_text(encoding="utf-8").splitlines()) == asked
    assert sorted(found.name for found in (checkout / ".venv").glob("prometheus*")) == ["prometheus", "prometheus.log"]


def test_where_prometheus_cannot_be_had_one_sentence_says_so_and_nothing_fails(checkout, path):
    ready(checkout)
    done = fetch(checkout, path, OFFLINE="yes")
    assert done.returncode == 0
    assert "its tests are left out" in done.stderr
    assert not (checkout / ".venv" / "prometheus").exists()
    # It is not tried at every run.
    assert fetch(checkout, path, OFFLINE="yes").stderr == ""


def test_a_prometheus_of_the_machines_own_is_taken(checkout, path):
    ready(checkout)
    for name in ("prometheus", "promtool"):
        python_on(path, name, "")
    assert fetch(checkout, path).stderr == ""
    assert not (checkout / "asked").exists()


def test_a_turn_that_a_killed_script_held_is_taken_over(checkout, path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    (checkout / ".venv.making").mkdir()
    (checkout / ".venv.making" / "pid").write_text(f"{ended.pid}\n", encoding="utf-8")
    done = run(checkout, "serve", path=path)
    assert done.stderr.startswith("Medic needs Python")
