"""A real Medic in a process of its own, for tests that speak to it as users do."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE_SECONDS

BASE_ENVIRONMENT = {
    "MEDIC_JOURNAL_RESERVE_BYTES": str(1 << 20),
    "MEDIC_FIRST_HEARTBEAT_MINUTES": "0",
    "MEDIC_TIMEZONE": "UTC",
    "MEDIC_ALLOWED_HOSTS": "medic-host",  # by this name the runbook's curl lines call it
    "LOG_LEVEL": "INFO",
    # Tests ask again and again until something has come.
    "RATE_LIMIT_HEARTBEAT_REQUESTS": "0",
    "RATE_LIMIT_UNKNOWN_REQUESTS": "0",
    "RATE_LIMIT_MANAGEMENT_REQUESTS": "0",
    "RATE_LIMIT_READ_REQUESTS": "0",
}


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Answer:
    """Status, headers and JSON body of one HTTP answer."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"Answer({self.status}, {self.body[:300]!r})"


class MedicProcess:
    """`medic serve` on loopback with a data directory of its own."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("MEDIC_", "DB_", "PG_"))},
            **BASE_ENVIRONMENT,
            "PORT": str(self.port),
            "MEDIC_DATA_DIR": str(data_dir),
            **environment,
        }
        self.log = data_dir.parent / f"{data_dir.name}.log"
        self.child: subprocess.Popen[bytes] | None = None
        self.command = [sys.executable, "-m", "medic", "serve"]

    def start(self, *options: str) -> MedicProcess:
        """Start the process and return once it is ready for heartbeats."""
        return self.launch(*options).wait_answer("/health/ready", 200)

    def launch(self, *options: str) -> MedicProcess:
        """Start the process and return at once."""
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                [*self.command, *options],
                env=self.environment,
                cwd=self.data_dir.parent,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def wait_answer(self, path: str, status: int) -> MedicProcess:
        """Return once it answers so; fails as soon as it has ended."""
        assert self.child is not None
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                raise AssertionError(f"medic ended with {self.child.returncode}:\n{self.output()}")
            with contextlib.suppress(OSError):
                if self.get(path).status == status:
                    return self
            time.sleep(0.05)
        raise AssertionError(f"{path} was not {status} after {PATIENCE_SECONDS} s:\n{self.output()}")

    def output(self) -> str:
        """All it has printed so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Send the signal and return the exit status."""
        assert self.child is not None
        if self.child.poll() is None:
            self.child.send_signal(signal_number)
        return self.child.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """Kill -9, as a machine that runs out of memory does."""
        self.stop(signal.SIGKILL)

    def end(self) -> None:
        """Leave nothing running, whatever the test came to."""
        if self.child is not None and self.child.poll() is None:
            self.kill()

    def request(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """One request, any status."""
        payload = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=payload, method=method, headers=headers)
        if payload is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as refusal:
            with refusal:
                return Answer(refusal.code, refusal.headers, refusal.read())

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def results(self, path: str) -> Any:
        """The results of a question, asked again while Medic says that it cannot tell just now."""
        return self.wait_for(lambda: (answer := self.get(path)).status != 503 and answer).json["results"]

    def takes(self, name: str) -> bool:
        """Whether it takes a heartbeat now. At a takeover it may cut the connection instead."""
        try:
            return self.beat(name).status == 201
        except ConnectionError:
            return False

    def post(self, path: str, body: object = None, **headers: str) -> Answer:
        return self.request("POST", path, body, **headers)

    def register(self, name: str, *, seconds: float = 60.0, **fields: object) -> Answer:
        """Register a service with an interval in seconds."""
        body = {"heartbeat_name": name, "service_name": f"{name}-service", "alert_interval": seconds / 60, **fields}
        return self.post("/service", body)

    def beat(self, name: str, status: str = "UP") -> Answer:
        """One heartbeat."""
        return self.post("/heartbeat", {"heartbeat_name": name, "service_name": "", "status": status})

    def wait_for(self, question: Any, *, seconds: float = PATIENCE_SECONDS) -> Any:
        """The first true answer of `question()`; fails with the log after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            answer = question()
            if answer:
                return answer
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s; medic printed:\n{self.output()[-4000:]}")
            time.sleep(0.02)
