"""What `medic cleanup` says to people. What it says to programs, the real process shows."""

from __future__ import annotations

import datetime as dt

import pytest

from medic.cli.cleanup import plan_json, print_plan, print_report, report_json
from medic.store.retention.report import CountedDay, Day, Plan, Report

FIRST, SECOND = dt.date(2026, 1, 1), dt.date(2026, 1, 2)
DAY = Day(FIRST, is_counted=False, is_leaving=False, heartbeats=1_000, size=3 << 20)
NOTHING = Plan(written_until=1_767_225_600_000, to_count=(), to_remove=(), waiting=(), rows={"alerts": 0})


def test_a_report_is_a_line_for_each_thing(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(
        [CountedDay(SECOND, 24, 0.25)], [FIRST], 7, {"alerts": 3, "snapshots": 0}, ["2026-01-03 is not removed"]
    )

    print_report(report)

    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "counted 2026-01-02: 24 hours of services in 0.2 s",
        "removed 2026-01-01",
        "removed 3 alerts",
        "folded hours into 7 days of counts",
    ]
    assert said.err == "left: 2026-01-03 is not removed. The next cleanup goes on with it.\n"
    assert report_json(report) == {
        "counted": [{"day": "2026-01-02", "hours": 24, "seconds": 0.25}],
        "removed_days": ["2026-01-01"],
        "folded": 7,
        "removed": {"alerts": 3, "snapshots": 0},
        "left": ["2026-01-03 is not removed"],
    }


def test_a_report_of_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(Report(removed={"alerts": 0}))
    assert capsys.readouterr().out == "Nothing was old enough.\n"


def test_a_plan_says_what_would_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    late = Day(SECOND, is_counted=True, is_leaving=False, heartbeats=5, size=1 << 19)
    plan = Plan(1_767_225_600_000, [DAY], [DAY], [late], {"alerts": 3, "snapshots": 0})

    print_plan(plan)

    assert capsys.readouterr().out.splitlines() == [
        "PostgreSQL has everything that came until 2026-01-01T00:00:00.000Z.",
        "would count 2026-01-01, some 1000 heartbeats, 3.0 MiB",
        "would remove 2026-01-01, some 1000 heartbeats, 3.0 MiB",
        "would keep 2026-01-02, some 5 heartbeats, 0.5 MiB: old enough, but not all that belongs to it is written yet",
        "would have removed 3 alerts",
    ]
    assert plan_json(plan)["to_count"] == [{"day": "2026-01-01", "heartbeats": 1_000, "bytes": 3 << 20}]


@pytest.mark.parametrize(
    ("plan", "first"),
    [
        (NOTHING, "PostgreSQL has everything that came until 2026-01-01T00:00:00.000Z."),
        (
            Plan(None, (), (), (), {}),
            "No Medic ever wrote to this database: nothing would be counted or removed.",
        ),
    ],
)
def test_a_plan_of_nothing_says_so(plan: Plan, first: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(plan)
    assert capsys.readouterr().out.splitlines() == [first, "Nothing is old enough."]
