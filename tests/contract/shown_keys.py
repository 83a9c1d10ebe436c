"""What tests of who may do what have in common: forms of a heartbeat, keys as they are shown, what was counted."""

from __future__ import annotations

from dataclasses import replace

from medic.access.keys import ApiKey
from tests.contract.http_api import Api, Way, open_api, open_lane

BOTH_WAYS: dict[str, Way] = {"quart": open_api, "lane": open_lane}

SENT = [
    ("POST", "/heartbeat", {"heartbeat_name": "job", "status": "UP"}),
    ("POST", "/v2/heartbeats", [{"heartbeat_name": "job", "status": "UP"}]),
    ("GET", "/heartbeat/job", None),
    ("HEAD", "/heartbeat/job", None),
    ("POST", "/heartbeat/job", None),
]
"""The forms of a heartbeat."""


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def failures(api: Api) -> dict[str, int]:
    return api.world.meter.statistics().auth_failures


def refused(api: Api) -> dict[str, int]:
    return api.world.meter.statistics().heartbeats_refused


def beats(api: Api, name: str = "job") -> int:
    service = api.world.directory.find(name)
    assert service is not None
    return service.heartbeats_total


def changed(key: ApiKey, **fields: object) -> ApiKey:
    """The key with other fields."""
    return replace(key, **fields)  # type: ignore[arg-type]
