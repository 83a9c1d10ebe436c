"""Old rows go while Medic serves, by command and by hand; and nothing that it goes on with is among them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.pages import pages, wait_for_pages
from tests.e2e.postgres import PostgresProcess
from tests.e2e.process import MedicProcess
from tests.patience import PATIENCE_SECONDS
from tests.postgres_server import find_tool
from tests.vendors import VendorProcess

FILL = """
SELECT medic.ensure_heartbeat_day((now() AT TIME ZONE 'UTC')::date - n) FROM (VALUES (40), (35)) AS days (n);
INSERT INTO "heartbeatEvents" (heartbeat_id, time, status, service_id)
SELECT n, now() - days, status, service_id
FROM services, (VALUES (interval '40 days', 'UP', 1), ('40 days', 'UP', 2), ('40 days', 'UP', 3),
                       ('35 days', 'FAILED', 4), ('35 days', 'FAILED', 5)) AS said (days, status, n)
WHERE heartbeat_name = 'pay';
"""

BY_HAND = """DELETE FROM "heartbeatEvents" WHERE time <= (NOW() - INTERVAL '30 days');"""
"""As the runbook has it."""

OLD = """SELECT count(*) FROM "heartbeatEvents" WHERE time <= (NOW() - INTERVAL '30 days');"""

PURGE = """
DELETE FROM "heartbeatEvents"; DELETE FROM heartbeat_hours; DELETE FROM heartbeat_days;
DELETE FROM alert_events; DELETE FROM service_snapshots; DELETE FROM deleted_services;
DELETE FROM notifications n
WHERE outcome <> '' AND NOT EXISTS (SELECT FROM alerts a WHERE a.alert_id = n.alert_id AND active = 1);
BEGIN; SET LOCAL medic.audit_retention = 'on'; DELETE FROM audit_log; DELETE FROM audit_seals; COMMIT;
DO $$ DECLARE day text; BEGIN
    FOR day IN SELECT partition_name FROM medic.heartbeat_partitions LOOP
        EXECUTE format('DROP TABLE medic.%I', day);
    END LOOP;
END $$;
"""
"""All that retention may ever remove, however old: everything but services, their states, and what is open."""


class Operator:
    """Whoever has a shell beside Medic."""

    def __init__(self, medic: MedicProcess) -> None:
        self._medic = medic

    def medic(self, *words: str) -> Any:
        """What a command of `medic` prints as JSON."""
        done = self._run([sys.executable, "-m", "medic", *words, "--output", "json"], self._medic.environment)
        return json.loads(done)

    def cli(self, *words: str) -> str:
        """What `medic-cli` prints."""
        environment = {**self._medic.environment, "MEDIC_BASE_URL": self._medic.url}
        return self._run([sys.executable, "-m", "medic.cli.operator", *words], environment)

    def psql(self, statements: str) -> str:
        """What psql prints, told where to connect as the runbook tells it."""
        line = 'exec "$PSQL" -h $DB_HOST -p $DB_PORT -U $PG_USER -d $DB_NAME -v ON_ERROR_STOP=1 -qtA -f -'
        environment = {**self._medic.environment, "PSQL": str(find_tool("psql"))}
        environment["PGPASSWORD"] = environment.get("PG_PASS", "")
        return self._run(["sh", "-c", line], environment, statements)

    def _run(self, words: list[str], environment: dict[str, str], said: str = "") -> str:
        done = subprocess.run(
            words, env={**os.environ, **environment}, input=said, capture_output=True, text=True,
            timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def test_old_rows_go_and_an_open_alert_outlives_everything_that_can_be_removed(
    tmp_path: Path, postgres: PostgresProcess, vendors: VendorProcess
) -> None:
    settings = {**postgres.environment, **vendors.environment}
    first = MedicProcess(tmp_path / "first", **settings).start()
    second = MedicProcess(tmp_path / "second", **settings)
    try:
        operator = Operator(first)
        first.register("pay")
        first.register("yearly", seconds=300 * 86_400)  # longer than heartbeats are kept
        first.beat("yearly")
        first.beat("pay", "DOWN")
        alert = first.wait_for(lambda: first.get("/alerts?active=1").json["results"])[0]["alert_id"]
        wait_for_pages(vendors, "trigger", 1)
        deadline = first.get("/service/yearly").json["results"][0]["deadline_at"]

        cleaned_up_beside_the_medic_that_runs(first, operator)

        operator.psql(PURGE)
        first.beat("pay", "STARTED")  # its day is made anew; the alert stays
        assert first.stop() == 0, first.output()
        operator.psql('DELETE FROM "heartbeatEvents"')
        second.start()  # of the first one's directory it has nothing
        [still] = second.wait_for(lambda: second.get("/alerts?active=1").json["results"])
        assert (still["alert_id"], still["reason"]) == (alert, "reported_down")
        # What it was heard of last is known without a row; the time between the two is credited.
        assert second.get("/service/yearly").json["results"][0]["deadline_at"] >= deadline
        assert second.beat("pay").status == 201
        second.wait_for(lambda: not second.get("/alerts?active=1").json["results"])
        [resolved] = wait_for_pages(vendors, "resolve", 1)
        assert resolved["document"]["dedup_key"] == "medic-pay"
        assert len(pages(vendors, "trigger")) == 1
    finally:
        first.end()
        second.end()


def cleaned_up_beside_the_medic_that_runs(medic: MedicProcess, operator: Operator) -> None:
    """By command, and by hand; what was counted stays, and can be asked for."""
    operator.psql(FILL)
    medic.wait_for(lambda: operator.psql("SELECT max(watermark_at) FROM journal_positions"))

    component = medic.get("/health").json["components"]["cleanup"]
    assert (component["status"], component["next_at"] > component["since"]) == ("healthy", True)
    plan = operator.medic("cleanup", "--dry-run")
    assert [day["day"] for day in plan["to_remove"]] == [day["day"] for day in plan["to_count"]]
    assert len(plan["to_remove"]) == 2
    assert operator.psql(OLD) == "5"

    done = operator.medic("cleanup")
    assert (done["removed_days"], done["left"]) == ([day["day"] for day in plan["to_remove"]], [])
    assert operator.medic("cleanup")["removed_days"] == []

    operator.psql(FILL)
    assert operator.psql(BY_HAND + OLD) == "0"
    report = json.loads(operator.cli("service", "report", "pay", "--last", "52w", "--output", "json"))
    assert (report["heartbeats"]["UP"], report["heartbeats"]["FAILED"]) == (3, 2)
    assert [outage["to"] for outage in report["outages"]] == [None]
    assert report["reported_seconds"] > 0
