"""`/v2/audit-logs` and `/v2/snapshots`."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import pytest

from medic.audit import COUNTED_MAX, AuditEntry
from medic.core.units import InstantMs, ServiceId
from medic.http.limits import ENTRIES_MAX
from tests.contract.http_api import Api, faults

AT = 1_790_000_000_000
ENTRY = AuditEntry(
    audit_id=1,
    at=InstantMs(AT),
    actor="anna",
    key_id="k1",
    address="192.0.2.7",
    request_id="r1",
    label="",
    action="update",
    service_id=ServiceId(7),
    subject="Job",
    before='{"team": "a"}',
    after='{"team": "b"}',
    place=1,
    hash="00" * 32,
)


def fill(api: Api, count: int = 10) -> None:
    api.world.audit.entries = [
        replace(ENTRY, audit_id=n, at=InstantMs(AT + n), actor="anna" if n % 2 else "ben") for n in range(1, count + 1)
    ]


async def listed(api: Api, query: str = "") -> Any:
    answer = await api.get(f"/v2/audit-logs{query}")
    assert answer.status_code == 200
    return answer.json()["results"]


async def numbers(api: Api, query: str) -> list[int]:
    return [entry["audit_id"] for entry in (await listed(api, query))["entries"]]


async def test_an_entry_has_every_field(api: Api) -> None:
    api.world.audit.entries = [ENTRY]

    page = await listed(api)

    assert {name: page[name] for name in ("total_count", "limit", "offset", "has_more")} == {
        "total_count": 1,
        "limit": 50,
        "offset": 0,
        "has_more": False,
    }
    assert page["entries"] == [
        {
            "audit_id": 1,
            "timestamp": "2026-09-21T14:13:20.000Z",
            "actor": "anna",
            "key_id": "k1",
            "address": "192.0.2.7",
            "request_id": "r1",
            "label": None,
            "action": "update",
            "service_id": 7,
            "subject": "Job",
            "before": {"team": "a"},
            "after": {"team": "b"},
            "place": 1,
            "hash": "00" * 32,
        }
    ]


async def test_entries_are_chosen_and_paged_as_the_earlier_system_did(api: Api) -> None:
    fill(api)

    page = await listed(api, "?limit=3&offset=2")
    assert ([entry["audit_id"] for entry in page["entries"]], page["total_count"], page["has_more"]) == (
        [8, 7, 6],
        10,
        True,
    )
    assert not (await listed(api, "?limit=3&offset=7"))["has_more"]
    assert await numbers(api, "?actor=anna&limit=2") == [9, 7]
    assert await numbers(api, "?action=delete") == []
    assert await numbers(api, "?action_type=update&limit=1") == [10]
    assert await numbers(api, "?service_id=8") == []
    assert await numbers(api, "?heartbeat_name=jOb&limit=1") == [10]
    assert await numbers(api, "?start_date=2026-09-21T14:13:20.009Z&end_date=2026-09-21T16:13:20.010%2B02:00") == [
        10,
        9,
    ]
    assert (await listed(api, f"?limit={ENTRIES_MAX + 50}"))["limit"] == ENTRIES_MAX


async def test_a_date_is_all_of_that_day(api: Api) -> None:
    await listed(api, "?start_date=2026-09-21&end_date=2026-09-21")

    [asked] = api.world.audit.asked
    assert (asked.since, asked.until) == (1_789_948_800_000, 1_789_948_800_000 + 86_400_000 - 1)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=ten", "limit"),
        ("offset=-1", "offset"),
        (f"offset={COUNTED_MAX + 1}", "offset"),
        ("service_id=x", "service_id"),
        ("start_date=yesterday", "start_date"),
        ("end_date=9999-12-31T23:59:59.999999-01:00", "end_date"),
        ("end_date=0001-01-01", "end_date"),
        ("team=x", "team"),
    ],
)
async def test_what_cannot_be_meant_is_named(api: Api, query: str, field: str) -> None:
    answer = await api.get(f"/v2/audit-logs?{query}")
    assert answer.status_code == 400
    assert field in faults(answer)


# ----------------------------------------------------------------------------------------------------------------- CSV


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


async def test_all_of_it_is_read_as_csv_in_portions(api: Api) -> None:
    fill(api)

    answer = await api.get("/v2/audit-logs?actor=anna", Accept="text/csv, application/json;q=0.5")

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    head, *lines = rows(answer.text)
    assert head[:4] == ["audit_id", "timestamp", "actor", "key_id"]
    assert [line[0] for line in lines] == ["9", "7", "5", "3", "1"]
    assert lines[0][10:12] == ['{"team": "a"}', '{"team": "b"}']


async def test_a_page_is_read_as_csv_where_one_is_asked_for(api: Api) -> None:
    fill(api)

    answer = await api.get("/v2/audit-logs?limit=2&offset=1", Accept="text/csv")

    assert [line[0] for line in rows(answer.text)[1:]] == ["9", "8"]


async def test_no_spreadsheet_runs_what_somebody_called_himself(api: Api) -> None:
    fill(api, 1)
    api.world.audit.entries.append(replace(ENTRY, audit_id=2, actor='=cmd|"/c calc"!A1', subject="@x", before=None))

    [_, _, line] = rows((await api.get("/v2/audit-logs", Accept="text/csv")).text)

    assert (line[2], line[9], line[10]) == ('\'=cmd|"/c calc"!A1', "'@x", "")


async def test_json_is_the_answer_to_whoever_does_not_want_csv(api: Api) -> None:
    for accept in ("*/*", "text/csv;q=0", "application/json", ""):
        assert (await api.get("/v2/audit-logs", Accept=accept)).headers["content-type"] == "application/json"


# ----------------------------------------------------------------------------------------------------------- snapshots


async def snapshots(api: Api, query: str = "") -> Any:
    return (await api.get(f"/v2/snapshots{query}")).json()["results"]


async def test_a_service_is_restored_once(api: Api) -> None:
    await api.register("Job", team="red", priority="p1")
    await api.post("/service/Job", {"team": "blue", "alert_interval": 9})
    [kept] = (await snapshots(api))["entries"]
    assert set(kept) == {
        "snapshot_id", "service_id", "heartbeat_name", "snapshot_data", "action_type", "actor", "created_at",
        "restored_at", "restored_by",
    }  # fmt: skip
    path = f"/v2/snapshots/{kept['snapshot_id']}"
    assert (await api.get(path)).json()["results"] == kept

    answer = await api.post(f"{path}/restore", X_Actor="ben")

    restored = answer.json()["results"]
    assert (answer.status_code, answer.json()["message"]) == (200, "Snapshot restored.")
    assert (restored["service"]["team"], restored["service"]["alert_interval"]) == ("red", 5)
    assert (restored["restored_by"], restored["service"]["service_id"]) == ("ben", kept["service_id"])
    assert (await api.service("Job"))["team"] == "red"
    again = await api.post(f"{path}/restore")
    assert (again.status_code, "restored before" in again.json()["message"]) == (400, True)
    assert [entry["restored_by"] for entry in (await snapshots(api))["entries"]] == [None, "ben"]


async def test_a_deleted_service_is_restored_unless_its_name_is_taken(api: Api) -> None:
    await api.register("Job", team="red")
    await api.delete("/service/Job")
    [kept] = (await snapshots(api, "?action_type=delete"))["entries"]
    await api.register("jOB", team="other")

    assert (await api.post(f"/v2/snapshots/{kept['snapshot_id']}/restore")).status_code == 409
    await api.delete("/service/Job")
    answer = await api.post(f"/v2/snapshots/{kept['snapshot_id']}/restore")

    assert (answer.status_code, answer.json()["results"]["service"]["team"]) == (200, "red")
    assert (await api.service("Job"))["status"] == "new"


async def test_snapshots_are_paged(api: Api) -> None:
    await api.register("Job")
    for number in range(3):
        await api.post("/service/Job", {"team": f"team {number}"})

    page = await snapshots(api, "?limit=2")

    assert (len(page["entries"]), page["total_count"], page["has_more"]) == (2, 3, True)
    assert (await snapshots(api, "?service_id=12345"))["entries"] == []


async def test_what_is_not_there_is_a_404_and_postgresql_away_a_503(api: Api) -> None:
    for method, path in (
        ("GET", "/v2/snapshots/7"),
        ("POST", "/v2/snapshots/7/restore"),
        ("GET", f"/v2/snapshots/{9**20}"),
    ):
        assert (await api.request(method, path)).status_code == 404
    assert "snapshot_id" in faults(await api.get("/v2/snapshots/seven"))
    api.world.lose_database()
    for path in ("/v2/snapshots", "/v2/snapshots/7", "/v2/audit-logs"):
        assert (await api.get(path)).status_code == 503
    assert (await api.get("/v2/audit-logs", Accept="text/csv")).status_code == 503
