"""`bench.load` against the real process: what it says is what Medic saw, and nothing of it is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.process import MedicProcess
from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[2]


def load(medic: MedicProcess, *arguments: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "MEDIC_API_KEY"}
    command = [sys.executable, "-m", "bench.load", "--url", medic.url, "--services", "4", "--json", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def figures(child: subprocess.Popen[str]) -> dict[str, Any]:
    said, complaints = child.communicate(timeout=PATIENCE_SECONDS)
    assert child.returncode == 0, complaints
    found: dict[str, Any] = json.loads(said)
    return found


def counted(medic: MedicProcess) -> int:
    """Heartbeats that Medic took and stored, as its metrics have it."""
    lines = medic.get("/metrics").body.decode().splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith("medic_heartbeats_total{"))


def test_a_load_counts_what_medic_took_and_leaves_nothing_behind(medic: MedicProcess) -> None:
    medic.register("own")
    said = figures(load(medic, "--rate", "50", "--seconds", "1"))
    assert said["answered_201"] == said["due"] == counted(medic) == 50
    assert said["answered_429"] == said["answered_5xx"] == said["answered_other"] == said["unanswered"] == 0
    assert 0 < said["p50_ms"] <= said["p99_ms"] <= said["max_ms"]
    assert [service["heartbeat_name"] for service in medic.results("/service")] == ["own"]

    child = load(medic, "--rate", "20", "--seconds", "3600")
    medic.wait_for(lambda: counted(medic) > 50)
    child.send_signal(signal.SIGINT)
    interrupted = figures(child)
    assert 0 < interrupted["answered_201"] <= counted(medic) - 50
    assert interrupted["left"] == []
    assert [service["heartbeat_name"] for service in medic.results("/service")] == ["own"]
    assert medic.results("/alerts?active=1") == []
