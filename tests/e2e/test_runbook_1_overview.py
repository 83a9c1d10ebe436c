"""The runbook's first chapter: components, health endpoints, and every variable set to something and seen to work."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis

from medic.config.variables import TABLES
from tests.e2e.pages import wait_for_pages
from tests.e2e.postgres import PostgresProcess
from tests.e2e.process import MedicProcess, free_port
from tests.e2e.runbook_walk import Walk, make_database, metric, shell
from tests.redis_server import RedisServer
from tests.vendors import VendorProcess
from tests.vendors.pagerduty import ROUTING_KEY
from tests.vendors.slack import CHANNEL, SIGNING_SECRET, TOKEN, slack_headers
from tests.vendors.webhook import signature_of

PASSWORD = "a password of the walk"
SECRETS_KEY = base64.b64encode(hashlib.sha256(b"walk").digest()).decode()
WEBHOOK_SECRET = "whsec_" + base64.b64encode(hashlib.sha256(b"webhook").digest()).decode()

DEFAULTS = {
    "DB_PORT": 5432, "PORT": 8080, "DEBUG": False, "LOG_LEVEL": "INFO", "MEDIC_TIMEZONE": "America/Chicago",
    "WORKER_INTERVAL_SECONDS": 15, "ALERT_AUTO_UNMUTE_HOURS": 24, "HEARTBEAT_RETENTION_DAYS": 30,
    "MEDIC_RATE_LIMITER_TYPE": "auto", "REDIS_POOL_SIZE": 10,
}  # fmt: skip
"""As the runbook has them. The default of MEDIC_BASE_URL depends on PORT, see `tests/unit/config/test_load.py`."""


@pytest.fixture
def watched(postgres: PostgresProcess, tmp_path: Path) -> dict[str, str]:
    """A database that asks for a password, and the five variables that lead to it."""
    return make_database(postgres, tmp_path / "database", password=PASSWORD)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def medic(
    watched: dict[str, str], redis: RedisServer, vendors: VendorProcess, tmp_path: Path
) -> Iterator[MedicProcess]:
    """With every variable of the runbook set, none to its default."""
    process = MedicProcess(
        tmp_path / "data",
        **vendors.environment,
        **watched,
        DEBUG="true",
        MEDIC_LISTEN_ALSO=f"127.0.0.1:{free_port()}",
        MEDIC_BASE_URL="http://medic-host:8080",
        MEDIC_TIMEZONE="Europe/Berlin",
        WORKER_INTERVAL_SECONDS="1",
        ALERT_AUTO_UNMUTE_HOURS="2",
        HEARTBEAT_RETENTION_DAYS="7",
        REDIS_URL=redis.url,
        MEDIC_RATE_LIMITER_TYPE="redis",
        REDIS_POOL_SIZE="3",
        RATE_LIMIT_HEARTBEAT_REQUESTS="1000",
        SLACK_SIGNING_SECRET=SIGNING_SECRET,
        MEDIC_SECRETS_KEY=SECRETS_KEY,
        MEDIC_WEBHOOK_SECRET=WEBHOOK_SECRET,
    )
    process.start()
    yield process
    assert process.stop() == 0, process.output()


def test_the_defaults_are_the_runbooks() -> None:
    defaults = {name.upper(): field.default for table in TABLES for name, field in table.model_fields.items()}
    assert {name: type(value)(str(defaults[name])) if isinstance(value, str) else defaults[name]
            for name, value in DEFAULTS.items()} == DEFAULTS  # fmt: skip


def test_components_endpoints_and_variables(
    walk: Walk, medic: MedicProcess, postgres: PostgresProcess, redis: RedisServer, vendors: VendorProcess
) -> None:
    _components(walk, medic, postgres)
    _endpoints(walk, medic)
    _database(walk, medic, postgres)
    _application(walk, medic, vendors)
    _redis(walk, medic, redis)
    _integrations(walk, medic, vendors)
    _security(walk, medic, vendors)


def _components(walk: Walk, medic: MedicProcess, postgres: PostgresProcess) -> None:
    also = int(medic.environment["MEDIC_LISTEN_ALSO"].rpartition(":")[2])
    for port in (medic.port, also):
        with socket.create_connection(("127.0.0.1", port)):
            pass
    walk.saw(
        "| Web Server | Flask API serving heartbeat endpoints | 8080 |", "answers on PORT and on MEDIC_LISTEN_ALSO"
    )
    assert metric(medic, "medic_wheel_timers_armed") >= 0
    walk.saw(
        "| Worker | Background process monitoring heartbeats | N/A |",
        "no process of its own: the same one arms a deadline for each service",
    )
    assert postgres.ask("SELECT count(*) FROM medic.services", database="watch") == "0\n"
    walk.saw("| PostgreSQL | Database storing heartbeats and alerts | 5432 |", "the schema medic is there")
    assert medic.get("/health").json["components"]["redis"]["status"] == "healthy"
    walk.saw("| Redis | Distributed rate limiting cache | 6379 |", "/health: redis is healthy")


def _endpoints(walk: Walk, medic: MedicProcess) -> None:
    answer = medic.get("/v1/healthcheck/network")
    assert (answer.status, answer.body) == (204, b"")
    walk.saw("`/v1/healthcheck/network` - Basic network health (204 response)", "204, no body")
    health = medic.get("/health")
    assert health.status == 200
    assert set(health.json["components"]) >= {"database", "redis", "journal", "writer", "wheel", "pagerduty", "slack"}
    walk.saw("`/health` - Comprehensive health status", f"200, {len(health.json['components'])} components")
    live, ready = medic.get("/health/live"), medic.get("/health/ready")
    assert (live.status, live.json["status"], ready.status) == (200, "alive", 200)
    walk.saw("`/health/live` - Kubernetes liveness probe", "200, alive")
    walk.saw("`/health/ready` - Kubernetes readiness probe", "200")
    metrics = medic.get("/metrics").body.decode()
    walk.saw("`/metrics` - Prometheus metrics", f"{metrics.count('# TYPE')} metrics")


def _database(walk: Walk, medic: MedicProcess, postgres: PostgresProcess) -> None:
    assert medic.get("/health").json["components"]["database"]["kind"] == "external"
    medic.register("walked", seconds=600)
    row = postgres.ask("SELECT heartbeat_name FROM medic.services", database="watch").strip()
    walk.saw("| `DB_HOST` | Yes | PostgreSQL host |", f"{row} stands in the server there")
    said = shell(medic, "medic doctor || true", DB_PORT="5999")
    assert "PostgreSQL does not answer" in said
    walk.saw(
        "| `DB_PORT` | Yes | PostgreSQL port (default: 5432) |",
        "5432 is taken; with 5999 medic doctor says that nobody listens",
    )
    assert postgres.ask("SELECT count(*) FROM pg_namespace WHERE nspname = 'medic'") == "0\n"
    walk.saw(
        "| `DB_NAME` | Yes | PostgreSQL database name |",
        "the schema is in that database, and not in the server's other one",
    )
    owner = postgres.ask("SELECT tableowner FROM pg_tables WHERE tablename = 'services'", database="watch").strip()
    walk.saw("| `PG_USER` | Yes | PostgreSQL username |", f"the tables are {owner}'s")
    assert owner == "watchman"
    said = shell(medic, "medic doctor || true", PG_PASS="wrong")
    assert re.search("28P01|password is", said), said
    assert PASSWORD not in said + medic.output()
    walk.saw("| `PG_PASS` | Yes | PostgreSQL password |", "with another one medic doctor says that it is refused")


def _application(walk: Walk, medic: MedicProcess, vendors: VendorProcess) -> None:
    walk.saw("| `PORT` | No | Web server port (default: 8080) |", f"listens on {medic.port}")
    assert re.search(r"\bdebug\b", medic.output())
    walk.saw("| `DEBUG` | No | Debug mode (default: false) |", "debug lines in the log, and no secret in them")
    medic.beat("walked", "DOWN")
    [event] = wait_for_pages(vendors, "trigger", 1)
    assert event["document"]["client_url"] == "http://medic-host:8080"
    assert event["document"]["payload"]["custom_details"]["alert_url"].startswith("http://medic-host:8080/alerts/")
    walk.saw(
        "| `MEDIC_BASE_URL` | No | Base URL for links (default: http://localhost:8080) |",
        "links of the page begin with it",
    )
    [message] = vendors.wait_for("slack", 1)
    assert re.search(r"Since: \S+ \S+ CES?T", json.dumps(message["document"]))
    walk.saw(
        "| `MEDIC_TIMEZONE` | No | Timezone for scheduling (default: America/Chicago) |",
        "Slack shows Berlin's time and zone",
    )
    said = shell(medic, "timeout 60 medic serve || true", DEBUG="false", LOG_LEVEL="loud")
    assert "LOG_LEVEL" in said
    walk.saw(
        "| `LOG_LEVEL` | No | Logging level (default: INFO) |", "a level that is none is named before anything starts"
    )
    sql = "UPDATE services SET team = 'by sql' WHERE heartbeat_name = 'walked'"
    shell(medic, f'psql -h $DB_HOST -U $PG_USER -d $DB_NAME -c "{sql}"', PGPASSWORD=PASSWORD)
    medic.wait_for(lambda: medic.results("/service/walked")[0]["team"] == "by sql")
    walk.saw(
        "| `WORKER_INTERVAL_SECONDS` | No | Heartbeat check interval (default: 15) |",
        "a row changed by SQL reached its actor; no scan is left to pace",
    )
    shell(medic, "medic-cli service mute walked")
    muted = medic.results("/service/walked")[0]
    length = datetime.fromisoformat(muted["mute_until"]) - datetime.fromisoformat(muted["date_muted"])
    assert length == timedelta(hours=2)
    walk.saw("| `ALERT_AUTO_UNMUTE_HOURS` | No | Hours until auto-unmute (default: 24) |", f"a mute lasts {length}")
    _retention(walk, medic)


def _retention(walk: Walk, medic: MedicProcess) -> None:
    """Heartbeats of eight days ago go by the setting of seven; those of six days ago stay."""
    days = {"old": 8, "young": 6}
    for status, age in days.items():
        at = (datetime.now(UTC) - timedelta(days=age)).isoformat()
        statement = (
            f"SELECT medic.ensure_heartbeat_day('{at[:10]}'); "
            'INSERT INTO \\"heartbeatEvents\\" (heartbeat_id, time, status, service_id) '
            f"SELECT {age}, '{at}', '{status}', service_id FROM services"
        )
        shell(medic, f'psql -h $DB_HOST -U $PG_USER -d $DB_NAME -c "{statement}"', PGPASSWORD=PASSWORD)
    said = shell(medic, "medic cleanup")
    kept = {row["status"] for row in medic.results("/heartbeat?heartbeat_name=walked")}
    assert "young" in kept
    assert "old" not in kept
    walk.saw("| `HEARTBEAT_RETENTION_DAYS` | No | Data retention period (default: 30) |", said.strip().splitlines()[-1])


def _redis(walk: Walk, medic: MedicProcess, redis: RedisServer) -> None:
    with Redis.from_url(redis.url) as seen:
        names = medic.wait_for(lambda: medic.beat("walked") and len(seen.keys("medic:*")))
        connections = len(seen.client_list()) - 1
    walk.saw(
        "| `REDIS_URL` | Conditional | Redis connection URL (e.g., redis://localhost:6379/0) |",
        f"{names} names of Medic's are there",
    )
    said = shell(medic, "timeout 60 medic serve || true", REDIS_URL="")
    assert "REDIS_URL" in said
    walk.saw(
        "| `MEDIC_RATE_LIMITER_TYPE` | No | Rate limiter: `auto`, `redis`, or `memory` (default: auto) |",
        "redis without REDIS_URL is a fault",
    )
    assert 1 <= connections <= 3
    walk.saw("| `REDIS_POOL_SIZE` | No | Redis connection pool size (default: 10) |", f"{connections} of 3 connections")


def _integrations(walk: Walk, medic: MedicProcess, vendors: VendorProcess) -> None:
    [message] = vendors.taken("slack")[:1]
    assert message["headers"]["authorization"] == f"Bearer {TOKEN}"
    walk.saw("| `SLACK_API_TOKEN` | No | Slack Bot token for notifications |", "chat.postMessage carries it")
    assert message["document"]["channel"] == CHANNEL
    walk.saw("| `SLACK_CHANNEL_ID` | No | Slack channel for notifications |", "chat.postMessage names it")
    body = b"payload=%7B%7D"
    forged = medic.request("POST", "/v2/slack/interactions", body, **slack_headers(body, secret="another"))
    signed = medic.request("POST", "/v2/slack/interactions", body, **slack_headers(body, secret=SIGNING_SECRET))
    assert (forged.status, signed.status != 401) == (401, True)
    walk.saw("| `SLACK_SIGNING_SECRET` | No | Slack webhook signature verification |", "signed otherwise: 401")
    [event] = vendors.taken("pagerduty")[:1]
    assert event["document"]["routing_key"] == ROUTING_KEY
    walk.saw("| `PAGERDUTY_ROUTING_KEY` | No | PagerDuty Events API routing key |", "the event carries it")


def _security(walk: Walk, medic: MedicProcess, vendors: VendorProcess) -> None:
    assert medic.post("/v2/secrets", {"name": "token", "value": "a value nobody sees"}).status in {200, 201}
    assert "a value nobody sees" not in medic.get("/v2/secrets").body.decode()
    walk.saw(
        "| `MEDIC_SECRETS_KEY` | Prod | AES-256 key for encrypting secrets (32-byte base64) |",
        "a secret is sealed, and never shown",
    )
    body = '{"heartbeat_name":"walked","status":"UP"}'
    headers = {"webhook-id": "msg_walk", "webhook-timestamp": str(int(time.time()))}
    headers["webhook-signature"] = signature_of(WEBHOOK_SECRET, headers, body)
    answers = [medic.request("POST", "/heartbeat", body.encode(), **headers).status for _ in range(2)]
    assert answers == [201, 401]
    walk.saw(
        "| `MEDIC_WEBHOOK_SECRET` | Prod | Secret for webhook signature validation |", "signed: 201; replayed: 401"
    )
    inside = medic.post("/v2/webhooks", {"url": "https://8.8.8.8/hook"})
    allowed = medic.post("/v2/webhooks", {"url": vendors.webhook_url})
    assert (inside.status, allowed.status) == (400, 201)
    walk.saw(
        "| `MEDIC_ALLOWED_WEBHOOK_HOSTS` | No | Comma-separated allowlist for webhook URLs (SSRF prevention) |",
        "an address of the list: 201; another: 400",
    )
