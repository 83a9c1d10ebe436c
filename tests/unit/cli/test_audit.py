"""`medic-cli audit`, `service history` and `restore`; how `medic audit verify` speaks."""

from __future__ import annotations

import pytest

from medic.cli.audit_verify import Verified, as_json, print_verified
from medic.store.audit.chain import Finding, Head
from medic.store.audit.verify import Verdict
from tests.unit.cli.conftest import Run
from tests.unit.cli.small_medic import Answer, SmallMedic, bad, good

ENTRY = {
    "audit_id": 7,
    "timestamp": "2026-11-24T00:00:00.000Z",
    "actor": "deploy-key",
    "key_id": "k1",
    "address": "192.0.2.7",
    "request_id": "r1",
    "label": "ann",
    "action": "update",
    "service_id": 1,
    "subject": "pay",
    "before": {"team": "red", "version": 1, "interval_ms": 60000, "alert_interval": 1, "runbook": ""},
    "after": {"team": "blue", "version": 2, "interval_ms": 120000, "alert_interval": 2, "runbook": ""},
    "place": 7,
    "hash": "00",
}
SNAPSHOT = {
    "snapshot_id": 3,
    "service_id": 1,
    "heartbeat_name": "pay",
    "snapshot_data": {"alert_interval": 5, "threshold": 1, "team": "red", "priority": "p3"},
    "action_type": "edit",
    "actor": "ann",
    "created_at": "2026-11-24T00:00:00.000Z",
    "restored_at": None,
    "restored_by": None,
}


def page(*entries: object, has_more: bool = False) -> Answer:
    return good(200, "", {"entries": list(entries), "total_count": 9, "limit": 1, "offset": 0, "has_more": has_more})


def test_who_did_what_is_listed(small: SmallMedic, run: Run) -> None:
    small.scripted = [page(ENTRY, {**ENTRY, "action": "register", "before": None, "label": None})]

    ended = run("audit", "list", "--service", "pay", "--actor", "deploy-key", "--action", "update", "--since", "2h")

    first, second = ended.out.splitlines()[1:]
    assert "deploy-key (ann)" in first
    assert "team: red -> blue, alert_interval: 1 -> 2" in first
    assert "->" not in second
    asked = dict(small.last.query)
    assert asked.pop("start_date").endswith("Z")
    assert asked == {
        "heartbeat_name": "pay",
        "actor": "deploy-key",
        "action": "update",
        "limit": "50",
        "offset": "0",
    }


def test_more_than_a_page_is_asked_for_page_by_page(small: SmallMedic, run: Run) -> None:
    small.scripted = [page(*[ENTRY] * 200, has_more=True), page(*[ENTRY] * 50, has_more=True)]

    assert len(run("audit", "list", "--limit", "250", "-o", "json").json) == 250
    assert [asked.query["offset"] for asked in small.asked] == ["0", "200"]
    assert small.last.query["limit"] == "50"
    small.scripted = [page()]
    assert run("audit", "list").err == "No entry is like that.\n"


def test_many_changed_fields_are_counted(small: SmallMedic, run: Run) -> None:
    before = {f"field{n}": 0 for n in range(9)}
    small.scripted = [page({**ENTRY, "before": before, "after": dict.fromkeys(before, 1)})]

    assert "field3: 0 -> 1 and 5 more" in run("audit", "list").out


def test_a_history_is_listed_and_one_line_of_it_restored(small: SmallMedic, run: Run) -> None:
    small.scripted = [page(SNAPSHOT), page(SNAPSHOT), page()]

    line = run("service", "history", "pay").out.splitlines()[1].split()
    assert line == ["3", "2026-11-24", "00:00:00Z", "edit", "ann", "5", "min", "1", "red", "p3"]
    assert small.last.query == {"heartbeat_name": "pay", "limit": "50", "offset": "0"}
    assert run("service", "history", "pay", "-o", "json").json == [SNAPSHOT]
    assert run("service", "history", "nobody").err == "Nothing of that name was ever changed.\n"

    small.scripted = [
        good(200, "Snapshot restored.", SNAPSHOT),
        good(200, "", SNAPSHOT),
        bad(409, "The name is taken."),
    ]
    assert "pay is as snapshot 3 has it" in run("service", "restore", "3").out
    assert small.last.path == "/v2/snapshots/3/restore"
    assert run("service", "restore", "3", "-o", "json").json["snapshot_id"] == 3
    assert run("service", "restore", "3").status == 1


def test_a_verdict_is_said_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    head = Head(9, b"\x01" * 32)
    print_verified(Verified(Verdict(head, 9), 0.25))
    assert capsys.readouterr().out.startswith(
        "The audit is as it was sealed. 9 entries in 0.2 s; the last seal is 0101"
    )

    verdict = Verdict(head, 9, waiting=2, notes=[Finding(4, "entry 4 is late")])
    verdict.add([Finding(3, "entry 3 is missing"), Finding(0, "entry 0 has no seal")])
    verdict.wrong += 5
    print_verified(Verified(verdict, 1))

    said = capsys.readouterr().out.splitlines()
    assert said[0] == "WRONG  place 3: entry 3 is missing"
    assert said[1] == "WRONG  entry 0 has no seal"
    assert said[2] == "note   place 4: entry 4 is late"
    assert said[3].startswith("note   2 entries have no seal yet")
    assert said[4].startswith("The audit was changed: 7 things are wrong, 5 of them not shown.")
    shown = as_json(Verified(verdict, 1.23456))
    assert (shown["intact"], shown["wrong"], shown["seconds"], shown["waiting"]) == (False, 7, 1.235, 2)
    assert shown["findings"] == [
        {"place": 3, "sentence": "entry 3 is missing"},
        {"place": None, "sentence": "entry 0 has no seal"},
    ]
