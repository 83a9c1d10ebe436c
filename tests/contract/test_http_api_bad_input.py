"""Every bound of a service's fields: the last value within, the first one beyond, and wrong kinds."""

from __future__ import annotations

from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from medic.http.bodies import Registration, ServiceUpdate
from tests.contract.http_api import Api, faults, open_api

NAMES = "1 to 249 printable characters"
MINUTES = "a number of minutes from 0.01667 (1 s) to 527040 (366 days)"
SECONDS = "a number of seconds from 0 to 31622400 (366 days)"
FLAG = "0 or 1"
RUNBOOK = "a http or https address of at most 2048 characters"

BEYOND: list[tuple[str, object, str]] = [
    *((field, value, NAMES) for field in ("heartbeat_name", "service_name") for value in (
        "", " ", "x" * 250, " x", "x ", "a\tb", "a\u0000b", "a\u200bb", "\u00a0x", 5, 1.5, True, [], {}, ["x"],
    )),
    *(("environment", value, NAMES) for value in (" ", "x" * 250, 5, [])),
    *(("alert_interval", value, MINUTES) for value in (
        0, -1, 0.0166, 527_040.1, 1e308, 10**30, "5", "five", "", True, [], {}, [5],
    )),
    *(("threshold", value, "a whole number from 1 to 1000") for value in (
        0, -1, 1_001, 1.5, "3", 10**30, 1e300, False, [], {},
    )),
    *(("team", value, "1 to 100 printable characters") for value in ("", "x" * 101, "a\nb", 5, True, [])),
    *(("priority", value, "one of p1, p2, p3, p4, p5") for value in ("", "p0", "p6", "high", 1, True, ["p1"])),
    *(("runbook", value, RUNBOOK) for value in (
        "javascript:alert(1)", "ftp://example.com", "example.com", "http://", "https://" + "x" * 2_048, "http://a b",
        "http://[", "http://example.com\n", 5, True, [],
    )),
    *((field, value, SECONDS) for field in ("grace_period_seconds", "recovery_seconds") for value in (
        -1, -0.001, 31_622_400.1, 1e300, "60", True, [], {},
    )),
    *(("renotify_minutes", value, f"{MINUTES}, or 0 for none") for value in (-1, 0.001, 527_041, "60", True, [])),
    *((field, value, FLAG) for field in ("active", "muted") for value in (2, -1, "1", "true", 0.5, [], {}, [1])),
    *(("mute_minutes", value, MINUTES) for value in (0, -1, 527_041, "60", True, [])),
    *(("mute_reason", value, "0 to 500 characters without NUL") for value in ("x" * 501, "a\u0000", 5, [])),
]  # fmt: skip

WITHIN: list[tuple[str, object]] = [
    ("heartbeat_name", "x" * 249),
    ("heartbeat_name", "x"),
    ("service_name", "ß" * 249),
    ("alert_interval", 1 / 60),
    ("alert_interval", 527_040),
    ("threshold", 1_000),
    ("threshold", 2.0),
    ("team", "x" * 100),
    ("priority", "p5"),
    ("runbook", "HTTPS://EXAMPLE.COM/" + "x" * 2_028),
    ("grace_period_seconds", 31_622_400),
    ("recovery_seconds", 0),
    ("renotify_minutes", 0),
    ("renotify_minutes", 527_040),
    ("active", True),
    ("muted", 0),
    *((field, None) for field in (
        "environment", "threshold", "team", "priority", "runbook", "grace_period_seconds", "recovery_seconds",
        "renotify_minutes", "active", "muted", "mute_minutes", "mute_reason",
    )),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value", "bound"), BEYOND, ids=str)
async def test_a_registration_beyond_a_bound_is_a_400_that_names_field_and_bound(
    api: Api, field: str, value: object, bound: str
) -> None:
    answer = await api.register("job", **{"muted": 1, field: value})
    assert answer.status_code == 400
    assert bound in faults(answer)[field]
    assert len(api.world.directory) == 0


@pytest.mark.parametrize(("field", "value", "bound"), BEYOND, ids=str)
async def test_an_edit_beyond_a_bound_is_a_400_and_changes_nothing(
    api: Api, mock_clock: MockClock, field: str, value: object, bound: str
) -> None:
    await api.register("job")
    before = await api.service("job")
    answer = await api.post("/service/job", {"team": "new", "muted": 1, field: value})
    assert answer.status_code == 400
    named = faults(answer)[field]
    assert bound in named or (field in {"heartbeat_name", "environment"} and "is no field here" in named)
    assert await api.service("job") == before


@pytest.mark.parametrize(("field", "value"), WITHIN, ids=str)
async def test_a_registration_at_a_bound_is_taken(api: Api, field: str, value: object) -> None:
    assert (await api.register("job", **{field: value})).status_code == 201


@pytest.mark.parametrize("field", ["mute_minutes", "mute_reason"])
async def test_a_mute_that_is_not_ordered_is_refused(api: Api, field: str) -> None:
    await api.register("job")
    value = 5 if field == "mute_minutes" else "why"
    for path in ("/service/job", "/service"):
        body = {field: value, **({} if path != "/service" else _BODY)}
        answer = await api.post(path, body)
        assert answer.status_code == 400
        assert "beside muted: 1" in faults(answer)[field]


_BODY = {"heartbeat_name": "other", "service_name": "x", "alert_interval": 5}


async def test_the_prefix_counts_toward_the_names_length(api: Api) -> None:
    answer = await api.register("x" * 200, environment="y" * 49)
    assert answer.status_code == 400
    assert "this one has 250" in faults(answer)["heartbeat_name"]
    assert (await api.register("x" * 200, environment="y" * 48)).status_code == 201


async def test_every_faulty_field_is_named_at_once(api: Api) -> None:
    answer = await api.post("/service", {"heartbeat_name": "", "alert_interval": 0, "threshold": 0, "trheshold": 5})
    assert set(faults(answer)) == {"heartbeat_name", "service_name", "alert_interval", "threshold", "trheshold"}
    assert "threshold" in faults(answer)["trheshold"], "it says which fields there are"


@pytest.mark.parametrize("path", ["/service", "/service/job", "/v2/webhooks"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null", b"{}}", b'{"a":' * 2_000])
async def test_what_is_no_json_object_is_a_400_for_the_body(api: Api, path: str, content: bytes) -> None:
    await api.register("job")
    answer = await api.request("POST", path, content=content)
    assert answer.status_code == 400
    assert "body" in faults(answer)


@pytest.mark.parametrize("path", ["/service/%FF", "/service/%C3%28", "/v2/services/%ED%A0%80/test"])
async def test_a_path_that_is_no_utf_8_is_a_400(api: Api, path: str) -> None:
    method = "POST" if path.endswith("test") else "GET"
    answer = await api.request(method, path, content=b"{}" if method == "POST" else None)
    assert answer.status_code == 400
    assert "UTF-8" in faults(answer)["heartbeat_name"]


@pytest.mark.parametrize("name", ["%00", "job%00", "a%00b"])
async def test_nul_is_no_character_of_a_place_or_a_parameter(api: Api, name: str) -> None:
    for method, path, field in (
        ("GET", f"/service/{name}", "heartbeat_name"),
        ("GET", f"/heartbeat/{name}", "heartbeat_name"),
        ("DELETE", f"/v2/secrets/{name}", "secret_name"),
        ("GET", f"/alerts?active=1&team={name}", "team"),
        ("GET", f"/heartbeat?service_name={name}", "service_name"),
    ):
        answer = await api.request(method, path)
        assert (answer.status_code, list(faults(answer))) == (400, [field]), path


_FIELDS = st.sampled_from(
    [*Registration.model_fields, *ServiceUpdate.model_fields, "url", "headers", "status", "time", "x"]
)
_TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=260) | st.sampled_from(["job", "p1", "https://a"])
_NUMBERS = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
_SCALARS = st.none() | st.booleans() | _NUMBERS | _TEXTS
_VALUES = _SCALARS | st.lists(_SCALARS, max_size=3) | st.dictionaries(_TEXTS, _SCALARS, max_size=3)
_USUAL = {"heartbeat_name": "job", "service_name": "x", "alert_interval": 5, "status": "UP", "url": "https://a"}


@given(st.lists(st.dictionaries(_FIELDS, _VALUES, max_size=6), min_size=5, max_size=5), st.booleans())
async def test_whatever_json_comes_nothing_is_a_500(bodies: list[dict], usual: bool) -> None:
    paths = ("/service", "/service/job", "/heartbeat", "/v2/webhooks", "/alerts/1/acknowledge")
    async with open_api() as api:
        await api.register("job")
        for path, body in zip(paths, bodies, strict=True):
            answer = await api.post(path, {**_USUAL, **body} if usual else body)
            assert answer.status_code < 500, (path, body, answer.text)


@given(st.sampled_from(["GET", "POST", "DELETE"]), st.binary(max_size=60), st.binary(max_size=60))
async def test_whatever_path_and_query_come_nothing_is_a_500(method: str, path: bytes, query: bytes) -> None:
    async with open_api() as api:
        for start in (b"/service/", b"/alerts/", b"/v2/", b"/"):
            target = httpx.URL("http://medic").copy_with(
                raw_path=start + quote(path).encode() + b"?" + quote(query).encode()
            )
            answer = await api.ask(method, target)
            assert answer.status_code < 500, (target, answer.text)
