"""A fresh Medic and fresh vendors for each test, in processes of their own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.image import may_build
from tests.e2e.mounting import may_mount
from tests.e2e.postgres import PostgresProcess
from tests.e2e.process import MedicProcess
from tests.e2e.runbook_walk import ITEMS, Walk
from tests.vendors import VendorProcess

# The same is tested with a disk of our own making in tests/integration/test_journal_space.py.
collect_ignore = [] if may_mount() else ["test_disk_full.py"]
# The wheel alone, without the image around it, is tested in test_wheel.py.
collect_ignore += [] if may_build() else ["test_image.py"]


@pytest.fixture
def vendors(tmp_path: Path) -> Iterator[VendorProcess]:
    """PagerDuty, Slack and a webhook receiver; whatever they were sent must be what their documentation allows."""
    with VendorProcess(tmp_path) as process:
        yield process
        assert process.faults() == []


@pytest.fixture(scope="session")
def first_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a Medic that was started once and stopped: initdb and migrations take most of a start."""
    process = MedicProcess(tmp_path_factory.mktemp("first") / "data").start()
    assert process.stop() == 0, process.output()
    # Without its watermark and its snapshot nobody can tell that this Medic was ever away, so nothing is said of that.
    (process.data_dir / "watermark").unlink()
    shutil.rmtree(process.data_dir / "snapshot")
    return process.data_dir


@pytest.fixture(scope="session")
def first_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a PostgreSQL that was started once and stopped: nothing is in it yet."""
    directory = tmp_path_factory.mktemp("first") / "database"
    with PostgresProcess(directory):
        return directory


@pytest.fixture
def postgres(tmp_path: Path, first_database: Path) -> Iterator[PostgresProcess]:
    """A real server of the test's own, to stop and to start; not the one that other tests share."""
    subprocess.run(["cp", "-a", first_database, tmp_path / "database"], check=True)
    with PostgresProcess(tmp_path / "database") as process:
        yield process


@pytest.fixture
def pair(
    tmp_path: Path, vendors: VendorProcess, postgres: PostgresProcess
) -> Iterator[tuple[MedicProcess, MedicProcess]]:
    """Two Medics on one database, each with a data directory of its own: the first is active, the second stands by."""
    environment = {**vendors.environment, **postgres.environment}
    first, second = (MedicProcess(tmp_path / name, **environment) for name in ("first", "second"))
    first.start()
    second.launch().wait_answer("/health/live", 200)
    yield first, second
    for process in (first, second):
        process.end()


@pytest.fixture
def medic(tmp_path: Path, first_data_dir: Path, request: pytest.FixtureRequest) -> Iterator[MedicProcess]:
    """A running Medic with an embedded PostgreSQL; told to page the vendors where the test asks for them."""
    environment = request.getfixturevalue("vendors").environment if "vendors" in request.fixturenames else {}
    subprocess.run(["cp", "-a", first_data_dir, tmp_path / "data"], check=True)
    process = MedicProcess(tmp_path / "data", **environment)
    process.start()
    yield process
    status = process.stop()
    assert status == 0, process.output()


@pytest.fixture
def walk(record_property: Callable[[str, object], None]) -> Walk:
    """Takes down what was seen of the runbook."""
    return Walk(record_property)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The runbook's items and what was seen of each, where the run was asked to speak (-v)."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    seen = [value for report in reports for name, value in report.user_properties if name == "runbook"]
    if seen and config.get_verbosity() > 0:
        terminalreporter.section("the runbook, and what was seen")
        for quoted, found in sorted(seen, key=lambda pair: ITEMS.index(pair[0])):
            terminalreporter.write_line(f"{quoted}\n    {found}")
