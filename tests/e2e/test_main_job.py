"""The main job on real input: the runbook's curl line, curl, a cron-like shell loop and medic-cli."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

from tests.e2e.pages import due_at, pages, slack_ids, slack_said, wait_for_pages
from tests.e2e.process import MedicProcess
from tests.patience import PATIENCE_SECONDS
from tests.vendors import VendorProcess

SILENT_SECONDS = 8
"""Longer than a busy machine keeps the test waiting between two lines."""

CLIENT_SECONDS = 10
"""Longer than one round of the three clients takes on a busy machine."""

RUNBOOK_REGISTRATION = """
curl -X POST http://medic-host:5000/service \\
  -H "Content-Type: application/json" \\
  -d '{
    "heartbeat_name": "service-heartbeat",
    "service_name": "my-service",
    "alert_interval": 5,
    "team": "platform"
  }'
"""
"""The runbook's own lines. Only the way to the host is given from outside, by curl's --connect-to."""


def shell(medic: MedicProcess, script: str, *, seconds: float = PATIENCE_SECONDS) -> str:
    """Run a script as an operator would, with `medic-host:5000` leading to this Medic."""
    redirected = script.replace("curl ", f"curl -sS --connect-to medic-host:5000:127.0.0.1:{medic.port} ")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", redirected],
        env={**medic.environment, "PATH": path, "MEDIC_BASE_URL": medic.url},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_runbooks_registration_line_works_as_written(medic: MedicProcess) -> None:
    answer = shell(medic, RUNBOOK_REGISTRATION)
    assert '"success":true' in answer
    assert "Heartbeat successfully registered." in answer
    again = shell(medic, RUNBOOK_REGISTRATION)
    assert "Heartbeat is already registered." in again
    service = medic.results("/service/SERVICE-heartbeat")[0]
    assert (service["heartbeat_name"], service["alert_interval"], service["team"]) == (
        "service-heartbeat",
        5,
        "platform",
    )


def test_three_kinds_of_client_are_kept_well_and_the_silent_ones_are_told_once(
    vendors: VendorProcess, medic: MedicProcess
) -> None:
    names = [f"silent-{number}" for number in range(10)]
    for name in names:
        assert medic.register(name, seconds=SILENT_SECONDS).status == 201
        assert medic.beat(name).status == 201
    # They beat for longer than they promise.
    for name in ("by-curl", "by-cron", "by-cli"):
        assert medic.register(name, seconds=CLIENT_SECONDS).status == 201
    curl = (
        'curl -fsS -X POST http://medic-host:5000/heartbeat -d "{\\"heartbeat_name\\":\\"%s\\",'
        '\\"service_name\\":\\"x\\",\\"status\\":\\"%s\\"}"'
    )
    loop = "; ".join(
        [
            f"end=$((SECONDS + {CLIENT_SECONDS + 1}))",
            "while [ $SECONDS -lt $end ]; do " + curl % ("by-curl", "COMPLETED"),
            curl % ("by-cron", "UP"),
            "medic-cli heartbeat send by-cli",
            "done",
        ]
    )
    shell(medic, loop)
    told = wait_for_pages(vendors, "trigger", len(names))
    assert sorted(event["document"]["dedup_key"] for event in told) == sorted(f"medic-{name}" for name in names)
    lateness = []
    for event in told:
        number = event["document"]["payload"]["custom_details"]["alert_id"]
        alert = medic.wait_for(lambda number=number: medic.results(f"/alerts/{number}"))
        alert = alert[0] if isinstance(alert, list) else alert
        lateness.append(event["at"] - due_at(event))
        assert alert["active"] in (1, True)
        assert alert["external_reference_id"] == event["document"]["dedup_key"]
    # Milliseconds, mostly. Whoever looked for the late ones every so often would be late by half of that time.
    assert 0 <= statistics.median(lateness) < SILENT_SECONDS / 2, lateness
    assert min(lateness) >= 0
    medic.wait_for(lambda: len(slack_said(vendors, "trigger")) == len(names))
    assert len(slack_ids(vendors)) == len(vendors.taken("slack"))

    for name in names:
        assert medic.beat(name).status == 201
    wait_for_pages(vendors, "resolve", len(names))
    assert len(pages(vendors, "trigger")) == len(names), "nobody is told twice"


def test_a_reported_failure_pages_at_once_and_started_does_not_close_it(
    vendors: VendorProcess, medic: MedicProcess
) -> None:
    medic.register("backup", seconds=600, priority="p1", runbook="https://example.com/backup")
    assert medic.beat("backup", "FAILED").status == 201
    [event] = wait_for_pages(vendors, "trigger", 1)
    assert event["document"]["payload"]["severity"] == "critical"
    assert event["document"]["links"][0]["href"] == "https://example.com/backup"
    assert medic.beat("backup", "STARTED").status == 201
    assert medic.results("/service/backup")[0]["status"] == "down"
    assert medic.beat("backup", "COMPLETED").status == 201
    wait_for_pages(vendors, "resolve", 1)
    assert medic.results("/service/backup")[0]["status"] == "up"


def test_a_muted_service_is_told_to_nobody_until_it_is_unmuted(vendors: VendorProcess, medic: MedicProcess) -> None:
    medic.register("quiet", seconds=600)
    shell(medic, "medic-cli service mute quiet")
    medic.beat("quiet", "DOWN")
    assert medic.results("/alerts?active=1")[0]["muted"] in (1, True)
    assert pages(vendors, "trigger") == []
    shell(medic, "medic-cli service unmute quiet")
    wait_for_pages(vendors, "trigger", 1)


def test_what_was_answered_201_is_in_the_next_listing(medic: MedicProcess) -> None:
    medic.register("reader", seconds=600)
    for number in range(20):
        assert medic.beat("reader", f"step-{number}").status == 201
        newest = medic.results("/heartbeat?heartbeat_name=reader&maxCount=1")[0]
        assert newest["status"] == f"step-{number}"
    rows = medic.results("/heartbeat?heartbeat_name=reader")
    assert [row["status"] for row in rows] == [f"step-{number}" for number in reversed(range(20))]
    assert len({row["heartbeat_id"] for row in rows}) == 20


def test_the_operators_lines_answer(medic: MedicProcess) -> None:
    medic.register("any", seconds=600)
    medic.beat("any", "DOWN")
    # On a busy machine Medic may have been blind for a second, and its health ends with 1 for an hour.
    assert re.search("is (healthy|degraded)", shell(medic, "medic-cli health || test $? -eq 1"))
    for line in ("service list", "alerts list", "heartbeat list --limit 5"):
        assert re.search(r"\S", shell(medic, f"medic-cli {line}"))
