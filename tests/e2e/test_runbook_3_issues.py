"""The runbook's third chapter: each issue is provoked, and resolved as it says or shown to be impossible now."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

import psutil

from tests.e2e.pages import pages, slack_said, wait_for_pages
from tests.e2e.process import MedicProcess
from tests.e2e.runbook_walk import Walk, metric, shell
from tests.vendors import Refuse, VendorProcess, Works

BULK = 10_000
ROUNDS = 6
GROWTH_MAX_BYTES = 40 << 20
"""What a process may grow by that took sixty thousand heartbeats: their rows as JSON alone are 6 MB a round."""


def test_heartbeats_not_being_recorded(walk: Walk, medic: MedicProcess) -> None:
    refused = medic.beat("service-heartbeat")
    assert refused.status == 404
    walk.saw("`/heartbeat` POST returns 404", refused.json["message"])
    said = shell(medic, "medic-cli heartbeat refused")
    assert "service-heartbeat" in said
    assert "refused once" in shell(medic, "medic-cli service why service-heartbeat", status=1)
    walk.saw(
        "Services report sending heartbeats but none appear in API",
        "`heartbeat refused` lists the name, how often and from where; `service why` says that it is not registered",
    )
    answer = shell(
        medic,
        """
        curl -X POST http://medic-host:5000/service \\
          -H "Content-Type: application/json" \\
          -d '{
            "heartbeat_name": "service-heartbeat",
            "service_name": "my-service",
            "alert_interval": 5,
            "team": "platform"
          }'
        """,
    )
    assert "Heartbeat successfully registered." in answer
    assert medic.beat("service-heartbeat").status == 201
    assert len(medic.results("/heartbeat?heartbeat_name=service-heartbeat")) == 1
    walk.saw(
        "curl -X POST http://medic-host:5000/service", f"{json.loads(answer)['message']} Its next heartbeat is listed."
    )


def test_alerts_not_firing(walk: Walk, vendors: VendorProcess, medic: MedicProcess) -> None:
    medic.register("silent", seconds=600)
    shell(medic, "medic-cli service mute silent")
    medic.beat("silent", "DOWN")
    [alert] = medic.results("/alerts?active=1")
    assert alert["muted"] in (1, True)
    why = shell(medic, "medic-cli service why silent")
    assert "nobody is told before that" in why
    walk.saw(
        "Missing heartbeats but no alerts generated",
        "the alert is open and muted; `service why` says until when, and by whom",
    )
    assert pages(vendors, "trigger") == []
    walk.saw("PagerDuty not receiving events", "nothing was sent while it was muted")
    said = shell(medic, "medic-cli service get silent")
    assert re.search(r"muted", said)
    walk.saw("# Check if service is muted", "`service get` shows the mute")
    assert shell(medic, "echo $PAGERDUTY_ROUTING_KEY").strip() == medic.environment["PAGERDUTY_ROUTING_KEY"]
    assert "PagerDuty" in shell(medic, "medic doctor || true")
    walk.saw("echo $PAGERDUTY_ROUTING_KEY", "as it stands; `medic doctor` says whether PagerDuty would be told")

    vendors.behave("pagerduty", Refuse(400))
    shell(medic, "medic-cli service unmute silent")
    medic.wait_for(lambda: len(slack_said(vendors, "trigger")) == 1)
    walk.saw("Unmute service: `medic-cli service unmute <name>`", "what is still down is told at once: Slack has it")
    medic.wait_for(lambda: medic.get("/health").json["components"]["pagerduty"]["status"] == "degraded")
    walk.saw(
        "Verify PagerDuty routing key is correct",
        "a key that PagerDuty refuses: /health degraded, with PagerDuty's words; Slack is told that too",
    )
    assert re.search("pagerduty.*refused|refused.*pagerduty", medic.output(), re.IGNORECASE)
    walk.saw("Check worker logs for errors", "the log names the alert and the vendor that refused it")
    vendors.behave("pagerduty", Works())


def bulk(medic: MedicProcess, names: list[str]) -> None:
    """Ten thousand heartbeats in one request."""
    beats = [{"heartbeat_name": names[number % len(names)], "status": "UP"} for number in range(BULK)]
    assert medic.post("/v2/heartbeats", beats).status in {200, 201, 207}


def test_high_memory_usage(walk: Walk, medic: MedicProcess) -> None:
    names = [f"busy-{number}" for number in range(10)]
    for name in names:
        medic.register(name, seconds=600)
    assert medic.child is not None
    process = psutil.Process(medic.child.pid)
    bulk(medic, names)
    medic.wait_for(lambda: metric(medic, "medic_writer_rows_total") >= BULK)
    before = process.memory_info().rss
    for _ in range(ROUNDS):
        bulk(medic, names)
    medic.wait_for(lambda: metric(medic, "medic_writer_rows_total") >= BULK * (ROUNDS + 1))
    grown = process.memory_info().rss - before
    assert grown < GROWTH_MAX_BYTES
    walk.saw(
        "Container OOM kills",
        f"{BULK * ROUNDS} heartbeats later the process has {grown >> 20} MB more: what is taken in goes to the disk",
    )
    dry = shell(medic, "medic cleanup --dry-run")
    shell(medic, "medic cleanup")
    medic.kill()
    medic.start()
    rows = shell(medic, 'eval "$(medic env)"; psql -Atc \'SELECT count(*) FROM "heartbeatEvents"\'')
    assert int(rows) == BULK * (ROUNDS + 1)
    walk.saw("Restart affected pods", f"kill -9 and a start: all {int(rows)} heartbeats are there once")
    walk.saw("Check for old data accumulation", dry.strip().splitlines()[-1])
    at = metric(medic, "medic_cleanup_last_success_timestamp_seconds")
    assert time.time() - at >= 0
    walk.saw("Verify cleanup job is running", "medic_cleanup_last_success_timestamp_seconds is the instant of that run")


def deliveries(medic: MedicProcess, alert_id: int) -> dict[str, str]:
    """How each notifier was told that the alert opened, as PostgreSQL has it."""
    told = medic.results(f"/alerts/{alert_id}")["deliveries"]
    return {one["notifier"]: one["result"] for one in told}


def test_duplicate_alerts(walk: Walk, vendors: VendorProcess, medic: MedicProcess, tmp_path: Path) -> None:
    medic.register("dead", seconds=600)
    medic.beat("dead", "DOWN")
    [alert] = medic.results("/alerts?active=1")
    # Killed before it has noted that the vendors took it, it tells them again, under the same keys: that is promised.
    medic.wait_for(lambda: deliveries(medic, alert["alert_id"]) == {"pagerduty": "delivered", "slack": "delivered"})
    medic.kill()
    medic.start()
    medic.beat("dead", "DOWN")
    assert len(medic.results("/alerts?active=1")) == 1
    [trigger] = pages(vendors, "trigger")
    walk.saw(
        "Multiple PagerDuty incidents for same issue",
        f"kill -9 in the midst of it, and told once, as {trigger['document']['dedup_key']}",
    )
    medic.wait_for(lambda: len(slack_said(vendors, "trigger")) == 1)
    walk.saw("Repeated Slack messages", "one for the alert")
    assert re.search("blind|restart|recovered", medic.output(), re.IGNORECASE)
    walk.saw("Check worker logs for restart events", "the log says from when to when Medic was away")
    second = subprocess.run(["cp", "-a", medic.data_dir, tmp_path / "other"], check=False)
    assert second.returncode == 0
    again = MedicProcess(medic.data_dir).launch()
    assert again.child is not None
    assert again.child.wait(120) != 0
    assert "in use by another Medic" in again.output()
    walk.saw(
        "Ensure only one worker instance is running",
        "a second one on the same folder is refused; on the same database it stands by",
    )
    assert medic.beat("dead").status == 201
    wait_for_pages(vendors, "resolve", 1)
    assert len(pages(vendors, "trigger")) == 1
