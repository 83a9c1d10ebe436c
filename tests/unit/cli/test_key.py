"""`medic-cli key …`: what is asked, and what is shown."""

from __future__ import annotations

from typing import Any

from tests.unit.cli.conftest import Run
from tests.unit.cli.small_medic import SmallMedic, bad, good

ROW: dict[str, Any] = {
    "key_id": "abcdefghijkl",
    "name": "hosts",
    "scopes": ["heartbeat", "read"],
    "names": [],
    "teams": [],
    "state": "working",
    "date_added": "2026-11-24T00:00:00.000Z",
    "added_by": "ann",
    "expires_at": None,
    "rotated_at": None,
    "former_until": None,
    "revoked_at": None,
    "last_used_at": None,
    "last_used_from": None,
}
LISTED = good(200, "", [ROW])
KEY = "mdk_abcdefghijkl_" + "x" * 43


def test_a_key_stands_alone_on_stdout(small: SmallMedic, run: Run) -> None:
    small.scripted = [good(201, "API key created.", {**ROW, "key": KEY})]
    ended = run(
        *("key", "create", "--name", "hosts", "--scope", "heartbeat", "-s", "read", "--expires", "90d"),
        *("--team", "shop", "--team", "till", "--match", "pay-*"),
    )
    assert (ended.status, ended.out) == (0, f"{KEY}\n")
    assert ended.err == "API key created. Its id is abcdefghijkl.\n"
    assert (small.last.method, small.last.path) == ("POST", "/v2/keys")
    assert small.last.body == {
        "name": "hosts",
        "scopes": ["heartbeat", "read"],
        "names": ["pay-*"],
        "teams": ["shop", "till"],
        "expires_in_days": 90,
    }


def test_what_is_left_out_is_not_sent(small: SmallMedic, run: Run) -> None:
    small.scripted = [good(201, "API key created.", {**ROW, "key": KEY})]
    assert run("key", "create", "-n", "hosts", "-s", "admin", "-o", "json").json["key"] == KEY
    assert small.last.body == {"name": "hosts", "scopes": ["admin"]}


def test_a_key_needs_a_name_and_a_scope_that_there_is(run: Run) -> None:
    assert run("key", "create", "--name", "hosts").status == 2
    assert run("key", "create", "--scope", "read").status == 2
    assert run("key", "create", "--name", "hosts", "--scope", "root").status == 2


def test_keys_are_listed(small: SmallMedic, run: Run) -> None:
    restricted = {
        **ROW,
        "name": "pay",
        "names": ["pay-*", "till"],
        "teams": ["shop"],
        "expires_at": "2096-11-24T00:00:00.000Z",
        "last_used_at": "2026-11-24T00:00:00.000Z",
        "last_used_from": "192.0.2.7",
    }
    small.scripted = [good(200, "", [ROW, restricted], total_count=2)] * 2
    heading, first, second = run("key", "list").out.splitlines()
    assert heading.split()[:3] == ["ID", "NAME", "STATE"]
    assert all(word in first for word in ("hosts", "working", "heartbeat, read", "everything", "never", "not yet"))
    assert all(word in second for word in ("pay-*, till; team shop", "2096-11-24", "192.0.2.7"))
    assert [row["name"] for row in run("key", "list", "-o", "json").json] == ["hosts", "pay"]
    small.scripted = [good(200, "", [], total_count=0)]
    assert run("key", "list").err == "There is no key.\n"


def test_a_rotated_key_is_printed_and_the_overlap_said(small: SmallMedic, run: Run) -> None:
    rotated = {**ROW, "key": KEY, "former_until": "2026-11-25T00:00:00.000Z"}
    small.scripted = [LISTED, good(200, "API key rotated.", rotated)] * 2
    ended = run("key", "rotate", "abcdefghijkl", "--overlap", "90m")
    assert ended.out == f"{KEY}\n"
    assert "The one before works until 2026-11-25 00:00:00Z." in ended.err
    assert (small.last.path, small.last.body) == ("/v2/keys/abcdefghijkl/rotate", {"overlap_hours": 1.5})
    assert run("key", "rotate", "abcdefghijkl", "-o", "json").json["key"] == KEY
    assert small.last.body == {}


def test_revoking_asks_first(small: SmallMedic, run: Run) -> None:
    ended = run("key", "revoke", "abcdefghijkl")
    assert ended.status == 2
    assert "say --yes" in ended.err
    assert not small.asked
    small.scripted = [LISTED, good(200, "API key revoked.", ROW)] * 2
    assert run("key", "revoke", "abcdefghijkl", "--yes").err == "hosts: API key revoked.\n"
    assert (small.last.method, small.last.path, small.last.query) == ("DELETE", "/v2/keys/abcdefghijkl", {})
    assert run("key", "revoke", "../x", "-y", "--force", "-o", "json").json["name"] == "hosts"
    assert (small.last.path, small.last.query) == ("/v2/keys/..%2Fx", {"force": "1"})


def test_a_key_is_found_by_its_name_too(small: SmallMedic, run: Run) -> None:
    former = {**ROW, "key_id": "formerformer", "state": "revoked"}
    small.scripted = [good(200, "", [former, ROW]), good(200, "API key revoked.", ROW)] * 2
    assert run("key", "revoke", "HOSTS", "--yes").status == 0
    assert small.last.path == "/v2/keys/abcdefghijkl"
    assert run("key", "revoke", "formerformer", "--yes").status == 0
    assert small.last.path == "/v2/keys/formerformer"


def test_an_id_goes_before_a_name(small: SmallMedic, run: Run) -> None:
    namesake = {**ROW, "key_id": "otherotherot", "name": "abcdefghijkl"}
    small.scripted = [good(200, "", [namesake, ROW]), good(200, "API key revoked.", ROW)]
    assert run("key", "revoke", "abcdefghijkl", "--yes").status == 0
    assert small.last.path == "/v2/keys/abcdefghijkl"


def test_a_name_of_several_keys_is_no_key(small: SmallMedic, run: Run) -> None:
    small.scripted = [good(200, "", [ROW, {**ROW, "key_id": "otherotherot", "name": "Hosts"}])]
    ended = run("key", "rotate", "hosts")
    assert (ended.status, ended.out) == (2, "")
    assert "abcdefghijkl (hosts), otherotherot (Hosts)" in ended.err
    assert [asked.method for asked in small.asked] == ["GET"]


def test_a_refusal_is_exit_1(small: SmallMedic, run: Run) -> None:
    small.scripted = [LISTED, bad(409, "hosts is the last key with the scope admin.")]
    ended = run("key", "revoke", "abcdefghijkl", "--yes")
    assert (ended.status, ended.err) == (1, "medic-cli: hosts is the last key with the scope admin.\n")


def test_coverage_lists_the_services_that_do_without(small: SmallMedic, run: Run) -> None:
    row = {
        "service_id": 1,
        "heartbeat_name": "pay-nightly",
        "service_name": "payments",
        "team": "shop",
        "last_day_without_key": "2026-11-24",
        "require_key": 0,
    }
    small.scripted = [good(200, "", [row], next_cursor=None, total_count=1)] * 2
    lines = run("key", "coverage").out.splitlines()
    assert lines[1].split() == ["pay-nightly", "payments", "shop", "2026-11-24"]
    assert run("key", "coverage", "-o", "json").json == [row]
    small.scripted = [good(200, "", [], next_cursor=None, total_count=0)]
    assert run("key", "coverage").err == "No service was heard without a key in the last 7 days.\n"
