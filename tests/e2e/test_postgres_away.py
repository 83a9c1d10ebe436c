"""PostgreSQL stopped while Medic serves: heartbeats and pages go on, the rest says 503, and all of it arrives later."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.pages import pages, wait_for_pages
from tests.e2e.postgres import PostgresProcess
from tests.e2e.process import Answer, MedicProcess
from tests.vendors import VendorProcess


@pytest.fixture
def medic(tmp_path: Path, vendors: VendorProcess, postgres: PostgresProcess) -> Iterator[MedicProcess]:
    """Medic on that server."""
    process = MedicProcess(tmp_path / "data", **vendors.environment, **postgres.environment).start()
    yield process
    assert process.stop() == 0, process.output()


def test_an_outage_of_postgresql_costs_no_heartbeat_and_no_page(
    vendors: VendorProcess, postgres: PostgresProcess, medic: MedicProcess
) -> None:
    for name in ("silent", "reporting", "muted", "well"):
        assert medic.register(name, seconds=600 if name != "silent" else 3).status == 201
    medic.beat("silent")
    assert medic.get("/health").json["components"]["database"]["kind"] == "external"
    postgres.stop()

    taken = [medic.beat("well", f"during-{number}").status for number in range(30)]
    assert taken == [201] * 30
    assert medic.post("/service/muted", {"muted": 1, "mute_minutes": 60}).status == 200
    assert medic.beat("muted", "DOWN").status == 201
    assert medic.beat("reporting", "DOWN").status == 201
    told = wait_for_pages(vendors, "trigger", 2)
    assert sorted(event["document"]["dedup_key"] for event in told) == ["medic-reporting", "medic-silent"]
    open_alerts = medic.get("/alerts?active=1")
    assert open_alerts.status == 200
    assert {row["heartbeat_name"] for row in open_alerts.json["results"]} == {"silent", "reporting", "muted"}
    by_name = {row["heartbeat_name"]: row["alert_id"] for row in open_alerts.json["results"]}
    assert medic.post(f"/alerts/{by_name['reporting']}/acknowledge", {}).status == 200
    wait_for_pages(vendors, "acknowledge", 1)

    assert medic.get("/service").status == 200
    assert medic.get("/health/ready").status == 200
    assert medic.get("/health/live").status == 200
    for refused in (
        medic.get("/heartbeat?heartbeat_name=well"),
        medic.get("/alerts"),
        medic.register("new", seconds=60),
        medic.post("/service/well", {"alert_interval": 5}),
        medic.request("DELETE", "/service/well"),
    ):
        assert refused.status == 503, refused
        assert int(refused.headers["Retry-After"]) > 0
        assert refused.json["results"] == ""
        assert "127.0.0.1" not in refused.json["message"]
    health = medic.wait_for(lambda: (found := medic.get("/health")).status == 503 and found)
    assert health.json["components"]["database"]["status"] == "unhealthy"
    assert medic.beat("reporting", "UP").status == 201
    wait_for_pages(vendors, "resolve", 1)

    postgres.start()
    rows = medic.wait_for(
        lambda: (found := medic.get("/heartbeat?heartbeat_name=well")).status == 200 and found.json["results"],
    )
    assert [row["status"] for row in rows] == [f"during-{number}" for number in reversed(range(30))]
    assert len({row["heartbeat_id"] for row in rows}) == 30
    closed = medic.wait_for(lambda: medic.results("/alerts?heartbeat_name=reporting"))
    assert [(row["closed_reason"], row["acknowledged_by"] != "") for row in closed] == [("recovered", True)]
    assert medic.register("new", seconds=60).status == 201
    medic.wait_for(lambda: medic.get("/health").status == 200)
    assert len(pages(vendors, "trigger")) == 2


def test_a_postgresql_that_hangs_is_told_while_it_hangs_and_holds_up_no_heartbeat(
    vendors: VendorProcess, postgres: PostgresProcess, medic: MedicProcess
) -> None:
    assert medic.register("well", seconds=600).status == 201
    assert medic.beat("well").status == 201
    assert medic.get("/heartbeat?heartbeat_name=well").status == 200

    def timed(method: str, path: str, body: object = None) -> tuple[Answer, float]:
        began = time.monotonic()
        return medic.request(method, path, body), time.monotonic() - began

    postgres.freeze()
    try:
        with ThreadPoolExecutor(4) as threads:
            asked = [
                threads.submit(timed, "GET", "/heartbeat?heartbeat_name=well"),
                threads.submit(timed, "GET", "/alerts"),
                threads.submit(timed, "POST", "/service/well", {"alert_interval": 5}),
                threads.submit(timed, "DELETE", "/service/well"),
            ]
            beaten = [timed("POST", "/heartbeat", {"heartbeat_name": "well", "status": "UP"}) for _ in range(20)]
            assert timed("POST", "/heartbeat", {"heartbeat_name": "well", "status": "DOWN"})[0].status == 201
            wait_for_pages(vendors, "trigger", 1)
            refused = [question.result() for question in asked]
    finally:
        postgres.thaw()

    assert {answer.status for answer, _ in beaten} == {201}
    # All of it was answered while PostgreSQL was frozen, and no heartbeat waited as those do that ask PostgreSQL.
    assert statistics.median(seconds for _, seconds in beaten) < min(seconds for _, seconds in refused)
    for answer, _ in refused:
        assert answer.status == 503, answer
        assert int(answer.headers["Retry-After"]) > 0
    rows = medic.wait_for(
        lambda: (found := medic.get("/heartbeat?heartbeat_name=well")).status == 200 and found.json["results"],
    )
    assert len(rows) == 22
    assert medic.results("/service/well")[0]["alert_interval"] == 10
