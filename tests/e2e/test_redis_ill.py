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


def metric(medic: MedicProcess, name: str) -> float:
    lines = medic.get("/metrics").body.decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def test_redis_paused_gone_and_refusing_names_is_missed_by_nobody(medic: MedicProcess, redis: RedisServer) -> None:
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
        assert metric(medic, "medic_redis_up") == 0
        redis.go_on() if ill == redis.pause else redis.start()
        medic.wait_for(lambda: component(medic)["status"] == "healthy", seconds=SECONDS)
        medic.wait_for(lambda: metric(medic, "medic_redis_up") == 1, seconds=SECONDS)
    assert medic.get("/service/busy").json["results"][0]["status"] == "up"

    held = "medic:limit:service:held"
    redis.say("LPUSH", held, "what is no number")
    medic.register("held", seconds=600)
    assert {medic.beat("held").status for _ in range(90)} == {201, 429}
    medic.wait_for(lambda: redis.say("TYPE", held) == "+string")
    assert component(medic)["status"] == "healthy"

    redis.say("ACL", "SETUSER", "default", "resetkeys", "~medic:limit:probe")
    medic.register("kept", seconds=600)
    for _ in range(20):
        assert {medic.beat("kept").status for _ in range(5)} <= {201, 429}
        assert medic.get("/service/kept").status == 200
    said = medic.wait_for(lambda: component(medic) if component(medic)["status"] == "degraded" else None)
    assert said["reason"] == "some limits are counted in this process: the user may not run scripts on these keys"
    assert metric(medic, "medic_redis_refused_total") >= 20
    assert metric(medic, "medic_redis_up") == 1
    assert medic.output().count("Redis refuses a name") <= 4  # two of heartbeats, two of requests
