"""Stored secrets in the real process: never shown, rotated beside it and without it, known without PostgreSQL."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from medic.alerting.attempt import SECRET_MISSING
from tests.e2e.pages import wait_for_pages
from tests.e2e.postgres import PostgresProcess
from tests.e2e.process import Answer, MedicProcess
from tests.postgres_server import find_tool
from tests.vendors import Refuse, VendorProcess, Works

KEYS = [base64.b64encode(f"marked-key-{number}".encode().ljust(32, b"x")).decode() for number in range(3)]

PLANTED = {
    "MEDIC_SECRETS_KEY": KEYS[0],
    "MEDIC_ADMIN_API_KEY": "marked-admin-key-of-more-than-32-characters",
    "MEDIC_WEBHOOK_SECRET": "marked-webhook-secret",
    "SLACK_SIGNING_SECRET": "marked-signing-secret",
    "REDIS_URL": "redis://:marked-redis-password@127.0.0.1:1/0",
    "PG_PASS": "marked-database-password",
}
STORED = {"hook": "marked-stored-hook", "unused": "marked-stored-unused"}
LITERAL = "marked-literal-header"


@pytest.fixture
def medic(tmp_path: Path, vendors: VendorProcess, postgres: PostgresProcess) -> Iterator[MedicProcess]:
    """Medic on that server, not started yet. Slack's token is a stored secret."""
    environment = {**vendors.environment, **postgres.environment, **PLANTED, "SLACK_API_TOKEN": "${secrets.slack}"}
    process = MedicProcess(tmp_path / "data", DEBUG="1", **environment)
    yield process
    process.end()


def run(medic: MedicProcess, *words: str, value: str = "") -> str:
    """What a command prints on both streams."""
    environment = {**medic.environment, "MEDIC_BASE_URL": medic.url, "MEDIC_API_KEY": PLANTED["MEDIC_ADMIN_API_KEY"]}
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, input=value, capture_output=True, text=True, check=False, env=environment)
    return done.stdout + done.stderr


def cli(medic: MedicProcess, *words: str, value: str = "") -> str:
    return run(medic, "medic.cli.operator", *words, value=value)


def dump(postgres: PostgresProcess) -> str:
    """All rows of all tables."""
    libpq = {"DB_HOST": "PGHOST", "DB_PORT": "PGPORT", "DB_NAME": "PGDATABASE", "PG_USER": "PGUSER"}
    environment = {libpq[ours]: value for ours, value in postgres.environment.items() if ours in libpq}
    done = subprocess.run(
        [find_tool("pg_dump"), "--inserts", "--data-only"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    return done.stdout


def test_no_output_ever_shows_a_secret(
    vendors: VendorProcess, medic: MedicProcess, postgres: PostgresProcess, tmp_path: Path
) -> None:
    token, routing_key = vendors.environment["SLACK_API_TOKEN"], vendors.environment["PAGERDUTY_ROUTING_KEY"]
    seen: list[str] = []

    def ask(method: str, path: str, body: object = None, **headers: str) -> Answer:
        answer = medic.request(method, path, body, **headers)
        seen.append(f"{answer.headers} {answer.body.decode()}")
        return answer

    medic.start()
    assert "refers to the secret slack, which is not there" in medic.output()
    medic.register("early", seconds=600)
    medic.beat("early", "DOWN")
    untold = medic.wait_for(lambda: (found := medic.get("/health").json["components"]["slack"]).get("reason") and found)
    assert untold["reason"] == SECRET_MISSING, "no name of a secret, for /health is for everybody"

    for name, value in STORED.items():
        assert ask("POST", "/v2/secrets", {"name": name, "value": value}).status == 201
    seen.append(cli(medic, "secret", "set", "slack", value=f"{token}\n"))
    assert "Secret stored." in seen[-1]
    vendors.wait_for("slack", 1)
    medic.wait_for(lambda: "reason" not in medic.get("/health").json["components"]["slack"])
    headers = {"X-Literal": LITERAL, "Authorization": "Bearer ${secrets.hook}"}
    hook = ask("POST", "/v2/webhooks", {"url": vendors.webhook_url, "headers": headers})
    assert hook.status == 201
    signing = hook.json["results"]["secret"]
    api_key = ask("POST", "/v2/keys", {"name": "marked", "scopes": ["read"]}).json["results"]["key"]
    seen.clear()  # the two answers that show what they made, once

    for vendor, said in (("slack", token), ("pagerduty", routing_key), ("webhook", f"{STORED['hook']} {LITERAL}")):
        vendors.behave(vendor, Refuse(200 if vendor == "slack" else 400, error=f"your token {said} is wrong"))
    medic.register("echoed", seconds=600)
    medic.beat("echoed", "DOWN")
    medic.wait_for(lambda: len(vendors.arrivals("webhook")) >= 1)
    medic.wait_for(lambda: "***" in medic.get("/health").json["components"]["slack"].get("reason", ""))
    medic.wait_for(lambda: "***" in medic.get("/health").json["components"]["pagerduty"].get("reason", ""))
    arrived = vendors.arrivals("webhook")[0]["headers"]
    assert f"Bearer {STORED['hook']}" in arrived.values() or STORED["hook"] in str(arrived)
    for vendor in ("slack", "pagerduty", "webhook"):
        vendors.behave(vendor, Works())
    medic.register("told", seconds=600)
    medic.beat("told", "DOWN")
    wait_for_pages(vendors, "trigger", 1)
    vendors.wait_for("slack", 2)

    asked: list[tuple[str, str, object]] = [
        *(("GET", path, None) for path in ("/health", "/metrics", "/metrics/services", "/openapi.json", "/docs")),
        *(("GET", path, None) for path in ("/service", "/alerts", "/v2/webhooks", "/v2/keys", "/v2/secrets")),
        *(("GET", path, None) for path in ("/v2/audit-logs", "/v2/secrets/hook", "/v2/snapshots", "/alerts/1")),
        ("POST", "/v2/secrets", {"name": "hook", "value": f"{STORED['hook']}\n"}),
        ("POST", "/v2/secrets", {"name": [STORED["hook"]], "value": {"value": STORED["hook"]}}),
        ("POST", "/v2/secrets", f'{{"name": "hook", "value": "{STORED["hook"]}'.encode()),
        ("POST", "/v2/webhooks", {"url": "https://x.example", "headers": {"X": f"{LITERAL}\n"}}),
        ("DELETE", "/v2/secrets/hook", None),
        ("POST", "/heartbeat", b"{"),
    ]
    for method, path, body in asked:
        ask(method, path, body)
        ask(method, path, body, Authorization=f"Bearer {api_key}")
        ask(method, path, body, Authorization=f"Bearer {PLANTED['MEDIC_ADMIN_API_KEY']}x")
    seen.append(cli(medic, "secret", "list"))
    assert "SLACK_API_TOKEN" in seen[-1]
    rows = dump(postgres)

    postgres.stop()
    for path in ("/health", "/metrics", "/v2/secrets"):
        ask("GET", path)
    ask("POST", "/v2/secrets", {"name": "late", "value": STORED["hook"]})
    medic.kill()
    medic.start()
    medic.beat("told")
    medic.wait_for(lambda: len(vendors.taken("slack")) >= 3)
    medic.environment["SLACK_API_URL"] = "http://127.0.0.1:1"  # these vendors know no auth.test
    seen.append(run(medic, "medic", "doctor"))
    assert "3 stored" in seen[-1]
    assert medic.stop() == 0

    own = {**PLANTED, "redis password": "marked-redis-password", "token": token, "routing key": routing_key, **STORED}
    shown_once = {"signing secret": signing, "API key": api_key.rpartition("_")[2]}
    said = "\n".join((*seen, medic.output()))
    assert {name for name, value in {**own, **shown_once, "literal": LITERAL}.items() if value in said} == set()
    assert {name for name, value in {**own, **shown_once}.items() if value in rows} == {"signing secret"}

    # A key's digest, a webhook's signing secret and the headers that were given literally are stored as they must be.
    written = b"".join(path.read_bytes() for path in files(tmp_path) if path.name != "vendors.json")
    assert {name for name, value in own.items() if value.encode() in written} == set()
    allowed = {"webhooks"}
    copies = [path for path in files(medic.data_dir) if path.name not in allowed]
    assert [path.name for path in copies if LITERAL.encode() in path.read_bytes()] == []


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def test_keys_are_rotated_beside_medic_and_without_it(
    vendors: VendorProcess, medic: MedicProcess, postgres: PostgresProcess
) -> None:
    token = vendors.environment["SLACK_API_TOKEN"]

    def key_ids() -> set[str]:
        return {row["key_id"] for row in medic.results("/v2/secrets")}

    def told(count: int) -> None:
        vendors.wait_for("slack", count)

    medic.start()
    for name, value in (("slack", token), ("other", "marked-other-value")):
        assert medic.post("/v2/secrets", {"name": name, "value": value}).status == 201
    first = key_ids()
    assert medic.stop() == 0

    medic.environment |= {"MEDIC_SECRETS_KEY": KEYS[1], "MEDIC_SECRETS_KEY_BEFORE": KEYS[0]}
    medic.start()
    assert key_ids() == first
    medic.register("beside", seconds=600)
    medic.beat("beside", "DOWN")
    told(1)
    assert "2 secrets sealed anew" in run(medic, "medic", "secrets", "rotate")
    medic.wait_for(lambda: key_ids().isdisjoint(first))
    second = key_ids()
    assert medic.stop() == 0

    medic.environment |= {"MEDIC_SECRETS_KEY": KEYS[2], "MEDIC_SECRETS_KEY_BEFORE": KEYS[0]}
    refused = run(medic, "medic", "secrets", "rotate")
    assert f"slack stays as it is: it was sealed with the key {next(iter(second))}" in refused
    medic.environment |= {"MEDIC_SECRETS_KEY_BEFORE": KEYS[1]}
    assert "2 secrets sealed anew" in run(medic, "medic", "secrets", "rotate")
    del medic.environment["MEDIC_SECRETS_KEY_BEFORE"]
    postgres.stop()
    medic.start()
    assert medic.beat("beside").status == 201
    told(2)
    assert medic.stop() == 0
    assert "marked-" not in medic.output()
