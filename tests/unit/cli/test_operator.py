"""The other verbs of `medic-cli`, and what holds for all: exit status, waiting, keys, addresses."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from medic.cli import client
from tests.unit.cli.conftest import Run
from tests.unit.cli.small_medic import ALERT, Answer, SmallMedic, bad, good

# ------------------------------------------------------------------------------------------------------------ heartbeat


def test_send_is_a_heartbeat(small: SmallMedic, run: Run) -> None:
    small.add("x")
    ended = run("heartbeat", "send", "x")
    assert (ended.status, ended.out) == (0, "Heartbeat Posted Successfully.\n")
    assert small.last.body == {"heartbeat_name": "x", "service_name": "", "status": "UP"}
    run("heartbeat", "send", "x", "--status", "FAILED", "--run-id", "7", "--output", "json")
    assert small.last.body == {"heartbeat_name": "x", "service_name": "", "status": "FAILED", "run_id": "7"}
    run("heartbeat", "send", "x", "--time", "2026-01-01T00:00:00Z", "--idempotency-key", "k")
    beside = {"time": "2026-01-01T00:00:00Z", "idempotency_key": "k"}
    assert small.last.body == {"heartbeat_name": "x", "service_name": "", "status": "UP", **beside}
    assert run("heartbeat", "send", "nobody").status == 1


def test_list_of_heartbeats_is_narrowed_by_name(small: SmallMedic, run: Run) -> None:
    for name in ("a", "b"):
        small.add(name)
        run("heartbeat", "send", name)
    ended = run("heartbeat", "list", "--name", "a", "--service", "s", "--limit", "20")
    assert small.last.query == {"maxCount": "20", "heartbeat_name": "a", "service_name": "s"}
    assert [line.split()[2] for line in ended.out.splitlines()[1:]] == ["a"]
    assert len(run("heartbeat", "list", "-o", "json").json) == 2
    assert small.last.query == {"maxCount": "50"}
    assert run("heartbeat", "list", "--limit", "251").status == 2


def test_refused_lists_names_nobody_registered(small: SmallMedic, run: Run) -> None:
    assert "Every heartbeat" in run("heartbeat", "refused").err
    at = "2026-11-24T00:00:00.000Z"
    small.refused = [{"heartbeat_name": "typo", "count": 3, "address": "10.0.0.7", "first_at": at, "last_at": at}]
    assert run("heartbeat", "refused").out.splitlines()[1].split()[:3] == ["typo", "3", "10.0.0.7"]
    assert run("heartbeat", "refused", "-o", "json").json[0]["count"] == 3


# --------------------------------------------------------------------------------------------------------------- alerts


def test_alerts_list_asks_for_what_is_meant(small: SmallMedic, run: Run) -> None:
    small.alerts = [
        {**ALERT, "muted": 1, "flapping": 1},
        {**ALERT, "alert_id": 76, "active": 0, "closed_date": "2026-11-24T00:01:00.000Z", "closed_reason": "recovered"},
    ]
    ended = run("alerts", "list")
    assert small.last.query == {"limit": "100"}
    assert "late (muted, flapping)" in ended.out
    assert "2026-11-24 00:01:00Z (recovered)" in ended.out
    ended = run("alerts", "list", "--active", "--team", "platform", "--name", "pay-nightly", "-o", "json")
    assert small.last.query == {"active": "1", "team": "platform", "heartbeat_name": "pay-nightly", "limit": "1000"}
    assert [row["alert_id"] for row in ended.json] == [77]
    small.alerts = []
    assert run("alerts", "list", "--active").err == "No alert is open.\n"


def test_alerts_get_shows_history_and_whom_it_was_told(small: SmallMedic, run: Run) -> None:
    at = "2026-11-24T00:00:00.000Z"
    small.alerts = [
        {
            **ALERT,
            "acknowledged_date": at,
            "acknowledged_by": "bob",
            "history": [{"at": at, "change": "opened", "by": None, "note": None}],
            "deliveries": [
                {
                    "notifier": "slack",
                    "action": "trigger",
                    "at": at,
                    "attempts": 2,
                    "result": "refused",
                    "detail": "channel_not_found",
                }
            ],
        }
    ]
    ended = run("alerts", "get", "77")
    assert ended.status == 0
    assert "by bob" in ended.out
    assert "\nHistory\n" in ended.out
    assert "\nTold\n" in ended.out
    assert "channel_not_found" in ended.out
    assert run("alerts", "get", "77", "-o", "json").json["alert_id"] == 77
    assert run("alerts", "get", "78").status == 1
    assert run("alerts", "get", "seventy").status == 2


@pytest.mark.parametrize(("verb", "route"), [("ack", "acknowledge"), ("resolve", "resolve")])
def test_orders_about_an_alert_carry_the_note_and_who(small: SmallMedic, run: Run, verb: str, route: str) -> None:
    small.alerts = [dict(ALERT)]
    ended = run("alerts", verb, "77", "--note", "on it")
    assert (ended.status, ended.out) == (0, f"Alert {route}d.\n")
    assert small.last.path == f"/alerts/77/{route}"
    assert small.last.body == {"note": "on it"}
    assert small.last.headers["x-actor"] == "ann"
    run("alerts", verb, "77", "-o", "json")
    assert small.last.body == {}
    small.alerts[0]["active"] = 0
    ended = run("alerts", verb, "77")
    assert (ended.status, ended.err) == (1, "medic-cli: Alert 77 is closed already.\n")


def test_a_test_page_that_nobody_gets_is_a_failure(small: SmallMedic, run: Run) -> None:
    small.add("team/pay")
    assert run("alerts", "test", "team/pay").status == 0
    assert small.last.path == "/v2/services/team%2Fpay/test"
    assert run("alerts", "test", "team/pay", "-o", "json").json == {"targets": ["pagerduty"]}
    small.targets = []
    assert run("alerts", "test", "team/pay").status == 1


# ------------------------------------------------------------------------------------------------- webhooks and health


def test_webhooks_are_added_listed_and_removed(small: SmallMedic, run: Run) -> None:
    ended = run("webhook", "add", "https://h.example", "--name", "x", "-H", "X-Token: a:b", "-H", "Y:1")
    assert ended.out == (
        "Webhook created. Its id is 1.\nIts requests are signed with whsec_new, which is not shown again.\n"
    )
    assert small.last.body == {
        "url": "https://h.example",
        "heartbeat_name": "x",
        "headers": {"X-Token": "a:b", "Y": "1"},
    }
    run("webhook", "add", "https://i.example", "-o", "json")
    assert small.last.body == {"url": "https://i.example"}
    lines = run("webhook", "list").out.splitlines()
    assert "X-Token, Y" in lines[1]
    assert len(run("webhook", "list", "-o", "json").json) == 2
    assert run("webhook", "remove", "1").status == 0
    assert run("webhook", "remove", "9").status == 1
    assert run("webhook", "add", "https://h", "--header", "no colon").status == 2


def test_a_webhooks_secret_is_shown_when_it_is_made_and_never_in_a_list(small: SmallMedic, run: Run) -> None:
    assert run("webhook", "add", "https://h.example", "-o", "json").json["secret"] == "whsec_new"
    said = run("webhook", "rotate", "1").out
    assert "whsec_newer" in said
    assert "2026-11-25" in said
    assert small.last.body == {}
    assert run("webhook", "rotate", "1", "--overlap", "90m", "-o", "json").json["secret"] == "whsec_newer"
    assert small.last.body == {"overlap_hours": 1.5}
    assert "whsec" not in run("webhook", "list").out
    assert run("webhook", "rotate", "9").status == 1
    assert run("webhook", "rotate", "1", "--overlap", "2").status == 2


@pytest.mark.parametrize(("status", "code"), [("healthy", 0), ("degraded", 1), ("unhealthy", 1)])
def test_health_is_exit_0_only_for_healthy(small: SmallMedic, run: Run, status: str, code: int) -> None:
    small.health["status"] = status
    ended = run("health")
    assert ended.status == code
    assert f"Medic 0.1.0 is {status}." in ended.out
    assert "kind embedded" in ended.out
    ended = run("health", "--output", "json")
    assert (ended.status, ended.json["status"]) == (code, status)


# --------------------------------------------------------------------------------------------- what holds for all verbs


def test_nobody_there_is_exit_3(run: Run) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ended = run("service", "list", "--url", f"http://127.0.0.1:{port}")
    assert (ended.status, ended.out) == (3, "")
    assert ended.err == f"medic-cli: Medic cannot be reached at http://127.0.0.1:{port}: connection refused.\n"


@pytest.mark.parametrize(
    "url", ["http://no.such.host.invalid", "ftp://x", "http://[", "nonsense", "http://127.0.0.1:1/x\x1b"]
)
def test_an_address_that_leads_nowhere_is_exit_3(run: Run, url: str) -> None:
    ended = run("health", "--url", url)
    assert ended.status == 3
    assert "\x1b" not in ended.err


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"<html>hello</html>"),
        Answer(502, b"Bad Gateway"),
        Answer(200, ["list"]),
        Answer(301, b"", {"Location": "https://elsewhere"}),
        Answer(404, {"detail": "not mine"}),
        Answer(200, b"\x80", {"Content-Encoding": "gzip"}),
    ],
)
def test_something_else_there_is_exit_3(small: SmallMedic, run: Run, answer: Answer) -> None:
    small.scripted = [answer]
    assert run("service", "get", "x").status == 3


def test_a_server_that_says_nothing_is_exit_3(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ended = run("health", "--url", f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert ended.status == 3
    assert "it does not answer" in ended.err


def test_url_goes_before_the_environment(small: SmallMedic, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIC_BASE_URL", "http://no.such.host.invalid")
    assert run("health", "--url", f"{small.url}/").status == 0


def test_proxies_of_the_environment_are_not_used(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://no.such.host.invalid")
    assert run("health").status == 0


def test_the_key_is_sent_as_bearer_from_the_environment_or_a_file(
    small: SmallMedic, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run("health")
    assert "authorization" not in small.last.headers
    monkeypatch.setenv("MEDIC_API_KEY", "mdk_1_geheim")
    run("health")
    assert small.last.headers["authorization"] == "Bearer mdk_1_geheim"
    (tmp_path / "key").write_text("mdk_2_geheim\n")
    monkeypatch.setenv("MEDIC_API_KEY_FILE", str(tmp_path / "key"))
    run("health")
    assert small.last.headers["authorization"] == "Bearer mdk_2_geheim"
    monkeypatch.setenv("MEDIC_API_KEY_FILE", str(tmp_path / "nowhere"))
    ended = run("health")
    assert (ended.status, ended.err) == (
        1,
        "medic-cli: MEDIC_API_KEY_FILE cannot be read: no such file or directory.\n",
    )


def test_who_does_it_is_said_in_utf_8(small: SmallMedic, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "Jörg")
    run("health")
    assert small.last.headers["x-actor"].encode("latin-1").decode() == "Jörg"
    monkeypatch.setenv("USER", "a\nb")
    run("health")
    assert "x-actor" not in small.last.headers


@pytest.mark.parametrize(("status", "hint"), [(401, "medic-cli key create"), (403, "medic-cli key list")])
def test_who_may_not_is_told_what_to_do(small: SmallMedic, run: Run, status: int, hint: str) -> None:
    small.scripted = [bad(status, "This needs an API key.")]
    ended = run("service", "list")
    assert ended.status == 1
    assert "This needs an API key. " in ended.err
    assert "MEDIC_API_KEY" in ended.err
    assert hint in ended.err


def test_a_wait_medic_asks_for_is_waited(small: SmallMedic, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(
        client.Api.__init__, "__kwdefaults__", {**client.Api.__init__.__kwdefaults__, "sleep": waited.append}
    )
    away = bad(503, "PostgreSQL does not answer.", Retry_After="5")
    small.scripted = [away, bad(429, "Too many.", Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"), good(200, "", [])]
    ended = run("service", "list", "-o", "json")
    assert ended.json == []
    assert waited == [5, 1]
    assert ended.err.splitlines()[0] == "Medic asks to wait 5 s: PostgreSQL does not answer."


def test_waiting_has_an_end(small: SmallMedic, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(
        client.Api.__init__, "__kwdefaults__", {**client.Api.__init__.__kwdefaults__, "sleep": waited.append}
    )
    small.scripted = [bad(503, "Away.", Retry_After="25")] * 5
    ended = run("service", "register", "x", "--interval", "5m")
    assert ended.status == 1
    assert waited == [25, 25]
    small.scripted = [bad(503, "Away.", Retry_After="600")]
    assert run("service", "list").status == 1
    assert waited == [25, 25]
    small.scripted = [bad(503, "Away."), good(200, "", [])]
    assert run("service", "list").status == 1, "no Retry-After, no waiting"


@pytest.mark.parametrize(
    "words", [("service", "frobnicate"), ("service", "get"), ("health", "--output", "xml"), ("nothing",)]
)
def test_wrong_usage_is_exit_2(small: SmallMedic, run: Run, words: tuple[str, ...]) -> None:
    ended = run(*words)
    assert ended.status == 2
    assert ended.err
    assert small.asked == []


def test_version_and_help(run: Run) -> None:
    assert run("--version").out.startswith("Medic ")
    assert "MEDIC_BASE_URL" in run("--help").out
    for group in ("service", "heartbeat", "alerts", "webhook", "key"):
        assert run(group, "--help").status == 0


@pytest.mark.slow
def test_the_command_starts_without_heavy_modules() -> None:
    heavy = "('httpx', 'rich.table', 'pydantic', 'trio')"
    code = f"import sys, medic.cli.operator; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": ""}
    )
    assert done.stdout.strip() == "[]"
