"""SIGTERM at a start that has only just begun: the process ends in order, and leaves nothing running."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from medic.store.embedded.leftovers import server_processes
from tests.e2e.process import MedicProcess
from tests.e2e.signals import catches_sigterm


@pytest.fixture
def medic(tmp_path: Path) -> Iterator[MedicProcess]:
    """With an embedded PostgreSQL, and not started yet."""
    process = MedicProcess(tmp_path / "data")
    # What measures the tests' coverage would have a handler for SIGTERM of its own before all else.
    for name in [name for name in process.environment if name.startswith("COVERAGE")]:
        del process.environment[name]
    yield process
    process.end()


def test_sigterm_before_anything_was_begun_ends_with_0(medic: MedicProcess) -> None:
    medic.launch()
    assert medic.child is not None
    number = medic.child.pid
    medic.wait_for(lambda: catches_sigterm(number))
    assert not medic.data_dir.exists(), "it is heard before the configuration is read"
    assert medic.stop() == 0, medic.output()
    assert medic.output() == "Medic stops. It had not begun to start.\n"
    assert not medic.data_dir.exists()


def test_sigterm_before_a_watcher_was_begun_ends_with_0(medic: MedicProcess) -> None:
    medic.command = [*medic.command[:-1], "watch", medic.url]
    medic.launch()
    assert medic.child is not None
    number = medic.child.pid
    medic.wait_for(lambda: catches_sigterm(number))
    assert not medic.data_dir.exists()
    assert medic.stop() == 0, medic.output()


def test_sigterm_while_medic_makes_its_database_ends_with_0_and_the_next_start_works(
    medic: MedicProcess,
) -> None:
    medic.launch()
    medic.wait_for((medic.data_dir / "postgres").exists)
    assert medic.stop() == 0, medic.output()
    assert "Medic stops. It had not begun to watch.\n" in medic.output()
    assert "Traceback" not in medic.output()
    assert not server_processes(medic.data_dir / "postgres" / "data")
    medic.start()
    assert medic.stop() == 0, medic.output()
