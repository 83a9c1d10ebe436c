"""`/heartbeat/{heartbeat_name}`: a heartbeat in one line, and that nothing which might say "down" is passed over."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from medic.core.effects import RecordHeartbeat
from medic.http.parts import ApiSettings
from tests.contract.http_api import Api, Way, faults, open_api, open_lane


@pytest.fixture(params=[open_api, open_lane], ids=["quart", "lane"])
def way(request: pytest.FixtureRequest) -> Way:
    return request.param


def records(api: Api) -> list[RecordHeartbeat]:
    return [effect for effect in api.world.journal.effects() if isinstance(effect, RecordHeartbeat)]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_every_method_sends_a_heartbeat(api: Api, method: str) -> None:
    await api.register("job")
    answer = await api.request(method, "/heartbeat/JOB")
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    said = {"success": True, "message": "Heartbeat Posted Successfully.", "results": ""}
    assert answer.content == b"" if method == "HEAD" else answer.json() == said
    assert [record.status for record in records(api)] == ["UP"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_query_says_what_stands_beside_the_name(api: Api, method: str) -> None:
    await api.register("job")
    query = "status=failed&run_id=r%201&service_name=&time=2025-12-31T12:00:00%2B01:00"
    assert (await api.request(method, f"/heartbeat/job?{query}")).status_code == 201
    assert (await api.request(method, "/heartbeat/job?time=1767182400.5")).status_code == 201
    first, second = records(api)
    assert (first.status, first.run_id, first.said_at) == ("failed", "r 1", 1_767_178_800_000)
    assert second.said_at == 1_767_182_400_500


async def test_a_name_may_have_a_slash_and_any_letter(api: Api) -> None:
    for name, path in (
        ("a/b", "a%2Fb"),
        ("b\u00fcro", "b%C3%BCro"),
        ("x y", "x%20y"),
        ("50%", "50%25"),
        ("a+b", "a+b"),
    ):
        await api.register(name)
        assert (await api.get(f"/heartbeat/{path}")).status_code == 201
        assert (await api.service(path))["status"] == "up"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", "UP"),
        (b"backup done, 3 files\n", "UP"),
        (b"\xff\x00", "UP"),
        (b"[1,2]", "UP"),
        (b"exit=1", "UP"),
        (b'{"status":"DOWN"}', "DOWN"),
        (b'\xef\xbb\xbf {"status":"DOWN","host":"web"}', "DOWN"),
        (b"status=DOWN", "DOWN"),
        (b"run_id=7&status=DOWN\n", "DOWN"),
        (b"{}", "UP"),
        (b'{"heartbeat_name":"other"}', "UP"),
    ],
)
async def test_a_body_is_read_where_it_is_an_object_or_a_form(api: Api, body: bytes, status: str) -> None:
    await api.register("job")
    answer = await api.request("POST", "/heartbeat/job", content=body)
    assert answer.status_code == 201
    [record] = records(api)
    assert record.status == status
    assert ("Ignored fields: host." in answer.json()["message"]) == (b"host" in body)


async def test_the_query_stands_before_the_body(api: Api) -> None:
    await api.register("job")
    await api.request("POST", "/heartbeat/job?status=UP", content=b'{"status":"DOWN","run_id":"r"}')
    assert [(record.status, record.run_id) for record in records(api)] == [("UP", "r")]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("job?staus=DOWN", b"", "staus"),
        ("job?status=", b"", "status"),
        ("job?status=UP&status=DOWN", b"", "status"),
        ("job?status=%FF", b"", "query"),
        ("job?time=soon", b"", "time"),
        ("job?time=99999999999999", b"", "time"),
        ("%FF", b"", "heartbeat_name"),
        ("%20job", b"", "heartbeat_name"),
        ("job", b'{"status":"DOWN"', "body"),
        ("job", b'{"status":5}', "status"),
        ("job", b"status=DOWN&exit=1", "exit"),
        ("job?idempotency_key=%0A", b"", "idempotency_key"),
    ],
)
async def test_what_cannot_be_understood_is_never_taken_for_up(api: Api, path: str, body: bytes, field: str) -> None:
    await api.register("job")
    answer = await api.request("POST", f"/heartbeat/{path}", content=body)
    assert answer.status_code == 400
    assert field in faults(answer)
    assert records(api) == []


async def test_an_unknown_name_is_404_and_remembered(api: Api) -> None:
    assert (await api.get("/heartbeat/typo")).status_code == 404
    [refused] = (await api.get("/v2/refused")).json()["results"]
    assert refused["heartbeat_name"] == "typo"


async def test_an_inactive_one_is_400_and_a_full_journal_503(api: Api) -> None:
    await api.register("job", active=0)
    assert (await api.get("/heartbeat/job")).status_code == 400
    await api.post("/service/job", {"active": 1})
    api.world.journal.refuse("The journal is full.")
    answer = await api.get("/heartbeat/job")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_a_body_over_the_limit_of_a_heartbeat_is_413_and_counted(api: Api) -> None:
    answer = await api.request("POST", "/heartbeat/job", content=b"x" * 65_537)
    assert answer.status_code == 413
    assert api.world.meter.statistics().heartbeats_refused == {"too_large": 1}


async def test_strict_status_holds_here_too(mock_clock: MockClock, way: Way) -> None:
    async with way(ApiSettings(strict_status=True)) as api:
        await api.register("job")
        assert (await api.get("/heartbeat/job?status=fine")).status_code == 400
        assert (await api.get("/heartbeat/job")).status_code == 201


async def test_the_listing_is_where_it_was(api: Api) -> None:
    await api.register("job")
    await api.get("/heartbeat/job")
    assert len((await api.get("/heartbeat")).json()["results"]) == 1


async def test_a_lost_answer_is_given_again_and_counts_once(api: Api, mock_clock: MockClock) -> None:
    await api.register("job", threshold=3)
    mock_clock.jump(10)
    for method, path in (("GET", "/heartbeat/job"), ("POST", "/heartbeat/job")):
        assert (await api.request(method, path, Idempotency_Key="k")).status_code == 201
    assert (await api.request("GET", "/heartbeat/job?idempotency_key=k")).status_code == 201
    single = await api.request("POST", "/heartbeat", {"heartbeat_name": "job", "status": "UP"}, Idempotency_Key="k")
    assert single.status_code == 201
    assert [str(record.discount or "") for record in records(api)] == ["", "repeated", "repeated", "repeated"]
    assert len((await api.get("/heartbeat")).json()["results"]) == 4
    assert (await api.get("/heartbeat/job", Idempotency_Key="k" * 256)).status_code == 400


async def test_what_was_sent_long_ago_is_listed_and_no_sign_of_life(api: Api, mock_clock: MockClock) -> None:
    await api.register("job")
    before = (await api.service("job"))["deadline_at"]
    mock_clock.jump(0.5)
    answer = await api.beat("job", "DOWN", time="2000-01-01T00:00:00Z")
    assert answer.status_code == 201
    service = await api.service("job")
    assert (service["deadline_at"], service["status"], service["last_heartbeat_at"]) == (before, "new", None)
    [row] = (await api.get("/heartbeat?heartbeat_name=job")).json()["results"]
    assert (row["status"], row["said_at"]) == ("DOWN", "2000-01-01T00:00:00.000Z")
