"""Rate limits over HTTP: who is refused, what they read, and who never is. Time stands still. The same both ways."""

from __future__ import annotations

import httpx
import pytest

from tests.contract.http_api import Api, Way, open_api, open_lane

ONE_WAY = pytest.mark.parametrize("way", [open_api], ids=["quart"], indirect=True)
"""For what the lane never takes."""


@pytest.fixture(params=[open_api, open_lane], ids=["quart", "lane"])
def way(request: pytest.FixtureRequest) -> Way:
    return request.param


@pytest.fixture
async def limited(mock_clock: object, api: Api) -> Api:
    """Three heartbeats a service and minute, two unknown names."""
    api.world.limit(service=3, unknown=2)
    await api.register("job", alert_interval=60)
    return api


def rate_of(answer: httpx.Response) -> tuple[str, str, str]:
    return tuple(answer.headers[f"X-RateLimit-{word}"] for word in ("Limit", "Remaining", "Reset"))


def check_refused(answer: httpx.Response, limit: int, retry_after: int) -> None:
    assert answer.status_code == 429
    assert (answer.json()["success"], answer.json()["results"]) == (False, "")
    assert rate_of(answer) == (str(limit), "0", "60")
    assert answer.headers["Retry-After"] == str(retry_after)


async def test_the_heartbeat_beyond_the_limit_is_a_429_and_moves_the_deadline(limited: Api) -> None:
    answers = [await limited.beat("job", status) for status in ("UP", "UP", "UP", "COMPLETED")]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 429]
    check_refused(answers[-1], 3, 20)
    assert "X-RateLimit-Limit" not in answers[0].headers
    shown = await limited.service("job")
    assert (shown["last_status"], shown["last_refusal"]["reason"]) == ("COMPLETED", "rate_limited")
    rows = (await limited.get("/heartbeat?heartbeat_name=job")).json()["results"]
    assert [row["status"] for row in rows] == ["UP"] * 3
    assert limited.world.meter.statistics().heartbeats_refused["rate_limited"] == 1


async def test_a_report_beyond_the_limit_opens_the_alert(limited: Api) -> None:
    for _ in range(3):
        await limited.beat("job")
    assert (await limited.beat("job", "FAILED")).status_code == 429
    assert (await limited.service("job"))["status"] == "down"


async def test_heartbeats_in_one_line_are_limited_too(limited: Api) -> None:
    answers = [await limited.get("/heartbeat/job") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 429]
    check_refused(answers[-1], 3, 20)


async def test_each_heartbeat_of_a_bulk_is_limited_by_itself(limited: Api) -> None:
    await limited.register("other", alert_interval=60)
    names = ["job"] * 5 + ["other", "job", "typo", "typo", "typo"]
    answer = await limited.post("/v2/heartbeats", [{"heartbeat_name": name, "status": "UP"} for name in names])
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert results["accepted"] == 4
    assert [(each["index"], each["status"]) for each in results["refused"]] == [
        (3, 429), (4, 429), (6, 429), (7, 404), (8, 404), (9, 429),
    ]  # fmt: skip


async def test_guessing_names_ends_in_a_429(limited: Api) -> None:
    answers = [await limited.beat(f"typo-{number}") for number in range(3)]
    assert [answer.status_code for answer in answers] == [404, 404, 429]
    check_refused(answers[-1], 2, 30)
    assert (await limited.beat("job")).status_code == 201


async def test_a_caller_may_have_a_limit_of_its_own(limited: Api) -> None:
    limited.world.limit(caller=1)
    await limited.register("other")
    assert [(await limited.beat(name)).status_code for name in ("job", "other")] == [201, 429]
    assert (await limited.service("other"))["last_status"] == "UP"


@ONE_WAY
async def test_every_answer_to_a_read_says_how_many_are_left(mock_clock: object, api: Api) -> None:
    api.world.limit(read=3)
    answers = [await api.get(path) for path in ("/service", "/service/nobody", "/alerts?active=2", "/alerts")]
    assert [answer.status_code for answer in answers] == [200, 404, 400, 429]
    assert [rate_of(answer) for answer in answers[:3]] == [("3", "2", "20"), ("3", "1", "40"), ("3", "0", "60")]
    check_refused(answers[-1], 3, 20)


@ONE_WAY
async def test_health_and_metrics_are_never_refused(mock_clock: object, api: Api) -> None:
    api.world.limit(read=1)
    await api.get("/service")
    assert (await api.get("/service")).status_code == 429
    for path in (
        "/v1/healthcheck/network",
        "/health",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/metrics/services",
    ):
        answer = await api.get(path)
        assert answer.status_code < 400, path
        assert "X-RateLimit-Limit" not in answer.headers


@ONE_WAY
async def test_changes_are_limited_and_registering_what_is_registered_is_none(mock_clock: object, api: Api) -> None:
    api.world.limit(management=3)
    first = await api.register("a")
    assert (first.status_code, rate_of(first)) == (201, ("3", "2", "20"))
    assert (await api.register("b")).status_code == 201
    assert (await api.post("/service/a", {"team": "x"})).status_code == 200
    check_refused(await api.register("c"), 3, 20)
    check_refused(await api.delete("/service/a"), 3, 20)
    for _ in range(5):
        again = await api.register("b")
        assert again.status_code == 200
    assert (await api.post("/service?update=1", {**BODY, "heartbeat_name": "b"})).status_code == 200
    check_refused(await api.post("/service?update=1", {**BODY, "heartbeat_name": "b", "team": "y"}), 3, 20)
    assert (await api.service("b"))["team"] != "y"


BODY = {"service_name": "owner", "alert_interval": 5}
