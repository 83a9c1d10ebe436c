"""Medic restarts in the middle of an outage: no second notification id, no false page, nothing acknowledged lost."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.e2e.pages import pages, slack_ids, wait_for_pages
from tests.e2e.process import MedicProcess
from tests.vendors import VendorProcess

WELL_SECONDS = 6.0
"""Longer than a busy machine keeps the test waiting between two heartbeats."""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["sigterm", "kill-9"])
def test_a_restart_in_the_middle_of_an_outage_tells_nobody_twice_and_nobody_falsely(
    vendors: VendorProcess, medic: MedicProcess, end: signal.Signals
) -> None:
    medic.register("dead", seconds=1)
    for name, seconds in (("well", WELL_SECONDS), ("marker", 600)):
        medic.register(name, seconds=seconds)
        medic.beat(name)
    medic.wait_for(lambda: medic.beat("well").status == 201 and pages(vendors, "trigger"))
    assert [event["document"]["dedup_key"] for event in pages(vendors, "trigger")] == ["medic-dead"]
    heard = time.monotonic()
    assert medic.beat("well").status == 201
    medic.stop(end)
    # Whoever counted the time away would page for "well".
    time.sleep(max(0.0, heard + WELL_SECONDS + 1 - time.monotonic()))
    medic.start()
    assert medic.beat("well").status == 201
    assert medic.results("/service/dead")[0]["status"] == "late"
    assert medic.results("/service/well")[0]["status"] == "up"
    # Pages go out in order: one for "well" would be there before this one.
    assert medic.beat("marker", "DOWN").status == 201
    medic.wait_for(lambda: medic.beat("well").status == 201 and len(pages(vendors, "trigger")) > 1)
    triggers = pages(vendors, "trigger")
    assert [event["document"]["dedup_key"] for event in triggers] == ["medic-dead", "medic-marker"]
    assert len(slack_ids(vendors)) == len(vendors.taken("slack"))
    assert medic.beat("dead").status == 201
    wait_for_pages(vendors, "resolve", 1)
    # PostgreSQL, which has the closed ones, learns of it a moment later.
    [alert] = medic.wait_for(lambda: medic.results("/alerts?heartbeat_name=dead&active=0"))
    assert alert["closed_reason"] == "recovered"


def test_every_heartbeat_that_was_answered_survives_kill_9(medic: MedicProcess) -> None:
    medic.register("counted", seconds=600)
    answered = sum(medic.beat("counted", f"n{number}").status == 201 for number in range(200))
    medic.kill()
    medic.start()
    rows = medic.results("/heartbeat?heartbeat_name=counted&maxCount=250")
    assert len(rows) == answered == 200
    assert len({row["status"] for row in rows}) == 200


def test_a_second_start_finds_services_mutes_and_open_alerts_again(vendors: VendorProcess, medic: MedicProcess) -> None:
    medic.register("kept", seconds=600, team="platform", priority="p2", grace_period_seconds=5, threshold=2)
    medic.register("muted", seconds=600)
    medic.post("/service/muted", {"muted": 1, "mute_minutes": 30, "mute_reason": "move"})
    medic.beat("kept", "DOWN")
    wait_for_pages(vendors, "trigger", 1)
    before = {row["heartbeat_name"]: row for row in medic.results("/service")}
    alert = medic.results("/alerts?active=1")[0]
    medic.post(f"/alerts/{alert['alert_id']}/acknowledge", {"note": "on it"}, **{"X-Actor": "ann"})
    assert medic.stop() == 0
    medic.start()
    after = {row["heartbeat_name"]: row for row in medic.results("/service")}
    volatile = {"deadline_at"}
    for name, row in before.items():
        assert {key: value for key, value in after[name].items() if key not in volatile} == {
            key: value for key, value in row.items() if key not in volatile
        }
    again = medic.results("/alerts?active=1")[0]
    assert again["alert_id"] == alert["alert_id"]
    assert again["acknowledged_by"] == "ann"
    assert len(pages(vendors, "trigger")) == 1


def test_a_second_medic_on_the_same_directory_is_refused_with_one_sentence(medic: MedicProcess) -> None:
    other = MedicProcess(Path(medic.data_dir))
    with pytest.raises(AssertionError, match="medic ended with 1"):
        other.start()
    assert "already" in other.output() or "another" in other.output()
