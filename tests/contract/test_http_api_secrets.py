"""`/v2/secrets`: stored, listed by name, never read back; and what refers to them."""

from __future__ import annotations

from typing import Any

import pytest

from medic.access.secrets import KEY_LINE, VALUE_MAX
from tests.contract.http_api import Api, faults
from tests.fakes.secrets import secrets_over

VALUE = "xoxb-a-marked-value"
HOOK = {"url": "https://hooks.example/x", "headers": {"Authorization": "Bearer ${secrets.hook}"}}


async def put(api: Api, name: str = "hook", value: str = VALUE) -> Any:
    return await api.post("/v2/secrets", {"name": name, "value": value})


async def test_a_secret_is_stored_replaced_and_listed_without_its_value(api: Api) -> None:
    made = await put(api)
    assert (made.status_code, made.json()["results"]["state"]) == (201, "readable")
    assert made.json()["results"]["used_by"] == []
    assert api.world.vault.find("hook") == VALUE
    replaced = await put(api, value="another-value")
    assert (replaced.status_code, api.world.vault.find("hook")) == (200, "another-value")
    listed = await api.get("/v2/secrets")
    assert listed.json()["results"] == [replaced.json()["results"]]
    assert not [said for said in (made, replaced, listed) if VALUE in said.text or "another-value" in said.text]


async def test_a_secret_that_is_referred_to_is_deleted_by_force_only(api: Api) -> None:
    await put(api)
    webhook = (await api.post("/v2/webhooks", HOOK)).json()["results"]
    listed = (await api.get("/v2/secrets")).json()["results"]
    assert listed[0]["used_by"] == [f"webhook:{webhook['webhook_id']}"]
    refused = await api.delete("/v2/secrets/hook")
    assert refused.status_code == 409
    assert f"webhook:{webhook['webhook_id']}" in refused.json()["message"]
    assert (await api.delete("/v2/secrets/hook?force=1")).status_code == 200
    assert (await api.get("/v2/secrets")).json()["results"] == []
    assert (await api.delete("/v2/secrets/hook")).status_code == 404


async def test_a_secret_that_nothing_refers_to_is_deleted(api: Api) -> None:
    await put(api, "un.used")
    assert (await api.delete("/v2/secrets/un%2Eused")).status_code == 200


async def test_variables_refer_to_secrets_as_well(api: Api) -> None:
    over = secrets_over(api.world.secret_store, api.world.webhooks.store, variables={"SLACK_API_TOKEN": ("hook",)})
    object.__setattr__(api.world.parts, "secrets", over)
    await put(api)
    assert (await api.get("/v2/secrets")).json()["results"][0]["used_by"] == ["SLACK_API_TOKEN"]
    assert (await api.delete("/v2/secrets/hook")).status_code == 409


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "a}b"}, "name"),
        ({"name": "-a"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": 7}, "name"),
        ({"value": "short12"}, "value"),
        ({"value": "x" * (VALUE_MAX + 1)}, "value"),
        ({"value": "xoxb-a-marked\r\nX-Forged: 1"}, "value"),
        ({"value": " xoxb-a-marked"}, "value"),
        ({"value": "xoxb-a-marked-ü"}, "value"),
        ({"value": ["xoxb-a-marked"]}, "value"),
        ({"value": None}, "value"),
        ({"more": 1}, "more"),
    ],
)
async def test_a_bad_field_is_named_and_no_value_is_quoted(api: Api, fields: dict[str, object], field: str) -> None:
    answer = await api.post("/v2/secrets", {"name": "hook", "value": VALUE, **fields})
    assert (answer.status_code, list(faults(answer))) == (400, [field])
    assert "marked" not in answer.text


async def test_broken_json_is_not_quoted(api: Api) -> None:
    answer = await api.request("POST", "/v2/secrets", content=b'{"name":"hook","value":"xoxb-a-marked-value}')
    assert answer.status_code == 400
    assert "marked" not in answer.text


async def test_without_the_key_all_of_it_says_how_to_make_one(api: Api) -> None:
    without = secrets_over(api.world.secret_store, api.world.webhooks.store, key=None)
    object.__setattr__(api.world.parts, "secrets", without)
    for answer in (await put(api), await api.get("/v2/secrets"), await api.delete("/v2/secrets/x?force=1")):
        assert answer.status_code == 503
        assert KEY_LINE in answer.json()["message"]
    refused = await api.post("/v2/webhooks", HOOK)
    assert (refused.status_code, list(faults(refused))) == (400, ["headers"])
    assert KEY_LINE in refused.text


async def test_a_webhook_refers_to_what_is_there_and_in_headers_only(api: Api) -> None:
    missing = await api.post("/v2/webhooks", HOOK)
    assert (missing.status_code, list(faults(missing))) == (400, ["headers"])
    assert "hook is not" in missing.text
    malformed = await api.post("/v2/webhooks", {**HOOK, "headers": {"X-A": "${secrets.a b}"}})
    assert (malformed.status_code, list(faults(malformed))) == (400, ["headers"])
    in_address = await api.post("/v2/webhooks", {"url": "https://hooks.example/${secrets.hook}"})
    assert (in_address.status_code, list(faults(in_address))) == (400, ["url"])
    await put(api)
    assert (await api.post("/v2/webhooks", HOOK)).status_code == 201


async def test_while_postgresql_is_away_nothing_is_changed(api: Api) -> None:
    await put(api)
    api.world.lose_database()
    assert (await put(api, value="another-value")).status_code == 503
    assert (await api.delete("/v2/secrets/hook?force=1")).status_code == 503
    assert api.world.vault.find("hook") == VALUE
