"""Schemathesis asks the real process everything its own description allows, and what it does not allow, in each mode.

It looks that every answer is one that the description has, in the shape it has there, that methods it does not have are
refused, and that nothing is a 5xx. `schemathesis.toml` says which of its checks do not hold for Medic, and why.

A 503 is let through by it, because a machine that is slow enough makes any Medic say "not just now"; here every route
has to have said something else as well. Cases are the same in each run, so what fails fails again.
"""

from __future__ import annotations

import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.process import MedicProcess
from tests.patience import PATIENCE_SECONDS
from tests.vendors.slack import SIGNING_SECRET

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
ADMIN_KEY = "a key of an operator's own making, for Schemathesis"

CREDENTIALS = {"Authorization": f"Bearer {ADMIN_KEY}"}

SERVICE = {"heartbeat_name": "nightly-backup", "service_name": "backup", "alert_interval": 10}
"""Of the name that the description's examples have."""

ENVIRONMENT = {
    # A 429 would hide what a route has to say.
    **{f"RATE_LIMIT_{kind}_REQUESTS": "0" for kind in ("HEARTBEAT", "UNKNOWN", "MANAGEMENT", "READ")},
    # Webhooks are created as the cases have them, and nothing leaves this machine: nobody listens there.
    "MEDIC_ALLOWED_WEBHOOK_HOSTS": "127.0.0.1:1",
    "MEDIC_ADMIN_API_KEY": ADMIN_KEY,
    "MEDIC_SECRETS_KEY": b64encode(bytes(32)).decode(),
    "SLACK_SIGNING_SECRET": SIGNING_SECRET,
}

WHOLE = ("--phases", "examples,coverage,fuzzing", "--max-examples", "4")
"""Some 1 400 requests, ten seconds."""
SHORT = ("--phases", "examples,fuzzing", "--max-examples", "3")
"""Some 100 requests: what a mode changes is who may come in, which every route asks in the same way."""

OF_THE_KEY = ("--header", f"Authorization: Bearer {ADMIN_KEY}")

_ANSWERED = re.compile(r'^medic_http_requests_total\{method="(\w+)",route="([^"]+)",status="(\d+)"\}', re.MULTILINE)


@pytest.fixture
def asked(tmp_path: Path, first_data_dir: Path, request: pytest.FixtureRequest) -> Iterator[MedicProcess]:
    """A Medic in the mode that the test names, with one service whose alert is open."""
    subprocess.run(["cp", "-a", first_data_dir, tmp_path / "data"], check=True)
    process = MedicProcess(tmp_path / "data", MEDIC_AUTH=request.param, **ENVIRONMENT).start()
    process.request("POST", "/service", SERVICE, **CREDENTIALS)
    process.request("POST", "/heartbeat", {"heartbeat_name": "nightly-backup", "status": "DOWN"}, **CREDENTIALS)
    yield process
    status = process.stop()
    assert status == 0, process.output()


@pytest.mark.parametrize(
    ("asked", "runs"),
    [
        pytest.param("open", [WHOLE], id="open"),
        # What a key changes here, it changes in the next.
        pytest.param("heartbeats-open", [SHORT], id="heartbeats-open"),
        pytest.param("keys", [(*SHORT, *OF_THE_KEY), SHORT], id="keys"),
    ],
    indirect=["asked"],
)
def test_every_answer_is_one_that_the_description_has(
    tmp_path: Path, asked: MedicProcess, runs: list[tuple[str, ...]]
) -> None:
    for arguments in runs:
        ask(tmp_path, asked, *arguments)
    statuses = answered(asked)
    assert len(statuses) > 30, statuses
    assert {route for route, said in statuses.items() if said == {503}} == set()
    assert {route for route, said in statuses.items() if said & {500, 502, 504}} == set()


def ask(folder: Path, medic: MedicProcess, *arguments: str) -> None:
    """Let Schemathesis ask."""
    program = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIGURATION), "--no-color"]
    run = subprocess.run(
        [*program, "run", f"{medic.url}/openapi.json", "--request-timeout", str(PATIENCE_SECONDS), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}\n{medic.output()[-4_000:]}"
    assert "No issues found" in run.stdout, run.stdout


def answered(medic: MedicProcess) -> dict[tuple[str, str], set[int]]:
    """The statuses that each route has answered."""
    page = medic.request("GET", "/metrics", **CREDENTIALS).body.decode()
    statuses: dict[tuple[str, str], set[int]] = {}
    for method, route, status in _ANSWERED.findall(page):
        statuses.setdefault((method, route), set()).add(int(status))
    return statuses
