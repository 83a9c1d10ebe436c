"""`medic-cli service report` against a server that answers as Medic does."""

from __future__ import annotations

from typing import Any

import pytest

from medic.cli import show
from tests.unit.cli.conftest import Run
from tests.unit.cli.small_medic import SmallMedic, bad, good

RECORD: dict[str, Any] = {
    "service_id": 7,
    "heartbeat_name": "pay",
    "service_name": "payments",
    "team": "core",
    "from": "2026-10-01T00:00:00.000Z",
    "to": "2026-11-01T00:00:00.000Z",
    "availability": 0.99999999,
    "watched_seconds": 2_678_400,
    "up_seconds": 2_678_100,
    "late_seconds": 240,
    "reported_seconds": 60,
    "muted_seconds": 7_200,
    "heartbeats": {"UP": 44_000, "DOWN": 0, "OTHER": 3},
    "outages_count": 2,
    "outages": [
        {"alert_id": 9, "reason": "late", "from": "2026-10-31T23:56:00.000Z", "to": None, "seconds": 240, "muted": 1},
        {
            "alert_id": 8,
            "reason": "reported_down",
            "from": "2026-10-05T00:00:00.000Z",
            "to": "2026-10-05T00:01:00.000Z",
            "seconds": 60,
            "muted": 0,
        },
    ],
    "outages_kept_from": None,
}


def report(small: SmallMedic, run: Run, *words: str, **changes: Any) -> Any:
    small.add("pay", service_id=7)
    small.scripted = [good(200, "", [small.services["pay"]]), good(200, "", {**RECORD, **changes})]
    return run("service", "report", "pay", *words)


def test_it_is_facts_and_a_line_an_outage(small: SmallMedic, run: Run) -> None:
    ended = report(small, run)

    assert ended.status == 0
    facts = dict(line.split("  ", 1) for line in ended.out.split("\n\n")[0].splitlines())
    assert {name: value.strip() for name, value in facts.items()} == {
        "name": "pay",
        "from": "2026-10-01 00:00:00Z",
        "to": "2026-11-01 00:00:00Z",
        "availability": "99.9999 %",
        "watched": "31 d",
        "late": "4 min",
        "reported": "60 s",
        "muted": "2 h",
        "outages": "2",
        "heartbeats": "44000 UP, 3 OTHER",
    }
    _, newest, before = ended.out.split("\n\n")[1].splitlines()
    assert newest.split() == ["9", "2026-10-31", "23:56:00Z", "open", "4", "min", "late", "muted"]
    assert before.split()[-3:] == ["60", "s", "reported_down"]
    assert (small.last.path, ended.err) == ("/v2/services/7/availability", "")


def test_what_was_never_watched_and_what_was_removed_is_said(small: SmallMedic, run: Run) -> None:
    ended = report(
        small, run, availability=None, outages=[], heartbeats={}, outages_kept_from="2026-10-15T00:00:00.000Z"
    )
    assert "nothing was watched" in ended.out
    assert ended.out.rstrip().endswith("none")
    assert "Alerts that closed before 2026-10-15 00:00:00Z were removed" in ended.err
    assert report(small, run, outages_kept_from="2026-09-15T00:00:00.000Z").err == ""


@pytest.mark.parametrize(
    ("words", "query"),
    [
        (("--last", "7d"), {"from": "2026-10-25T00:00:00.000Z"}),
        ((), {"from": "2026-10-02T00:00:00.000Z"}),
        (("--from", "2026-01-01"), {"from": "2026-01-01"}),
        (("--to", "2026-01-01"), {"to": "2026-01-01"}),
        (("--from", "2026-01-01", "--to", "2026-02-01"), {"from": "2026-01-01", "to": "2026-02-01"}),
    ],
)
def test_the_time_is_chosen(
    small: SmallMedic, run: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], query: dict[str, str]
) -> None:
    monkeypatch.setattr(show, "now", lambda: 1_793_491_200_000)
    assert report(small, run, *words).status == 0
    assert small.last.query == query


def test_json_is_as_it_came(small: SmallMedic, run: Run) -> None:
    assert report(small, run, "-o", "json").json == RECORD


def test_two_ways_at_once_are_wrong_usage_and_an_unknown_name_is_not_found(small: SmallMedic, run: Run) -> None:
    assert run("service", "report", "pay", "--last", "7d", "--to", "2026-01-01").status == 2
    small.scripted = [bad(404, "pay is not registered.")]
    assert run("service", "report", "pay").status == 1
