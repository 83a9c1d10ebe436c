"""Health, metrics, the description, wrong paths and methods, and what goes on while PostgreSQL is away."""

from __future__ import annotations

import logging
from ipaddress import ip_network

import pytest
from trio.testing import MockClock

from medic.core.status import Status
from medic.core.units import InstantMs
from medic.errors import InvariantError
from medic.http.parts import ApiSettings
from medic.http.routes import ROUTES
from medic.metrics.services import ServiceFilter
from tests.contract.http_api import Api, faults, open_api


async def test_the_network_check_is_204_without_a_body(api: Api) -> None:
    answer = await api.get("/v1/healthcheck/network")
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize(("status", "code"), [("healthy", 200), ("degraded", 200), ("unhealthy", 503)])
async def test_health_says_what_is_known(api: Api, status: str, code: int) -> None:
    api.world.health.status = status
    answer = await api.get("/health?whatever=1&whatever=2")
    assert answer.status_code == code
    body = answer.json()
    assert (body["status"], body["version"]) == (status, "9.9.9")
    assert body["timestamp"].endswith("Z")
    assert body["components"]["database"]["kind"] == "embedded"
    assert body["components"]["slack"]["status"] == "not_configured"


async def test_probes_are_200_or_503_with_the_reason(api: Api) -> None:
    for path, word in (("/health/live", "alive"), ("/health/ready", "ready")):
        answer = await api.get(path)
        assert (answer.status_code, answer.json()["status"]) == (200, word)
        assert "reason" not in answer.json()
    api.world.health.stalled = "the wheel made no progress for 12 s"
    api.world.health.missing = "draining"
    for path, word, why in (("/health/live", "stalled", "12 s"), ("/health/ready", "not_ready", "draining")):
        answer = await api.get(path)
        assert (answer.status_code, answer.json()["status"]) == (503, word)
        assert why in answer.json()["reason"]
        assert "retry-after" in answer.headers


async def test_the_probe_of_life_says_when_progress_was_seen_last(api: Api) -> None:
    assert (await api.get("/health/live")).json()["progress_at"] is None
    api.world.health.proven = InstantMs(1_767_225_600_250)
    assert (await api.get("/health/live")).json()["progress_at"] == "2026-01-01T00:00:00.250Z"
    api.world.health.stalled = "no progress for 10 s: wheel"
    assert (await api.get("/health/live")).json()["progress_at"] == "2026-01-01T00:00:00.250Z"
    assert "progress_at" not in (await api.get("/health/ready")).json()


async def test_metrics_are_text(api: Api) -> None:
    for path in ("/metrics?x=1", "/metrics/services"):
        answer = await api.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert answer.text.endswith("medic_build_info 1\n")


async def test_metrics_of_services_are_filtered_by_a_checked_query(api: Api) -> None:
    await api.get("/metrics/services?team=red&name=pay-*&status=late&shard=2/3")
    assert api.world.metrics.asked == [ServiceFilter("red", "pay-*", Status.LATE, (2, 3))]
    for query, field in (("status=ill", "status"), ("shard=4/3", "shard"), ("shard=x", "shard"), ("teem=x", "teem")):
        answer = await api.get(f"/metrics/services?{query}")
        assert answer.status_code == 400
        assert field in faults(answer)


async def test_the_description_is_served_at_both_places(api: Api) -> None:
    description = (await api.get("/openapi.json")).json()
    assert description["openapi"] == "3.1.0"
    assert description["info"]["version"] == "9.9.9"
    assert (await api.get("/docs/swagger.json")).json() == description
    described = {(method.upper(), path) for path, methods in description["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in ROUTES}


async def test_the_page_asks_for_nothing_from_elsewhere(api: Api) -> None:
    page = await api.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert (await api.get("/docs/")).content == page.content
    for path, kind in (("/docs/docs.js", "text/javascript"), ("/docs/docs.css", "text/css")):
        part = await api.get(path)
        assert part.status_code == 200
        assert part.headers["content-type"].startswith(kind)
        assert path in page.text
        assert "http://" not in part.text
        assert "https://" not in part.text
    assert "//" not in page.text.replace("<!DOCTYPE html>", "")


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/", "nothing at this path"),
        ("/nowhere", "nothing at this path"),
        ("/service/", "nothing at this path"),
        ("//heartbeat", "nothing at this path"),
        ("/service/a/b", "nothing at this path"),
        ("/heartbeat%2F", "nothing at this path"),
        ("/v2/heartbeat/7/start", "not built yet"),
        ("/v2/{limit}", "not built yet"),
    ],
)
async def test_an_unknown_path_is_a_404_in_json(api: Api, path: str, part: str) -> None:
    for method in ("GET", "POST"):
        answer = await api.request(method, path, content=b"{}" if method == "POST" else None)
        assert answer.status_code == 404
        assert part in answer.json()["message"]
        assert answer.json()["success"] is False


async def test_a_path_is_one_however_it_is_encoded(api: Api) -> None:
    assert (await api.get("/%68ealth/l%69ve")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/heartbeat", "GET, HEAD, OPTIONS, POST"),
        ("DELETE", "/service", "GET, HEAD, OPTIONS, POST"),
        ("PATCH", "/service/job", "DELETE, GET, HEAD, OPTIONS, POST"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
        ("GET", "/alerts/1/resolve", "OPTIONS, POST"),
        ("HEAD", "/alerts/1/resolve", "OPTIONS, POST"),
        ("BREW", "/metrics", "GET, HEAD, OPTIONS"),
    ],
)
async def test_a_wrong_method_is_a_405_that_names_the_right_ones(
    api: Api, method: str, path: str, allowed: str
) -> None:
    answer = await api.request(method, path, content=b"{}")
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert method == "HEAD" or answer.json()["success"] is False


async def test_options_names_the_methods(api: Api) -> None:
    answer = await api.request("OPTIONS", "/service/job")
    assert (answer.status_code, answer.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, POST")


async def test_every_answer_says_that_it_must_not_be_kept(api: Api) -> None:
    for path in ("/health", "/service", "/nowhere", "/docs"):
        answer = await api.get(path)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_bug_is_a_500_without_its_inside(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for error in (RuntimeError("secret inside"), InvariantError("secret inside")):

        def crash(error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(api.world.health, "report", crash)
        with caplog.at_level(logging.CRITICAL):
            answer = await api.get("/health")
        assert answer.status_code == 500
        assert answer.json() == {
            "success": False, "message": "Medic met a fault of its own. Its log says more.", "results": "",
        }  # fmt: skip


async def test_every_request_is_measured_once_by_its_template(api: Api) -> None:
    await api.register("job")
    await api.get("/service/job")
    await api.get("/service/other")
    await api.get("/nowhere")
    await api.request("BREW", "/service")
    counted = api.world.meter.statistics().requests
    assert counted == {
        ("POST", "/service", 201): 1,
        ("GET", "/service/{heartbeat_name}", 200): 1,
        ("GET", "/service/{heartbeat_name}", 404): 1,
        ("GET", "other", 404): 1,
        ("other", "other", 405): 1,
    }


async def test_the_caller_is_who_the_trusted_proxy_says(mock_clock: MockClock) -> None:
    for trusted, caller in ((("192.0.2.0/24",), "198.51.100.9"), (("203.0.113.1",), "192.0.2.7")):
        settings = ApiSettings(trusted_proxies=tuple(ip_network(text) for text in trusted))
        async with open_api(settings) as api:
            await api.post(
                "/heartbeat", {"heartbeat_name": "x", "status": "UP"}, X_Forwarded_For="10.0.0.1, 198.51.100.9"
            )
            assert (await api.get("/v2/refused")).json()["results"][0]["address"] == caller


# ------------------------------------------------------------------------------------------------- PostgreSQL is away


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/service", {"heartbeat_name": "new", "service_name": "x", "alert_interval": 5}),
        ("POST", "/service/job", {"team": "x"}),
        ("POST", "/service/job", {"team": "x", "muted": 1}),
        ("DELETE", "/service/job", None),
        ("GET", "/heartbeat?heartbeat_name=job", None),
        ("GET", "/alerts", None),
        ("GET", "/alerts?active=0", None),
        ("GET", "/alerts/1", None),
        ("GET", "/v2/webhooks", None),
        ("POST", "/v2/webhooks", {"url": "https://example.com"}),
        ("DELETE", "/v2/webhooks/1", None),
        ("POST", "/alerts/1/acknowledge", None),
    ],
)
async def test_what_needs_postgresql_is_503_with_retry_after_and_changes_nothing(
    api: Api, mock_clock: MockClock, method: str, path: str, body: object
) -> None:
    await api.register("job")
    before = await api.service("job")
    api.world.lose_database()
    answer = await api.request(method, path, body)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["message"] == "PostgreSQL does not answer. Nothing was changed; try again."
    assert await api.service("job") == before
    assert (await api.get("/service")).json()["total_count"] == 1


async def test_the_rest_goes_on_from_memory(api: Api) -> None:
    alert = await api.open_alert("job")
    api.world.lose_database()
    assert (await api.beat("job")).status_code == 201
    assert (await api.beat("job", "DOWN")).status_code == 201
    assert (await api.get("/service?down=1")).json()["total_count"] == 1
    [alert] = (await api.get("/alerts?active=1")).json()["results"]
    assert (await api.post(f"/alerts/{alert['alert_id']}/acknowledge")).status_code == 200
    assert (await api.post("/service/job", {"muted": 1, "mute_minutes": 5})).status_code == 200
    assert (await api.post("/service/job", {"muted": 0, "down": 0})).status_code == 200
    assert (await api.get("/service/job")).json()["results"][0]["down"] == 0
    assert (await api.register("job", alert_interval=9)).json()["differs"] == {"alert_interval": [5, 9]}
    assert (await api.get("/health")).status_code == 200
    assert (await api.get("/v2/refused")).status_code == 200
