"""`/v2/keys`: made, listed, rotated, revoked; and which services do without."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from medic.access.keys import KEY_LENGTH, admin_key
from medic.core.units import DAY_MS, HOUR_MS
from medic.errors import UnauthorizedError
from medic.http.key_bodies import KeyBody
from medic.http.limits import PAGE_MAX
from tests.contract.http_api import Api, faults

HOSTS = {"name": "hosts", "scopes": ["heartbeat"]}


async def make(api: Api, **fields: object) -> Any:
    answer = await api.post("/v2/keys", {**HOSTS, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()["results"]


def works(api: Api, text: str, *, later_ms: int = 0) -> str:
    """working, or why not."""
    try:
        api.world.keys.ring.find(text, api.world.clock.now() + later_ms)
    except UnauthorizedError as refused:
        return refused.reason
    return "working"


async def test_a_key_is_shown_once_and_works_at_once(api: Api, mock_clock: MockClock) -> None:
    made = await make(api, names=["PAY-*", "PAY-*", "cafe\u0301"], teams=["shop"], expires_in_days=1.5)
    assert (made["name"], made["scopes"], made["names"], made["teams"]) == (
        "hosts",
        ["heartbeat"],
        ["PAY-*", "caf\u00e9"],
        ["shop"],
    )
    assert (made["state"], made["added_by"], made["last_used_at"]) == ("working", api.address, None)
    key = made.pop("key")
    assert len(key) == KEY_LENGTH
    assert key.startswith(f"mdk_{made['key_id']}_")
    assert works(api, key) == "working"
    assert works(api, key, later_ms=36 * HOUR_MS) == "expired"
    listed = await api.get("/v2/keys")
    assert (listed.json()["results"], listed.json()["total_count"]) == ([made], 1)
    assert key not in listed.text


async def test_who_made_it_is_kept(api: Api) -> None:
    answer = await api.post("/v2/keys", HOSTS, X_Actor="Ann")
    assert answer.json()["results"]["added_by"] == "Ann"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": 7}, "name"),
        *(({"name": name}, "name") for name in ("admin", "ADMIN", "webhook", "sql", "SQL", "Medic", "Slack:ann")),
        ({"scopes": []}, "scopes"),
        ({"scopes": "heartbeat"}, "scopes"),
        ({"scopes": ["root"]}, "scopes"),
        ({"scopes": [{}]}, "scopes"),
        ({"scopes": None}, "scopes"),
        ({"names": ["x"] * 51}, "names"),
        ({"names": [" x"]}, "names"),
        ({"names": "x"}, "names"),
        ({"teams": [""]}, "teams"),
        ({"teams": {}}, "teams"),
        ({"expires_in_days": 0}, "expires_in_days"),
        ({"expires_in_days": 0.00009}, "expires_in_days"),
        ({"expires_in_days": -1}, "expires_in_days"),
        ({"expires_in_days": 3661}, "expires_in_days"),
        ({"expires_in_days": True}, "expires_in_days"),
        ({"expires_in_days": "90"}, "expires_in_days"),
        ({"scopes": ["read", "admin"], "names": ["x"]}, "scopes"),
        ({"scopes": ["admin"], "teams": ["x"]}, "scopes"),
        ({"key": "mine"}, "key"),
    ],
)
async def test_a_faulty_field_is_named(api: Api, fields: dict[str, object], field: str) -> None:
    answer = await api.post("/v2/keys", {**HOSTS, **fields})
    assert answer.status_code == 400
    assert list(faults(answer)) == [field]
    assert not api.world.keys.all()


async def test_the_shortest_life_that_the_description_names_is_taken(api: Api) -> None:
    schema = KeyBody.model_json_schema()["properties"]["expires_in_days"]
    [bounds] = [part for part in schema["anyOf"] if "minimum" in part]
    await make(api, expires_in_days=bounds["minimum"])


@pytest.mark.parametrize("name", ["admins", "medic-hosts", "slack", "sql:reports"])
async def test_a_name_that_only_resembles_a_reserved_one_is_taken(api: Api, name: str) -> None:
    assert (await make(api, name=name))["name"] == name


async def test_null_restricts_nothing(api: Api) -> None:
    made = await make(api, names=None, teams=None, expires_in_days=None)
    assert (made["names"], made["teams"], made["expires_at"]) == ([], [], None)


async def test_two_keys_have_two_names(api: Api) -> None:
    await make(api)
    answer = await api.post("/v2/keys", HOSTS)
    assert (answer.status_code, list(faults(answer))) == (400, ["name"])


async def test_a_rotated_key_works_by_both_secrets_for_the_overlap(api: Api, mock_clock: MockClock) -> None:
    made = await make(api)
    answer = await api.post(f"/v2/keys/{made['key_id']}/rotate")
    assert answer.status_code == 200
    rotated = answer.json()["results"]
    assert rotated["key_id"] == made["key_id"]
    assert rotated["key"] != made["key"]
    assert [works(api, key["key"]) for key in (made, rotated)] == ["working", "working"]
    assert [works(api, key["key"], later_ms=DAY_MS - 1) for key in (made, rotated)] == ["working", "working"]
    assert [works(api, key["key"], later_ms=DAY_MS) for key in (made, rotated)] == ["expired", "working"]


@pytest.mark.parametrize(("hours", "ends_ms"), [(0, 0), (0.5, 1_800_000), (720, 720 * HOUR_MS)])
async def test_the_overlap_may_be_said(api: Api, mock_clock: MockClock, hours: float, ends_ms: int) -> None:
    made = await make(api)
    await api.post(f"/v2/keys/{made['key_id']}/rotate", {"overlap_hours": hours})
    assert works(api, made["key"], later_ms=ends_ms) == "expired"
    assert works(api, made["key"], later_ms=ends_ms - 1) == "working"


@pytest.mark.parametrize("hours", [-1, 721, True, "24", None])
async def test_an_overlap_beyond_its_bounds_is_refused(api: Api, hours: object) -> None:
    made = await make(api)
    answer = await api.post(f"/v2/keys/{made['key_id']}/rotate", {"overlap_hours": hours})
    assert (answer.status_code, list(faults(answer))) == (400, ["overlap_hours"])


async def test_a_revoked_key_works_no_more_and_stays_listed(api: Api) -> None:
    made = await make(api)
    answer = await api.delete(f"/v2/keys/{made['key_id']}")
    assert (answer.status_code, answer.json()["results"]["state"]) == (200, "revoked")
    assert works(api, made["key"]) == "revoked"
    assert [key["state"] for key in (await api.get("/v2/keys")).json()["results"]] == ["revoked"]
    for again in (await api.delete(f"/v2/keys/{made['key_id']}"), await api.post(f"/v2/keys/{made['key_id']}/rotate")):
        assert again.status_code == 404


async def test_coverage_is_no_key(api: Api) -> None:
    answer = await api.delete("/v2/keys/coverage")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert set((await api.request("OPTIONS", "/v2/keys/coverage")).headers["allow"].split(", ")) >= {"GET", "HEAD"}


@pytest.mark.parametrize("key_id", ["nobody", "a%2Fb", "%27%3B--"])
async def test_a_key_that_is_not_there_is_a_404(api: Api, key_id: str) -> None:
    assert (await api.delete(f"/v2/keys/{key_id}")).status_code == 404
    assert (await api.post(f"/v2/keys/{key_id}/rotate")).status_code == 404


@pytest.mark.parametrize("key_id", ["%FF", "%ED%A0%80", "%00", "a%00b"])
async def test_an_id_that_no_text_in_postgresql_can_be_is_a_400(api: Api, key_id: str) -> None:
    for answer in (await api.delete(f"/v2/keys/{key_id}"), await api.post(f"/v2/keys/{key_id}/rotate")):
        assert answer.status_code == 400
        assert list(faults(answer)) == ["key_id"]


async def test_the_last_key_that_makes_others_is_not_revoked_by_accident(api: Api) -> None:
    await make(api)
    first = await make(api, name="first", scopes=["admin"])
    answer = await api.delete(f"/v2/keys/{first['key_id']}")
    assert answer.status_code == 409
    assert "first is the last key with the scope admin" in answer.json()["message"]
    second = await make(api, name="second", scopes=["admin"])
    assert (await api.delete(f"/v2/keys/{first['key_id']}")).status_code == 200
    assert (await api.delete(f"/v2/keys/{second['key_id']}?force=0")).status_code == 409
    assert (await api.delete(f"/v2/keys/{second['key_id']}?force=1")).status_code == 200


async def test_a_key_that_has_expired_is_no_other_and_may_go(api: Api, mock_clock: MockClock) -> None:
    ending = await make(api, name="ending", scopes=["admin"], expires_in_days=1)
    lasting = await make(api, name="lasting", scopes=["admin"])
    api.world.wall.step_ms += 2 * DAY_MS
    assert (await api.delete(f"/v2/keys/{lasting['key_id']}")).status_code == 409
    assert (await api.delete(f"/v2/keys/{ending['key_id']}")).status_code == 200


async def test_with_the_admin_variable_any_key_may_go_but_that_one(api: Api) -> None:
    keys = api.world.keys
    made = await make(api, scopes=["admin"])
    keys.ring._admin = admin_key("x" * 32)
    assert (await api.delete(f"/v2/keys/{made['key_id']}")).status_code == 200
    for answer in (await api.delete("/v2/keys/admin"), await api.post("/v2/keys/admin/rotate")):
        assert answer.status_code == 400
        assert "MEDIC_ADMIN_API_KEY" in faults(answer)["key_id"]


async def test_without_postgresql_nothing_is_changed_and_keys_are_listed(api: Api) -> None:
    made = await make(api)
    api.world.lose_database()
    path = f"/v2/keys/{made['key_id']}"
    answers = [await api.post("/v2/keys", HOSTS), await api.post(f"{path}/rotate"), await api.delete(path)]
    assert [answer.status_code for answer in answers] == [503] * 3
    assert all(answer.headers["retry-after"] for answer in answers)
    assert works(api, made["key"]) == "working"
    assert [key["key_id"] for key in (await api.get("/v2/keys")).json()["results"]] == [made["key_id"]]


async def test_the_last_use_is_shown(api: Api, mock_clock: MockClock) -> None:
    made = await make(api)
    key, now = api.world.keys.ring.find(made["key"], api.world.clock.now()), api.world.clock.now()
    api.world.keys.uses.note(key, now, "192.0.2.9")
    [shown] = (await api.get("/v2/keys")).json()["results"]
    assert shown["last_used_from"] == "192.0.2.9"
    assert shown["last_used_at"] == shown["date_added"], "the clock stands still"


async def test_many_keys_are_listed_with_others_having_their_turn(api: Api) -> None:
    for number in range(501):
        await make(api, name=f"host-{number:03}")
    assert (await api.get("/v2/keys")).json()["total_count"] == 501


# ------------------------------------------------------------------------------------------------------------ coverage


async def test_coverage_lists_by_name_and_page_what_was_heard_without_a_key(api: Api, mock_clock: MockClock) -> None:
    for name in ("C", "b", "a", "d"):
        await api.register(name, team="shop")
    now = api.world.clock.now()
    for service in api.world.directory.services():
        if service.row.heartbeat_name != "d":
            api.world.keys.uses.note_keyless(service.row.service_id, now)
    first = (await api.get("/v2/keys/coverage?limit=2")).json()
    assert first["total_count"] == 3
    second = (await api.get(f"/v2/keys/coverage?limit=2&cursor={first['next_cursor']}")).json()
    assert [row["heartbeat_name"] for row in (*first["results"], *second["results"])] == ["a", "b", "C"]
    assert (second["next_cursor"], second["total_count"]) == (None, 3)
    day = first["results"][0]["last_day_without_key"]
    assert (await api.service("a"))["date_added"].startswith(day)
    api.world.wall.step_ms += 7 * DAY_MS
    assert (await api.get("/v2/keys/coverage")).json()["results"] == []


async def test_coverage_refuses_what_it_does_not_know(api: Api) -> None:
    assert (await api.get("/v2/keys/coverage?cursor=x")).status_code == 400
    assert (await api.get(f"/v2/keys/coverage?limit={PAGE_MAX + 1}")).status_code == 400


async def test_coverage_of_many_services_lets_others_have_their_turn(api: Api) -> None:
    for number in range(501):
        await api.register(f"service-{number}")
    assert (await api.get("/v2/keys/coverage")).json()["total_count"] == 0


async def test_a_service_may_require_a_key(api: Api) -> None:
    assert (await api.register("a")).json()["results"]["require_key"] == 0
    assert (await api.register("b", require_key=1)).json()["results"]["require_key"] == 1
    differs = (await api.register("b", require_key=0)).json()["differs"]
    assert differs == {"require_key": [1, 0]}
    assert (await api.post("/service/a", {"require_key": True})).json()["results"]["require_key"] == 1
    assert list(faults(await api.post("/service/a", {"require_key": 2}))) == ["require_key"]
