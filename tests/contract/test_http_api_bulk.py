"""`POST /v2/heartbeats`: each is taken or refused by itself, all share one commit, the answer says which is which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import httpx
import orjson
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from medic.access.caller import Caller
from medic.actors.actor import Mailbox
from medic.core.effects import RecordHeartbeat
from medic.errors import ActorBusyError, OverloadedError
from medic.http.bulk import read_items
from medic.http.limits import BULK_HEARTBEATS_MAX, BULK_MARKS_MAX, BULK_SLICE, BULK_SLICE_OTHERS
from medic.http.parts import ApiSettings
from medic.ports import Beat, Position
from tests.contract.http_api import Api, Way, faults, open_api, open_lane


@pytest.fixture(params=[open_api, open_lane], ids=["quart", "lane"])
def way(request: pytest.FixtureRequest) -> Way:
    return request.param


def item(name: str = "job", status: str = "UP", **fields: object) -> dict[str, object]:
    return {"heartbeat_name": name, "status": status, **fields}


async def send(api: Api, items: Sequence[object], **headers: str) -> httpx.Response:
    return await api.post("/v2/heartbeats", items, **headers)


def records(api: Api) -> list[RecordHeartbeat]:
    return [effect for effect in api.world.journal.effects() if isinstance(effect, RecordHeartbeat)]


def refused(answer: httpx.Response) -> dict[int, tuple[Any, int]]:
    return {one["index"]: (one["heartbeat_name"], one["status"]) for one in answer.json()["results"]["refused"]}


async def test_all_are_taken_in_their_order(api: Api) -> None:
    await api.register("job")
    await api.register("other")
    answer = await send(api, [item(), item("OTHER", "DOWN"), item(status="step 2", run_id=7)])
    assert answer.status_code == 201
    assert answer.json() == {
        "success": True,
        "message": "Heartbeats Posted Successfully.",
        "results": {"accepted": 3, "refused": []},
    }
    assert [(record.status, record.run_id) for record in records(api)] == [
        ("UP", None),
        ("DOWN", None),
        ("step 2", "7"),
    ]
    assert (await api.service("other"))["down"] == 1


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\n\n \n"])
async def test_lines_are_taken_as_an_array_is(api: Api, newline: bytes) -> None:
    await api.register("job")
    body = newline.join([b"\xef\xbb\xbf" + orjson.dumps(item()), orjson.dumps(item(status="DOWN")), b""])
    answer = await api.request("POST", "/v2/heartbeats", content=body)
    assert (answer.status_code, answer.json()["results"]["accepted"]) == (201, 2)


async def test_each_refusal_has_its_index_and_what_post_heartbeat_would_have_said(api: Api) -> None:
    await api.register("job")
    await api.register("away", active=0)
    faulty = [
        item(), item("nobody"), item("away"), 17, None, [], {"status": "UP"}, item(status=""), item(run_id={}),
        item("\u00e9" * 300), item(status="DOWN", time="soon"), {**item(), "heartbeat_name": 4}, item(),
    ]  # fmt: skip
    answer = await send(api, faulty)
    assert answer.status_code == 200
    said = answer.json()
    assert (said["success"], said["results"]["accepted"]) == (False, 2)
    assert said["message"].startswith("2 of 13 heartbeats were taken")
    assert refused(answer) == {
        1: ("nobody", 404), 2: ("away", 400), 3: (None, 400), 4: (None, 400), 5: (None, 400), 6: (None, 400),
        7: ("job", 400), 8: ("job", 400), 9: ("\u00e9" * 249, 400), 10: ("job", 400), 11: (None, 400),
    }  # fmt: skip
    for one in said["results"]["refused"]:
        single = await api.post("/heartbeat", faulty[one["index"]])
        if faulty[one["index"]] is not None:
            assert (single.status_code, single.json()["message"]) == (one["status"], one["message"])
    assert [name["heartbeat_name"] for name in (await api.get("/v2/refused")).json()["results"]] == ["nobody"]


async def test_a_line_that_is_no_json_costs_only_itself(api: Api) -> None:
    await api.register("job")
    good = orjson.dumps(item())
    answer = await api.request("POST", "/v2/heartbeats", content=b"\n".join([good, b'{"heartbeat_name":', good, good]))
    assert (answer.status_code, answer.json()["results"]["accepted"], list(refused(answer))) == (200, 3, [1])
    # What would be whole if the lines were joined is not.
    answer = await api.request("POST", "/v2/heartbeats", content=good[:-1] + b',"x":[1\n2]}')
    assert (answer.json()["results"]["accepted"], list(refused(answer))) == (0, [0, 1])


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"", "this one has 0"),
        (b" \n\n", "this one has 0"),
        (b"[]", "this one has 0"),
        (b'[{"heartbeat_name":"job","status":"UP"}', "no JSON"),
        (b"[NaN]", "no JSON"),
        (b"[" + b"1," * BULK_HEARTBEATS_MAX + b"1]", "this one has 10001"),
        (b"1\n" * (BULK_HEARTBEATS_MAX + 1), "this one has 10001"),
        (b"\n" * (2 * BULK_HEARTBEATS_MAX + 2) + b"1", "this one has 1"),
        (b"1" + b"\n" * (2 * BULK_HEARTBEATS_MAX + 2) + b"1", "lines"),
        (b"[" + b"[]," * BULK_MARKS_MAX + b"1]", "brackets"),
    ],
)
async def test_a_body_that_is_no_bulk_is_refused_whole(api: Api, body: bytes, part: str) -> None:
    answer = await api.request("POST", "/v2/heartbeats", content=body)
    if "has 1" in part and "10001" not in part:
        assert answer.status_code == 200
        return
    assert answer.status_code == 400
    assert part in faults(answer)["body"]
    assert records(api) == []


async def test_ten_thousand_are_taken_and_everybody_else_has_a_turn_between(api: Api, mock_clock: MockClock) -> None:
    await api.register("job")
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    for status, slices in ("UP", BULK_HEARTBEATS_MAX // BULK_SLICE), ("up", BULK_HEARTBEATS_MAX // BULK_SLICE_OTHERS):
        turns = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_turns)
            answer = await send(api, [item(status=status)] * BULK_HEARTBEATS_MAX)
            nursery.cancel_scope.cancel()
        assert answer.status_code == 201
        assert turns >= slices - 1
    assert len(records(api)) == 2 * BULK_HEARTBEATS_MAX


async def test_a_body_over_its_own_limit_is_413(api: Api) -> None:
    answer = await api.request("POST", "/v2/heartbeats", content=b" " * (4 << 20) + b"[]")
    assert answer.status_code == 413
    assert answer.json()["message"] == "The body is too large: 4194304 bytes at most."


async def test_fields_that_are_ignored_are_named_once(api: Api) -> None:
    await api.register("job")
    answer = await send(api, [item(host=number, **{f"x{number}": 1}) for number in range(30)])
    assert answer.status_code == 201
    named = answer.json()["message"].partition("Ignored fields: ")[2].rstrip(".").split(", ")
    assert named[:2] == ["host", "x0"]
    assert len(named) == 20


async def test_nothing_is_answered_before_all_of_it_is_durable(api: Api, mock_clock: MockClock) -> None:
    await api.register("job")
    api.world.journal.hold()
    answers: list[httpx.Response] = []

    async def ask() -> None:
        answers.append(await send(api, [item(), item()]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        assert len(records(api)) == 2
        assert answers == []
        api.world.journal.release()
    assert answers[0].status_code == 201


async def test_what_the_journal_refuses_is_503_and_said_by_index(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.register("job")
    intake = api.world.intake
    take_nowait, asked = intake.take_nowait, []

    def full_after_two(beat: Beat) -> Position:
        asked.append(beat)
        if len(asked) == 3:
            api.world.journal.refuse("The journal is full.")
        return take_nowait(beat)

    monkeypatch.setattr(intake, "take_nowait", full_after_two)
    answer = await send(api, [*[item(status="up")] * 3, item("nobody"), 5])
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["success"] is False
    assert answer.json()["results"]["accepted"] == 2
    assert refused(answer) == {2: ("job", 503), 3: ("nobody", 503), 4: (None, 400)}
    assert len(asked) == 3


async def test_a_run_of_plain_ones_and_what_stands_between_them_are_taken_in_their_order(api: Api) -> None:
    await api.register("job")
    await api.register("twice", threshold=2)
    bulk = [
        item(), item(), item(status="STARTED", service_name="label"), item(status="DOWN"), item(), item("JOB"), item(),
        item("twice"), item(status="COMPLETED"), item(service_name=["label"]), item(status="fine"), item(time=1_000),
        item(), item("twice"), item(),
    ]  # fmt: skip
    answer = await send(api, bulk)
    assert (answer.status_code, answer.json()["results"]["accepted"]) == (201, len(bulk))
    assert [record.status for record in records(api)] == [one["status"] for one in bulk]
    assert len({record.heartbeat_id for record in records(api)}) == len(bulk)
    job = api.world.directory.find("job")
    assert job is not None
    assert (job.heartbeats_total, job.last_status, job.alert) == (13, "UP", None)


async def test_where_the_journal_fills_up_between_two_slices_the_rest_is_refused(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.register("job")
    await send(api, [item()])
    intake = api.world.intake
    take_plain_nowait, asked = intake.take_plain_nowait, []

    def full_at_the_second(said: Iterable[tuple[str, str]]) -> tuple[int, Position]:
        asked.append(said)
        if len(asked) == 2:
            api.world.journal.intake_refusal = "The journal is full."
        return take_plain_nowait(said)

    monkeypatch.setattr(intake, "take_plain_nowait", full_at_the_second)
    answer = await send(api, [item()] * (BULK_SLICE + 3))
    assert answer.status_code == 503
    assert answer.json()["results"]["accepted"] == BULK_SLICE
    assert list(refused(answer)) == [BULK_SLICE, BULK_SLICE + 1, BULK_SLICE + 2]
    assert len(asked) == 2


async def test_a_commit_that_fails_leaves_none_of_it_accepted(api: Api) -> None:
    await api.register("job")
    api.world.journal.hold()
    answers: list[httpx.Response] = []

    async def ask() -> None:
        answers.append(await send(api, [item(), 5, item()]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        api.world.journal.refuse("The disk is gone.")
    assert answers[0].status_code == 503
    assert {index: status for index, (_, status) in refused(answers[0]).items()} == {0: 503, 1: 400, 2: 503}


async def test_a_service_that_is_being_rebuilt_holds_up_nobody_else(api: Api) -> None:
    await api.register("job")
    await api.register("broken")
    crashed = api.world.directory.actor("broken")
    assert crashed is not None
    crashed.mailbox = Mailbox()
    answer = await send(api, [item(), item("broken"), item()])
    assert (answer.status_code, refused(answer)) == (200, {1: ("broken", 503)})


async def test_a_crash_of_an_actor_costs_its_own_heartbeat(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*args: object) -> None:
        raise ZeroDivisionError("secret inside")

    await api.register("job")
    monkeypatch.setattr("medic.actors.supervisor.step", crash)
    with capture_logs():
        answer = await send(api, [item(status="DOWN"), item("nobody")])
    assert refused(answer) == {0: ("job", 500), 1: ("nobody", 404)}
    assert "secret" not in answer.text


async def test_strict_status_holds_for_each(mock_clock: MockClock, way: Way) -> None:
    async with way(ApiSettings(strict_status=True)) as api:
        await api.register("job")
        answer = await send(api, [item(status="fine"), item(status="up")])
        assert (answer.status_code, refused(answer)) == (200, {0: ("job", 400)})


async def test_a_bulk_that_is_sent_again_counts_once(api: Api, mock_clock: MockClock) -> None:
    await api.register("job", threshold=4)
    mock_clock.jump(10)
    for key in ("a", "a", "b"):
        answer = await send(api, [item(), item()], Idempotency_Key=key)
        assert answer.status_code == 201
    assert [str(record.discount or "") for record in records(api)] == ["", "", "repeated", "repeated", "", ""]


async def test_a_heartbeat_may_have_a_key_of_its_own(api: Api, mock_clock: MockClock) -> None:
    await api.register("job", threshold=4)
    await send(api, [item(idempotency_key="k"), item(idempotency_key="k"), item()], Idempotency_Key="bulk")
    assert [str(record.discount or "") for record in records(api)] == ["", "repeated", ""]


async def test_a_key_that_is_too_long_refuses_all_of_it(api: Api) -> None:
    await api.register("job")
    answer = await send(api, [item()], Idempotency_Key="k" * 256)
    assert answer.status_code == 400
    assert "at most 255 printable" in faults(answer)["Idempotency-Key"]
    assert records(api) == []


async def test_the_gatekeeper_is_asked_for_each(mock_clock: MockClock) -> None:
    asked: list[str] = []

    class Closed:
        version = 0
        verifies_signatures = False

        def recognise(self, introduction: object, address: str, entrance: object) -> Caller:
            return Caller(address)

        def admit_heartbeat(self, caller: object, name: str) -> OverloadedError | None:
            asked.append(name)
            return ActorBusyError("Not now.") if name == "closed" else None

    async with open_api() as api:
        object.__setattr__(api.world.parts, "gatekeeper", Closed())
        await api.register("job")
        await api.register("closed")
        answer = await send(api, [item("closed"), item(), item("closed")])
        assert (answer.status_code, refused(answer)) == (200, {0: ("closed", 503), 2: ("closed", 503)})
        asked.clear()
        names = ["job", "job", "JOB", "closed", "nobody", "job", "\u00e9", "job"]
        await send(api, [*map(item, names), item("", run_id="r")])
        assert asked == names
        assert (await api.beat("closed")).status_code == 503
        assert (await api.get("/heartbeat/closed")).status_code == 503
        assert (await api.beat("job")).status_code == 201


def test_an_array_is_told_from_lines_by_its_first_character() -> None:
    assert read_items(b" \n[1,2]") == [1, 2]
    assert read_items(b"1\n[2]") == [b"1", b"[2]"]
