"""The runbook's second chapter: an alert comes, and PostgreSQL is away, out of connections, overloaded."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.pages import wait_for_pages
from tests.e2e.postgres import PostgresProcess
from tests.e2e.process import MedicProcess
from tests.e2e.runbook_walk import Walk, make_database, metric, shell
from tests.patience import PATIENCE_SECONDS
from tests.postgres_server import find_tool
from tests.shape.kubernetes import missing
from tests.vendors import VendorProcess

SEVERITIES = {"p1": "critical", "p2": "error", "p3": "warning", "p4": "info", "p5": "info"}
ROLE = "watchman"
CONNECTIONS = 37
"""What the packaged PostgreSQL gives to anybody: its forty, without the three that it keeps for superusers."""


@pytest.fixture
def medic(tmp_path: Path, vendors: VendorProcess, postgres: PostgresProcess) -> Iterator[MedicProcess]:
    """On a PostgreSQL of its own, to be ended and filled; as a role that has no connections kept for it."""
    ours = make_database(postgres, tmp_path / "database")
    process = MedicProcess(tmp_path / "data", **vendors.environment, **ours).start()
    yield process
    assert process.stop() == 0, process.output()


def test_a_heartbeat_failure_from_the_page_to_the_recovery(
    walk: Walk, medic: MedicProcess, vendors: VendorProcess
) -> None:
    for priority in SEVERITIES:
        medic.register(f"of-{priority}", seconds=600, priority=priority)
        medic.beat(f"of-{priority}", "UP")
        medic.beat(f"of-{priority}", "DOWN")
    events = {event["document"]["payload"]["component"]: event for event in wait_for_pages(vendors, "trigger", 5)}
    found = {name.removeprefix("of-"): event["document"]["payload"]["severity"] for name, event in events.items()}
    assert found == SEVERITIES
    walk.saw(
        "**Severity:** Varies by service priority (P1-P5)", ", ".join(f"{one} {two}" for one, two in found.items())
    )
    summary = events["of-p1"]["document"]["payload"]["summary"]
    assert summary.startswith("Medic - Heartbeat failure for of-p1")
    walk.saw('PagerDuty alert: "Medic - Heartbeat failure for [service-name]"', summary)
    vendors.wait_for("slack", 5)
    told = {message["document"]["channel"] for message in vendors.taken("slack")}
    walk.saw("Slack notification in configured channel", f"five messages in {told}")
    assert told == {medic.environment["SLACK_CHANNEL_ID"]}

    said = shell(medic, "medic-cli service get of-p1")
    assert "down" in said
    walk.saw("medic-cli service get <heartbeat-name>", "its status is down; `service why` says it in sentences")
    said = shell(medic, "medic-cli heartbeat list --name of-p1")
    assert re.search("UP", said)
    assert re.search("DOWN", said)
    walk.saw("medic-cli heartbeat list --name <heartbeat-name>", "both heartbeats, newest first")
    said = shell(medic, "curl -o /dev/null -w '%{http_code}' http://medic-host:5000/v1/healthcheck/network")
    walk.saw("Verify network connectivity to Medic", f"curl is answered {said}")
    assert said == "204"
    said = shell(medic, "medic-cli health || test $? -eq 1")
    assert re.search("is (healthy|degraded)", said)
    walk.saw("medic-cli health", "says how Medic is, and each component")
    assert '"components"' in shell(medic, "curl http://medic-host:5000/health")
    walk.saw("curl http://medic-host:5000/health", "JSON with the components, as the line stands")
    medic.beat("of-p1")
    wait_for_pages(vendors, "resolve", 1)
    assert medic.results("/service/of-p1")[0]["status"] == "up"
    walk.saw(
        "If source service is down: Restart source service",
        "its next heartbeat closed the alert and resolved the incident",
    )
    shell(medic, "medic-cli service mute of-p2")
    assert medic.results("/service/of-p2")[0]["muted"] == 1
    walk.saw("medic-cli service mute <heartbeat-name>", "muted until a named instant")


class Crowd:
    """Sessions of somebody else, each asleep."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._words = ["-h", environment["DB_HOST"], "-U", "crowd", "-d", environment["DB_NAME"], "-AtXq"]
        self.inside: list[subprocess.Popen[str]] = []

    def one_more(self) -> bool:
        """Whether PostgreSQL let another one in."""
        session = subprocess.Popen(
            [find_tool("psql"), *self._words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert session.stdin is not None
        assert session.stdout is not None
        with suppress(BrokenPipeError):
            session.stdin.write("SELECT 1;\n")
            session.stdin.flush()
        if session.stdout.readline() == "1\n":
            self.inside.append(session)
            return True
        self._end(session)
        return False

    def leave(self) -> None:
        """All of them end."""
        while self.inside:
            self._end(self.inside.pop())

    def _end(self, session: subprocess.Popen[str]) -> None:
        session.kill()
        session.communicate()


@pytest.fixture
def crowd(medic: MedicProcess) -> Iterator[Crowd]:
    crowd = Crowd(medic.environment)
    yield crowd
    crowd.leave()


def test_the_database_connection_alert(
    walk: Walk, medic: MedicProcess, postgres: PostgresProcess, vendors: VendorProcess, crowd: Crowd
) -> None:
    medic.register("well", seconds=600)
    said = shell(medic, 'psql -h $DB_HOST -U $PG_USER -d $DB_NAME -c "SELECT 1"')
    assert "(1 row)" in said
    walk_psql = said.split()[0]
    errors = metric(medic, "medic_db_connection_errors_total")
    postgres.stop()
    assert [medic.beat("well").status for _ in range(20)] == [201] * 20
    health = medic.wait_for(lambda: (found := medic.get("/health")).status == 503 and found)
    assert health.json["components"]["database"]["status"] == "unhealthy"
    walk.saw(
        "Health check shows database as unhealthy", "503, database unhealthy; twenty heartbeats were taken meanwhile"
    )
    refused = [medic.get("/alerts"), medic.get("/heartbeat?heartbeat_name=well"), medic.register("new")]
    assert [answer.status for answer in refused] == [503] * 3
    walk.saw("API returns 500 errors", "never: history and registration answer 503 with Retry-After, all else goes on")
    medic.wait_for(lambda: metric(medic, "medic_db_connection_errors_total") > errors)
    assert re.search("PostgreSQL", medic.output())
    walk.saw("Worker logs show connection errors", "the log says that PostgreSQL does not answer; the metric counts")
    failed = subprocess.run(
        [find_tool("psql"), "-h", medic.environment["DB_HOST"], "-U", ROLE, "-d", "watch", "-c", "SELECT 1"],
        capture_output=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert failed.returncode == 2
    walk.saw(
        'psql -h $DB_HOST -U $PG_USER -d $DB_NAME -c "SELECT 1"',
        f"as it stands: {walk_psql}; no connection while it is away",
    )
    assert list(missing(["kubectl", "logs", "-l", "app=medic-db"])) == []
    walk.saw("kubectl logs -l app=medic-db", "the manifests' PostgreSQL has that label")
    postgres.start()
    medic.wait_for(lambda: medic.get("/health").status == 200)
    said = postgres.ask(f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{ROLE}'")
    assert 1 <= int(said) <= 12
    walk.saw("Connection count", f"{int(said)} connections are Medic's")
    _exhausted(walk, medic, postgres, crowd)
    _overloaded(walk, medic, postgres)
    rows = medic.wait_for(lambda: medic.get("/heartbeat?heartbeat_name=well").json["results"])
    assert len(rows) == 60
    walk.saw(
        "Database down: Follow database recovery procedures",
        "back again: all 60 heartbeats are there once, without a restart",
    )
    assert vendors.taken("pagerduty") == []


def _exhausted(walk: Walk, medic: MedicProcess, postgres: PostgresProcess, crowd: Crowd) -> None:
    """Somebody else takes every connection there is, and Medic's are ended one after the other."""
    while len(crowd.inside) < CONNECTIONS:
        if not crowd.one_more():
            postgres.ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'")
    medic.wait_for(lambda: medic.get("/health").json["components"]["database"]["status"] == "unhealthy")
    assert [medic.beat("well").status for _ in range(20)] == [201] * 20
    crowd.leave()
    medic.wait_for(lambda: medic.get("/health").status == 200)
    assert medic.register("after", seconds=600).status in {200, 201}
    walk.saw(
        "Connection pool exhausted: Restart Medic pods",
        f"{CONNECTIONS} sessions of others held them all: heartbeats were taken, and it healed without a restart",
    )


def _overloaded(walk: Walk, medic: MedicProcess, postgres: PostgresProcess) -> None:
    """PostgreSQL accepts and answers nothing, which is what a hopeless load looks like from here."""
    postgres.freeze()
    try:
        assert [medic.beat("well").status for _ in range(20)] == [201] * 20
        health = medic.wait_for(lambda: (found := medic.get("/health")).json["status"] != "healthy" and found)
        said = json.dumps(health.json["components"]["database"])
    finally:
        postgres.thaw()
    medic.wait_for(lambda: medic.get("/health").status == 200)
    walk.saw(
        "Database overloaded: Scale database or optimize queries", f"heartbeats are taken, /health says {said[:80]}"
    )
