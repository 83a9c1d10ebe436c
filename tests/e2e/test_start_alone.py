"""Medic killed and started again without PostgreSQL: it knows what it watched, tells, and all of it arrives later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.pages import pages, wait_for_pages
from tests.e2e.postgres import PostgresProcess
from tests.e2e.process import MedicProcess
from tests.vendors import VendorProcess


@pytest.fixture
def medic(tmp_path: Path, vendors: VendorProcess, postgres: PostgresProcess) -> Iterator[MedicProcess]:
    """Medic on that server, not started yet."""
    process = MedicProcess(tmp_path / "data", **vendors.environment, **postgres.environment)
    yield process
    process.end()


def test_a_first_start_without_postgresql_is_refused_in_one_sentence(
    medic: MedicProcess, postgres: PostgresProcess
) -> None:
    postgres.stop()
    with pytest.raises(AssertionError, match="medic ended with 1"):
        medic.start()
    assert "The first start needs PostgreSQL" in medic.output()
    assert "Traceback" not in medic.output()


def test_a_start_without_postgresql_knows_what_was_open_muted_and_told(
    vendors: VendorProcess, postgres: PostgresProcess, medic: MedicProcess
) -> None:
    medic.start()
    for name in ("well", "reporting", "muted", "later"):
        assert medic.register(name, seconds=600).status == 201
    assert medic.post("/service/muted", {"muted": 1, "mute_minutes": 60}).status == 200
    assert medic.beat("reporting", "DOWN").status == 201
    wait_for_pages(vendors, "trigger", 1)
    postgres.stop()
    assert medic.beat("muted", "DOWN").status == 201
    assert [medic.beat("well", f"before-{number}").status for number in range(5)] == [201] * 5
    medic.kill()

    medic.start()
    assert "which does not answer" in medic.wait_for(lambda: "database" in (said := medic.output()) and said)
    assert [medic.beat("well", f"after-{number}").status for number in range(5)] == [201] * 5
    services = {row["heartbeat_name"]: row for row in medic.results("/service")}
    assert {name: (row["down"], row["muted"]) for name, row in services.items()} == {
        "well": (0, 0),
        "reporting": (1, 0),
        "muted": (1, 1),
        "later": (0, 0),
    }
    assert medic.get("/alerts").status == 503
    assert medic.register("new", seconds=60).status == 503
    assert medic.beat("later", "FAILED").status == 201
    assert medic.beat("reporting", "UP").status == 201
    told = wait_for_pages(vendors, "trigger", 2)
    assert [event["document"]["dedup_key"] for event in told] == ["medic-reporting", "medic-later"]
    wait_for_pages(vendors, "resolve", 1)

    postgres.start()
    rows = medic.wait_for(
        lambda: (
            (found := medic.get("/heartbeat?heartbeat_name=well")).status == 200
            and len(found.json["results"]) == 10
            and found.json["results"]
        ),
    )
    sent = [f"{when}-{number}" for when in ("before", "after") for number in range(5)]
    assert [row["status"] for row in rows] == sent[::-1]
    listed = [("later", 1), ("muted", 1), ("reporting", 0)]
    medic.wait_for(
        lambda: sorted((row["heartbeat_name"], row["active"]) for row in medic.results("/alerts?limit=50")) == listed
    )
    assert medic.register("new", seconds=60).status == 201
    medic.wait_for(lambda: medic.get("/health").status == 200)
    assert len(pages(vendors, "trigger")) == 2
    assert medic.stop() == 0, medic.output()
