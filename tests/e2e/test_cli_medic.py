"""The command `medic` as people start it: wrong settings, taken ports, the database from a shell, the demo."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

from medic.cli.doctor import Verdict, examine
from medic.cli.migration import migrate_database
from medic.config.folder import prepare
from medic.config.load import load_settings
from medic.store.embedded.cluster import find_install
from medic.store.embedded.server import ServerState, open_embedded_server
from medic.store.postgres.bridge import open_bridge
from medic.store.postgres.database import open_database
from tests.e2e.process import BASE_ENVIRONMENT, MedicProcess, free_port
from tests.patience import PATIENCE_SECONDS
from tests.vendors.pagerduty import ROUTING_KEY, PagerDutyServer

COMMAND = str(Path(sys.executable).parent / "medic")


def environment(data_dir: Path, **more: str) -> dict[str, str]:
    """Nothing of ours, and a data directory."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("MEDIC_", "DB_", "PG", "DATABASE"))
    }
    return {**kept, **BASE_ENVIRONMENT, "MEDIC_DATA_DIR": str(data_dir), "PORT": str(free_port()), **more}


def run(words: list[str], env: dict[str, str], *, status: int) -> str:
    """What `medic` says; the exit status has to be this one."""
    done = subprocess.run(
        [COMMAND, *words], env=env, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == status, f"{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_wrong_settings_are_one_message_exit_2_and_no_trace(tmp_path: Path) -> None:
    env = environment(
        tmp_path / "data", MEDIC_JOURNAL_SYNC="never", MEDIC_RENOTIFI_MINUTES="1", SLACK_API_TOKEN="xoxb-geheim"
    )
    said = run(["serve"], env, status=2)
    assert said.startswith("medic: 3 settings are wrong")
    assert "did you mean MEDIC_RENOTIFY_MINUTES?" in said
    assert "SLACK_CHANNEL_ID: is missing" in said
    assert "geheim" not in said
    assert not (tmp_path / "data").exists()


def test_a_taken_port_is_one_sentence_and_exit_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = run(["serve"], environment(tmp_path / "data", PORT=port), status=1)
    assert port in said
    assert len(said.splitlines()) == 1


def test_another_user_is_told_that_he_may_not_look(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    (hidden / "data").mkdir(parents=True)
    hidden.chmod(0)
    # Without capabilities root is asked for permissions like anybody.
    bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    env = environment(hidden / "data")

    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        command = [*bare, COMMAND, *words]
        return subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False, cwd=tmp_path
        )

    doctor = ask("doctor", "--output", "json")
    asked = ask("env")
    hidden.chmod(0o700)
    found = {finding["part"]: finding for finding in json.loads(doctor.stdout)}
    assert doctor.returncode == 1
    assert "may not look into" in found["data folder"]["found"]
    assert found["PostgreSQL"]["found"] == "embedded; this user may not look into its folder"
    assert asked.returncode == 2
    assert asked.stdout == ""
    assert "run this as Medic's user" in asked.stderr


def test_a_data_folder_that_cannot_be_written_is_one_sentence_and_exit_2(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = run(["serve"], environment(tmp_path / "file"), status=2)
    assert said.startswith("medic: MEDIC_DATA_DIR")
    assert len(said.splitlines()) == 1


def test_a_database_that_is_not_there_is_said(tmp_path: Path) -> None:
    url = f"postgresql://me:geheim@127.0.0.1:{free_port()}/medic"
    env = environment(tmp_path / "data", DATABASE_URL=url)
    assert "PostgreSQL" in run(["migrate"], env, status=1)
    with PagerDutyServer() as pagerduty:
        vendor = {"PAGERDUTY_ROUTING_KEY": ROUTING_KEY, "PAGERDUTY_EVENTS_URL": pagerduty.url}
        said = run(["doctor", "--send-test", "--output", "json"], {**env, **vendor}, status=1)
        assert [arrival.document["event_action"] for arrival in pagerduty.taken] == ["trigger", "resolve"]
        assert pagerduty.faults() == []
    verdicts = {finding["part"]: finding["verdict"] for finding in json.loads(said)}
    assert (verdicts["PostgreSQL"], verdicts["PagerDuty"], verdicts["test page"]) == ("bad", "ok", "ok")
    assert "geheim" not in said
    assert ROUTING_KEY not in said


def test_migrate_makes_the_schema_once(tmp_path: Path) -> None:
    env = environment(tmp_path / "data")
    assert "applied 0001" in run(["migrate"], env, status=0)
    assert run(["migrate"], env, status=0) == "The schema is up to date.\n"


async def test_the_schema_is_looked_at_and_brought_forward(tmp_path: Path) -> None:
    settings = load_settings({"MEDIC_DATA_DIR": str(tmp_path / "data"), "PORT": str(free_port())})
    prepare(settings.storage.folder)
    said: list[str] = []
    async with open_bridge() as bridge, open_embedded_server(settings.storage.folder, bridge=bridge) as server:
        await server.wait_state(ServerState.READY)
        before = {finding.part: finding for finding in await examine(settings)}
        await migrate_database(settings, said.append)
        await migrate_database(settings, said.append)
        after = {finding.part: finding for finding in await examine(settings)}
        async with open_database(server.target, connections_max=1) as database:
            await database.execute("INSERT INTO medic.migrations (version, name) VALUES (9999, 'later')")
        newer = {finding.part: finding for finding in await examine(settings)}
    assert said[0] == "applied 0001_schema"
    assert said[-1] == "The schema is up to date."
    assert before["PostgreSQL"].verdict is Verdict.OK
    assert before["schema"].found == "not there yet"
    assert after["schema"].verdict is Verdict.OK
    assert after["active Medic"].found == "none (last token 0)"
    assert newer["schema"].verdict is Verdict.BAD


def test_beside_a_running_medic_psql_doctor_and_migrate_work(medic: MedicProcess, tmp_path: Path) -> None:
    medic.register("from-sql")
    for older in ("psql", "pg_dump"):
        (tmp_path / older).symlink_to("/bin/false")
    script = f"""
    eval "$({shlex.quote(COMMAND)} env)"
    dirname "$(command -v psql)" "$(command -v pg_dump)"
    pg_dump -h $DB_HOST -U $PG_USER -d $DB_NAME | grep -c "CREATE TABLE medic.services "
    psql -h $DB_HOST -U $PG_USER -d $DB_NAME -c "SELECT 1" >/dev/null
    psql -h $DB_HOST -U $PG_USER -d $DB_NAME -Atc 'SELECT heartbeat_name FROM services'
    psql -Atc "DELETE FROM \\"heartbeatEvents\\" WHERE time <= (NOW() - INTERVAL '30 days')"
    """
    env = {**medic.environment, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euc", script], env=env, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    tools = str(find_install() / "bin")  # the server's own release, whatever stands on the path
    assert done.stdout.splitlines() == [tools, tools, "1", "from-sql", "DELETE 0"]
    said = run(["doctor"], medic.environment, status=0)
    # On a busy machine the doctor says that the disk is slow, and that Medic was blind for a second.
    for part in ("data folder", "Medic"):
        assert re.search(rf"^{part}\s+(ok|note)\s", said, re.MULTILINE), said
    for part in ("configuration", "disk", "PostgreSQL", "schema", "active Medic"):
        assert re.search(rf"^{part}\s+ok\s", said, re.MULTILINE), said
    assert run(["migrate"], medic.environment, status=0) == "The schema is up to date.\n"


def test_the_demo_ends_after_its_seconds_and_leaves_nothing(tmp_path: Path) -> None:
    env = environment(tmp_path / "unused", TMPDIR=str(tmp_path))
    assert "50 simulated services" in run(["demo", "--seconds", "1"], env, status=0)
    assert list(tmp_path.iterdir()) == []


def test_the_demo_shows_an_alert_that_opens_and_closes_and_ctrl_c_removes_all_of_it(tmp_path: Path) -> None:
    env = environment(tmp_path / "unused", TMPDIR=str(tmp_path))
    with subprocess.Popen(
        [COMMAND, "demo", "--seconds", "1000"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        lines: list[str] = []
        for line in demo.stdout:
            lines.append(line)
            if "RECOVERED" in line:
                break
        assert any("ALERT" in line for line in lines), lines
        assert "RECOVERED" in lines[-1], lines
        demo.send_signal(signal.SIGINT)
        rest = demo.stdout.read()
        assert demo.wait(PATIENCE_SECONDS) == 0, rest
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []
