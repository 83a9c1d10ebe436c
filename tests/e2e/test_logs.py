"""The log of the real process: never a line a heartbeat, however it comes and whatever becomes of it."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import select
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from medic.alerting.console import LINES_A_SECOND
from tests.e2e.process import MedicProcess
from tests.patience import PATIENCE_SECONDS

EACH = 100
"""Of each form: a thousand in all, and as many again in bulk."""

LINES_MAX = 25
"""What else may be written meanwhile: a snapshot, a standstill of the machine. A line for each would be a thousand."""


class Client:
    """Sends over one connection, which stays open."""

    def __init__(self, port: int, *, in_pieces: bool = False) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        # A body whose length is not said makes a request Hypercorn's, and Quart's.
        self._framing = {"Transfer-Encoding": "chunked"} if in_pieces else {}
        self.close = self._connection.close

    def send(self, method: str, path: str, body: object = None) -> http.client.HTTPResponse:
        content = body if isinstance(body, str) else None if body is None else json.dumps(body)
        sent = [content.encode()] if content and self._framing else content
        self._connection.request(method, path, sent, self._framing, encode_chunked=bool(self._framing))
        answer = self._connection.getresponse()
        answer.read()
        return answer

    def post(self, number: int, name: str = "job", **fields: object) -> http.client.HTTPResponse:
        body = {"heartbeat_name": name, "status": "UP", "run_id": f"r{number}", **fields}
        return self.send("POST", "/heartbeat", body)


def forms(lane: Client, quart: Client) -> Mapping[str, tuple[int, Callable[[int], http.client.HTTPResponse]]]:
    """Every form of a heartbeat, and its status."""
    plain = {"heartbeat_name": "job", "status": "UP"}
    return {
        "plain": (201, lambda _: lane.send("POST", "/heartbeat", plain)),
        "with a run": (201, lane.post),
        "with a field that is ignored": (201, lambda number: lane.post(number, other=number)),
        "in one line": (201, lambda number: lane.send("GET", f"/heartbeat/job?status=STARTED&run_id={number}")),
        "in bulk": (201, lambda number: lane.send("POST", "/v2/heartbeats", [plain] * (1 if number else EACH))),
        "of an inactive service": (400, lambda number: lane.post(number, "away")),
        "of nobody": (404, lambda number: lane.post(number, "job-of-nobody")),
        "without a status": (400, lambda number: lane.post(number, status="")),
        "without JSON": (400, lambda number: lane.send("POST", "/heartbeat", f"job {number}")),
        "by Quart": (201, quart.post),
    }


def test_a_thousand_heartbeats_of_every_form_write_no_line(tmp_path: Path, first_data_dir: Path) -> None:
    subprocess.run(["cp", "-a", first_data_dir, tmp_path / "data"], check=True)
    medic = MedicProcess(tmp_path / "data", DEBUG="1")
    medic.start()
    try:
        medic.register("job")
        medic.register("away", active=False)
        before = len(medic.output())
        with closing(Client(medic.port)) as lane, closing(Client(medic.port, in_pieces=True)) as quart:
            for what, (status, beat) in forms(lane, quart).items():
                for number in range(EACH):
                    answer = beat(number)
                    assert answer.status == status, what
                # Which way it went: the express lane's answers have no id.
                assert (answer.getheader("X-Request-Id") is None) == (what != "by Quart"), what
        said = medic.output()[before:].splitlines()
        assert [line for line in said if "job" in line or "away" in line] == []
        assert len(said) <= LINES_MAX, said
        assert medic.stop() == 0, medic.output()
    finally:
        medic.end()


@pytest.fixture
def unread() -> Iterator[int]:
    """One end of a pipe that nobody reads at the other, and that is full after a few lines."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, select.PIPE_BUF)
    yield writing
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("goes_to", ["/dev/full", "a pipe that nobody reads"])
def test_medic_serves_and_drains_where_nothing_takes_what_it_says(
    tmp_path: Path, first_data_dir: Path, unread: int, goes_to: str
) -> None:
    subprocess.run(["cp", "-a", first_data_dir, tmp_path / "data"], check=True)
    medic = MedicProcess(tmp_path / "data", LOG_LEVEL="DEBUG")
    # As where the disk of the log is full, and as where a terminal was stopped or a container's log is stuck.
    file = goes_to if goes_to.startswith("/dev/") else f"/proc/{os.getpid()}/fd/{unread}"
    medic.command = ["sh", "-c", f'exec "$@" >{file} 2>&1', "sh", *medic.command]
    medic.start()
    try:
        for number in range(LINES_A_SECOND // 2):
            name = f"{number}-{'long' * 50}"
            assert medic.register(name).status == 201
            assert medic.beat(name, "DOWN").status == 201
        assert medic.stop() == 0
    finally:
        medic.end()
