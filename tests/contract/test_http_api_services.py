"""`/service`: registration and its replay, listing, edits, mutes, deletion."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from medic.core.author import Author
from medic.core.draft import ServiceDraft
from medic.core.service import Service
from medic.core.units import DurationMs, EventId, ServiceId
from tests.actors.world import ORIGIN
from tests.contract.http_api import Api, faults


async def test_a_registration_is_answered_201_with_the_service_and_every_field(api: Api) -> None:
    answer = await api.register("backup", team="platform", priority="p1", runbook="https://example.com/x")
    assert answer.status_code == 201
    body = answer.json()
    assert (body["success"], body["message"]) == (True, "Heartbeat successfully registered.")
    service = body["results"]
    assert set(service) == {
        "service_id", "heartbeat_name", "service_name", "active", "alert_interval", "threshold", "team", "priority",
        "muted", "down", "runbook", "grace_period_seconds", "recovery_seconds", "renotify_minutes", "date_added",
        "date_modified", "date_muted", "mute_until", "mute_reason", "muted_by", "status", "last_heartbeat_at",
        "last_status", "deadline_at", "last_refusal", "require_key",
    }  # fmt: skip
    assert (service["active"], service["muted"], service["down"], service["status"]) == (1, 0, 0, "new")
    assert (service["threshold"], service["grace_period_seconds"], service["alert_interval"]) == (1, 0, 5)


async def test_defaults_are_the_earlier_systems(api: Api) -> None:
    service = (await api.register("plain")).json()["results"]
    assert (service["team"], service["priority"], service["runbook"]) == ("site-reliability", "p3", "")


async def test_a_replay_changes_nothing_and_says_what_differs(api: Api) -> None:
    await api.register("job", alert_interval=5, team="a")
    answer = await api.register("JOB", alert_interval=10, team="a", priority="p1")
    assert answer.status_code == 200
    assert answer.json()["message"] == "Heartbeat is already registered."
    assert answer.json()["differs"] == {"alert_interval": [5, 10], "priority": ["p3", "p1"]}
    assert answer.json()["results"]["alert_interval"] == 5
    assert (await api.register("job", alert_interval=5, team="a")).json()["differs"] == {}


async def test_a_replay_with_update_makes_it_so(api: Api) -> None:
    await api.register("job", priority="p2")
    answer = await api.post("/service?update=1", {
        "heartbeat_name": "job", "service_name": "other", "alert_interval": 0.5, "muted": 1,
    })  # fmt: skip
    assert answer.status_code == 200
    assert answer.json()["differs"] == {"service_name": ["owner", "other"], "alert_interval": [5, 0.5], "muted": [0, 1]}
    service = await api.service("job")
    assert (service["service_name"], service["alert_interval"], service["muted"]) == ("other", 0.5, 1)
    assert service["priority"] == "p2", "what the replay does not name stays"


async def test_a_replay_with_update_does_not_begin_a_mute_anew(api: Api, mock_clock: MockClock) -> None:
    body = {"heartbeat_name": "job", "service_name": "owner", "alert_interval": 5, "muted": 1, "mute_minutes": 30}
    await api.post("/service", body)
    until = (await api.service("job"))["mute_until"]
    mock_clock.jump(600)
    await api.post("/service?update=1", body)
    assert (await api.service("job"))["mute_until"] == until


async def test_an_environment_becomes_the_prefix_of_the_name(api: Api) -> None:
    assert (await api.register("job", environment="prod")).json()["results"]["heartbeat_name"] == "prod-job"
    assert (await api.register("job", environment="")).json()["results"]["heartbeat_name"] == "job"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("with space", "with%20space"),
        ("a/b", "a%2Fb"),
        ("100%", "100%25"),
        ("%2F", "%252F"),
        ("ümläut", "%C3%BCml%C3%A4ut"),
        ("心跳", "%E5%BF%83%E8%B7%B3"),
        ("?a=b&c#d", "%3Fa%3Db%26c%23d"),
        ("..", "%2E%2E"),
        ("a+b", "a+b"),
        ("semi;colon", "semi;colon"),
        ("e\u0301", "e%CC%81"),
    ],
)
async def test_any_name_is_found_by_its_path(api: Api, name: str, path: str) -> None:
    registered = (await api.register(name)).json()["results"]["heartbeat_name"]
    assert (await api.beat(name)).status_code == 201
    assert (await api.service(path))["heartbeat_name"] == registered
    assert (await api.post(f"/service/{path}", {"team": "x"})).status_code == 200
    assert (await api.delete(f"/service/{path}")).status_code == 200
    assert (await api.get(f"/service/{path}")).status_code == 404


async def test_case_of_a_to_z_is_ignored_and_the_stored_name_shown(api: Api) -> None:
    await api.register("Nightly-Ünder")
    assert (await api.beat("NIGHTLY-Ünder")).status_code == 201
    assert (await api.service("nightly-%C3%9Cnder"))["heartbeat_name"] == "Nightly-Ünder"
    assert (await api.get("/service/nightly-%C3%BCnder")).status_code == 404, "Ü and ü are two letters"


async def test_an_unknown_service_is_404_everywhere(api: Api) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = await api.request(method, "/service/nobody", {} if method == "POST" else None)
        assert answer.status_code == 404
        assert "nobody is not registered" in answer.json()["message"]


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("service_name", "else", "else"),
        ("alert_interval", 0.2, 0.2),
        ("alert_interval", 1 / 60, 1 / 60),
        ("alert_interval", 527_040, 527_040),
        ("threshold", 3, 3),
        ("team", "zoo", "zoo"),
        ("priority", "P2", "p2"),
        ("runbook", "http://example.com", "http://example.com"),
        ("runbook", "", ""),
        ("runbook", None, ""),
        ("grace_period_seconds", 1.5, 1.5),
        ("grace_period_seconds", 31_622_400, 31_622_400),
        ("recovery_seconds", 60, 60),
        ("renotify_minutes", 15, 15),
        ("renotify_minutes", 0, 0),
        ("renotify_minutes", None, 0),
        ("active", 0, 0),
        ("active", False, 0),
        ("muted", True, 1),
    ],
)
async def test_each_field_can_be_changed(api: Api, field: str, value: object, shown: object) -> None:
    await api.register("job")
    answer = await api.post("/service/job", {field: value})
    assert (answer.status_code, answer.json()["message"]) == (200, "Successfully posted update")
    assert answer.json()["results"][field] == shown
    assert (await api.service("job"))[field] == shown


async def test_an_edit_is_noted_under_its_actor(api: Api) -> None:
    await api.register("job")
    await api.post("/service/job", {"team": "x"}, X_Actor="ann")
    await api.post("/service/job", {"team": "y"})
    await api.post("/service/job", {"team": "z"}, X_Actor="  ")
    await api.delete("/service/job", X_Actor="Jörg")
    assert [entry.actor for entry in api.world.services.audit] == [
        "192.0.2.7", "ann", "192.0.2.7", "192.0.2.7", "Jörg",
    ]  # fmt: skip


async def test_an_edit_that_names_nothing_changes_nothing(api: Api, mock_clock: MockClock) -> None:
    await api.register("job")
    before = await api.service("job")
    assert (await api.post("/service/job", {})).status_code == 200
    assert await api.service("job") == before


async def test_a_mute_lasts_as_long_as_it_says(api: Api, mock_clock: MockClock) -> None:
    await api.register("job")
    await api.post("/service/job", {"muted": 1, "mute_minutes": 90, "mute_reason": "move"}, X_Actor="ann")
    service = await api.service("job")
    assert (service["muted"], service["mute_reason"], service["muted_by"]) == (1, "move", "ann")
    assert api.world.directory.find("job").mute.until == ORIGIN + int(trio.current_time() * 1000) + 5_400_000
    await api.post("/service/job", {"muted": 0})
    service = await api.service("job")
    assert (service["muted"], service["date_muted"], service["mute_until"], service["mute_reason"]) == (
        0, None, None, None,
    )  # fmt: skip


async def test_a_mute_without_an_end_lasts_as_the_environment_says(api: Api) -> None:
    await api.register("job", muted=1)
    mute = api.world.directory.find("job").mute
    assert mute.until - mute.muted_at == api.world.defaults.auto_unmute_ms


async def test_down_0_resolves_an_open_alert_and_does_nothing_where_there_is_none(api: Api) -> None:
    await api.open_alert("job")
    assert (await api.service("job"))["down"] == 1
    for _ in range(2):
        answer = await api.post("/service/job", {"down": 0}, X_Actor="ann")
        assert (answer.status_code, answer.json()["results"]["down"]) == (200, 0)
    [closed] = (await api.get("/alerts")).json()["results"]
    assert (closed["closed_reason"], closed["active"]) == ("by_hand", 0)


async def test_down_1_is_refused_with_the_way_there_is(api: Api) -> None:
    await api.register("job")
    answer = await api.post("/service/job", {"down": 1})
    assert answer.status_code == 400
    assert "POST a heartbeat" in faults(answer)["down"]


async def test_a_name_is_free_once_its_service_is_deleted(api: Api) -> None:
    first = (await api.register("job")).json()["results"]["service_id"]
    await api.beat("job", "DOWN")
    answer = await api.delete("/service/job")
    assert (answer.status_code, answer.json()["results"]) == (200, "")
    assert (await api.get("/alerts?active=1")).json()["results"] == []
    again = await api.register("job")
    assert again.status_code == 201
    assert again.json()["results"]["service_id"] != first


async def test_a_listing_has_every_service_by_name_and_says_how_many(api: Api) -> None:
    for name in ("b", "A", "c"):
        await api.register(name)
    body = (await api.get("/service")).json()
    assert [service["heartbeat_name"] for service in body["results"]] == ["A", "b", "c"]
    assert (body["total_count"], body["next_cursor"], body["message"]) == (3, None, "")


async def test_an_empty_listing_is_an_empty_list(api: Api) -> None:
    assert (await api.get("/service")).json()["results"] == []
    assert (await api.get("/service?limit=5")).json() == {
        "success": True, "message": "", "results": [], "next_cursor": None, "total_count": 0,
    }  # fmt: skip


async def test_pages_follow_one_another_without_gap_or_repetition(api: Api) -> None:
    names = [f"service-{number:03d}" for number in range(23)]
    for name in names:
        await api.register(name)
    seen, path = [], "/service?limit=5"
    while True:
        body = (await api.get(path)).json()
        seen += [service["heartbeat_name"] for service in body["results"]]
        assert body["total_count"] == 23
        if body["next_cursor"] is None:
            break
        path = f"/service?limit=5&cursor={body['next_cursor']}"
        await api.register("aaa-came-meanwhile")
        await api.delete("/service/aaa-came-meanwhile")
    assert seen == names


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("service_name=shop", ["down", "well"]),
        ("team=red", ["off", "well"]),
        ("active=0", ["off"]),
        ("active=1", ["down", "quiet", "well"]),
        ("active=true", ["down", "quiet", "well"]),
        ("muted=1", ["quiet"]),
        ("down=1", ["down"]),
        ("down=0&muted=0&active=1", ["well"]),
        ("q=WE", ["well"]),
        ("q=sho", ["down", "well"]),
        ("q=nothing", []),
        ("q=", ["down", "off", "quiet", "well"]),
        ("team=", ["down", "off", "quiet", "well"]),
        ("team=red&limit=1", ["off"]),
    ],
)
async def test_filters_select(api: Api, query: str, names: list[str]) -> None:
    await api.register("well", service_name="shop", team="red")
    await api.register("down", service_name="shop")
    await api.register("quiet", muted=1)
    await api.register("off", active=0, team="red")
    await api.beat("down", "FAILED")
    body = (await api.get(f"/service?{query}")).json()
    assert [service["heartbeat_name"] for service in body["results"]] == names
    assert body["total_count"] == (2 if "limit" in query else len(names))


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=five", "limit"),
        ("limit=%C2%B2", "limit"),
        ("limit=", "limit"),
        ("cursor=", "cursor"),
        ("cursor=nonsense", "cursor"),
        ("cursor=YTEuMQ", "cursor"),
        ("cursor=%FF", "query"),
        ("active=2", "active"),
        ("active=yes", "active"),
        ("muted=", "muted"),
        ("taem=red", "taem"),
        ("team=red&team=blue", "team"),
        ("&".join(f"a{number}=1" for number in range(40)), "query"),
    ],
)
async def test_a_faulty_query_is_refused_by_field(api: Api, query: str, field: str) -> None:
    answer = await api.get(f"/service?{query}")
    assert answer.status_code == 400
    assert field in faults(answer)


async def test_last_refusal_says_why_the_newest_heartbeat_was_refused(api: Api) -> None:
    await api.register("job", active=0)
    assert (await api.beat("job")).status_code == 400
    refusal = (await api.service("job"))["last_refusal"]
    assert (refusal["reason"], refusal["address"]) == ("inactive", "192.0.2.7")


async def test_a_test_page_goes_through_the_real_notifiers(api: Api) -> None:
    await api.register("a/b")
    answer = await api.post("/v2/services/a%2Fb/test", X_Actor="ann")
    assert answer.status_code == 200
    assert answer.json()["results"] == {"targets": ["pagerduty", "slack"]}
    api.world.ear.targets = ()
    answer = await api.post("/v2/services/a%2Fb/test")
    assert answer.json()["results"] == {"targets": []}
    assert "nobody to tell" in answer.json()["message"]
    assert (await api.post("/v2/services/nobody/test")).status_code == 404


async def test_pages_and_counts_of_many_services_give_way_between_slices(api: Api) -> None:
    for number in range(1_200):
        draft = ServiceDraft(
            heartbeat_name=f"service-{number:04d}",
            service_name="odd" if number % 2 else "even",
            interval_ms=DurationMs(60_000),
        )
        api.world.add(draft.row(ServiceId(10_000 + number), ORIGIN, "test"))
    body = (await api.get("/service?service_name=odd&limit=550")).json()
    assert (len(body["results"]), body["total_count"]) == (550, 600)
    rest = (await api.get(f"/service?service_name=odd&limit=550&cursor={body['next_cursor']}")).json()
    assert (len(rest["results"]), rest["total_count"], rest["next_cursor"]) == (50, 600, None)
    assert (await api.get("/service?q=service-11")).json()["total_count"] == 100


async def test_an_alert_that_closes_while_it_is_resolved_is_resolved(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    alert = await api.open_alert("job")
    resolve = api.world.changes.resolve

    async def close_first(alert_id: EventId, *, by: str, note: str) -> Service:
        await resolve(alert_id, by=Author("somebody quicker"), note="")
        return await resolve(alert_id, by=by, note=note)

    monkeypatch.setattr(api.world.changes, "resolve", close_first)
    answer = await api.post("/service/job", {"down": 0})
    assert (answer.status_code, answer.json()["results"]["down"]) == (200, 0)
    [closed] = (await api.get("/alerts")).json()["results"]
    assert (closed["alert_id"], closed["closed_reason"]) == (alert["alert_id"], "by_hand")
