"""Who may do what, by every way into Medic: modes, keys, scopes, restrictions, and who is not meant by an open mode."""

from __future__ import annotations

from base64 import b64encode
from ipaddress import ip_network

import httpx
import pytest
import trio

from medic.access.failures import FAILURES_A_MINUTE_MAX
from medic.access.mode import AuthMode
from medic.access.scope import Scope
from medic.core.units import InstantMs
from medic.http.headers import Cors
from medic.http.parts import ApiSettings
from medic.http.routes import ROUTES
from tests.contract.http_api import Api, Way, open_api, open_lane
from tests.contract.served import HEARTBEAT, post, read_answer, serve, status_of
from tests.fakes.http_parts import ADMIN_KEY

SENT = [
    ("POST", "/heartbeat", {"heartbeat_name": "job", "status": "UP"}),
    ("POST", "/v2/heartbeats", [{"heartbeat_name": "job", "status": "UP"}]),
    ("GET", "/heartbeat/job", None),
    ("HEAD", "/heartbeat/job", None),
    ("POST", "/heartbeat/job", None),
]
"""The forms of a heartbeat."""


@pytest.fixture(params=[open_api, open_lane], ids=["quart", "lane"])
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


@pytest.fixture
async def shut(api: Api) -> Api:
    """With one service, and asking for keys."""
    await api.register("job", team="payments")
    api.world.ask_for_keys()
    return api


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def failures(api: Api) -> dict[str, int]:
    return api.world.meter.statistics().auth_failures


def refused(api: Api) -> dict[str, int]:
    return api.world.meter.statistics().heartbeats_refused


def beats(api: Api, name: str = "job") -> int:
    service = api.world.directory.find(name)
    assert service is not None
    return service.heartbeats_total


# ------------------------------------------------------------------------------------------------------- showing a key


@pytest.mark.parametrize(("method", "path", "body"), SENT)
async def test_a_heartbeat_needs_a_key_where_keys_are_asked_for(
    shut: Api, method: str, path: str, body: object
) -> None:
    answer = await shut.request(method, path, body)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="medic"')
    assert (failures(shut), refused(shut), beats(shut)) == ({"missing": 1}, {"unauthorized": 1}, 0)
    key = shut.world.key(Scope.HEARTBEAT)
    for shown in ({"Authorization": f"Bearer {key}"}, {"X-API-Key": key}):
        assert (await shut.request(method, path, body, **shown)).status_code == 201
    assert beats(shut) == 2
    use = shut.world.uses.last_use(shut.world.ring.all()[0].key_id)
    assert use is not None
    assert use.address == shut.address


async def test_a_refusal_is_the_contracts_json_and_repeats_no_key(shut: Api) -> None:
    for headers in ({}, bearer("mdk_wrong"), bearer(shut.world.key(Scope.READ)[:-1] + "x"), {"X-API-Key": "a\xe9"}):
        answer = await shut.post("/heartbeat", SENT[0][2], **headers)
        assert answer.status_code == 401
        assert answer.json().keys() == {"success", "message", "results"}
        assert answer.json()["success"] is False
        assert "mdk_" not in answer.json()["message"]
    assert failures(shut) == {"missing": 1, "malformed": 2, "wrong_secret": 1}


async def test_a_key_in_basic_is_for_heartbeats_in_one_line(shut: Api) -> None:
    key = shut.world.key(Scope.ADMIN)
    for text in (f"{key}:", f"curl:{key}", f"{key}:x"):
        shown = {"Authorization": f"Basic {b64encode(text.encode()).decode()}"}
        assert (await shut.get("/heartbeat/job", **shown)).status_code == 201
        assert (await shut.request("POST", "/heartbeat/job", **shown)).status_code == 201
        for path in ("/service", "/metrics", "/alerts?active=1"):
            answer = await shut.get(path, **shown)
            assert (answer.status_code, "in one line only" in answer.json()["message"]) == (401, True)
        assert (await shut.post("/heartbeat", SENT[0][2], **shown)).status_code == 401
    assert "curl -u KEY:" in (await shut.get("/heartbeat/job")).json()["message"]


async def test_two_different_keys_in_one_request_are_refused(shut: Api) -> None:
    one, other = shut.world.key(Scope.ADMIN), shut.world.key(Scope.ADMIN)
    same = {"Authorization": f"Bearer {one}", "X-API-Key": one}
    assert (await shut.post("/heartbeat", SENT[0][2], **same)).status_code == 201
    for path in ("/heartbeat/job", "/service"):
        assert (await shut.get(path, **{**same, "X-API-Key": other})).status_code == 401
    assert failures(shut) == {"ambiguous": 2}


async def test_the_operators_own_key_does_everything(shut: Api) -> None:
    assert (await shut.get("/v2/webhooks", **bearer(ADMIN_KEY))).status_code == 200
    assert (await shut.delete("/service/job", **bearer(ADMIN_KEY))).status_code == 200
    assert (await shut.get("/service", **bearer(ADMIN_KEY + "!"))).status_code == 401


async def test_a_key_that_was_revoked_or_has_ended_is_refused(shut: Api) -> None:
    ring, clock = shut.world.ring, shut.world.clock
    key = shut.world.key(Scope.HEARTBEAT)
    assert (await shut.get("/heartbeat/job", **bearer(key))).status_code == 201
    [stored] = ring.all()
    ring.put(type(stored)(**{**as_fields(stored), "expires_at": InstantMs(clock.now() - 1)}))
    assert (await shut.get("/heartbeat/job", **bearer(key))).status_code == 401
    ring.put(type(stored)(**{**as_fields(stored), "revoked_at": clock.now()}))
    assert (await shut.get("/heartbeat/job", **bearer(key))).status_code == 401
    ring.remove(stored.key_id)
    assert (await shut.get("/heartbeat/job", **bearer(key))).status_code == 401
    assert failures(shut) == {"expired": 1, "revoked": 1, "unknown": 1}


def as_fields(key: object) -> dict[str, object]:
    return {name: getattr(key, name) for name in key.__dataclass_fields__}  # type: ignore[attr-defined]


# --------------------------------------------------------------------------------------------------------------- modes


async def test_in_the_mode_heartbeats_open_heartbeats_need_no_key_and_one_that_is_sent_must_be_valid(api: Api) -> None:
    await api.register("job")
    api.world.ask_for_keys(AuthMode.HEARTBEATS_OPEN)
    for method, path, body in SENT:
        assert (await api.request(method, path, body)).status_code == 201
        assert (await api.request(method, path, body, **bearer("mdk_wrong"))).status_code == 401
        assert (await api.request(method, path, body, Authorization="Digest x")).status_code == 401
        assert (await api.request(method, path, body, **bearer(api.world.key(Scope.READ)))).status_code == 403
    assert (await api.get("/service")).status_code == 401
    assert (await api.get("/service", **bearer(api.world.key(Scope.READ)))).status_code == 200
    service = api.world.directory.find("job")
    assert service is not None
    assert api.world.uses.keyless_on(service.row.service_id, api.world.clock.now()) is not None


async def test_a_service_that_requires_a_key_has_it_in_every_mode(api: Api) -> None:
    await api.register("job", require_key=1)
    await api.register("free")
    for mode in AuthMode:
        api.world.ask_for_keys(mode)
        allowed, other = api.world.key(Scope.HEARTBEAT), api.world.key(Scope.HEARTBEAT, names=("free",))
        for method, path, body in SENT:
            keyless, wrong = (
                await api.request(method, path, body),
                await api.request(method, path, body, **bearer(other)),
            )
            is_bulk = path == "/v2/heartbeats" and mode is not AuthMode.KEYS
            if is_bulk:
                assert [item["status"] for item in keyless.json()["results"]["refused"]] == [401]
                assert [item["status"] for item in wrong.json()["results"]["refused"]] == [403]
            else:
                assert keyless.status_code == 401
            if path != "/v2/heartbeats":
                assert wrong.status_code == 403
            assert (await api.request(method, path, body, **bearer(allowed))).status_code == 201
    assert beats(api) == len(SENT) * len(AuthMode)
    api.world.ask_for_keys(AuthMode.OPEN)
    assert (await api.beat("free")).status_code == 201


async def test_in_the_open_mode_a_key_is_a_name_and_refuses_nothing(api: Api) -> None:
    await api.register("job")
    reader = api.world.key(Scope.READ, name="the reader", names=("other",))
    for headers in (bearer(reader), bearer("mdk_wrong"), {"Authorization": "Basic !"}, {"X-API-Key": "of a proxy"}):
        assert (await api.get("/heartbeat/job", **headers)).status_code == 201
        assert (await api.post("/service/job", {"runbook": "https://x.example"}, **headers)).status_code == 200
    assert len((await api.get("/service", **bearer(reader))).json()["results"]) == 1
    assert failures(api) == {"malformed": 2}  # what looks like one of ours is counted, what does not is others'
    assert (await api.post("/service/job", {"muted": 1}, X_Actor="ada", **bearer(reader))).status_code == 200
    assert (await api.service("job"))["muted_by"] == "the reader"
    assert (await api.post("/service/job", {"muted": 1}, X_Actor="ada")).status_code == 200
    assert (await api.service("job"))["muted_by"] == "ada"


async def test_health_network_and_documentation_ask_nobody(shut: Api) -> None:
    free = [route.path for route in ROUTES if route.scope is None]
    assert {"/health", "/health/live", "/health/ready", "/v1/healthcheck/network", "/docs", "/openapi.json"} <= {*free}
    for path in free:
        headers = {"Origin": "http://evil.example", "Host": "evil.example", **bearer("mdk_wrong")}
        assert (await shut.get(path, **headers)).status_code in {200, 204}
    assert failures(shut) == {}


async def test_metrics_need_a_key_unless_they_are_open(way: Way) -> None:
    for settings, status in ((ApiSettings(), 401), (ApiSettings(metrics_open=True), 200)):
        async with way(settings) as api:
            api.world.ask_for_keys()
            for path in ("/metrics", "/metrics/services"):
                assert (await api.get(path)).status_code == status
                assert (await api.get(path, **bearer(api.world.key(Scope.READ)))).status_code == 200


# -------------------------------------------------------------------------------------------------------------- scopes


ASKED = [route for route in ROUTES if route.scope is not None]


@pytest.mark.parametrize("route", ASKED, ids=lambda route: f"{route.method} {route.path}")
async def test_each_route_takes_the_scopes_that_include_its_own_and_no_other(api: Api, route: object) -> None:
    scope, method, path = route.scope, route.method, route.path  # type: ignore[attr-defined]
    api.world.ask_for_keys()
    place = path.replace("{heartbeat_name}", "nobody").replace("{alert_id}", "1").replace("{webhook_id}", "1")
    assert (await api.request(method, place)).status_code == 401
    for held in Scope:
        answer = await api.request(method, place, **bearer(api.world.key(held)))
        is_let_in = scope.is_granted_by({held})
        assert (answer.status_code == 403) is not is_let_in
        if not is_let_in:
            assert f"scope {scope.value}" in answer.json()["message"]


# -------------------------------------------------------------------------------------------------------- restrictions


@pytest.mark.parametrize(
    "name",
    ["search", "SEARCH", "search%20", "%73earch", "pay%2Fsearch", "p\u0430y-api", "\uff50ay-api", "pay\u212aapi"],
)
async def test_no_spelling_of_a_name_gets_past_a_restriction(shut: Api, name: str) -> None:
    await shut.register("search") if False else None
    key = shut.world.key(Scope.HEARTBEAT, names=("pay-*",))
    shown = bearer(key)
    assert (await shut.get(f"/heartbeat/{name}", **shown)).status_code in {400, 403}
    said = {"heartbeat_name": httpx.URL(f"http://x/{name}").path[1:] if "%" in name else name, "status": "UP"}
    if "/" not in said["heartbeat_name"]:
        assert (await shut.post("/heartbeat", said, **shown)).status_code in {400, 403}
        bulk = await shut.post("/v2/heartbeats", [said], **shown)
        assert bulk.json()["results"]["refused"][0]["status"] in {400, 403}


async def test_a_restricted_key_sends_what_it_reaches_in_any_case(shut: Api) -> None:
    admin = bearer(ADMIN_KEY)
    for name in ("pay-\xe9", "pay-API"):
        body = {"heartbeat_name": name, "service_name": "x", "alert_interval": 5}
        assert (await shut.post("/service", body, **admin)).status_code == 201
    shown = bearer(shut.world.key(Scope.HEARTBEAT, names=("PAY-*",)))
    for name in ("pay-API", "PAY-api", "pay-\xe9", "pay-e\u0301", "pay-e%CC%81"):
        assert (await shut.get(f"/heartbeat/{name}", **shown)).status_code == 201
    bulk = [{"heartbeat_name": name, "status": "UP"} for name in ("pay-api", "job", "PAY-E\u0301", "pay-\xe9")]
    results = (await shut.post("/v2/heartbeats", bulk, **shown)).json()["results"]
    assert [(item["index"], item["status"]) for item in results["refused"]] == [(1, 403), (2, 404)]


async def test_a_key_of_a_team_sends_for_its_team_and_does_not_learn_what_others_have(shut: Api) -> None:
    shown = bearer(shut.world.key(Scope.HEARTBEAT, teams=("payments",)))
    await shut.post(
        "/service",
        {"heartbeat_name": "theirs", "service_name": "x", "alert_interval": 5, "team": "search"},
        **bearer(ADMIN_KEY),
    )
    assert (await shut.get("/heartbeat/job", **shown)).status_code == 201
    there, nowhere = await shut.get("/heartbeat/theirs", **shown), await shut.get("/heartbeat/nobody", **shown)
    assert (there.status_code, nowhere.status_code) == (403, 403)
    assert there.json()["message"].replace("theirs", "nobody") == nowhere.json()["message"]


@pytest.fixture
async def fleet(shut: Api) -> Api:
    """Two teams with a service and an alert each."""
    admin = bearer(ADMIN_KEY)
    for name, team in (("pay-api", "payments"), ("find-api", "search")):
        body = {"heartbeat_name": name, "service_name": "api", "alert_interval": 5, "team": team}
        assert (await shut.post("/service", body, **admin)).status_code == 201
        assert (await shut.get(f"/heartbeat/{name}?status=DOWN", **admin)).status_code == 201
    await shut.get("/heartbeat/pay-unheard", **admin)
    return shut


RESTRICTIONS = [{"names": ("PAY-*",)}, {"teams": ("payments",), "names": ("pay*",)}]
"""Of names; of names and a team."""


@pytest.mark.parametrize("restriction", RESTRICTIONS)
async def test_reads_show_a_restricted_key_only_what_it_reaches(
    fleet: Api, restriction: dict[str, tuple[str, ...]]
) -> None:
    shown = bearer(fleet.world.key(Scope.READ, **restriction))

    async def names(path: str) -> set[str]:
        answer = await fleet.get(path, **shown)
        assert answer.status_code == 200
        assert answer.json().get("total_count", 1) == 1
        return {row["heartbeat_name"] for row in answer.json()["results"]}

    for path in (
        "/service",
        "/service?limit=9",
        "/alerts",
        "/alerts?active=1",
        "/alerts?active=1&limit=9",
        "/heartbeat",
    ):
        assert await names(path) == {"pay-api"}
    assert (await fleet.get("/alerts?active=0", **shown)).json()["results"] == []
    assert (await fleet.get("/service/PAY-api", **shown)).status_code == 200
    for path in ("/heartbeat?heartbeat_name=find-api", "/service?q=find", "/alerts?team=search&active=1"):
        assert (await fleet.get(path, **shown)).json()["results"] == []
    heard = [row["heartbeat_name"] for row in (await fleet.get("/v2/refused", **shown)).json()["results"]]
    assert heard == ([] if "teams" in restriction else ["pay-unheard"])
    there, nowhere = await fleet.get("/service/find-api", **shown), await fleet.get("/service/nobody", **shown)
    assert (there.status_code, nowhere.status_code) == (404, 404)
    assert there.json()["message"].replace("find-api", "nobody") == nowhere.json()["message"]
    for path in ("/metrics", "/v2/webhooks"):
        assert (await fleet.get(path, **shown)).status_code == 403
    assert (await fleet.get("/metrics/services", **shown)).status_code == 200
    [wanted] = fleet.world.metrics.asked
    services = [found for found in wanted.select(fleet.world.directory.services()) if found is not None]
    assert [service.row.heartbeat_name for service in services] == ["pay-api"]


@pytest.mark.parametrize("restriction", RESTRICTIONS)
async def test_changes_of_what_a_restricted_key_does_not_reach_are_404_and_change_nothing(
    fleet: Api, restriction: dict[str, tuple[str, ...]]
) -> None:
    shown, admin = bearer(fleet.world.key(Scope.WRITE, **restriction)), bearer(ADMIN_KEY)
    alerts = {
        row["heartbeat_name"]: row["alert_id"]
        for row in (await fleet.get("/alerts?active=1", **admin)).json()["results"]
    }
    theirs, ours = alerts["find-api"], alerts["pay-api"]
    before = (await fleet.get("/service/find-api", **admin)).json()["results"]
    for answer in (
        await fleet.post("/service/find-api", {"muted": 1}, **shown),
        await fleet.post("/service/find-api", {"team": "payments"}, **shown),
        await fleet.post("/v2/services/find-api/test", **shown),
        await fleet.delete("/service/find-api", **shown),
        await fleet.get(f"/alerts/{theirs}", **shown),
        await fleet.post(f"/alerts/{theirs}/acknowledge", **shown),
        await fleet.post(f"/alerts/{theirs}/resolve", **shown),
        await fleet.post("/alerts/12345/resolve", **shown),
    ):
        assert answer.status_code == 404
    assert (await fleet.get("/service/find-api", **admin)).json()["results"] == before
    for answer in (
        await fleet.get(f"/alerts/{ours}", **shown),
        await fleet.post(f"/alerts/{ours}/acknowledge", **shown),
        await fleet.post(f"/alerts/{ours}/resolve", **shown),
        await fleet.get(f"/alerts/{ours}", **shown),
        await fleet.post("/service/pay-api", {"muted": 1}, **shown),
        await fleet.post("/v2/services/pay-api/test", **shown),
        await fleet.delete("/service/pay-api", **shown),
    ):
        assert answer.status_code == 200, answer.request.url
    assert (await fleet.post(f"/alerts/{ours}/resolve", **shown)).status_code == 409


async def test_a_restricted_key_registers_and_moves_services_within_its_reach_only(fleet: Api) -> None:
    shown = bearer(fleet.world.key(Scope.WRITE, teams=("payments",), names=("pay-*", "find-api")))

    async def register(name: str, team: str) -> int:
        body = {"heartbeat_name": name, "service_name": "x", "alert_interval": 5, "team": team}
        return (await fleet.post("/service?update=1", body, **shown)).status_code

    assert await register("pay-new", "payments") == 201
    assert await register("PAY-NEW", "payments") == 200
    assert await register("pay-other", "search") == 403
    assert await register("other", "payments") == 403
    assert await register("find-api", "payments") == 403
    assert (await fleet.post("/service/pay-api", {"team": "search"}, **shown)).status_code == 403
    assert (await fleet.get("/service/find-api", **bearer(ADMIN_KEY))).json()["results"][0]["team"] == "search"


async def test_a_restricted_administrator_does_not_manage_webhooks(fleet: Api) -> None:
    shown = bearer(fleet.world.key(Scope.ADMIN, names=("*",)))
    answer = await fleet.post("/v2/webhooks", {"url": "https://hooks.example/x"}, **shown)
    assert (answer.status_code, "restricted" in answer.json()["message"]) == (403, True)
    assert failures(fleet)["restricted"] == 1


# ----------------------------------------------------------------------------------------------------- who did it, when


async def test_the_key_is_who_did_it_and_the_label_stands_beside_it(fleet: Api) -> None:
    shown = bearer(fleet.world.key(Scope.WRITE, name="deployer"))
    await fleet.post("/service/pay-api", {"muted": 1}, X_Actor="root", **shown)
    assert (await fleet.get("/service/pay-api", **bearer(ADMIN_KEY))).json()["results"][0]["muted_by"] == "deployer"


async def test_every_answer_through_quart_has_an_id_of_its_own(shut: Api) -> None:
    ids = [
        (await shut.request(method, path, **headers)).headers["x-request-id"]
        for method, path, headers in (
            ("GET", "/health", {"X-Request-Id": "mine"}),
            ("GET", "/service", {}),
            ("GET", "/nowhere", {}),
            ("DELETE", "/health", {}),
            ("OPTIONS", "/service", {}),
        )
    ]
    assert len(set(ids)) == 5
    assert all(len(found) == 16 for found in ids)


# ------------------------------------------------------------------------------------------------------------- failures


async def test_only_requests_that_fail_are_told_to_wait(shut: Api) -> None:
    shown = bearer(shut.world.key(Scope.HEARTBEAT))
    for _ in range(FAILURES_A_MINUTE_MAX):
        assert (await shut.get("/heartbeat/job")).status_code == 401
    answer = await shut.get("/heartbeat/job")
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert answer.headers["x-ratelimit-limit"] == str(FAILURES_A_MINUTE_MAX)
    assert (await shut.get("/service")).status_code == 429
    assert (await shut.get("/heartbeat/job", **shown)).status_code == 201
    assert (await shut.get("/service", **shown)).status_code == 403
    assert failures(shut) == {"missing": FAILURES_A_MINUTE_MAX + 2, "scope": 1}
    assert refused(shut)["rate_limited"] == 1


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


# ------------------------------------------------------------------------------------------- connections that stay open


async def test_a_revocation_is_seen_by_the_next_heartbeat_of_a_connection_that_stays_open() -> None:
    async with serve() as served, await served.connect() as stream:
        served.world.ask_for_keys()
        key = served.world.key(Scope.HEARTBEAT)
        request = post("/heartbeat", HEARTBEAT, f"Authorization: Bearer {key}")
        for _ in range(3):
            await stream.send_all(request)
            assert status_of(await read_answer(stream)) == 201
        served.world.ring.remove(served.world.ring.all()[0].key_id)
        await stream.send_all(request)
        assert status_of(await read_answer(stream)) == 401
        assert served.server.statistics().hot_requests == 4


async def test_a_connection_is_recognised_by_what_each_request_shows() -> None:
    async with serve() as served, await served.connect() as stream:
        served.world.ask_for_keys()
        one, other = served.world.key(Scope.HEARTBEAT), served.world.key(Scope.READ)
        for shown, status in ((one, 201), (other, 403), (one, 201), ("", 401), (one, 201)):
            await stream.send_all(post("/heartbeat", HEARTBEAT, f"X-API-Key: {shown}"))
            assert status_of(await read_answer(stream)) == status
        assert served.server.statistics().passed_on == 0


async def test_the_end_of_a_key_is_seen_by_a_connection_that_stays_open(autojump_clock: object) -> None:
    async with serve() as served, await served.connect() as stream:
        served.world.ask_for_keys()
        key = served.world.key(Scope.HEARTBEAT)
        [stored] = served.world.ring.all()
        ends = InstantMs(served.world.clock.now() + 500)
        served.world.ring.put(type(stored)(**{**as_fields(stored), "expires_at": ends}))
        request = post("/heartbeat", HEARTBEAT, f"Authorization: Bearer {key}")
        for status in (201, 201):
            await stream.send_all(request)
            assert status_of(await read_answer(stream)) == status
        await trio.sleep(0.6)
        await stream.send_all(request)
        assert status_of(await read_answer(stream)) == 401


async def test_behind_a_trusted_proxy_one_connection_brings_many_callers() -> None:
    async with serve(settings=ApiSettings(trusted_proxies=(ip_network("127.0.0.0/8"),))) as served:
        served.world.ask_for_keys()
        shown = f"X-API-Key: {served.world.key(Scope.HEARTBEAT)}"
        unknown = b'{"heartbeat_name":"typo","status":"UP"}'
        async with await served.connect() as stream:
            for address in ("192.0.2.1", "192.0.2.2"):
                await stream.send_all(post("/heartbeat", unknown, shown, f"X-Forwarded-For: {address}"))
                assert status_of(await read_answer(stream)) == 404
                [name] = served.world.parts.refused.names()
                assert name.address == address
