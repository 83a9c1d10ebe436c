"""`/v2/services/{service_id}/availability`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medic.access.mode import AuthMode
from medic.access.scope import Scope
from medic.core.units import DAY_MS
from medic.http.availability import WINDOW_MAX_DAYS
from tests.contract.http_api import Api, faults
from tests.fakes.records import AVAILABILITY, OUTAGES

PATH = "/v2/services/7/availability"
FROM = 1_748_736_000_000
"""2025-06-01T00:00Z, long before the world's clock."""


@pytest.fixture
async def known(api: Api) -> Api:
    """With a record of service 7, on one day of 2025."""
    api.world.records.names[7] = ("Pay", "core")
    api.world.records.outages = tuple(
        replace(one, begins=FROM + one.begins, ends=None if one.ends is None else FROM + one.ends) for one in OUTAGES
    )
    return api


async def test_it_says_how_the_service_was(known: Api) -> None:
    answer = await known.get(f"{PATH}?from=2025-06-01&to=2025-06-01")

    assert answer.status_code == 200
    assert answer.json() == {
        "success": True,
        "message": "",
        "results": {
            "service_id": 7,
            "heartbeat_name": "Pay",
            "service_name": "owner",
            "team": "core",
            "from": "2025-06-01T00:00:00.000Z",
            "to": "2025-06-02T00:00:00.000Z",
            "availability": 0.916672454,
            "watched_seconds": 86_400,
            "up_seconds": 79_200.5,
            "late_seconds": 3_600,
            "reported_seconds": 3_599.5,
            "muted_seconds": 0,
            "heartbeats": {
                "UP": 7, "DOWN": 0, "DEGRADED": 0, "STARTED": 0, "COMPLETED": 0, "FAILED": 0, "OTHER": 1
            },
            "outages_count": 2,
            "outages": [
                {
                    "alert_id": 12, "reason": "reported_down", "from": "2025-06-01T23:00:00.000Z", "to": None,
                    "seconds": 3_600, "muted": 0,
                },
                {
                    "alert_id": 11, "reason": "late", "from": "2025-05-31T23:00:00.000Z",
                    "to": "2025-06-01T01:00:00.000Z", "seconds": 3_600, "muted": 1,
                },
            ],
            "outages_kept_from": None,
        },
    }  # fmt: skip


async def test_nothing_watched_has_no_availability(known: Api) -> None:
    known.world.records.availability = replace(AVAILABILITY, watched=0, up=0, late=0, reported=0)
    known.world.records.outages_from = FROM

    results = (await known.get(f"{PATH}?from=2025-06-01&to=2025-06-01")).json()["results"]

    assert (results["availability"], results["outages_kept_from"]) == (None, "2025-06-01T00:00:00.000Z")


async def test_the_window_ends_now_at_the_latest_and_begins_a_month_before_where_nothing_is_said(known: Api) -> None:
    now = known.world.clock.now()
    assert (await known.get(PATH)).status_code == 200
    assert (await known.get(f"{PATH}?to=9000-01-01&from=2025-06-01T01:00:00%2B01:00")).status_code == 200

    (_, month), (_, cut) = known.world.records.asked

    assert month.ends - month.begins == 30 * DAY_MS
    assert 0 <= month.ends - now < DAY_MS
    assert (cut.begins, cut.ends >= month.ends) == (FROM, True)
    assert cut.ends < FROM + WINDOW_MAX_DAYS * DAY_MS


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=yesterday", "from"),
        ("to=2026-13-01", "to"),
        ("from=2026-01-02&to=2026-01-01", "from"),
        ("from=9000-01-01", "from"),
        ("from=1990-01-01&to=2026-01-01", "from"),
        ("since=2026-01-01", "since"),
    ],
)
async def test_a_window_that_is_none_is_refused(known: Api, query: str, field: str) -> None:
    answer = await known.get(f"{PATH}?{query}")
    assert answer.status_code == 400
    assert list(faults(answer)) == [field]


@pytest.mark.parametrize("service_id", [8, 1 << 60, 10**31])
async def test_a_service_that_never_was_is_not_found(known: Api, service_id: int) -> None:
    answer = await known.get(f"/v2/services/{service_id}/availability")
    assert answer.status_code == 404
    assert (await known.get("/v2/services/pay/availability")).status_code == 400


async def test_a_restricted_key_sees_its_own(known: Api) -> None:
    known.world.ask_for_keys(AuthMode.KEYS)
    asked = []
    for restriction in ({"teams": ("core",)}, {"teams": ("others",)}, {"names": ("p*",)}, {"names": ("x*",)}):
        key = known.world.key(Scope.READ, **restriction)
        asked.append((await known.get(PATH, Authorization=f"Bearer {key}")).status_code)
    assert asked == [200, 404, 200, 404]
    assert (await known.get(PATH)).status_code == 401


async def test_without_postgresql_nothing_is_said(known: Api) -> None:
    known.world.lose_database()
    answer = await known.get(PATH)
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
