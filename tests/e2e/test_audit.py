"""One story of the audit: two people change a service, somebody tampers with what is written of it, one has it back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from tests.e2e.process import MedicProcess
from tests.patience import PATIENCE_SECONDS
from tests.postgres_server import find_tool


def run(words: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The command once it has ended."""
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


def verify(medic: MedicProcess) -> tuple[int, Any]:
    """Exit status and answer of `medic audit verify`."""
    words = [sys.executable, "-m", "medic", "audit", "verify", "--output", "json"]
    done = subprocess.run(
        words, env=medic.environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def sql(medic: MedicProcess, statement: str) -> str:
    """What psql prints, run as an operator runs it."""
    exports = run([sys.executable, "-m", "medic", "env"], medic.environment).stdout
    line = f'{exports}\nexec "$PSQL" -v ON_ERROR_STOP=1 -qtA -c "$STATEMENT"'
    environment = {**os.environ, "PSQL": str(find_tool("psql")), "STATEMENT": statement}
    done = run(["sh", "-c", line], environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def entries(medic: MedicProcess, query: str = "") -> list[dict[str, Any]]:
    page = medic.get(f"/v2/audit-logs{query}").json["results"]
    return list(page["entries"])


def test_two_people_change_a_service_and_somebody_tampers_with_what_is_written_of_it(medic: MedicProcess) -> None:
    answers = [
        medic.post(
            "/service", {"heartbeat_name": "pay", "service_name": "p", "alert_interval": 5}, **{"X-Actor": "anna"}
        ),
        medic.post("/service/pay", {"team": "core"}, **{"X-Actor": "ben"}),
    ]
    medic.post("/service/pay", {"muted": 1, "mute_reason": "works"}, **{"X-Actor": "anna"})
    medic.beat("pay", "DOWN")
    alert = medic.wait_for(lambda: medic.get("/alerts?active=1").json["results"])[0]["alert_id"]
    medic.post(f"/alerts/{alert}/acknowledge", {"note": "on it"}, **{"X-Actor": "ben"})
    medic.request("DELETE", "/service/pay", **{"X-Actor": "ben"})

    found = entries(medic, "?heartbeat_name=pay")
    assert [(entry["actor"], entry["action"]) for entry in reversed(found)] == [
        ("anna", "register"), ("ben", "update"), ("anna", "mute"), ("ben", "acknowledge"), ("ben", "delete"),
    ]  # fmt: skip
    assert {entry["address"] for entry in found} == {"127.0.0.1"}
    assert len({entry["request_id"] for entry in found} - {None}) == 5
    assert [entry["request_id"] for entry in found[:-3:-1]] == [answer.headers["X-Request-Id"] for answer in answers]
    medic.wait_for(lambda: all(entry["hash"] for entry in entries(medic)))
    assert verify(medic)[0] == 0

    sql(
        medic,
        "BEGIN; SET LOCAL session_replication_role = replica;"
        "UPDATE medic.audit_log SET actor = 'ben' WHERE action = 'mute'; COMMIT",
    )
    status, verdict = verify(medic)
    assert (status, verdict["wrong"]) == (1, 1)
    mute = next(entry for entry in found if entry["action"] == "mute")
    assert f"entry {mute['audit_id']} does not fit" in verdict["findings"][0]["sentence"]

    [deleted] = medic.get("/v2/snapshots?heartbeat_name=pay&action_type=delete").json["results"]["entries"]
    path = f"/v2/snapshots/{deleted['snapshot_id']}/restore"
    restored = medic.post(path, **{"X-Actor": "anna"})
    assert (restored.status, restored.json["results"]["service"]["team"]) == (200, "core")
    assert medic.post(path).status == 400
    [service] = medic.get("/service/pay").json["results"]
    assert (service["down"], service["muted"], service["status"]) == (0, 0, "new")
