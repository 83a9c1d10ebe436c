"""What goes wrong before Medic serves, and what it says: one message, exit 2, no socket opened."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.e2e.process import BASE_ENVIRONMENT, MedicProcess, free_port
from tests.patience import PATIENCE_SECONDS

SECRET = "marked-secret-value-of-a-token"


def serve(cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`medic serve` to its end, which must come by itself."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MEDIC_", "DB_", "PG"))}
    return subprocess.run(
        [sys.executable, "-m", "medic", "serve"],
        env={**clean, **BASE_ENVIRONMENT, "MEDIC_DATA_DIR": str(cwd / "data"), **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_every_wrong_variable_is_named_in_one_message_before_a_socket_is_opened(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = serve(
        tmp_path,
        PORT=str(free_port()),
        MEDIC_DATA_DIR=str(tmp_path / "file" / "data"),
        LOG_LEVEL="LOUD",
        MEDIC_TIMEZONE="Mars/Olympus",
        MEDIC_RENOTIFY_MINUTES="soon",
        SLACK_API_TOKEN=SECRET,
        MEDIC_RENOTIFI_MINUTES="5",
    )
    assert done.returncode == 2
    said, *named = done.stderr.splitlines()
    assert said == "medic: 6 settings are wrong, nothing was started:"
    assert {line.strip().partition(":")[0] for line in named} == {
        "MEDIC_DATA_DIR", "LOG_LEVEL", "MEDIC_TIMEZONE", "MEDIC_RENOTIFY_MINUTES", "SLACK_CHANNEL_ID",
        "MEDIC_RENOTIFI_MINUTES",
    }  # fmt: skip
    assert SECRET not in done.stdout + done.stderr
    assert not (tmp_path / "data").exists()


def test_half_an_external_database_is_a_fault_that_names_the_other_half(tmp_path: Path) -> None:
    done = serve(tmp_path, PORT=str(free_port()), DB_HOST="127.0.0.1")
    assert done.returncode == 2
    assert "DB_NAME" in done.stderr
    assert "PG_USER" in done.stderr


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = serve(tmp_path, PORT=str(port))
    assert done.returncode == 1
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


def test_the_folder_is_looked_at_before_a_port_is_bound(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = serve(tmp_path, MEDIC_DATA_DIR=str(tmp_path / "file" / "data"), PORT=port)
    assert done.returncode == 2
    [said] = done.stderr.splitlines()
    assert said.startswith("medic: MEDIC_DATA_DIR")
    assert port not in said


def test_ctrl_c_drains_and_stops_everything_it_started(tmp_path: Path) -> None:
    process = MedicProcess(tmp_path / "data").start()
    process.register("any", seconds=60)
    assert process.beat("any").status == 201
    assert process.stop(2) == 0
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in running
