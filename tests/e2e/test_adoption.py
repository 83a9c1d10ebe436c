"""The real process on the earlier system's database: refused, taken over, run without telling anybody, and for good."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from medic.store.adoption.heartbeats import BATCH_ROWS
from tests.e2e.pages import pages, wait_for_pages
from tests.e2e.postgres import PostgresProcess
from tests.e2e.process import MedicProcess
from tests.earlier_system import small_fleet
from tests.patience import PATIENCE_SECONDS
from tests.postgres_server import find_tool
from tests.vendors import VendorProcess

MANY = BATCH_ROWS + 10_000
"""Heartbeats for two batches."""

COMMAND = str(Path(sys.executable).parent / "medic")


def by_sql(postgres: PostgresProcess, *statements: str) -> str:
    """What psql answers."""
    where = postgres.environment
    wires = {
        "PGHOST": where["DB_HOST"],
        "PGPORT": where["DB_PORT"],
        "PGDATABASE": where["DB_NAME"],
        "PGUSER": where["PG_USER"],
    }
    words = [find_tool("psql"), "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]
    done = subprocess.run(
        [*words, *(f"--command={statement}" for statement in statements)],
        env={**os.environ, **wires},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def command(medic: MedicProcess, words: Sequence[str], *, status: int) -> str:
    """What `medic` says; the exit status has to be this one."""
    done = subprocess.run(
        [COMMAND, *words], env=medic.environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == status, f"{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_the_earlier_systems_database_is_taken_over_and_pages_nobody(
    vendors: VendorProcess, postgres: PostgresProcess, tmp_path: Path
) -> None:
    by_sql(postgres, *small_fleet(count=MANY))
    medic = MedicProcess(
        tmp_path / "data",
        **vendors.environment,
        **postgres.environment,
        MEDIC_FIRST_HEARTBEAT_MINUTES="15",
        MEDIC_NOTIFY="off",
        MEDIC_LOG_FORMAT="json",
    )
    try:
        refused = command(medic, ["serve"], status=2)
        assert "`medic migrate --adopt`" in refused
        assert "schema medic" in refused
        assert "5 alerts are open, 4 of them known to PagerDuty" in command(medic, ["migrate", "--plan"], status=0)
        _kill_it_halfway(medic)
        assert "`medic migrate --adopt`, or back" in command(medic, ["serve"], status=2)
        assert "Start Medic with a new data folder" in medic.wait_for(lambda: _adopted(medic))
        assert by_sql(postgres, 'SELECT count(*) FROM medic."heartbeatEvents"').strip() == str(MANY + 6)
        _without_telling(medic, vendors)
        medic.environment["MEDIC_NOTIFY"] = "on"
        _for_good(medic, vendors)
        assert "no way back" in command(medic, ["migrate", "--finish"], status=0)
        assert medic.stop() == 0, medic.output()
    finally:
        medic.end()


def _kill_it_halfway(medic: MedicProcess) -> None:
    """Kill -9 the taking over once its first batch of heartbeats is in."""
    with subprocess.Popen(
        [COMMAND, "migrate", "--adopt"], env=medic.environment, stdout=subprocess.PIPE, text=True
    ) as taking:
        assert taking.stdout is not None
        assert any(line.startswith("heartbeats: ") for line in taking.stdout)
        taking.kill()


def _adopted(medic: MedicProcess) -> str:
    """What the taking over says; nothing while PostgreSQL has not noticed yet that the one before is dead."""
    done = subprocess.run(
        [COMMAND, "migrate", "--adopt"],
        env=medic.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0 or "a Medic is active on it" in done.stderr, done.stderr
    return done.stdout if done.returncode == 0 else ""


def _without_telling(medic: MedicProcess, vendors: VendorProcess) -> None:
    """Everything works and nobody hears of it; what would have been told is known."""
    medic.start()
    output = medic.output()
    assert "nobody: MEDIC_NOTIFY is off" in output
    health = medic.get("/health").json
    assert (health["status"], health["components"]["alerts"]["reason"]) == (
        "degraded",
        "MEDIC_NOTIFY is off: nobody is told",
    )
    assert {row["heartbeat_name"]: row["status"] for row in medic.results("/service")} == {
        "pay-nightly": "up",
        "mail-queue": "up",
        "broken": "late",
        "broken-elsewhere": "late",
        "given-up": "late",
        "given-up-and-muted": "late",
        "muted-lately": "up",
        "switched-off": "inactive",
        "newcomer": "new",
    }
    assert medic.results("/heartbeat?heartbeat_name=pay-nightly&maxCount=1")[0]["status"] == "UP"
    alerts = {row["heartbeat_name"]: row for row in medic.results("/alerts?active=1")}
    assert alerts["broken-elsewhere"]["external_reference_id"] == "Q1ANOTHERKEY"
    assert (alerts["broken"]["alert_id"], alerts["broken"]["external_reference_id"]) == (2, "medic-broken")
    # One is well again, one says that it is down, one is down for a moment.
    assert medic.beat("broken").status == 201
    for status in ("DOWN", "UP"):
        assert medic.beat("mail-queue", status).status == 201
    assert medic.beat("pay-nightly", "DOWN").status == 201
    [alert] = medic.wait_for(
        lambda: [row for row in medic.results("/alerts?active=1") if row["heartbeat_name"] == "pay-nightly"]
    )
    told = medic.wait_for(
        lambda: (
            (found := medic.results(f"/alerts/{alert['alert_id']}")["deliveries"])
            and all(one["result"] == "withheld" for one in found)
            and found
        )
    )
    assert {one["notifier"] for one in told} == {"pagerduty", "slack"}
    assert 'outcome="withheld",target="pagerduty"' in medic.get("/metrics").body.decode()
    assert '"event": "would have been told"' in medic.output() or "would have been told" in medic.output()
    assert medic.stop() == 0, medic.output()
    assert (vendors.arrivals("pagerduty"), vendors.arrivals("slack")) == ([], [])


def _for_good(medic: MedicProcess, vendors: VendorProcess) -> None:
    """What was told before is told to be over, what is down is told now, and whom nobody heard of is told of once."""
    medic.start()
    resolved = wait_for_pages(vendors, "resolve", 3)
    keys = sorted(event["document"]["dedup_key"] for event in resolved)
    assert keys == ["medic-broken", "medic-long-gone", "medic-switched-off"]
    [down] = wait_for_pages(vendors, "trigger", 1)
    assert down["document"]["dedup_key"] == "medic-pay-nightly"
    assert medic.beat("broken-elsewhere").status == 201
    assert wait_for_pages(vendors, "resolve", 4)[-1]["document"]["dedup_key"] == "Q1ANOTHERKEY"
    medic.wait_for(lambda: any("TAKEN OVER" in text for text in _slack(vendors)))
    [summary] = [text for text in _slack(vendors) if "TAKEN OVER" in text]
    assert "2 services have not been heard of in 30 days" in summary
    assert "given-up, given-up-and-muted" in summary
    # The end of what nobody was told of is not told either.
    assert medic.beat("given-up").status == 201
    medic.wait_for(lambda: medic.get("/service/given-up").json["results"][0]["status"] == "up")
    assert medic.beat("pay-nightly").status == 201
    wait_for_pages(vendors, "resolve", 5)
    assert len(pages(vendors, "trigger")) == 1
    assert not any("given-up:" in text for text in _slack(vendors))
    assert len([text for text in _slack(vendors) if "TAKEN OVER" in text]) == 1


def _slack(vendors: VendorProcess) -> list[str]:
    return [str(arrival["document"]["text"]) for arrival in vendors.taken("slack")]
