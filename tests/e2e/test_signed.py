"""A signed request that the real process took is not taken again by the next one."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from medic.access.signed import ID, SIGNATURE, TIMESTAMP, read_secret, sign
from tests.e2e.process import MedicProcess

SECRET = "a-text-of-sixteen-characters-and-more"
BODY = b'{"heartbeat_name":"signing","service_name":"owner","status":"UP"}'


@pytest.fixture
def medic(tmp_path: Path, first_data_dir: Path) -> Iterator[MedicProcess]:
    """A Medic that verifies signatures."""
    subprocess.run(["cp", "-a", first_data_dir, tmp_path / "data"], check=True)
    process = MedicProcess(tmp_path / "data", MEDIC_WEBHOOK_SECRET=SECRET)
    yield process
    process.end()


def signed(seconds: int) -> dict[str, str]:
    return {ID: "msg", TIMESTAMP: str(seconds), SIGNATURE: sign(read_secret(SECRET), "msg", seconds, BODY)}


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["sigterm", "kill-9"])
def test_a_signed_request_is_not_taken_again_after_a_restart(medic: MedicProcess, end: signal.Signals) -> None:
    medic.start()
    medic.register("signing", seconds=600)
    overheard = signed(int(time.time()))
    assert medic.request("POST", "/heartbeat", BODY, **overheard).status == 201
    medic.stop(end)
    medic.start()
    again = medic.request("POST", "/heartbeat", BODY, **overheard)
    assert (again.status, "before Medic was started" in again.json["message"]) == (401, True)
    # The next second, whichever this one is: what the run before ended in is refused to its end.
    assert medic.request("POST", "/heartbeat", BODY, **signed(int(time.time()) + 1)).status == 201
