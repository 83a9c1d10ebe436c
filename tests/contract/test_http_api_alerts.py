"""`/alerts` and `/v2/webhooks`."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from medic.access.signed import read_secret
from medic.core.units import HOUR_MS, InstantMs, isoformat
from tests.contract.http_api import Api, faults, open_api
from tests.fakes import names


async def test_an_alert_has_every_field(api: Api) -> None:
    alert = await api.open_alert("Job", team="red", priority="p1", runbook="https://example.com/r")
    assert set(alert) == {
        "alert_id", "alert_name", "service_id", "heartbeat_name", "service_name", "team", "priority", "runbook",
        "active", "external_reference_id", "alert_cycle", "reason", "created_date", "closed_date", "closed_reason",
        "duration", "acknowledged_date", "acknowledged_by", "muted", "flapping",
    }  # fmt: skip
    assert alert["alert_name"] == "Medic - Heartbeat failure for Job"
    assert alert["external_reference_id"] == "medic-Job"
    assert (alert["reason"], alert["active"], alert["duration"], alert["closed_date"]) == (
        "reported_down",
        1,
        None,
        None,
    )
    assert (alert["team"], alert["priority"], alert["runbook"]) == ("red", "p1", "https://example.com/r")


async def test_silence_opens_an_alert_and_a_heartbeat_closes_it(api: Api, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        await api.world.start(nursery)
        await api.register("job", alert_interval=1)
        await api.beat("job")
        await trio.sleep(60.1)
        [alert] = (await api.get("/alerts?active=1")).json()["results"]
        assert (alert["reason"], alert["alert_cycle"]) == ("late", 1)
        await trio.sleep(65)
        assert (await api.get("/alerts?active=1")).json()["results"][0]["alert_cycle"] == 2
        await api.beat("job")
        [alert] = (await api.get("/alerts?active=0")).json()["results"]
        assert (alert["closed_reason"], alert["alert_cycle"]) == ("recovered", 2)
        assert 64 < alert["duration"] < 66
        nursery.cancel_scope.cancel()


async def test_an_alert_that_opened_too_often_says_that_it_is_flapping(api: Api) -> None:
    await api.register("job")
    for _ in range(4):
        await api.beat("job", "DOWN")
        [alert] = (await api.get("/alerts?active=1")).json()["results"]
        await api.beat("job", "UP")
    assert alert["flapping"] == 1
    [still_open] = (await api.get("/alerts?active=1")).json()["results"]
    assert still_open["alert_id"] == alert["alert_id"]


async def test_an_alert_keeps_what_it_opened_with(api: Api) -> None:
    await api.open_alert("job", team="red")
    await api.post("/service/job", {"team": "blue"})
    [alert] = (await api.get("/alerts?active=1&team=red")).json()["results"]
    assert alert["team"] == "red"
    assert (await api.get("/alerts?active=1&team=blue")).json()["results"] == []


async def test_one_alert_is_shown_with_its_history_and_deliveries(api: Api) -> None:
    alert = await api.open_alert("job")
    await api.post(f"/alerts/{alert['alert_id']}/acknowledge", {"note": "on it"}, X_Actor="ann")
    shown = (await api.get(f"/alerts/{alert['alert_id']}")).json()["results"]
    assert (shown["acknowledged_by"], shown["active"]) == ("ann", 1)
    assert {"change": "acknowledged", "by": "ann", "note": "on it"}.items() <= shown["history"][-1].items()
    assert {"notifier": "pagerduty", "action": "trigger", "result": "pending"}.items() <= shown["deliveries"][0].items()


@pytest.mark.parametrize("body", [None, {}, {"note": "seen"}, {"note": None}, {"note": ""}])
async def test_acknowledging_and_resolving_take_a_note_or_none(api: Api, body: dict | None) -> None:
    alert = await api.open_alert("job")
    answer = await api.post(f"/alerts/{alert['alert_id']}/acknowledge", body)
    assert answer.status_code == 200
    assert answer.json()["results"]["acknowledged_by"] == "192.0.2.7"
    answer = await api.post(f"/alerts/{alert['alert_id']}/resolve", body)
    assert answer.status_code == 200
    shown = answer.json()["results"]
    assert (shown["active"], shown["closed_reason"], shown["acknowledged_by"]) == (0, "by_hand", "192.0.2.7")
    assert shown["duration"] >= 0
    stored = (await api.get(f"/alerts/{alert['alert_id']}")).json()["results"]
    assert shown.items() <= stored.items()


async def test_what_is_closed_cannot_be_acknowledged_or_resolved(api: Api) -> None:
    alert = await api.open_alert("job")
    assert (await api.post(f"/alerts/{alert['alert_id']}/resolve")).status_code == 200
    for verb in ("acknowledge", "resolve"):
        answer = await api.post(f"/alerts/{alert['alert_id']}/{verb}")
        assert answer.status_code == 409
        assert "closed already" in answer.json()["message"]


@pytest.mark.parametrize(
    ("alert_id", "status"),
    [("12345", 404), ("0", 404), ("9007199254740993", 404), ("99999999999999999999", 404), ("abc", 400), ("-1", 400),
     ("1.5", 400), ("%C2%B2", 400), ("9" * 40, 400)],
)  # fmt: skip
async def test_an_alert_that_is_none_is_refused(api: Api, alert_id: str, status: int) -> None:
    for method, path in (("GET", ""), ("POST", "/acknowledge"), ("POST", "/resolve")):
        assert (await api.request(method, f"/alerts/{alert_id}{path}")).status_code == status


@pytest.mark.parametrize(
    ("body", "field"), [({"note": 5}, "note"), ({"note": "x" * 2_001}, "note"), ({"nota": ""}, "nota")]
)
async def test_a_faulty_note_is_refused(api: Api, body: dict, field: str) -> None:
    alert = await api.open_alert("job")
    answer = await api.post(f"/alerts/{alert['alert_id']}/acknowledge", body)
    assert answer.status_code == 400
    assert field in faults(answer)


async def test_a_faulty_actor_is_refused(api: Api) -> None:
    await api.register("job")
    for label in ("x" * 101, "a\tb"):
        answer = await api.post("/service/job", {"team": "x"}, X_Actor=label)
        assert answer.status_code == 400
        assert "X-Actor" in faults(answer)


async def test_without_active_the_newest_hundred_are_listed(api: Api, mock_clock: MockClock) -> None:
    for number in range(103):
        await api.register(f"job-{number}")
        await api.beat(f"job-{number}", "DOWN")
        mock_clock.jump(1)
        await api.beat(f"job-{number}", "UP")
    body = (await api.get("/alerts")).json()
    assert (len(body["results"]), body["total_count"]) == (100, 103)
    created = [alert["created_date"] for alert in body["results"]]
    assert created == sorted(created, reverse=True)
    rest = (await api.get(f"/alerts?cursor={body['next_cursor']}")).json()
    assert (len(rest["results"]), rest["next_cursor"]) == (3, None)
    every = (await api.get("/alerts?active=0")).json()
    assert (len(every["results"]), every["total_count"]) == (103, 103)
    assert (await api.get("/alerts?heartbeat_name=nobody")).json()["results"] == []


async def test_all_closed_alerts_are_read_in_portions(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        await api.open_alert(f"job-{number}")
        await api.beat(f"job-{number}")
    for portion in (1, 2, 5, 6):
        monkeypatch.setattr("medic.http.alerts.ALERTS_PER_READ", portion)
        body = (await api.get("/alerts?active=0")).json()
        assert (len(body["results"]), body["total_count"]) == (5, 5)
        assert len({alert["alert_id"] for alert in body["results"]}) == 5


async def test_open_alerts_have_pages(api: Api, mock_clock: MockClock) -> None:
    for number in range(7):
        await api.open_alert(f"job-{number}")
        mock_clock.jump(1)
    seen, path = [], "/alerts?active=1&limit=3"
    while path:
        body = (await api.get(path)).json()
        seen += [alert["heartbeat_name"] for alert in body["results"]]
        assert body["total_count"] == 7
        path = f"/alerts?active=1&limit=3&cursor={body['next_cursor']}" if body["next_cursor"] else ""
    assert seen == [f"job-{number}" for number in reversed(range(7))]
    assert len((await api.get("/alerts?active=1")).json()["results"]) == 7
    assert len((await api.get("/alerts?active=1&heartbeat_name=JOB-3")).json()["results"]) == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("active=open", "active"),
        ("limit=0", "limit"),
        ("cursor=c2E", "cursor"),
        ("cursor=YXgueA", "cursor"),
        ("id=1", "id"),
    ],
)
async def test_a_faulty_query_of_alerts_is_refused(api: Api, query: str, field: str) -> None:
    answer = await api.get(f"/alerts?{query}")
    assert answer.status_code == 400
    assert field in faults(answer)


async def test_a_webhook_is_created_listed_and_deleted(api: Api) -> None:
    await api.register("Job")
    body = {
        "url": "https://example.com/hook?x=1",
        "heartbeat_name": "job",
        "headers": {"Authorization": "Bearer secret"},
    }
    answer = await api.post("/v2/webhooks", body, X_Actor="ann")
    assert answer.status_code == 201
    webhook = answer.json()["results"]
    assert (webhook["url"], webhook["heartbeat_name"], webhook["added_by"]) == (body["url"], "Job", "ann")
    assert webhook["headers"] == {"Authorization": "***"}
    assert "Bearer" not in answer.text
    assert len(read_secret(webhook.pop("secret"))) == 32
    [stored] = api.world.webhooks.store._webhooks.values()
    assert stored.headers == (("Authorization", "Bearer secret"),)
    listed = (await api.get("/v2/webhooks")).json()
    assert (listed["results"], listed["total_count"]) == ([webhook], 1)
    assert (await api.delete(f"/v2/webhooks/{webhook['webhook_id']}")).status_code == 200
    assert (await api.delete(f"/v2/webhooks/{webhook['webhook_id']}")).status_code == 404
    assert (await api.delete("/v2/webhooks/99999999999999999999")).status_code == 404
    assert (await api.delete("/v2/webhooks/all")).status_code == 400
    assert api.world.webhooks.changes == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": "ftp://example.com"}, "url"),
        ({"url": "example.com/x"}, "url"),
        ({"url": "https://"}, "url"),
        ({"url": "http://[::1"}, "url"),
        ({"url": "https://example.com:99999/"}, "url"),
        ({"url": "https://example.com/\nx"}, "url"),
        ({"url": "https://example.com/" + "x" * 2_048}, "url"),
        ({"url": 5}, "url"),
        ({"url": "https://example.com", "heartbeat_name": "nobody"}, "heartbeat_name"),
        ({"url": "https://example.com", "headers": []}, "headers"),
        ({"url": "https://example.com", "headers": 5}, "headers"),
        ({"url": "https://example.com", "headers": {"a b": "x"}}, "headers"),
        ({"url": "https://example.com", "headers": {"Host": "x"}}, "headers"),
        ({"url": "https://example.com", "headers": {"content-LENGTH": "1"}}, "headers"),
        ({"url": "https://example.com", "headers": {"X": "a\r\nY: b"}}, "headers"),
        ({"url": "https://example.com", "headers": {"X": 5}}, "headers"),
        ({"url": "https://example.com", "headers": {"X": "x" * 4_097}}, "headers"),
        ({"url": "https://example.com", "headers": {f"X-{number}": "1" for number in range(33)}}, "headers"),
        ({"url": "https://example.com", "headers": {"Webhook-Signature": "v1,"}}, "headers"),
        ({"url": "https://example.com", "secret": "x"}, "secret"),
        ({"url": "https://ann:pass@example.com"}, "url"),
        ({"url": "http://127.0.0.1:5432/"}, "url"),
        ({"url": "http://2130706433/"}, "url"),
        ({"url": "http://example.com:22/"}, "url"),
        ({"url": "http://[fe80::1%25eth0]/"}, "url"),
    ],
)
async def test_a_faulty_webhook_is_refused(api: Api, body: dict, field: str) -> None:
    answer = await api.post("/v2/webhooks", body)
    assert answer.status_code == 400
    assert field in faults(answer)


async def test_headers_may_be_left_out(api: Api) -> None:
    for body in ({}, {"headers": None}, {"headers": {}}, {"heartbeat_name": None}):
        answer = await api.post("/v2/webhooks", {"url": "https://example.com", **body})
        assert (answer.status_code, answer.json()["results"]["headers"]) == (201, {})


async def test_only_allowed_hosts_may_be_webhooks(mock_clock: MockClock) -> None:
    async with open_api(guard=names.guard("Hooks.example.com")) as api:
        assert (await api.post("/v2/webhooks", {"url": "https://hooks.EXAMPLE.com/x"})).status_code == 201
        for url, sentence in (
            ("https://example.org", "must name a host of MEDIC_ALLOWED_WEBHOOK_HOSTS"),
            ("https://169.254.169.254/latest", "MEDIC_ALLOWED_WEBHOOK_HOSTS"),
        ):
            answer = await api.post("/v2/webhooks", {"url": url})
            assert answer.status_code == 400
            assert sentence in faults(answer)["url"]


async def test_a_webhook_of_a_name_that_leads_inside_is_refused(mock_clock: MockClock) -> None:
    async with open_api(guard=names.guard(names=names.Names(inside_example=["10.1.2.3"]))) as api:
        answer = await api.post("/v2/webhooks", {"url": "https://inside.example/"})
    assert answer.status_code == 400
    assert "an address that is private" in faults(answer)["url"]
    assert "10.1.2.3" not in answer.text


async def test_a_secret_is_shown_when_it_is_made_and_never_again(api: Api) -> None:
    made = (await api.post("/v2/webhooks", {"url": "https://example.com"})).json()["results"]
    assert made["former_secret_until"] is None
    path = f"/v2/webhooks/{made['webhook_id']}"
    rotated = (await api.post(f"{path}/rotate", {"overlap_hours": 1.5})).json()["results"]
    assert rotated["secret"] != made["secret"]
    until = api.world.webhooks.store._webhooks[made["webhook_id"]].former_until
    assert rotated["former_secret_until"] == isoformat(until)
    listed = await api.get("/v2/webhooks")
    assert listed.json()["results"] == [{name: value for name, value in rotated.items() if name != "secret"}]
    assert "whsec_" not in listed.text


async def test_a_rotation_may_leave_its_body_out_and_says_what_is_wrong_with_it(api: Api) -> None:
    made = (await api.post("/v2/webhooks", {"url": "https://example.com"})).json()["results"]
    path = f"/v2/webhooks/{made['webhook_id']}/rotate"
    day = (await api.post(path, None)).json()["results"]["former_secret_until"]
    assert day == isoformat(InstantMs(api.world.webhooks.store._now() + 24 * HOUR_MS))
    for overlap in (-1, 721, "1", None, True):
        answer = await api.post(path, {"overlap_hours": overlap})
        assert (answer.status_code, list(faults(answer))) == (400, ["overlap_hours"])
    assert (await api.post("/v2/webhooks/99/rotate", {})).status_code == 404
    assert (await api.post("/v2/webhooks/99999999999999999999/rotate", {})).status_code == 404
