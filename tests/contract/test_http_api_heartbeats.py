"""`/heartbeat`: what is taken, what is refused and how, and what the listing has. The same both ways.

Every test runs twice: through Quart in this process, and through a real socket, where the express lane takes heartbeats
and Hypercorn the rest.
"""

from __future__ import annotations

import pytest
import structlog
from structlog.testing import capture_logs
from trio.testing import MockClock

from medic.core.effects import RecordHeartbeat
from medic.http.parts import ApiSettings
from tests.contract.http_api import Api, Way, faults, open_api, open_lane

ONE_WAY = pytest.mark.parametrize("way", [open_api], ids=["quart"], indirect=True)
"""For what the lane never takes."""


@pytest.fixture(params=[open_api, open_lane], ids=["quart", "lane"])
def way(request: pytest.FixtureRequest) -> Way:
    return request.param


async def test_a_heartbeat_is_answered_201_with_the_earlier_systems_words(api: Api) -> None:
    await api.register("job")
    answer = await api.post("/heartbeat", {"heartbeat_name": "job", "service_name": "owner", "status": "UP"})
    assert answer.status_code == 201
    assert answer.json() == {"success": True, "message": "Heartbeat Posted Successfully.", "results": ""}


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", "x"])
async def test_the_content_type_does_not_matter(api: Api, content_type: str) -> None:
    await api.register("job")
    body = b'{"heartbeat_name":"job","status":"UP"}'
    answer = await api.request("POST", "/heartbeat", content=body, Content_Type=content_type)
    assert answer.status_code == 201


async def test_a_byte_order_mark_is_read_over(api: Api) -> None:
    await api.register("job")
    body = b'\xef\xbb\xbf{"heartbeat_name":"job","status":"UP"}'
    assert (await api.request("POST", "/heartbeat", content=body)).status_code == 201


async def test_unknown_fields_are_ignored_and_named(api: Api) -> None:
    await api.register("job")
    answer = await api.beat("job", host="web-1", weight=3)
    assert answer.status_code == 201
    assert answer.json()["message"] == "Heartbeat Posted Successfully. Ignored fields: host, weight."


@pytest.mark.parametrize(
    ("status", "service_status"),
    [
        ("UP", "up"), ("up", "up"), ("Completed", "up"), ("STARTED", "up"), ("DEGRADED", "degraded"),
        ("DOWN", "down"), ("failed", "down"), ("on fire", "up"), ("心", "up"), ("x" * 64, "up"), ("a\nb", "up"),
    ],
)  # fmt: skip
async def test_any_word_is_taken_and_kept_as_sent(api: Api, status: str, service_status: str) -> None:
    await api.register("job")
    assert (await api.beat("job", status)).status_code == 201
    service = await api.service("job")
    assert (service["last_status"], service["status"]) == (status, service_status)
    [row] = (await api.get("/heartbeat?heartbeat_name=job")).json()["results"]
    assert row["status"] == status


async def test_strict_status_refuses_a_word_without_a_meaning(mock_clock: MockClock, way: Way) -> None:
    async with way(ApiSettings(strict_status=True)) as api:
        await api.register("job")
        answer = await api.beat("job", "fine")
        assert answer.status_code == 400
        assert faults(answer) == {"status": "must be one of UP, DOWN, DEGRADED, STARTED, COMPLETED, FAILED"}
        assert (await api.beat("job", "up")).status_code == 201


async def test_what_is_sent_beside_the_status_is_kept(api: Api) -> None:
    await api.register("job")
    assert (await api.beat("job", run_id=17, time="2025-12-31T12:00:00+01:00")).status_code == 201
    assert (await api.beat("job", run_id="", time=1_767_182_400.5, service_name=None)).status_code == 201
    assert (await api.beat("job", run_id=None, time=None)).status_code == 201
    first, second, _ = [effect for effect in api.world.journal.effects() if isinstance(effect, RecordHeartbeat)]
    assert (first.run_id, first.said_at) == ("17", 1_767_178_800_000)
    assert (second.run_id, second.said_at) == (None, 1_767_182_400_500)


async def test_a_heartbeat_for_an_unknown_name_is_404_and_remembered(api: Api, mock_clock: MockClock) -> None:
    for name in ("Typo", "typo"):
        answer = await api.beat(name)
        assert answer.status_code == 404
        mock_clock.jump(60)
    [refused] = (await api.get("/v2/refused")).json()["results"]
    assert (refused["heartbeat_name"], refused["count"], refused["address"]) == ("typo", 2, api.address)
    assert refused["first_at"] < refused["last_at"]
    await api.register("TYPO")
    assert (await api.get("/v2/refused")).json() == {"success": True, "message": "", "results": [], "total_count": 0}


async def test_a_heartbeat_for_an_inactive_service_is_400_and_says_since_when_and_by_whom(api: Api) -> None:
    await api.register("job")
    await api.post("/service/job", {"active": 0}, X_Actor="ann")
    answer = await api.beat("job")
    assert answer.status_code == 400
    since = (await api.service("job"))["date_modified"]
    assert f"inactive since {since} by ann" in answer.json()["message"]


async def test_a_heartbeat_that_cannot_be_made_durable_is_503_with_retry_after(api: Api) -> None:
    await api.register("job")
    api.world.journal.refuse("The journal is full.")
    answer = await api.beat("job")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["message"] == "The journal is full."
    assert (await api.service("job"))["last_refusal"]["reason"] == "unavailable"
    api.world.journal.take_again()
    assert (await api.beat("job")).status_code == 201
    assert api.world.meter.statistics().heartbeats_refused == {"unavailable": 1}


async def test_a_crash_of_an_actor_is_a_500_without_its_inside(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*args: object) -> None:
        raise ZeroDivisionError("secret inside")

    await api.register("job")
    monkeypatch.setattr("medic.actors.supervisor.step", crash)
    with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        answer = await api.beat("job")
    assert answer.status_code == 500
    assert answer.json()["message"] == "Medic met a fault of its own. Its log says more."
    [line] = [line for line in lines if line["event"] == "a request met a fault of Medic's own"]
    assert (line["request_id"], line["heartbeat_name"]) == (answer.headers["x-request-id"], "job")


@pytest.mark.parametrize(
    ("body", "field", "part"),
    [
        (b"", "body", "it is empty"),
        (b"  \n", "body", "it is empty"),
        (b"{", "body", "no JSON"),
        (b'{"heartbeat_name": "x",}', "body", "trailing comma"),
        (b"heartbeat_name=job&status=UP", "body", "no JSON"),
        (b"[]", "body", "not an array"),
        (b'"UP"', "body", "not a string"),
        (b"null", "body", "not null"),
        (b"17", "body", "not a number"),
        (b'{"heartbeat_name": NaN, "status": "UP"}', "body", "no JSON"),
        (b'{"heartbeat_name": "job", "status": "UP", "x": Infinity}', "body", "no JSON"),
        (b'{"heartbeat_name": "job", "status": "UP", "x": 1e999}', "body", "no JSON"),
        (b'{"heartbeat_name": "\\ud800", "status": "UP"}', "body", "no JSON"),
        (b'{"heartbeat_name": "\xff", "status": "UP"}', "body", "no JSON"),
        ('{"heartbeat_name": "job", "status": "UP"}'.encode("utf-16"), "body", "no JSON"),
        (b'{"x":' * 3_000 + b"1" + b"}" * 3_000, "body", "no JSON"),
        (b"{}", "heartbeat_name", "is required: it must be a string of 1 to 249"),
        (b"{}", "status", "is required: it must be a string of 1 to 64"),
        (b'{"heartbeat_name": "", "status": "UP"}', "heartbeat_name", "must not be empty"),
        (b'{"heartbeat_name": null, "status": "UP"}', "heartbeat_name", "1 to 249"),
        (b'{"heartbeat_name": 5, "status": "UP"}', "heartbeat_name", "1 to 249"),
        (b'{"heartbeat_name": ["job"], "status": "UP"}', "heartbeat_name", "1 to 249"),
        (b'{"heartbeat_name": "a\\u0000b", "status": "UP"}', "heartbeat_name", "printable"),
        (b'{"heartbeat_name": "a\\nb", "status": "UP"}', "heartbeat_name", "printable"),
        (b'{"heartbeat_name": " job", "status": "UP"}', "heartbeat_name", "space"),
        (b'{"heartbeat_name": "' + b"x" * 250 + b'", "status": "UP"}', "heartbeat_name", "this one has 250"),
        (b'{"heartbeat_name": "job", "status": ""}', "status", "1 to 64"),
        (b'{"heartbeat_name": "job", "status": "' + b"x" * 65 + b'"}', "status", "1 to 64"),
        (b'{"heartbeat_name": "job", "status": 1}', "status", "1 to 64"),
        (b'{"heartbeat_name": "job", "status": true}', "status", "1 to 64"),
        (b'{"heartbeat_name": "job", "status": "a\\u0000"}', "status", "NUL"),
        (b'{"heartbeat_name": "job", "status": "UP", "run_id": "' + b"x" * 256 + b'"}', "run_id", "0 to 255"),
        (b'{"heartbeat_name": "job", "status": "UP", "run_id": {}}', "run_id", "0 to 255"),
        (b'{"heartbeat_name": "job", "status": "UP", "run_id": true}', "run_id", "0 to 255"),
        (b'{"heartbeat_name": "job", "status": "UP", "time": "soon"}', "time", "ISO 8601"),
        (b'{"heartbeat_name": "job", "status": "UP", "time": "1969-12-31T23:59:59Z"}', "time", "1970 to 9999"),
        (
            b'{"heartbeat_name": "job", "status": "UP", "time": "9999-12-31T23:59:59.9999-12:00"}',
            "time",
            "1970 to 9999",
        ),
        (b'{"heartbeat_name": "job", "status": "UP", "time": 1e300}', "time", "1970 to 9999"),
        (b'{"heartbeat_name": "job", "status": "UP", "time": -1}', "time", "1970 to 9999"),
        (b'{"heartbeat_name": "job", "status": "UP", "time": [1]}', "time", "1970 to 9999"),
    ],
)
async def test_a_bad_heartbeat_is_a_400_that_names_field_and_bound(
    api: Api, body: bytes, field: str, part: str
) -> None:
    await api.register("job")
    answer = await api.request("POST", "/heartbeat", content=body)
    assert answer.status_code == 400
    assert part in faults(answer)[field]
    assert field in answer.json()["message"]
    assert api.world.directory.find("job").heartbeats_total == 0


@ONE_WAY
async def test_of_many_faults_a_bounded_number_is_named(api: Api) -> None:
    many = {f"field-{number}": 1 for number in range(1_000)}
    answer = await api.post("/service", many)
    assert len(faults(answer)) == 20
    assert len(answer.content) < 20_000


async def test_a_body_over_the_limit_is_413(api: Api) -> None:
    body = b'{"heartbeat_name":"job","status":"UP","pad":"' + b"x" * 65_536 + b'"}'
    answer = await api.request("POST", "/heartbeat", content=body)
    assert answer.status_code == 413
    assert answer.json()["message"] == "The body is too large: 65536 bytes at most."
    assert api.world.meter.statistics().heartbeats_refused == {"too_large": 1}
    answer = await api.request("POST", "/service", content=b" " * (1 << 20) + b"{}")
    assert answer.status_code == 413
    assert answer.json()["message"] == "The body is too large: 1048576 bytes at most."


@ONE_WAY
async def test_the_listing_has_what_was_answered_201_newest_first(api: Api, mock_clock: MockClock) -> None:
    await api.register("job", team="red", priority="p2")
    await api.register("other")
    for number in range(3):
        assert (await api.beat("job", f"step-{number}", run_id="r")).status_code == 201
        mock_clock.jump(1)
    await api.beat("other")
    rows = (await api.get("/heartbeat?heartbeat_name=JOB&service_name=owner")).json()["results"]
    assert [row["status"] for row in rows] == ["step-2", "step-1", "step-0"]
    assert set(rows[0]) == {
        "heartbeat_id", "heartbeat_name", "service_name", "time", "status", "team", "priority", "run_id",
        "said_at",
    }  # fmt: skip
    assert (rows[0]["team"], rows[0]["priority"], rows[0]["run_id"]) == ("red", "p2", "r")
    assert rows[0]["time"].endswith("Z")
    assert len((await api.get("/heartbeat")).json()["results"]) == 4
    assert len((await api.get("/heartbeat?service_name=owner")).json()["results"]) == 4
    assert (await api.get("/heartbeat?service_name=nobody")).json()["results"] == []
    assert (await api.get("/heartbeat?heartbeat_name=nobody")).json()["results"] == []


@ONE_WAY
@pytest.mark.parametrize(
    ("most", "count"),
    [("", 250), ("1", 1), ("0", 0), ("250", 250), ("251", 250), ("99999999999999999999", 250), ("many", 250),
     ("-5", 250), ("1e2", 250), ("%C2%B2", 250), ("007", 7)],
)  # fmt: skip
async def test_max_count_is_read_as_the_earlier_system_did(api: Api, most: str, count: int) -> None:
    await api.register("job")
    for _ in range(260):
        await api.beat("job")
    rows = (await api.get(f"/heartbeat?maxCount={most}")).json()["results"]
    assert len(rows) == count


@ONE_WAY
async def test_a_misspelt_parameter_is_refused(api: Api) -> None:
    answer = await api.get("/heartbeat?heartbeatname=job")
    assert answer.status_code == 400
    assert "heartbeat_name, service_name, maxCount" in faults(answer)["heartbeatname"]
