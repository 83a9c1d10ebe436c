"""Who may do what, by every way into Medic: modes, keys, scopes, and connections that stay open."""

from __future__ import annotations

from base64 import b64encode
from ipaddress import ip_network

import pytest
import trio

from medic.access.failures import FAILURES_A_MINUTE_MAX
from medic.access.mode import AuthMode
from medic.access.scope import Scope
from medic.core.units import InstantMs
from medic.http import slack_routes
from medic.http.parts import ApiSettings
from medic.http.routes import ROUTES
from tests.contract.http_api import Api, Way
from tests.contract.served import HEARTBEAT, post, read_answer, serve, status_of
from tests.contract.shown_keys import BOTH_WAYS, SENT, bearer, beats, changed, failures, refused
from tests.fakes.http_parts import ADMIN_KEY


@pytest.fixture(params=BOTH_WAYS.values(), ids=BOTH_WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


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
    ring.put(changed(stored, expires_at=InstantMs(clock.now() - 1)))
    assert (await shut.get("/heartbeat/job", **bearer(key))).status_code == 401
    ring.put(changed(stored, revoked_at=clock.now()))
    assert (await shut.get("/heartbeat/job", **bearer(key))).status_code == 401
    ring.remove(stored.key_id)
    assert (await shut.get("/heartbeat/job", **bearer(key))).status_code == 401
    assert failures(shut) == {"expired": 1, "revoked": 1, "unknown": 1}


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
    # What Slack sends is signed, which its own tests look at.
    free = [route.path for route in ROUTES if route.scope is None and route.path != slack_routes.PATH]
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


# ----------------------------------------------------------------------------------------------------- who did it, when


async def test_the_key_is_who_did_it_and_the_label_stands_beside_it(shut: Api) -> None:
    shown = bearer(shut.world.key(Scope.WRITE, name="deployer"))
    await shut.post("/service/job", {"muted": 1}, X_Actor="root", **shown)
    assert (await shut.get("/service/job", **bearer(ADMIN_KEY))).json()["results"][0]["muted_by"] == "deployer"


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
        served.world.ring.put(changed(stored, expires_at=ends))
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
