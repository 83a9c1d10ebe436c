"""An alert that every vendor refuses is not forgotten: /health says so, and the next start tells it again."""

from __future__ import annotations

from tests.e2e.pages import wait_for_pages
from tests.e2e.process import MedicProcess
from tests.vendors import Refuse, VendorProcess, Works


def untold(medic: MedicProcess) -> float:
    """The metric, as Prometheus would read it."""
    lines = medic.get("/metrics").body.decode().splitlines()
    return float(next(line for line in lines if line.startswith("medic_alerts_untold ")).split()[1])


def test_what_reached_nobody_is_told_at_the_next_start(vendors: VendorProcess, medic: MedicProcess) -> None:
    vendors.behave("pagerduty", Refuse(400))
    vendors.behave("slack", Refuse(200, error="invalid_auth"))
    medic.register("unlucky", seconds=600)
    assert medic.beat("unlucky", "DOWN").status == 201
    medic.wait_for(lambda: untold(medic) == 1)
    health = medic.get("/health")
    assert health.status == 200
    assert health.json["status"] == "degraded"
    assert "unlucky" in medic.output()

    assert medic.stop() == 0
    for vendor in ("pagerduty", "slack"):
        vendors.behave(vendor, Works())
    medic.start()
    [told] = wait_for_pages(vendors, "trigger", 1)
    assert told["document"]["dedup_key"] == "medic-unlucky"
    medic.wait_for(lambda: untold(medic) == 0)
    assert medic.stop() == 0
    medic.start()
    assert medic.beat("unlucky").status == 201
    wait_for_pages(vendors, "resolve", 1)
    assert len(wait_for_pages(vendors, "trigger", 1)) == 1


def test_a_shell_that_has_the_exports_of_medic_env_starts_the_same_database(medic: MedicProcess) -> None:
    medic.register("kept", seconds=600)
    socket = medic.data_dir / "postgres" / "socket"
    assert medic.stop() == 0
    medic.environment |= {"DB_HOST": str(socket), "DB_PORT": "5432", "DB_NAME": "medic", "PG_USER": "medic"}
    medic.start()
    assert medic.get("/health").json["components"]["database"]["kind"] == "embedded"
    assert medic.get("/service/kept").status == 200
