"""Heartbeats that are signed with MEDIC_WEBHOOK_SECRET instead of carrying a key, on both ways into Medic."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType

import orjson
import pytest
from trio.testing import MockClock

from medic.access.failures import FAILURES_A_MINUTE_MAX
from medic.access.mode import AuthMode
from medic.access.scope import Scope
from medic.access.signed import sign
from tests.contract.http_api import Api, Way, open_api, open_lane

SECRET = b"a secret of thirty-two characters"
BODY = orjson.dumps({"heartbeat_name": "job", "service_name": "owner", "status": "UP"})


@pytest.fixture(params=[open_api, open_lane], ids=["quart", "lane"])
def way(request: pytest.FixtureRequest) -> Way:
    return request.param


@pytest.fixture
async def api(way: Way, mock_clock: MockClock) -> AsyncIterator[Api]:
    """Time stands still: what is stale is so by what the request says."""
    async with way(None) as opened:
        await opened.register("job", threshold=4)
        opened.world.take_signed(SECRET)
        yield opened


async def send(
    api: Api,
    body: bytes = BODY,
    path: str = "/heartbeat",
    *,
    message: str = "msg_1",
    age: int = 0,
    secret: bytes = SECRET,
    signed: bytes | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> tuple[int, str]:
    """Status, and the reason it was counted under."""
    before = dict(api.world.meter.statistics().auth_failures)
    seconds = api.world.clock.now() // 1000 - age
    signature = sign(secret, message, seconds, body if signed is None else signed)
    signed_with = {"webhook-id": message, "webhook-timestamp": str(seconds), "webhook-signature": signature}
    answer = await api._http.request("POST", path, content=body, headers={**signed_with, **headers})
    after = api.world.meter.statistics().auth_failures
    return answer.status_code, next((reason for reason in after if after[reason] > before.get(reason, 0)), "")


async def test_a_signed_heartbeat_needs_no_key(api: Api) -> None:
    assert (await api._http.post("/heartbeat", content=BODY)).status_code == 401
    assert await send(api) == (201, "")
    assert (await api.get("/heartbeat?heartbeat_name=job", x_api_key=api.world.key(Scope.READ))).json()["results"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/heartbeat", BODY),
        ("/v2/heartbeats", b"[" + BODY + b"]"),
        ("/v2/heartbeats", BODY + b"\n" + BODY),
    ],
)
async def test_a_heartbeat_that_says_everything_in_its_body_may_be_signed(api: Api, path: str, body: bytes) -> None:
    assert await send(api, body, path) == (201, "")


@pytest.mark.parametrize("mode", AuthMode)
@pytest.mark.parametrize("path", ["/heartbeat/job", "/heartbeat/job?status=DOWN"])
@pytest.mark.parametrize("body", [b"", b'{"status":"DEGRADED"}'])
async def test_a_signature_counts_for_nothing_where_the_path_says_whose_heartbeat_it_is(
    api: Api, mode: AuthMode, path: str, body: bytes
) -> None:
    api.world.ask_for_keys(mode)
    assert await send(api, body, path) == (401, "signature_misplaced")
    found = await api.get("/heartbeat?heartbeat_name=job", x_api_key=api.world.key(Scope.READ))
    assert found.json()["results"] == []
    assert await send(api, body, path, headers={"X-API-Key": api.world.key(Scope.HEARTBEAT)}) == (201, "")


async def test_a_signature_is_good_for_one_request(api: Api) -> None:
    assert await send(api) == (201, "")
    assert await send(api) == (401, "signature_replayed")
    assert await send(api, message="msg_2") == (201, "")


async def test_a_signature_is_good_for_five_minutes(api: Api) -> None:
    assert await send(api, message="msg_1", age=299) == (201, "")
    assert await send(api, message="msg_2", age=301) == (401, "signature_stale")
    assert await send(api, message="msg_3", age=-301) == (401, "signature_stale")


async def test_a_signature_of_something_else_is_none(api: Api) -> None:
    assert await send(api, secret=b"another secret of somebody else's") == (401, "signature_wrong")
    assert await send(api, signed=BODY.replace(b"UP", b"DOWN")) == (401, "signature_wrong")
    assert await send(api, signed=BODY + b" ") == (401, "signature_wrong")


async def test_a_signature_with_a_header_missing_or_twice_is_none(api: Api) -> None:
    seconds = str(api.world.clock.now() // 1000)
    signature = sign(SECRET, "m", int(seconds), BODY)
    lines = [("webhook-signature", signature), ("webhook-id", "m")]
    for more in ([], [("webhook-timestamp", seconds), ("webhook-timestamp", seconds)]):
        answer = await api._http.post("/heartbeat", content=BODY, headers=[*lines, *more])
        assert answer.status_code == 401
        assert "webhook-timestamp" in answer.json()["message"]
    assert api.world.meter.statistics().auth_failures == {"signature_malformed": 2}


async def test_a_signature_proves_who_it_is_in_every_mode(api: Api) -> None:
    for mode in AuthMode:
        api.world.ask_for_keys(mode)
        assert await send(api, message=f"good in {mode.value}") == (201, "")
        # Said of it as of any other page's: but nobody's page can sign.
        assert await send(api, message=f"page in {mode.value}", headers={"Origin": "https://elsewhere.example"}) == (
            201,
            "",
        )
        assert await send(api, message=f"bad in {mode.value}", age=600) == (401, "signature_stale")


async def test_a_service_that_requires_a_key_takes_a_signature(api: Api) -> None:
    api.world.ask_for_keys(AuthMode.OPEN)
    await api.register("locked", require_key=1)
    body = BODY.replace(b"job", b"locked")
    assert (await api._http.post("/heartbeat", content=body)).status_code == 401
    for mode in AuthMode:
        api.world.ask_for_keys(mode)
        assert await send(api, body, message=f"in {mode.value}") == (201, "")


async def test_a_signature_opens_nothing_but_heartbeats(api: Api) -> None:
    assert await send(api, b'{"heartbeat_name":"x","service_name":"y","alert_interval":5}', "/service") == (
        401,
        "missing",
    )
    assert await send(api, b"{}", "/v2/webhooks/1/rotate") == (401, "missing")
    assert (await api._http.get("/service", headers={"webhook-signature": "v1,x"})).status_code == 401


async def test_a_key_beside_a_signature_is_what_counts(api: Api) -> None:
    key = api.world.key(Scope.HEARTBEAT)
    assert await send(api, age=600, headers={"X-API-Key": key}) == (201, "")
    assert await send(api, headers={"X-API-Key": "mdk_nobody"}) == (401, "malformed")


async def test_without_a_secret_signatures_are_not_looked_at(api: Api) -> None:
    api.world.signed = None
    api.world.ask_for_keys(AuthMode.OPEN)
    assert await send(api, age=600) == (201, "")
    assert await send(api, age=600) == (201, "")
    api.world.ask_for_keys(AuthMode.KEYS)
    assert await send(api, message="msg_2") == (401, "missing")


async def test_whoever_guesses_is_slowed_down_and_whoever_signs_is_not(api: Api) -> None:
    guesses = range(FAILURES_A_MINUTE_MAX + 2)
    said = [(await send(api, secret=b"guess", message=f"guess {number}"))[0] for number in guesses]
    assert (said[0], said[-1]) == (401, 429)
    assert await send(api, message="good") == (201, "")
