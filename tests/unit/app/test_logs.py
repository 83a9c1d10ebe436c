"""What a log line shows of an error. Run in a process of its own: configuring logs is for the whole process."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest

from medic.config.load import load_settings
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


CONCEALING = """
import sys, logging
import structlog
from medic.app.logs import CONCEALER, configure_logs

configure_logs(level="INFO", as_json=sys.argv[1] == "json", debug=sys.argv[2] == "debug")
CONCEALER.know("test", ['marked-"secret"'])
line = 'the vendor said marked-"secret"'
structlog.get_logger("medic").warning(line, detail=[line], reason=line.encode())
logging.getLogger("asyncpg").warning("of a library: %s", line)
logging.getLogger("httpx").info("POST https://hooks.example/an-address-with-a-token")
logging.getLogger("httpcore.http11").debug("response headers of a vendor")
try:
    raise ValueError(line)
except ValueError as error:
    structlog.get_logger("medic").error("caught", exc_info=error)
    raise RuntimeError(line) from ExceptionGroup(line, [ValueError(line)])
"""


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("debug", ["debug", "quiet"])
def test_no_line_and_no_crash_shows_a_secret_that_is_known(form: str, debug: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CONCEALING, form, debug],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 1
    assert "RuntimeError: the vendor said ***" in done.stderr
    assert done.stderr.count("the vendor said ***") >= 8
    assert "marked" not in done.stderr + done.stdout
    assert "hooks.example" not in done.stderr
    assert "response headers" not in done.stderr


FIELDS = """
import sys
import structlog
from medic.app.logs import configure_logs

configure_logs(level="INFO", as_json=sys.argv[1] == "json", debug=False)
log = structlog.get_logger("medic")
structlog.contextvars.bind_contextvars(request_id="r1", alert_id=7)
status = 'a request_id=r2 "b" alert_id=9'
log.warning("over one alert", heartbeat_name='{"alert_id": 9, "level": "error"}', status=status)
"""


def said_by(form: str) -> list[str]:
    command = [sys.executable, "-c", FIELDS, form]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS)
    return run.stderr.splitlines()


def test_what_a_task_is_about_is_a_field_of_its_lines_and_no_value_looks_like_another_field() -> None:
    said = json.loads(*said_by("json"))
    assert (said["request_id"], said["alert_id"], said["level"]) == ("r1", 7, "warning")
    assert said["heartbeat_name"] == '{"alert_id": 9, "level": "error"}'
    assert said["status"] == 'a request_id=r2 "b" alert_id=9'
    [line] = said_by("text")
    # As a shell reads words: quotes hold together what is one value.
    words = shlex.split(line.partition("] ")[2])
    assert [word for word in words if word.startswith(("alert_id=", "request_id="))] == ["alert_id=7", "request_id=r1"]
    assert 'heartbeat_name={"alert_id": 9, "level": "error"}' in words
    assert 'status=a request_id=r2 "b" alert_id=9' in words


@pytest.mark.parametrize(
    ("form", "debug", "is_terminal", "as_json"),
    [
        ("auto", False, True, False),
        ("auto", False, False, True),
        ("auto", True, False, False),
        ("json", True, True, True),
        ("json", False, False, True),
        ("console", False, False, False),
    ],
)
def test_lines_are_for_people_where_people_read_them(
    form: str, *, debug: bool, is_terminal: bool, as_json: bool
) -> None:
    settings = load_settings({"MEDIC_LOG_FORMAT": form, "DEBUG": str(int(debug))})
    assert settings.logs.as_json(is_terminal=is_terminal) is as_json


FORGED = (
    '{"level":"error"}x\r\n2026-01-01T00:00:00Z [info     ] forged\x1b[2J\x1b]0;title\x07\u2028\x85\u202eend\ud800\0'
)

FORGING = f"""
import logging
import sys
import structlog
from medic.app.logs import configure_logs

configure_logs(level="INFO", as_json=sys.argv[1] == "json", debug=False)
log, forged = structlog.get_logger("medic"), {FORGED!r}
log.warning("a caller", name=forged, listed=[forged], actor=forged)
logging.getLogger("library").warning("it says %s", forged)
try:
    raise ValueError(forged)
except ValueError as error:
    log.error("a fault", exc_info=error)
raise ValueError(forged)
"""


@pytest.mark.parametrize("form", ["json", "text"])
def test_nothing_a_caller_sends_ends_a_line_or_reaches_a_terminal_as_a_command(form: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORGING, form], capture_output=True, check=False, timeout=PATIENCE_SECONDS
    )
    assert done.returncode == 1
    said = done.stderr.decode()
    assert "Logging error" not in said
    assert all(letter.isprintable() for letter in said.replace("\n", ""))
    lines = [line for line in said.split("\n") if line and not line.startswith("    | ")]
    if form == "json":
        assert [json.loads(line)["event"] for line in lines] == [
            "a caller",
            f"it says {FORGED}",
            "a fault",
            "this process ends by an error that nobody expected",
        ]
        assert json.loads(lines[-1])["level"] == "critical"
        assert json.loads(lines[0])["name"] == FORGED
    else:
        assert [line.split("] ")[1].strip().split(" ")[0] for line in lines] == ["a", "it", "a", "this"]
        assert '\n    | ValueError: {"level":"error"}x' in said
