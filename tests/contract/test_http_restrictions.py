"""What a key that is restricted to names or teams sends, sees and changes, by every way into Medic."""

from __future__ import annotations

import httpx
import pytest

from medic.access.scope import Scope
from tests.contract.http_api import Api, Way
from tests.contract.shown_keys import BOTH_WAYS, bearer, failures
from tests.fakes.http_parts import ADMIN_KEY


@pytest.fixture(params=BOTH_WAYS.values(), ids=BOTH_WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


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
    services = list(filter(wanted.accept(), fleet.world.directory.services()))
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
