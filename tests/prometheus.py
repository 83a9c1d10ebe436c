"""The real Prometheus and its promtool for a test: from the PATH, or where `./scripts/test` unpacked Debian's package.

Where neither has them the tests that ask for them cannot run. They are taken out of the run then, which is said at its
end, loudly: a machine without a network must still be able to test everything else. What every question of dashboards
and rules is about is tested without them.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from tests.patience import PATIENCE_SECONDS

UNPACKED = Path(sys.prefix) / "prometheus" / "usr" / "bin"
NEEDED = ("promtool", "prometheus")
POLL_SECONDS = 0.05

LEFT_OUT = pytest.StashKey[int]()


def tool(name: str) -> Path | None:
    """Where that program is, or None."""
    found = shutil.which(name) or shutil.which(name, path=str(UNPACKED))
    return None if found is None else Path(found)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out what needs a program that is not here."""
    if all(tool(name) for name in NEEDED):
        return
    out = [item for item in items if set(getattr(item, "fixturenames", ())) & {"promtool", "prometheus_binary"}]
    items[:] = [item for item in items if item not in out]
    config.stash[LEFT_OUT] = len(out)
    config.hook.pytest_deselected(items=out)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say that something was not tested. Where several processes run the tests, the one that says so collects none."""
    config = terminalreporter.config
    if config.stash.get(LEFT_OUT, 0) or (config.getoption("numprocesses", None) and not all(map(tool, NEEDED))):
        terminalreporter.section("NOT TESTED: the real Prometheus", red=True)
        terminalreporter.write_line(
            "Neither prometheus nor promtool is on the PATH, and none could be had (see .venv/prometheus.log): tests "
            "of rules and dashboards that need them were left out. Debian and Ubuntu: apt install prometheus."
        )


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The program; whoever asks for it is left out where there is none."""
    found = tool("promtool")
    assert found is not None
    return found


@pytest.fixture(scope="session")
def prometheus_binary() -> Path:
    """The program; whoever asks for it is left out where there is none."""
    found = tool("prometheus")
    assert found is not None
    return found


class PrometheusProcess:
    """A Prometheus on a port and a folder of its own: a context manager."""

    def __init__(self, binary: Path, directory: Path, configuration: Mapping[str, Any], port: int) -> None:
        directory.mkdir()
        self._directory = directory
        self._binary = binary
        self._configuration = directory / "prometheus.yml"
        self._configuration.write_text(yaml.safe_dump(dict(configuration)), encoding="utf-8")
        self._port = port
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        words = [
            self._binary,
            f"--config.file={self._configuration}",
            f"--storage.tsdb.path={self._directory / 'series'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--log.level=warn",
        ]
        with (self._directory / "log").open("wb") as log:
            self._child = subprocess.Popen(words, cwd=self._directory, stdout=log, stderr=subprocess.STDOUT)
        self.wait_until_none(self._not_ready)
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._child is not None
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
        self._child.wait(PATIENCE_SECONDS)

    def samples(self, expression: str) -> Sequence[Mapping[str, Any]]:
        """What it answers to that question now."""
        found: Sequence[Mapping[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def ask(self, path: str, **parameters: str) -> Any:
        """`data` of an answer of its API."""
        query = urllib.parse.urlencode(parameters)
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{query}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
                return json.loads(answer.read())["data"]
        except urllib.error.HTTPError as refusal:
            with refusal:
                raise AssertionError(f"{parameters}: {refusal.read().decode()}") from None

    def wait_until_none(self, lacking: Callable[[], Collection[object]]) -> None:
        """Return once nothing is lacking; fails with what is."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while found := lacking():
            assert self._child is not None
            assert self._child.poll() is None, f"prometheus ended:\n{self._said()}"
            assert time.monotonic() < deadline, f"lacking: {found}\nprometheus printed:\n{self._said()}"
            time.sleep(POLL_SECONDS)

    def _not_ready(self) -> Sequence[str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/-/ready", timeout=PATIENCE_SECONDS):
                return ()
        except OSError as error:
            return (str(error),)

    def _said(self) -> str:
        return (self._directory / "log").read_text(errors="replace")[-4000:]
