"""Who is not meant by an open mode, and what every answer tells a browser, by every way into Medic."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from medic.access.mode import AuthMode
from medic.access.scope import Scope
from medic.http.headers import Cors
from medic.http.parts import ApiSettings
from tests.contract.http_api import Api, Way
from tests.contract.shown_keys import BOTH_WAYS, SENT, bearer, beats, refused
from tests.fakes.http_parts import ADMIN_KEY


@pytest.fixture(params=BOTH_WAYS.values(), ids=BOTH_WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


# ----------------------------------------------------------------------------------------------- the guard of open mode


FOREIGN = [
    ({"Origin": "http://evil.example"}, "MEDIC_CORS_ORIGINS"),
    ({"Origin": "null"}, "MEDIC_CORS_ORIGINS"),
    ({"Sec-Fetch-Site": "cross-site"}, "MEDIC_CORS_ORIGINS"),
    ({"Sec-Fetch-Site": "same-site"}, "MEDIC_CORS_ORIGINS"),
    ({"Host": "evil.example"}, "MEDIC_ALLOWED_HOSTS"),
    ({"Host": "evil.example", "Origin": "http://evil.example"}, "MEDIC_ALLOWED_HOSTS"),
    ({"X-Forwarded-For": "127.0.0.1"}, "MEDIC_TRUSTED_PROXIES"),
    ({"Forwarded": "for=127.0.0.1"}, "MEDIC_TRUSTED_PROXIES"),
    ({"Via": "1.1 proxy"}, "MEDIC_TRUSTED_PROXIES"),
    ({"X-Real-IP": "127.0.0.1"}, "MEDIC_TRUSTED_PROXIES"),
]


@pytest.mark.parametrize(("headers", "hint"), FOREIGN)
async def test_an_open_medic_is_open_to_no_page_no_foreign_name_and_no_forgotten_proxy(
    api: Api, headers: dict[str, str], hint: str
) -> None:
    await api.register("job")
    for method, path, body in [*SENT, ("GET", "/service", None), ("DELETE", "/service/job", None)]:
        answer = await api.request(method, path, body, **headers)
        assert answer.status_code == 403
        if method != "HEAD":
            assert hint in answer.json()["message"]
            assert "MEDIC_AUTH=keys" in answer.json()["message"]
    assert beats(api) == 0
    assert refused(api) == {"forbidden": len(SENT)}
    assert (await api.get("/service", **headers, **bearer(api.world.key(Scope.READ)))).status_code == 200
    assert (await api.delete("/service/job", **headers, **bearer(api.world.key(Scope.READ)))).status_code == 403


async def test_its_own_page_may_call(api: Api) -> None:
    own = {"Origin": "http://localhost:8080", "Host": "localhost:8080", "Sec-Fetch-Site": "same-origin"}
    answer = await api.post("/service", {"heartbeat_name": "job", "service_name": "x", "alert_interval": 5}, **own)
    assert answer.status_code == 201
    assert "access-control-allow-origin" not in answer.headers


async def test_a_page_of_others_sends_no_heartbeat_where_heartbeats_are_open_either(api: Api) -> None:
    await api.register("job")
    api.world.ask_for_keys(AuthMode.HEARTBEATS_OPEN)
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert (await api.get("/heartbeat/job?status=DOWN", **headers)).status_code == 403
    assert (await api.get("/heartbeat/job", X_Forwarded_For="192.0.2.1", Host="any.example")).status_code == 201


async def test_behind_a_proxy_that_was_named_it_is_open(way: Way) -> None:
    networks = (ip_network("127.0.0.0/8"), ip_network("192.0.2.0/24"))
    async with way(ApiSettings(trusted_proxies=networks)) as api:
        assert (await api.register("job")).status_code == 201
        assert (await api.get("/heartbeat/job", X_Forwarded_For="203.0.113.1")).status_code == 201
        answer = await api.post("/service/job", {"muted": 1}, X_Forwarded_For="198.51.100.1, 203.0.113.1")
        assert answer.json()["results"]["muted_by"] == "203.0.113.1"


# -------------------------------------------------------------------------------------------------------------- headers


SAFE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
}


async def test_every_answer_is_safe_to_show_to_a_browser(shut: Api) -> None:
    shown = bearer(ADMIN_KEY)
    for method, path, headers in (
        ("GET", "/heartbeat/job", shown),
        ("GET", "/heartbeat/nobody", shown),
        ("GET", "/heartbeat/job", {}),
        ("POST", "/v2/heartbeats", shown),
        ("GET", "/service", shown),
        ("GET", "/service", {}),
        ("GET", "/metrics", shown),
        ("GET", "/docs", {}),
        ("GET", "/nowhere", {}),
        ("OPTIONS", "/service", {}),
        ("PUT", "/service", {}),
    ):
        answer = await shut.request(method, path, **headers)
        assert SAFE.items() <= dict(answer.headers).items()
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert not {"server", "x-powered-by", "strict-transport-security"} & {*answer.headers}
        assert not any(name.startswith("access-control") for name in answer.headers)


async def test_pages_of_origins_that_were_named_may_call(way: Way) -> None:
    page = {"Origin": "https://grafana.example", "Sec-Fetch-Site": "cross-site"}
    async with way(ApiSettings(cors=Cors(frozenset({"https://grafana.example"})))) as api:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        preflight = await api.request("OPTIONS", "/service", **page, **asked)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == "https://grafana.example"
        assert "POST" in preflight.headers["access-control-allow-methods"]
        assert "Authorization" in preflight.headers["access-control-allow-headers"]
        assert (await api.get("/service", **page)).status_code == 200
        api.world.ask_for_keys()
        shown = bearer(api.world.key(Scope.ADMIN))
        for answer in (await api.get("/service", **page, **shown), await api.get("/heartbeat/nobody", **page)):
            assert answer.headers["access-control-allow-origin"] == "https://grafana.example"
            assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()
            assert "origin" in answer.headers["vary"].lower()
        other = await api.get("/service", Origin="https://grafana.example.evil.example", **shown)
        assert "access-control-allow-origin" not in other.headers
        assert "origin" in other.headers["vary"].lower()
