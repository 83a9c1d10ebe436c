"""`medic-cli service …` against a server that speaks the contract."""

from __future__ import annotations

import json
import sys

import pytest

from tests.unit.cli.conftest import Run
from tests.unit.cli.small_medic import ALERT, Answer, SmallMedic, bad


@pytest.mark.parametrize("words", [("service", "list"), ("service", "list", "--active")])
def test_list_is_a_line_a_service(small: SmallMedic, run: Run, words: tuple[str, ...]) -> None:
    small.add("pay-nightly", team="platform", status="up", last_heartbeat_at="2026-11-24T02:38:15.123Z")
    small.add("report", alert_interval=0.2, active=0 if "--active" in words else 1, muted=1)
    ended = run(*words)
    assert ended.status == 0
    lines = ended.out.splitlines()
    assert lines[0].split() == [
        "NAME",
        "STATUS",
        "INTERVAL",
        "TEAM",
        "PRIORITY",
        "MUTED",
        "UNTIL",
        "LAST",
        "HEARTBEAT",
        "DEADLINE",
    ]
    assert lines[1].split()[:4] == ["pay-nightly", "up", "5", "min"]
    assert "2026-11-24 02:38:15Z" in lines[1]
    assert len(lines) == (2 if "--active" in words else 3)
    if len(lines) == 3:
        assert "12 s" in lines[2]
        assert "unmuted" in lines[2]


def test_list_narrows_by_team_state_and_pattern(small: SmallMedic, run: Run) -> None:
    for name in ("pay-a", "PAY-b", "report", "pay-other"):
        small.add(name, team="other" if name == "pay-other" else "platform")
    ended = run(
        "service", "list", "--team", "platform", "--match", "Pay-*", "--not-muted", "--well", "--output", "json"
    )
    assert [row["heartbeat_name"] for row in ended.json] == ["PAY-b", "pay-a"]
    assert small.last.query == {"team": "platform", "muted": "0", "down": "0", "limit": "1000"}


def test_list_walks_all_pages(small: SmallMedic, run: Run) -> None:
    for number in range(2_345):
        small.add(f"service-{number:04d}")
    assert len(run("service", "list", "-o", "json").json) == 2_345
    assert len(small.asked) == 3
    assert len(run("service", "list").out.splitlines()) == 2_346


def test_list_of_nothing_prints_nothing_to_stdout(run: Run) -> None:
    ended = run("service", "list")
    assert (ended.status, ended.out) == (0, "")
    assert "No service" in ended.err
    assert run("service", "list", "--output", "json").json == []


def test_a_name_cannot_order_the_terminal_about(small: SmallMedic, run: Run) -> None:
    small.add("evil\x1b[2J\nrow", team="[red]team[/red]")
    out = run("service", "list").out
    assert "evil\\x1b[2J\\nrow" in out
    assert "[red]team[/red]" in out
    assert len(out.splitlines()) == 2


def test_tables_are_drawn_on_a_terminal(small: SmallMedic, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    small.add("pay-[bold]nightly", status="late")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True, raising=False)
    ended = run("service", "list")
    assert "─" in ended.out
    assert "pay-[bold]nightly" in ended.out


def test_get_shows_one_service(small: SmallMedic, run: Run) -> None:
    small.add(
        "pay",
        threshold=3,
        grace_period_seconds=90,
        renotify_minutes=0,
        muted=1,
        mute_until="2096-01-01T00:00:00.000Z",
        muted_by="bob",
        mute_reason="move",
        last_heartbeat_at="2026-11-24T00:00:00.000Z",
        last_status="UP",
        last_refusal={"at": "2026-11-24T00:00:00.000Z", "reason": "inactive", "address": "10.0.0.9"},
    )
    ended = run("service", "get", "pay")
    assert ended.status == 0
    for line in ("interval        3 heartbeats in 5 min", "grace           90 s", "reminders       none"):
        assert line in ended.out
    assert "2096-01-01 00:00:00Z, in " in ended.out
    assert ", by bob: move" in ended.out
    assert "from 10.0.0.9: inactive" in ended.out
    assert "ago (UP)" in ended.out
    assert run("service", "get", "PAY", "--output", "json").json["heartbeat_name"] == "pay"


@pytest.mark.parametrize("name", ["a/b c?d#e%2F", "..", "ä"])
def test_a_name_is_one_segment_of_the_path(small: SmallMedic, run: Run, name: str) -> None:
    small.add(name)
    ended = run("service", "get", name, "--output", "json")
    assert ended.status == 0
    assert ended.json["heartbeat_name"] == name
    assert small.last.path.count("/") == 2


def test_not_found_is_exit_1_and_stderr(run: Run) -> None:
    ended = run("service", "get", "nobody")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == "medic-cli: nobody is not registered. POST it to /service first.\n"


# ------------------------------------------------------------------------------------------------------------- changing


def test_register_sends_the_apis_units(small: SmallMedic, run: Run) -> None:
    words = "service register nightly --interval 1h30m --environment prod --service pay --threshold 2 --team t"
    more = "--priority p1 --runbook https://r --grace 30s --recovery 1m --renotify 2h --inactive"
    ended = run(*words.split(), *more.split())
    assert ended.status == 0
    assert ended.err == "Heartbeat successfully registered.\n"
    assert "prod-nightly" in ended.out
    assert small.last.body == {
        "heartbeat_name": "nightly",
        "service_name": "pay",
        "alert_interval": 90,
        "environment": "prod",
        "threshold": 2,
        "team": "t",
        "priority": "p1",
        "runbook": "https://r",
        "grace_period_seconds": 30,
        "recovery_seconds": 60,
        "renotify_minutes": 120,
        "active": 0,
    }
    assert small.last.headers["x-actor"] == "ann"


@pytest.mark.parametrize(("text", "minutes"), [("5", 5), ("0.2", 0.2), ("12s", 0.2), ("7d", 10_080), ("2 h", 120)])
def test_an_interval_without_unit_is_minutes(small: SmallMedic, run: Run, text: str, minutes: float) -> None:
    assert run("service", "register", "x", "--interval", text).status == 0
    assert small.last.body == {"heartbeat_name": "x", "service_name": "x", "alert_interval": pytest.approx(minutes)}


def test_register_again_shows_the_difference_and_changes_it_only_when_told(small: SmallMedic, run: Run) -> None:
    run("service", "register", "x", "--interval", "5m")
    ended = run("service", "register", "x", "--interval", "10m")
    assert ended.status == 0
    assert "already registered" in ended.err
    assert "alert_interval is 5, asked for: 10" in ended.err
    assert "--update" in ended.err
    assert small.services["x"]["alert_interval"] == 5
    run("service", "register", "x", "--interval", "10m", "--update")
    assert small.last.query == {"update": "1"}
    assert small.services["x"]["alert_interval"] == 10


def test_a_refused_registration_names_each_field(run: Run) -> None:
    ended = run("service", "register", "x", "--interval", "0")
    assert ended.status == 1
    assert "  alert_interval must be a number of minutes" in ended.err
    assert "  team must be a string" in ended.err


def test_update_changes_what_is_named(small: SmallMedic, run: Run) -> None:
    small.add("x")
    ended = run("service", "update", "x", "--interval", "15m", "--service", "y", "--runbook", "")
    assert ended.status == 0
    assert small.last.body == {"alert_interval": 15, "service_name": "y", "runbook": ""}
    assert run("service", "update", "x").status == 2


def test_activate_and_deactivate_go_on_after_a_refusal(small: SmallMedic, run: Run) -> None:
    small.add("a")
    small.add("b")
    ended = run("service", "deactivate", "a", "nobody", "b")
    assert ended.status == 1
    assert ended.out == "a is no longer watched.\nb is no longer watched.\n"
    assert "nobody is not registered" in ended.err
    ended = run("service", "activate", "a", "--output", "json")
    assert ended.json[0]["active"] == 1


def test_mute_by_name_says_until_when(small: SmallMedic, run: Run) -> None:
    small.add("x")
    ended = run("service", "mute", "x", "--duration", "2h", "--reason", "move")
    assert ended.status == 0
    assert small.last.body == {"muted": 1, "mute_minutes": 120, "mute_reason": "move"}
    assert ended.out.startswith("x is muted until 2096-11-24 00:00:00Z, in ")
    assert run("service", "unmute", "x").out == "x is not muted.\n"
    assert small.services["x"]["muted"] == 0


def test_the_runbooks_mute_line_needs_no_option(small: SmallMedic, run: Run) -> None:
    small.add("x")
    ended = run("service", "mute", "x")
    assert small.last.body == {"muted": 1}
    assert ended.out == "x is muted until somebody unmutes it.\n"


def test_mute_by_team_and_pattern_takes_those_that_are_both_and_the_names_given(small: SmallMedic, run: Run) -> None:
    for name, team in (("pay-a", "platform"), ("pay-b", "other"), ("report", "platform"), ("extra", "other")):
        small.add(name, team=team)
    ended = run("service", "mute", "extra", "--team", "platform", "--match", "pay-*")
    assert ended.status == 0
    assert [name for name, row in small.services.items() if row["muted"]] == ["pay-a", "extra"]
    assert run("service", "unmute", "--match", "nothing-*").status == 1


def test_mute_without_a_choice_is_wrong_usage(small: SmallMedic, run: Run) -> None:
    ended = run("service", "mute")
    assert ended.status == 2
    assert "--team" in ended.err
    assert small.asked == []


@pytest.mark.parametrize("text", ["2", "2 fortnights", "", "-2h", "h", "1e3h"])
def test_a_length_of_time_needs_its_unit(small: SmallMedic, run: Run, text: str) -> None:
    small.add("x")
    ended = run("service", "mute", "x", f"--duration={text}")
    assert ended.status == 2
    assert "2h, 90m" in ended.err
    assert small.asked == []


def test_delete_asks_on_a_terminal_and_refuses_without_one(
    small: SmallMedic, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.add("x")
    ended = run("service", "delete", "x")
    assert ended.status == 2
    assert "--yes" in ended.err
    assert small.asked == []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdin, "readline", lambda *_: "n\n", raising=False)
    assert run("service", "delete", "x").status == 1
    assert "x" in small.services
    monkeypatch.setattr(sys.stdin, "readline", lambda *_: "y\n", raising=False)
    assert run("service", "delete", "x").status == 0
    assert small.services == {}


def test_delete_with_yes_does_not_ask(small: SmallMedic, run: Run) -> None:
    small.add("x")
    ended = run("service", "delete", "x", "y", "--yes")
    assert ended.status == 1
    assert "x: Heartbeat successfully deleted." in ended.err
    assert "y is not registered" in ended.err
    assert ended.out == ""


def test_what_was_deleted_is_json_for_programs(small: SmallMedic, run: Run) -> None:
    small.add("x")
    ended = run("service", "delete", "x", "y", "--yes", "--output", "json")
    assert ended.status == 1
    assert json.loads(ended.out) == [{"heartbeat_name": "x", "message": "Heartbeat successfully deleted."}]
    assert "y is not registered" in ended.err


# ------------------------------------------------------------------------------------------------------------------ why


def test_why_of_a_late_service_tells_the_whole_story(small: SmallMedic, run: Run) -> None:
    small.add(
        "pay-nightly",
        status="late",
        down=1,
        threshold=2,
        grace_period_seconds=30,
        last_refusal={"at": "2026-11-24T00:00:00.000Z", "reason": "inactive", "address": "10.0.0.9"},
    )
    small.alerts = [{**ALERT, "acknowledged_date": "2026-11-24T00:10:00.000Z", "acknowledged_by": "bob"}]
    small.heartbeats = [
        {"heartbeat_name": "pay-nightly", "time": "2026-11-24T00:00:00.000Z", "status": "UP", "run_id": "r1"}
    ]
    small.webhooks = [
        {"webhook_id": 1, "url": "https://all.example", "heartbeat_name": None},
        {"webhook_id": 2, "url": "https://other.example", "heartbeat_name": "other"},
        {"webhook_id": 3, "url": "https://mine.example", "heartbeat_name": "PAY-nightly"},
    ]
    ended = run("service", "why", "pay-nightly")
    assert ended.status == 0
    said = ended.out
    assert said.startswith(
        "pay-nightly is late.\nPromised: 2 heartbeats in 5 min, and 30 s of grace.\nAlert 77 is open since"
    )
    assert "because no heartbeat came in time; bob acknowledged it" in said
    assert "ago  UP  run r1" in said
    assert "from 10.0.0.9: inactive." in said
    assert said.splitlines()[-1] == (
        "An alert now would be told to PagerDuty, webhook 1 (https://all.example), webhook 3 (https://mine.example)."
    )
    evidence = run("service", "why", "pay-nightly", "--output", "json").json
    assert evidence["alerts"][0]["alert_id"] == 77


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"status": "new"}, "has not been heard of yet."),
        ({"status": "up"}, "x is up.\nThe next heartbeat has to come until 2026-11-24 00:15:00Z"),
        ({"status": "degraded", "threshold": 2}, "says of itself that it is degraded.\nMore heartbeats have to come"),
        ({"status": "down", "last_status": "FAILED"}, "x said itself that it is FAILED."),
        ({"status": "inactive", "active": 0}, "medic-cli service activate 'x' changes that."),
        ({"status": "sideways"}, "x is sideways."),
        (
            {"muted": 1, "mute_until": "2096-01-01T00:00:00.000Z", "muted_by": "ann", "mute_reason": "move"},
            ", by ann (move): nobody is told before that.",
        ),
        ({"muted": 1}, "It is muted until somebody unmutes it: nobody is told before that."),
        ({"muted": 1}, "An alert now would be told to nobody; without the mute, to PagerDuty."),
        ({}, "An alert now would be told to PagerDuty."),
        ({}, "No heartbeat of it is stored."),
    ],
)
def test_why_has_a_sentence_for_each_way_to_stand(
    small: SmallMedic, run: Run, fields: dict[str, object], sentence: str
) -> None:
    small.add("x", **fields)
    assert sentence in run("service", "why", "x").out


def test_why_says_who_is_told_where_nothing_is_configured_or_fails(small: SmallMedic, run: Run) -> None:
    small.add("x")
    components = small.health["components"]
    components["pagerduty"]["status"] = "not_configured"
    assert "the terminal of Medic, because no notifier is configured" in run("service", "why", "x").out
    components["slack"]["status"] = "degraded"
    assert "told to Slack (degraded at the moment)" in run("service", "why", "x").out
    components["alerts"] = {"status": "degraded", "untold": 0, "withheld": 7, "reason": "MEDIC_NOTIFY is off"}
    said = run("service", "why", "x").out
    assert "told to nobody: MEDIC_NOTIFY is off; with on, to Slack (degraded at the moment)." in said


def test_why_of_an_unknown_name_says_what_was_heard_of_it(small: SmallMedic, run: Run) -> None:
    ended = run("service", "why", "pay-nigthly")
    assert ended.status == 1
    assert "is not registered" in ended.out
    assert "No heartbeat of that name has come" in ended.out
    small.refused = [
        {"heartbeat_name": "Pay-Nigthly", "count": 12, "address": "10.0.0.7", "last_at": "2026-11-24T00:00:00.000Z"}
    ]
    said = run("service", "why", "pay-nigthly").out
    assert "refused 12 times since Medic started" in said
    assert "from 10.0.0.7" in said
    assert run("service", "why", "pay-nigthly", "-o", "json").json["refused"][0]["count"] == 12


def test_why_goes_on_without_postgresql(small: SmallMedic, run: Run) -> None:
    small.add("x", status="up")
    answer = small.answer

    def without_postgresql(asked: object) -> Answer:
        if getattr(asked, "path", "") in {"/heartbeat", "/v2/webhooks"}:
            return bad(503, "PostgreSQL does not answer.", Retry_After="5")
        return answer(asked)  # type: ignore[arg-type]

    small.answer = without_postgresql  # type: ignore[method-assign,assignment]
    ended = run("service", "why", "x")
    assert ended.status == 0
    assert "Its heartbeats cannot be listed: PostgreSQL does not answer." in ended.out
    assert "Which webhooks there are cannot be said" in ended.out
