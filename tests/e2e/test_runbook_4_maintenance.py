"""The runbook's last chapters: maintenance, escalation, metrics, the dashboard."""

from __future__ import annotations

import json
import re
import shlex
from textwrap import dedent

import yaml

from tests.e2e.pages import pages, wait_for_pages
from tests.e2e.process import MedicProcess
from tests.e2e.runbook_walk import Walk, metric, shell
from tests.shape.checkout import ROOT
from tests.shape.kubernetes import missing
from tests.vendors import VendorProcess

RESPONSES = {
    "p1": "within 15 minutes",
    "p2": "within 1 hour",
    "p3": "within 4 hours",
    "p4": "on the next business day",
    "p5": "on the next business day",
}


def test_maintenance(walk: Walk, vendors: VendorProcess, medic: MedicProcess) -> None:
    medic.register("moved", seconds=600)
    shell(medic, "medic-cli service mute moved")
    medic.beat("moved", "DOWN")
    medic.beat("moved", "UP")
    assert medic.results("/alerts")[0]["active"] in (0, False)
    walk.saw("# Mute before maintenance", "down and up again within the mute: nobody was told")
    shell(medic, "medic-cli service unmute moved")
    assert pages(vendors, "trigger") == []
    walk.saw("# Unmute after maintenance", "unmuted, and nothing to tell")
    said = shell(medic, "medic cleanup")
    walk.saw(
        "The cleanup job runs daily at 00:00 UTC, removing heartbeats older than 30 days.",
        said.strip().splitlines()[-1],
    )
    rows = """
        eval "$(medic env)"
        psql <<'END'
        SELECT medic.ensure_heartbeat_day(current_date - n) FROM generate_series(28, 32) AS n;
        INSERT INTO "heartbeatEvents" (heartbeat_id, time, status, service_id)
            SELECT n, NOW() - n * INTERVAL '1 day', 'UP', service_id FROM services, generate_series(29, 31) AS n;
        END
    """
    shell(medic, dedent(rows))
    removal = """
        eval "$(medic env)"
        psql -h $DB_HOST -U $PG_USER -d $DB_NAME <<'END'
        DELETE FROM "heartbeatEvents" WHERE time <= (NOW() - INTERVAL '30 days');
        END
    """
    said = shell(medic, dedent(removal))
    assert "DELETE 2" in said
    walk.saw("DELETE FROM \"heartbeatEvents\" WHERE time <= (NOW() - INTERVAL '30 days');", said.strip())
    assert list(missing(shlex.split("kubectl rollout restart deployment/medic-web"))) == []
    walk.saw(
        "kubectl rollout restart deployment/medic-web",
        "the manifests have that deployment; tests/e2e/test_rolling_restart.py does it with two processes",
    )
    assert list(missing(shlex.split("kubectl rollout restart deployment/medic-worker"))) == []
    walk.saw(
        "kubectl rollout restart deployment/medic-worker",
        "the manifests have that deployment: the watcher from outside",
    )
    backup = shell(
        medic,
        """
        eval "$(medic env)"
        pg_dump -h $DB_HOST -U $PG_USER -d $DB_NAME > medic_backup_$(date +%Y%m%d).sql
        grep -c "" medic_backup_$(date +%Y%m%d).sql
        """,
    )
    assert int(backup.split()[-1]) > 100
    walk.saw(
        "pg_dump -h $DB_HOST -U $PG_USER -d $DB_NAME > medic_backup_$(date +%Y%m%d).sql",
        f"{backup.split()[-1]} lines of SQL, of the embedded database as well",
    )


def test_escalation(walk: Walk, vendors: VendorProcess, medic: MedicProcess) -> None:
    for priority in RESPONSES:
        medic.register(f"of-{priority}", seconds=600, priority=priority)
        medic.beat(f"of-{priority}", "DOWN")
    told = wait_for_pages(vendors, "trigger", len(RESPONSES))
    shown = {event["document"]["payload"]["component"]: event["document"]["links"][-1]["text"] for event in told}
    for priority, response in RESPONSES.items():
        assert shown[f"of-{priority}"] == f"Alert in Medic ({priority}, respond {response})"
    walk.saw("| P1 | 15 minutes | On-call -> Team Lead -> Engineering Manager |", shown["of-p1"])
    walk.saw("| P2 | 1 hour | On-call -> Team Lead |", shown["of-p2"])
    walk.saw("| P3 | 4 hours | On-call |", shown["of-p3"])
    walk.saw("| P4/P5 | Next business day | Ticket queue |", shown["of-p4"])
    walk.saw(
        "**On-call Rotation:** Check PagerDuty schedule", "five incidents at PagerDuty, which pages who is on call"
    )
    vendors.wait_for("slack", len(RESPONSES))
    messages = [json.dumps(message["document"]) for message in vendors.taken("slack")]
    assert sum("Priority: p1, respond within 15 minutes" in message for message in messages) == 1
    walk.saw(
        "**Slack Channel:** #medic-alerts", "the channel of SLACK_CHANNEL_ID has them, each with its response time"
    )


def test_metrics_and_dashboards(walk: Walk, medic: MedicProcess) -> None:
    rules = yaml.safe_load((ROOT / "dashboards" / "alerts.yml").read_text())
    expressions = " ".join(
        re.sub(r"\s+", " ", rule["expr"]) for group in rules["groups"] for rule in group["rules"] if "expr" in rule
    )
    medic.register("lit", seconds=600)
    medic.beat("lit", "DOWN")
    assert metric(medic, "medic_alerts_active") == 1
    for bound in ("5", "10"):
        assert re.search(rf"medic_alerts_active[^a-z_]*> {bound}\b", expressions)
    walk.saw("| `medic_alerts_active` | > 5 | > 10 |", "1 with one alert open; alerts.yml has both thresholds")
    scraped = medic.get("/metrics").body.decode()
    assert re.search(r'medic_http_request_duration_seconds_bucket\{.*route="/heartbeat"', scraped)
    for bound in ("1", "5"):
        assert re.search(rf"medic_http_request_duration_seconds_bucket.*?> {bound}\b", expressions)
    walk.saw(
        "| `medic_http_request_duration_seconds` p95 | > 1s | > 5s |",
        "a histogram by method and route, the express lane included",
    )
    assert metric(medic, "medic_db_connection_errors_total") >= 0
    for bound in ("0.1", "1"):
        assert re.search(rf"medic_db_connection_errors_total.*?> {re.escape(bound)}(?![\d.])", expressions)
    walk.saw("| `medic_db_connection_errors_total` rate | > 0.1/min | > 1/min |", "counts each failed attempt")
    dashboard = json.loads((ROOT / "dashboards" / "grafana.json").read_text())
    assert dashboard["panels"]
    walk.saw(
        "Grafana: `dashboards/grafana.json`",
        f"{len(dashboard['panels'])} panels; tests/integration holds each to a real Prometheus",
    )
