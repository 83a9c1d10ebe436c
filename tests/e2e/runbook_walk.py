"""The earlier system's runbook, item by item and in its order: what the tests of the runbook have to have seen.

An item is quoted as the runbook has it. A test that has exercised one says so, with what was seen, to its `walk`;
`tests/shape/test_runbook.py` holds that none is left out. The whole table is printed behind the run that is asked for:

    ./scripts/test tests/e2e -k runbook -v
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e.postgres import PostgresProcess
from tests.e2e.process import MedicProcess
from tests.patience import PATIENCE_SECONDS
from tests.postgres_server import find_tool

CHAPTERS: Final[dict[str, tuple[str, ...]]] = {
    "Service Overview": (
        "| Web Server | Flask API serving heartbeat endpoints | 8080 |",
        "| Worker | Background process monitoring heartbeats | N/A |",
        "| PostgreSQL | Database storing heartbeats and alerts | 5432 |",
        "| Redis | Distributed rate limiting cache | 6379 |",
        "`/v1/healthcheck/network` - Basic network health (204 response)",
        "`/health` - Comprehensive health status",
        "`/health/live` - Kubernetes liveness probe",
        "`/health/ready` - Kubernetes readiness probe",
        "`/metrics` - Prometheus metrics",
        "| `DB_HOST` | Yes | PostgreSQL host |",
        "| `DB_PORT` | Yes | PostgreSQL port (default: 5432) |",
        "| `DB_NAME` | Yes | PostgreSQL database name |",
        "| `PG_USER` | Yes | PostgreSQL username |",
        "| `PG_PASS` | Yes | PostgreSQL password |",
        "| `PORT` | No | Web server port (default: 8080) |",
        "| `DEBUG` | No | Debug mode (default: false) |",
        "| `MEDIC_BASE_URL` | No | Base URL for links (default: http://localhost:8080) |",
        "| `MEDIC_TIMEZONE` | No | Timezone for scheduling (default: America/Chicago) |",
        "| `LOG_LEVEL` | No | Logging level (default: INFO) |",
        "| `WORKER_INTERVAL_SECONDS` | No | Heartbeat check interval (default: 15) |",
        "| `ALERT_AUTO_UNMUTE_HOURS` | No | Hours until auto-unmute (default: 24) |",
        "| `HEARTBEAT_RETENTION_DAYS` | No | Data retention period (default: 30) |",
        "| `REDIS_URL` | Conditional | Redis connection URL (e.g., redis://localhost:6379/0) |",
        "| `MEDIC_RATE_LIMITER_TYPE` | No | Rate limiter: `auto`, `redis`, or `memory` (default: auto) |",
        "| `REDIS_POOL_SIZE` | No | Redis connection pool size (default: 10) |",
        "| `SLACK_API_TOKEN` | No | Slack Bot token for notifications |",
        "| `SLACK_CHANNEL_ID` | No | Slack channel for notifications |",
        "| `SLACK_SIGNING_SECRET` | No | Slack webhook signature verification |",
        "| `PAGERDUTY_ROUTING_KEY` | No | PagerDuty Events API routing key |",
        "| `MEDIC_SECRETS_KEY` | Prod | AES-256 key for encrypting secrets (32-byte base64) |",
        "| `MEDIC_WEBHOOK_SECRET` | Prod | Secret for webhook signature validation |",
        "| `MEDIC_ALLOWED_WEBHOOK_HOSTS` | No | Comma-separated allowlist for webhook URLs (SSRF prevention) |",
    ),
    "Alert Response Procedures": (
        "**Severity:** Varies by service priority (P1-P5)",
        'PagerDuty alert: "Medic - Heartbeat failure for [service-name]"',
        "Slack notification in configured channel",
        "medic-cli service get <heartbeat-name>",
        "medic-cli heartbeat list --name <heartbeat-name>",
        "Verify network connectivity to Medic",
        "medic-cli health",
        "curl http://medic-host:5000/health",
        "If source service is down: Restart source service",
        "medic-cli service mute <heartbeat-name>",
        "Health check shows database as unhealthy",
        "API returns 500 errors",
        "Worker logs show connection errors",
        'psql -h $DB_HOST -U $PG_USER -d $DB_NAME -c "SELECT 1"',
        "kubectl logs -l app=medic-db",
        "Connection count",
        "Connection pool exhausted: Restart Medic pods",
        "Database overloaded: Scale database or optimize queries",
        "Database down: Follow database recovery procedures",
    ),
    "Common Issues and Resolutions": (
        "Services report sending heartbeats but none appear in API",
        "`/heartbeat` POST returns 404",
        "curl -X POST http://medic-host:5000/service",
        "Missing heartbeats but no alerts generated",
        "PagerDuty not receiving events",
        "# Check if service is muted",
        "echo $PAGERDUTY_ROUTING_KEY",
        "Unmute service: `medic-cli service unmute <name>`",
        "Verify PagerDuty routing key is correct",
        "Check worker logs for errors",
        "Container OOM kills",
        "Restart affected pods",
        "Check for old data accumulation",
        "Verify cleanup job is running",
        "Multiple PagerDuty incidents for same issue",
        "Repeated Slack messages",
        "Check worker logs for restart events",
        "Ensure only one worker instance is running",
    ),
    "Maintenance Procedures": (
        "# Mute before maintenance",
        "# Unmute after maintenance",
        "The cleanup job runs daily at 00:00 UTC, removing heartbeats older than 30 days.",
        "DELETE FROM \"heartbeatEvents\" WHERE time <= (NOW() - INTERVAL '30 days');",
        "kubectl rollout restart deployment/medic-web",
        "kubectl rollout restart deployment/medic-worker",
        "pg_dump -h $DB_HOST -U $PG_USER -d $DB_NAME > medic_backup_$(date +%Y%m%d).sql",
    ),
    "Escalation Procedures": (
        "| P1 | 15 minutes | On-call -> Team Lead -> Engineering Manager |",
        "| P2 | 1 hour | On-call -> Team Lead |",
        "| P3 | 4 hours | On-call |",
        "| P4/P5 | Next business day | Ticket queue |",
        "**On-call Rotation:** Check PagerDuty schedule",
        "**Slack Channel:** #medic-alerts",
    ),
    "Metrics and Dashboards": (
        "| `medic_alerts_active` | > 5 | > 10 |",
        "| `medic_http_request_duration_seconds` p95 | > 1s | > 5s |",
        "| `medic_db_connection_errors_total` rate | > 0.1/min | > 1/min |",
        "Grafana: `dashboards/grafana.json`",
    ),
}
"""Every command, endpoint, variable, table, metric, threshold, symptom and remedy of the runbook."""

ITEMS: Final = tuple(item for items in CHAPTERS.values() for item in items)


@dataclass(frozen=True, slots=True)
class Walk:
    """Takes down what was seen of the runbook's items; pytest carries it to the table."""

    record: Callable[[str, object], None]

    def saw(self, quoted: str, seen: str) -> None:
        """The item was exercised: what was seen."""
        assert quoted in ITEMS, f"the runbook has no item {quoted!r}"
        self.record("runbook", (quoted, seen))


def shell(medic: MedicProcess, script: str, *, status: int = 0, cwd: Path | None = None, **more: str) -> str:
    """Run a script as an operator would; `medic-host:5000` leads to this Medic. All that it printed."""
    redirected = script.replace("curl ", f"curl -sS --connect-to medic-host:5000:127.0.0.1:{medic.port} ")
    path = f"{Path(sys.executable).parent}:{find_tool('psql').parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", redirected],
        env={**medic.environment, "PATH": path, "MEDIC_BASE_URL": medic.url, **more},
        cwd=cwd or medic.data_dir.parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == status, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def make_database(postgres: PostgresProcess, folder: Path, *, password: str = "") -> dict[str, str]:
    """The database `watch` of the ordinary role `watchman`, as an operator makes them; the variables that lead there.

    Args:
        postgres: The server.
        folder: Where it keeps its data.
        password: Asked for where it is given.
    """
    postgres.ask(f"CREATE ROLE watchman LOGIN PASSWORD '{password or 'none'}'")
    postgres.ask("CREATE ROLE crowd LOGIN")
    postgres.ask("CREATE DATABASE watch OWNER watchman TEMPLATE template0 ENCODING 'UTF8'")
    access = folder / "postgres" / "data" / "pg_hba.conf"
    method = "scram-sha-256" if password else "trust"
    access.write_text(f"local watch watchman,crowd {method}\n{access.read_text()}")
    postgres.ask("SELECT pg_reload_conf()")
    return {**postgres.environment, "DB_NAME": "watch", "PG_USER": "watchman", "PG_PASS": password, "DB_PORT": "5432"}


def metric(medic: MedicProcess, name: str) -> float:
    """A metric without labels, as Prometheus would read it, once it is there."""

    def sample() -> str | None:
        lines = medic.get("/metrics").body.decode().splitlines()
        return next((line for line in lines if line.startswith(f"{name} ")), None)

    return float(medic.wait_for(sample).rpartition(" ")[2])
