"""Loads that wrk makes on core 1: as many requests as its connections get answered, for services drawn at random.

wrk is written in C, so that what a closed loop measures is the server. The Lua beside this file makes the requests. A
load at a fixed rate is `bench.paced`.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

from bench.served import LOAD_CORE, ROOT

CONNECTIONS = 128
CLOSING_CONNECTIONS = 64
"""Fewer where each request opens one: what is measured then is accepting, and a queue of SYNs would only hide it."""

_MARK = "@medic "
_LUA = ROOT / "bench" / "lua"


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw.

    Attributes:
        rate: Requests answered a second.
        refused: Answers that were not 2xx or 3xx.
        socket_errors: Connections that failed, or were closed without an answer.
        p50_ms, p99_ms: From sending to the answer, in a closed loop: they say little beside `rate`.
    """

    rate: float
    refused: int
    socket_errors: int
    p50_ms: float
    p99_ms: float


def wrk(url: str, script: str, *arguments: object, connections: int, seconds: float) -> Load:
    """Run one load to its end.

    Raises:
        RuntimeError: wrk failed; with its own words.
    """
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    command += ["--timeout", "10s", "-s", str(_LUA / script), url, "--", *map(str, arguments)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    for line in ended.stdout.splitlines():
        if line.startswith(_MARK):
            said = json.loads(line.removeprefix(_MARK))
            return Load(
                rate=said["requests"] / said["seconds"],
                refused=said["not_2xx"],
                socket_errors=said["socket_errors"],
                p50_ms=said["p50_ms"],
                p99_ms=said["p99_ms"],
            )
    raise RuntimeError(f"wrk: {ended.stdout}{ended.stderr}")


def keep_alive(url: str, services: int, seconds: float) -> Load:
    """POST /heartbeat over 128 connections that stay open."""
    return wrk(url, "heartbeat.lua", services, connections=CONNECTIONS, seconds=seconds)


def pipelined(url: str, services: int, seconds: float, depth: int = 16) -> Load:
    """The same, sixteen requests at once on each connection."""
    return wrk(url, "heartbeat.lua", services, depth, connections=CONNECTIONS, seconds=seconds)


def closing(url: str, services: int, seconds: float) -> Load:
    """POST /heartbeat over a new connection each."""
    return wrk(url, "heartbeat.lua", services, 1, "close", connections=CLOSING_CONNECTIONS, seconds=seconds)


def bulk(url: str, services: int, seconds: float, many: int = 1_000) -> Load:
    """POST /v2/heartbeats with so many heartbeats a request, from four clients."""
    return wrk(url, "bulk.lua", services, many, connections=4, seconds=seconds)
