"""What a log line shows of an error. Run in a process of its own: configuring logs is for the whole process."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.patience import PATIENCE_SECONDS

PROGRAM = """
import sys
import structlog
from medic.app.logs import configure_logs

configure_logs(level="INFO", as_json=sys.argv[1] == "json", debug=sys.argv[2] == "debug")

def take(body):
    token = body + "-in-a-local"
    raise ValueError("what was raised")

try:
    take("marked-secret")
except ValueError as error:
    structlog.get_logger("medic").error("a request met a fault", exc_info=error, heartbeat_name="a\\nb")
"""


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("debug", ["debug", "quiet"])
def test_a_traceback_says_where_and_what_and_shows_no_local_variable(form: str, debug: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, form, debug],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    said = done.stderr
    if form == "json":
        assert len(said.splitlines()) == 1
        said = json.loads(said)["exception"]
    assert "Traceback (most recent call last)" in said
    assert "in take" in said
    assert "ValueError: what was raised" in said
    assert "marked-secret" not in done.stderr + done.stdout
