"""Keys in the real process: revoked by SQL, over a restart, and known while PostgreSQL is away."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.postgres import PostgresProcess
from tests.e2e.process import MedicProcess
from tests.postgres_server import find_tool

ADMIN = "an-admin-key-of-more-than-32-characters"


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[PostgresProcess]:
    """A real server that the test stops."""
    with PostgresProcess(tmp_path / "database") as process:
        yield process


@pytest.fixture
def medic(tmp_path: Path, postgres: PostgresProcess) -> Iterator[MedicProcess]:
    """A running Medic on that server."""
    process = MedicProcess(tmp_path / "data", MEDIC_ADMIN_API_KEY=ADMIN, **postgres.environment).start()
    yield process
    process.end()


def cli(medic: MedicProcess, *words: str) -> str:
    """What `medic-cli key` prints."""
    environment = {**os.environ, "MEDIC_BASE_URL": medic.url, "MEDIC_API_KEY": ADMIN}
    command = [sys.executable, "-m", "medic.cli.operator", "key", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


def listed(medic: MedicProcess) -> dict[str, Any]:
    answer = medic.request("GET", "/v2/keys", Authorization=f"Bearer {ADMIN}")
    return {row["name"]: row["state"] for row in answer.json["results"]}


def test_a_key_lives_through_what_befalls_medic_and_a_revoked_one_stays_revoked(
    medic: MedicProcess, postgres: PostgresProcess
) -> None:
    texts = {name: cli(medic, "create", "--name", name, "--scope", "heartbeat").strip() for name in ("kept", "gone")}
    by_sql = cli(medic, "create", "-n", "by-sql", "-s", "read", "--expires", "1209601s")  # 14 days and a second
    assert listed(medic) == {"kept": "working", "gone": "working", "by-sql": "working"}
    medic.wait_for(lambda: medic.get("/health").json["components"]["keys"]["status"] == "degraded")

    sql = "UPDATE medic.api_keys SET revoked_at = now() WHERE name = 'by-sql'"
    reached = {"DB_HOST": "PGHOST", "DB_PORT": "PGPORT", "DB_NAME": "PGDATABASE", "PG_USER": "PGUSER"}
    environment = {libpq: postgres.environment[ours] for ours, libpq in reached.items() if ours in postgres.environment}
    subprocess.run([find_tool("psql"), "-c", sql], check=True, capture_output=True, env={**os.environ, **environment})
    medic.wait_for(lambda: listed(medic)["by-sql"] == "revoked")
    cli(medic, "revoke", texts["gone"].split("_")[1], "--yes")
    expected = {"kept": "working", "gone": "revoked", "by-sql": "revoked"}
    medic.wait_for(lambda: listed(medic) == expected)

    postgres.stop()
    medic.kill()
    medic.start()
    assert listed(medic) == expected
    secrets = [text.strip().rpartition("_")[2] for text in (*texts.values(), by_sql)]
    written = medic.output() + (medic.data_dir / "keys").read_text()
    assert not [secret for secret in (*secrets, ADMIN) if secret in written]
