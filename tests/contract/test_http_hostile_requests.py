"""Requests that mean ill, by both ways: smuggled ones, tricks with paths and methods, JSON bombs, forged pages, letters
that look like others. What is said of one way holds for the other.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest

from medic.access.scope import Scope
from tests.contract.http_api import Api, Way, faults
from tests.contract.served import HEARTBEAT, Served, get, post, serve, status_of
from tests.contract.shown_keys import BOTH_WAYS, bearer, beats
from tests.fakes.http_parts import ADMIN_KEY


@pytest.fixture(params=BOTH_WAYS.values(), ids=BOTH_WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


@pytest.fixture(params=[False, True], ids=["lane", "quart"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    async with serve(by_quart=request.param) as found:
        yield found


# ------------------------------------------------------------------------------------------------------------ smuggling

SMUGGLED = get("/heartbeat/job", "Connection: close")
LENGTH = f"{len(SMUGGLED)}"
CHUNKED_END = b"0\r\n\r\n"


def request_with(*lines: str, end: str = "\r\n") -> bytes:
    return (end.join(["POST /heartbeat HTTP/1.1", "Host: medic", *lines]) + end + end).encode("latin-1")


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(request_with("Content-Length: 5", "Transfer-Encoding: chunked"), id="both lengths"),
        pytest.param(request_with("Transfer-Encoding: chunked", "Content-Length: 0"), id="both the other way round"),
        pytest.param(request_with(f"Content-Length: {LENGTH}", "Content-Length: 0"), id="two lengths"),
        pytest.param(request_with(f"Content-Length: 0, {LENGTH}"), id="two lengths in a line"),
        pytest.param(request_with(f"Content-Length: +{LENGTH}"), id="a sign"),
        pytest.param(request_with(f"Content-Length: 0x{len(SMUGGLED):x}"), id="hexadecimal"),
        pytest.param(request_with("Content-Length: 1_0"), id="an underscore"),
        pytest.param(request_with("Content-Length: \xb2"), id="a digit that is no digit"),
        pytest.param(request_with("Content-Length: "), id="no number"),
        pytest.param(request_with(f"Content-Length : {LENGTH}"), id="a space before the colon"),
        pytest.param(request_with("Transfer-Encoding : chunked"), id="a space before the other colon"),
        pytest.param(request_with("Transfer-Encoding: xchunked"), id="another coding"),
        pytest.param(request_with("Transfer-Encoding: identity, chunked"), id="two codings"),
        pytest.param(request_with("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), id="two lines of them"),
        pytest.param(request_with("Transfer-Encoding: \x0bchunked"), id="a vertical tab"),
        pytest.param(request_with("X: y\rTransfer-Encoding: chunked"), id="a bare carriage return"),
        pytest.param(request_with("X: y\x00", "Content-Length: 0"), id="NUL"),
        pytest.param(request_with("Content-Length: 0", "Host: evil.example"), id="a second Host"),
    ],
)
async def test_what_two_readers_may_end_in_two_places_is_refused_with_all_that_follows(
    served: Served, head: bytes
) -> None:
    answer = await served.exchange(head + CHUNKED_END + SMUGGLED)
    assert status_of(answer) in {400, 501}
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer.lower()
    assert served.world.directory.find("job").heartbeats_total == 0
    assert served.server.statistics().crashed == 0


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"5;x=\r\n", id="half an extension"),
        pytest.param(b"-1\r\n", id="a sign"),
        pytest.param(b"0x5\r\nhello\r\n0\r\n\r\n", id="hexadecimal"),
        pytest.param(b"5\r\nhelloX\r\n0\r\n\r\n", id="too long a chunk"),
        pytest.param(b"ffffffffffffffffffffff\r\nhello", id="a length beyond all bounds"),
        pytest.param(b"5\nhello\n0\n\n", id="bare line feeds"),
    ],
)
async def test_chunks_that_are_none_end_the_connection(served: Served, body: bytes) -> None:
    async with await served.connect() as stream:
        await stream.send_all(request_with("Transfer-Encoding: chunked") + body + SMUGGLED)
        await stream.send_eof()
        answer = b""
        while piece := await stream.receive_some():
            answer += piece
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert not answer or status_of(answer) in {400, 413}
    assert served.world.directory.find("job").heartbeats_total == 0
    assert served.server.statistics().crashed == 0


async def test_a_body_longer_than_it_says_is_no_second_request_that_was_not_sent(served: Served) -> None:
    answer = await served.exchange(post("/heartbeat", HEARTBEAT) + b"garbage \r\n\r\n" + SMUGGLED)
    assert (status_of(answer), answer.count(b"HTTP/1.1 ")) == (201, 2)
    assert b"HTTP/1.1 400" in answer
    assert served.world.directory.find("job").heartbeats_total == 1


@pytest.mark.parametrize(
    "line", ["X-Actor: a\x00b", "X-Actor: a\x1b[2Jb", "X-Actor: \x7f", "User-Agent: a\rb", "X\x00: y"]
)
async def test_headers_of_what_is_no_text_are_refused(served: Served, line: str) -> None:
    before = served.world.directory.find("job").row
    answer = await served.exchange(post("/service/job", b'{"team":"new"}', line, "Connection: close"))
    assert status_of(answer) == 400
    assert served.world.directory.find("job").row == before


# ------------------------------------------------------------------------------------------------------ paths, methods

TRICKS = [
    "/health/../service", "/health/..%2Fservice", "/health/%2e%2e/service", "//service", "///service", "/service/",
    "/service;x=1", "/service%3Bx", "/./service", "/%2e/service", "/service%00", "/service%0d%0aX:%20y", "/SERVICE",
    "/%2573ervice", "/service/..%5c..%5cetc%5cpasswd", "/docs/../../etc/passwd", "/health/live/../../keys",
    "/v2/%2e%2e/service", "/service%20", "/s%65rvice%2F", "/service%E2%80%8B", "/\uff53ervice",
]  # fmt: skip
"""Spellings that some server, somewhere, takes for another path."""


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_no_spelling_of_a_path_gets_past_the_gate(served: Served, method: str) -> None:
    served.world.ask_for_keys()
    for trick in TRICKS:
        request = get(quote(trick, safe="/%;:."), "Connection: close").replace(b"GET", method.encode(), 1)
        answer = await served.exchange(request)
        assert status_of(answer) in {401, 404, 405}, trick
        assert b"job" not in answer
    assert served.world.directory.find("job") is not None


async def test_each_spelling_of_a_path_that_is_one_asks_for_a_key(served: Served) -> None:
    served.world.ask_for_keys()
    for target in ("/service", "/s%65rvice", "/%73%65%72%76%69%63%65", "http://medic/service", "http://evil/service"):
        assert status_of(await served.exchange(get(target, "Connection: close"))) == 401
    for target in ("*", "medic:443", "service", "?x", "http://"):
        answer = await served.exchange(get(target, "Connection: close"))
        assert status_of(answer) in {400, 401, 404}


@pytest.mark.parametrize(
    "line",
    ["X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE", "X-Original-URL: /x"],
)
async def test_a_method_is_what_the_request_line_says(served: Served, line: str) -> None:
    for request in (
        get("/service/job", line, "Connection: close"),
        post("/service/job", b"{}", line, "Connection: close"),
    ):
        assert status_of(await served.exchange(request)) == 200
    assert status_of(await served.exchange(get("/service/job?_method=DELETE", "Connection: close"))) == 400
    assert served.world.directory.find("job") is not None


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "delete", "Delete", "GETT", "DEBUG", "TRACK"])
async def test_a_method_that_is_none_does_nothing(served: Served, method: str) -> None:
    request = get("/service/job", "Connection: close", "X-Secret: s3cret").replace(b"GET", method.encode(), 1)
    answer = await served.exchange(request)
    # Hypercorn takes a method in any case for the one it looks like; nothing in front of Medic knows it differently.
    assert status_of(answer) in ({200} if method.upper() == "DELETE" else {400, 405})
    assert b"s3cret" not in answer


@pytest.mark.parametrize(
    "place", ["a%0d%0ab", "a%00b", "a%1b%5b2Jb", "a%0ab", "%e2%80%ae", "%c2%85", "%ff", "%ed%a0%80"]
)
async def test_names_that_are_no_text_are_refused_in_paths_queries_and_bodies(api: Api, place: str) -> None:
    assert (await api.get(f"/heartbeat/{place}")).status_code in {400, 404}
    assert (await api.get(f"/service?q={place}")).status_code in {200, 400}
    text = json.dumps(bytes.fromhex("".join(_hex(place))).decode("utf-8", "surrogateescape")).encode()
    body = b'{"heartbeat_name":%b,"service_name":"x","alert_interval":5}' % text
    answer = await api.request("POST", "/service", content=body)
    assert answer.status_code == 400
    assert len(api.world.directory) == 0


def _hex(place: str) -> list[str]:
    parts: list[str] = []
    while place:
        if place[0] == "%":
            parts.append(place[1:3])
            place = place[3:]
        else:
            parts.append(f"{ord(place[0]):02x}")
            place = place[1:]
    return parts


# ----------------------------------------------------------------------------------------------------------------- JSON

FORMS = ["/heartbeat", "/service", "/service/job", "/v2/heartbeats", "/v2/webhooks", "/v2/keys"]
NUMBERS = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 400, "-0", "-0.0", "1e-400", "0x10", "01", "1_0"]


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize(
    "deep", [b"[" * 60_000, b'{"a":' * 10_000, b"[" * 30_000 + b"]" * 30_000], ids=["[", "{", "[]"]
)
async def test_json_of_any_depth_is_refused(api: Api, path: str, deep: bytes) -> None:
    await api.register("job")
    for content in (deep, b'{"heartbeat_name":"job","status":"UP","alert_interval":' + deep):
        answer = await api.request("POST", path, content=content)
        # Of a bulk each line is refused by itself.
        assert answer.status_code == 400 or answer.json()["results"]["accepted"] == 0
    assert beats(api) == 0


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    "field",
    ["alert_interval", "threshold", "grace_period_seconds", "renotify_minutes", "mute_minutes", "active", "muted"],
)
async def test_numbers_that_are_none_change_nothing(api: Api, number: str, field: str) -> None:
    await api.register("job", grace_period_seconds=7, renotify_minutes=9, threshold=2)
    before = {name: value for name, value in (await api.service("job")).items() if name in {field, "alert_interval"}}
    answer = await api.request("POST", "/service/job", content=f'{{"{field}":{number},"muted":0}}'.encode())
    after = await api.service("job")
    if answer.status_code == 400:
        assert {name: after[name] for name in before} == before
    else:
        assert answer.status_code == 200
        assert float(number) == 0
        assert after[field] == 0
    assert str(after).lower().count("nan") == str(after).lower().count("inf") == 0


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("field", ["time", "run_id", "status", "heartbeat_name"])
async def test_heartbeats_with_numbers_that_are_none_are_taken_as_they_are_or_refused(
    api: Api, number: str, field: str
) -> None:
    await api.register("job")
    fields = {"heartbeat_name": '"job"', "status": '"UP"', field: number}
    body = "{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}"
    answer = await api.request("POST", "/heartbeat", content=body.encode())
    assert answer.status_code in ({201, 400} if number.startswith("-0") or number == "1e-400" else {400})


async def test_of_a_field_given_twice_the_last_counts_for_the_gate_as_for_the_actor(shut: Api) -> None:
    shown = bearer(shut.world.key(Scope.HEARTBEAT, names=("pay-*",)))
    twice = b'{"heartbeat_name":"pay-1","status":"UP","heartbeat_name":"job"}'
    assert (await shut.request("POST", "/heartbeat", content=twice, **shown)).status_code == 403
    bulk = await shut.request("POST", "/v2/heartbeats", content=b"[" + twice + b"]", **shown)
    assert [item["status"] for item in bulk.json()["results"]["refused"]] == [403]
    assert beats(shut) == 0


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
async def test_nothing_is_unpacked(api: Api, coding: str) -> None:
    await api.register("job")
    bomb = gzip.compress(HEARTBEAT + b" " * 50_000_000, 9)
    for path in ("/heartbeat", "/service", "/v2/heartbeats"):
        answer = await api.request("POST", path, content=bomb, Content_Encoding=coding)
        assert answer.status_code == 400 or answer.json()["results"]["accepted"] == 0
    assert beats(api) == 0


# ------------------------------------------------------------------------------------------------- listings, keys


@pytest.mark.parametrize("path", ["/service", "/alerts"])
@pytest.mark.parametrize(
    "limit", ["0", "-1", "1001", "1000000000000", "1e3", "0x10", "\u0661", " 5", "+5", "", "5.0", "NaN"]
)
async def test_a_page_is_never_longer_than_it_may_be(api: Api, path: str, limit: str) -> None:
    answer = await api.get(f"{path}?limit={quote(limit)}")
    assert answer.status_code == 400
    assert "limit" in faults(answer)


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "c2pvYg", "YTk5OTk5OTk5OTk5OTk5OTk5OTkuOTk5OTk5OTk5OTk5OTk5OTk5OQ", "=" * 1_000, "%00", "..", "czEn"],
)
async def test_a_forged_cursor_shows_nothing_that_its_page_would_not(api: Api, cursor: str) -> None:
    await api.register("job")
    for path in ("/service", "/alerts"):
        answer = await api.get(f"{path}?limit=5&cursor={quote(cursor, safe='%')}")
        assert answer.status_code in {200, 400}
        assert len(answer.json()["results"]) <= 5


async def test_a_listing_of_heartbeats_is_never_longer_than_250(api: Api) -> None:
    await api.register("job")
    for _ in range(3):
        await api.request("POST", "/v2/heartbeats", content=b"[" + b",".join([HEARTBEAT] * 100) + b"]")
    for most in ("1000000", "-1", "NaN", "9" * 100, "\u0669\u0669\u0669"):
        answer = await api.get(f"/heartbeat?heartbeat_name=job&maxCount={quote(most)}")
        assert len(answer.json()["results"]) == 250


@pytest.mark.parametrize("letter", ["\uff4d", "\u043c", "M", "m\u200b", "m\u0301"])
async def test_a_key_in_letters_that_look_like_its_own_is_none(shut: Api, letter: str) -> None:
    key = shut.world.key(Scope.ADMIN)
    shown = key.replace("m", letter, 1).encode().decode("latin-1")
    answer = await shut.request("GET", "/heartbeat/job", Authorization=f"Bearer {shown}")
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "scope", ["\uff41dmin", "ADMIN", "admin\u200b", "admin ", "\u0430dmin", "*", "heartbeat,admin", ""]
)
async def test_a_scope_in_letters_that_look_like_its_own_is_none(shut: Api, scope: str) -> None:
    answer = await shut.post("/v2/keys", {"name": "x", "scopes": [scope]}, **bearer(ADMIN_KEY))
    assert answer.status_code == 400
