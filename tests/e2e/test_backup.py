"""Backups as operators make and restore them: beside a Medic that works, on a fresh machine, in their own database."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medic.cli.backup import BACKUP_LINES, RESTORE_LINES
from medic.store.embedded.cluster import find_install
from tests.e2e.pages import pages, slack_said, wait_for_pages
from tests.e2e.postgres import PostgresProcess
from tests.e2e.process import MedicProcess
from tests.patience import PATIENCE_SECONDS
from tests.vendors import Refuse, VendorProcess

WRITTEN = (
    "psql -h $DB_HOST -U $PG_USER -d $DB_NAME -Atc"
    " \"SELECT status || ' ' || active FROM service_states JOIN alerts USING (service_id)\""
)
SETTLED = (
    "psql -h $DB_HOST -U $PG_USER -d $DB_NAME -Atc 'SELECT incarnation = medic.incarnation_here() FROM medic_instance'"
)
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
OTHERS = ("/v2/keys", "/v2/webhooks", "/v2/secrets", "/v2/snapshots")
COMMAND = Path(sys.executable).with_name("medic")


def run(medic: MedicProcess, *words: str | Path, status: int = 0, **environment: str) -> str:
    """What `medic` says, on this one's data folder; the exit status has to be this one."""
    done = subprocess.run(
        [COMMAND, *words],
        env={**medic.environment, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == status, f"{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def shell(medic: MedicProcess, folder: Path, *lines: str) -> str:
    """What these lines print, typed one after the other beside that Medic."""
    path = f"{COMMAND.parent}:{find_install() / 'bin'}:{medic.environment['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", "\n".join(lines)],
        env={**medic.environment, "PATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def send(medic: MedicProcess, name: str, run_id: str) -> str:
    """Send a heartbeat, and give its run id back once it was answered 201."""
    body = {"heartbeat_name": name, "service_name": "", "status": "UP", "run_id": run_id}
    assert medic.post("/heartbeat", body).status == 201
    return run_id


@contextmanager
def loaded(medic: MedicProcess, name: str, answered: list[str]) -> Iterator[None]:
    """Heartbeats all the time, until the block ends; noted once they were answered."""
    ends = threading.Event()

    def send_on() -> None:
        while not ends.is_set():
            answered.append(send(medic, name, f"run-{len(answered)}"))

    sender = threading.Thread(target=send_on)
    sender.start()
    try:
        yield
    finally:
        ends.set()
        sender.join(PATIENCE_SECONDS)


def told(vendors: VendorProcess) -> tuple[int, int, int]:
    """Triggers and resolves that PagerDuty took, and alerts that Slack did."""
    return len(pages(vendors, "trigger")), len(pages(vendors, "resolve")), len(slack_said(vendors, "trigger"))


def test_a_backup_made_under_load_is_the_same_medic_on_a_fresh_machine_and_pages_nobody_by_itself(
    first_data_dir: Path, vendors: VendorProcess, tmp_path: Path
) -> None:
    subprocess.run(["cp", "-a", first_data_dir, tmp_path / "data"], check=True)
    medic, fresh = (
        MedicProcess(tmp_path / name, MEDIC_SECRETS_KEY=KEY, **vendors.environment) for name in ("data", "fresh")
    )
    medic.start()
    try:
        _backed_up_and_restored(medic, fresh, vendors, tmp_path)
    finally:
        medic.end()
        fresh.end()


def _backed_up_and_restored(medic: MedicProcess, fresh: MedicProcess, vendors: VendorProcess, tmp_path: Path) -> None:
    assert [medic.register(name, seconds=3_600).status for name in ("busy", "well")] == [201, 201]
    assert medic.register("down", seconds=3_600, team="platform").status == 201
    assert medic.post("/v2/webhooks", {"url": vendors.webhook_url, "heartbeat_name": "busy"}).status == 201
    assert medic.post("/v2/keys", {"name": "ci", "scopes": ["read"]}).status == 201
    assert medic.post("/v2/secrets", {"name": "token", "value": "a secret of many words"}).status == 201
    vendors.behave("slack", Refuse(503), containing="down")
    medic.beat("down", "DOWN")
    wait_for_pages(vendors, "trigger", 1)
    answered: list[str] = []
    with loaded(medic, "busy", answered):
        medic.wait_for(lambda: len(answered) >= 20)
        before = [send(medic, "well", f"before-{number}") for number in range(20)]
        assert "3 services, 1 open alert" in run(medic, "backup", tmp_path / "backup")
    assert "a Medic runs there" in run(medic, "restore", tmp_path / "backup", status=2)
    # The runbook's lines, as they stand there.
    lines = (
        'eval "$(medic env)"',
        'psql -h $DB_HOST -U $PG_USER -d $DB_NAME -c "SELECT 1"',
        "pg_dump -h $DB_HOST -U $PG_USER -d $DB_NAME > medic_backup_$(date +%Y%m%d).sql",
    )
    assert "(1 row)" in shell(medic, tmp_path, *lines)
    [dumped] = tmp_path.glob("medic_backup_2*.sql")
    assert "CREATE TABLE medic.services" in dumped.read_text()
    services, [alert] = medic.results("/service"), medic.results("/alerts?active=1")
    others = [medic.results(path) for path in OTHERS]
    medic.kill()
    vendors.order("slack", "clear")

    said = run(fresh, "restore", tmp_path / "backup", MEDIC_SECRETS_KEY="")
    assert "every deadline starts afresh" in said
    assert "MEDIC_SECRETS_KEY is not set: set that of the machine the backup is of" in said
    fresh.start()
    kept = {row["heartbeat_name"]: row for row in fresh.results("/service")}
    assert kept.keys() == {"busy", "down", "well"}
    for row in services:
        differ = {name for name in row if row[name] != kept[row["heartbeat_name"]][name]}
        assert differ <= {"deadline_at", "last_heartbeat_at"}
    history = fresh.results("/heartbeat?heartbeat_name=well&maxCount=250")
    assert [row["run_id"] for row in reversed(history)] == before
    [still] = fresh.results("/alerts?active=1")
    assert still == alert | {"duration": still["duration"]}
    assert [fresh.results(path) for path in OTHERS] == others
    assert told(vendors) == (1, 0, 0)

    fresh.beat("down")
    wait_for_pages(vendors, "resolve", 1)
    # What Slack had not taken when the backup was made is given up.
    deliveries = fresh.results(f"/alerts/{alert['alert_id']}")["deliveries"]
    assert [(one["notifier"], one["result"]) for one in deliveries if one["action"] == "trigger"] == [
        ("pagerduty", "delivered"), ("slack", "given_up"),
    ]  # fmt: skip
    assert told(vendors) == (1, 1, 0)
    [restored] = fresh.results("/v2/audit-logs?action=database%20restored")["entries"]
    assert restored["actor"] == "medic restore"
    fresh.wait_for(lambda: all(one["hash"] for one in fresh.results("/v2/audit-logs")["entries"]))
    assert "as it was sealed" in run(fresh, "audit", "verify")
    assert fresh.stop() == 0
    assert "3 services, 0 open alerts" in run(fresh, "backup", tmp_path / "backup of the fresh one")
    assert "its journal is not empty" in run(fresh, "restore", tmp_path / "backup", status=2)


def test_a_database_of_the_operators_is_put_back_by_psql_and_its_medic_says_that_it_is_older(
    postgres: PostgresProcess, vendors: VendorProcess, tmp_path: Path
) -> None:
    medic = MedicProcess(tmp_path / "data", **vendors.environment, **postgres.environment)
    medic.start()
    try:
        assert medic.register("down", seconds=3_600).status == 201
        medic.beat("down", "DOWN")
        wait_for_pages(vendors, "trigger", 1)
        medic.wait_for(lambda: shell(medic, tmp_path, WRITTEN) == "down 1\n")
        shell(medic, tmp_path, *BACKUP_LINES)
        [dumped] = tmp_path.glob("medic_backup_*.sql")
        said = run(medic, "restore", dumped, status=2)
        assert set(RESTORE_LINES) < set(said.splitlines())
        assert BACKUP_LINES[0] in run(medic, "backup", tmp_path / "file", status=2)

        assert medic.register("later", seconds=3_600).status == 201
        medic.wait_for(lambda: all(one["hash"] for one in medic.results("/v2/audit-logs")["entries"]))
        assert medic.stop() == 0
        shell(medic, tmp_path, *(line.replace("FILE.sql", dumped.name) for line in RESTORE_LINES))

        refused = run(medic, "serve", status=2)
        assert "PostgreSQL was put back to before it" in refused
        assert "--discard-journal" in refused
        assert told(vendors) == (1, 0, 1)

        medic.start("--discard-journal")
        assert [row["heartbeat_name"] for row in medic.results("/service")] == ["down"]
        assert len(medic.results("/alerts?active=1")) == 1
        assert told(vendors) == (1, 0, 1)
        medic.beat("down")
        wait_for_pages(vendors, "resolve", 1)
        assert told(vendors) == (1, 1, 1)
        medic.wait_for(lambda: shell(medic, tmp_path, SETTLED) == "t\n")
        assert medic.stop() == 0
        [aside] = medic.data_dir.glob("journal-discarded-*")
        assert {"audit-heads", "ids", "journal"} == {path.name for path in aside.iterdir()}
        assert "as it was sealed" in run(medic, "audit", "verify")
    finally:
        medic.end()
