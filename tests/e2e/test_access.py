"""Who may call the real process: it does not start where nobody says, and the runbook's lines work in each mode."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.process import MedicProcess, free_port
from tests.e2e.test_faults import serve
from tests.e2e.test_main_job import RUNBOOK_REGISTRATION, shell
from tests.patience import PATIENCE_SECONDS

ADMIN = "a key of the operators, 32 or more"
BEAT = 'curl -X POST http://medic-host:5000/heartbeat -d \'{"heartbeat_name":"service-heartbeat","status":"UP"}\''
HEALTH = "curl http://medic-host:5000/health"

THREE_LINES = (
    "MEDIC_AUTH=keys MEDIC_ADMIN_API_KEY=",
    "MEDIC_AUTH=heartbeats-open MEDIC_ADMIN_API_KEY=",
    "MEDIC_AUTH=open",
)


def lines_that_begin(said: str, beginnings: tuple[str, ...]) -> int:
    """How many lines begin so, to be copied as they stand."""
    return sum(line.strip().startswith(beginnings) for line in said.splitlines())


Start = Callable[..., MedicProcess]


@pytest.fixture
def prepared(tmp_path: Path, first_data_dir: Path) -> Iterator[Start]:
    """Makes a Medic whose data directory has been started before."""
    made: list[MedicProcess] = []

    def prepare(**environment: str) -> MedicProcess:
        subprocess.run(["cp", "-a", first_data_dir, tmp_path / "data"], check=True)
        made.append(MedicProcess(tmp_path / "data", **environment))
        return made[-1]

    yield prepare
    for process in made:
        process.end()


def test_whoever_listens_beyond_this_machine_has_to_say_who_may_call(tmp_path: Path) -> None:
    done = serve(tmp_path, PORT=str(free_port()), MEDIC_HOST="0.0.0.0", MEDIC_DATABASE="embedded")
    assert done.returncode == 2
    assert lines_that_begin(done.stderr, THREE_LINES) == 3
    assert not (tmp_path / "data").exists()


def test_a_medic_that_nobody_could_call_does_not_start(prepared: Start) -> None:
    process = prepared(MEDIC_AUTH="keys").launch()
    assert process.child is not None
    assert process.child.wait(PATIENCE_SECONDS) == 2
    assert lines_that_begin(process.output(), THREE_LINES) == 3
    assert "there is no key" in process.output()
    assert "listens on" not in process.output()


def test_with_keys_the_runbooks_lines_need_one_header_more(prepared: Start) -> None:
    medic = prepared(MEDIC_AUTH="keys", MEDIC_ADMIN_API_KEY=ADMIN).start()
    assert "everything but health needs an API key" in medic.output()
    assert lines_that_begin(medic.output(), ('curl -H "X-API-Key: $MEDIC_API_KEY" ',)) == 3
    assert '"components"' in shell(medic, HEALTH)
    for line in (RUNBOOK_REGISTRATION, BEAT):
        assert '"success":false' in shell(medic, line)
        assert '"success":true' in shell(medic, line.replace("curl ", f'curl -H "Authorization: Bearer {ADMIN}" '))
    assert medic.get("/metrics").status == 401
    words = [sys.executable, "-m", "medic.cli.operator", "service", "list"]
    for key, status, said in (("", 1, "MEDIC_API_KEY"), ("wrong", 1, "MEDIC_API_KEY"), (ADMIN, 0, "service-heartbeat")):
        environment = {**os.environ, "MEDIC_BASE_URL": medic.url, "MEDIC_API_KEY": key}
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
        assert (done.returncode, said in done.stdout + done.stderr) == (status, True)
    assert ADMIN not in medic.output()
    assert medic.stop() == 0


def test_an_open_medic_says_so_and_answers_to_names_that_it_knows(medic: MedicProcess) -> None:
    assert "open to every program on this machine" in medic.output()
    assert '"success":true' in shell(medic, RUNBOOK_REGISTRATION)
    assert '"success":true' in shell(medic, BEAT)
    for page in ("http://evil.example", "null"):
        assert medic.request("POST", "/service", {}, Origin=page).status == 403
    rebound = medic.request("POST", "/heartbeat", {"heartbeat_name": "x", "status": "UP"}, Host="evil.example")
    assert (rebound.status, "MEDIC_ALLOWED_HOSTS" in rebound.json["message"]) == (403, True)
    assert medic.request("GET", "/service", **{"X-Forwarded-For": "127.0.0.1"}).status == 403
