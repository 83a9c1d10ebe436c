"""A fresh Medic and fresh vendors for each test, in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.process import MedicProcess
from tests.vendors import VendorProcess


@pytest.fixture
def vendors(tmp_path: Path) -> Iterator[VendorProcess]:
    """PagerDuty, Slack and a webhook receiver; whatever they were sent must be what their documentation allows."""
    with VendorProcess(tmp_path) as process:
        yield process
        assert process.faults() == []


@pytest.fixture
def medic(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MedicProcess]:
    """A running Medic with an embedded PostgreSQL; told to page the vendors where the test asks for them."""
    environment = request.getfixturevalue("vendors").environment if "vendors" in request.fixturenames else {}
    process = MedicProcess(tmp_path / "data", **environment)
    process.start()
    yield process
    status = process.stop()
    assert status == 0, process.output()
