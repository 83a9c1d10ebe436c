"""Redis ill under a real Medic: every request is answered, health and a metric say so, and it comes back by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.process import MedicProcess
from tests.redis_server import RedisServer

SECONDS = 60.0


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


def component(medic: MedicProcess) -> dict[str, str]:
    return medic.get("/health").json["components"]["redis"]


def up(medic: MedicProcess) -> str:
    lines = medic.get("/metrics").body.decode().splitlines()
    return next(line for line in lines if line.startswith("medic_redis_up ")).split()[1]


def test_redis_paused_and_gone_is_missed_by_nobody(medic: MedicProcess, redis: RedisServer) -> None:
    assert medic.get("/health").json["components"]["redis"]["status"] == "not_configured"
    assert medic.stop() == 0
    medic.environment |= {
        "REDIS_URL": redis.url,
        "RATE_LIMIT_HEARTBEAT_REQUESTS": "5",
        "RATE_LIMIT_READ_REQUESTS": "100000",
    }
    medic.start()
    medic.wait_for(lambda: component(medic)["status"] == "healthy", seconds=SECONDS)
    medic.register("busy", seconds=600)

    for ill in (redis.pause, redis.stop):
        ill()
        seen = [medic.beat("busy").status for _ in range(15)]
        assert set(seen) <= {201, 429}
        assert seen.count(201) <= 6  # a minute goes by on a slow machine
        reads = [medic.get("/service/busy") for _ in range(5)]
        assert {read.status for read in reads} == {200}
        assert all(int(read.headers["X-RateLimit-Limit"]) == 100_000 for read in reads)
        said = medic.wait_for(lambda: component(medic) if component(medic)["status"] == "degraded" else None)
        assert "this process" in said["reason"]
        assert up(medic) == "0.0"
        redis.go_on() if ill == redis.pause else redis.start()
        medic.wait_for(lambda: component(medic)["status"] == "healthy", seconds=SECONDS)
        medic.wait_for(lambda: up(medic) == "1.0", seconds=SECONDS)
    assert medic.get("/service/busy").json["results"][0]["status"] == "up"
