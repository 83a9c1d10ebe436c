"""`/v2/keys`: API keys, and which services still do without."""

from __future__ import annotations

from typing import Final

import trio

from medic.access.keys import ApiKey
from medic.access.uses import COVERAGE_DAYS, Day
from medic.core.names import name_key
from medic.core.service import Service
from medic.core.units import DAY_MS, InstantMs, isoformat
from medic.http.answers import Answer, JsonObject, JsonValue, success
from medic.http.bodies import read_body
from medic.http.call import Call
from medic.http.cursor import after_service, read_service_cursor
from medic.http.key_bodies import KeyBody, RotationBody
from medic.http.limits import PAGE_MAX, SERVICES_PER_LOOK
from medic.http.parts import ApiParts
from medic.http.refusals import refuse_framework

CREATED: Final = "API key created. Keep it now: it is not shown again."
ROTATED: Final = "API key rotated. Keep the new one now: it is not shown again."
REVOKED: Final = "API key revoked."
COVERAGE: Final = f"Services heard without a key in the last {COVERAGE_DAYS} days."

WORKING: Final = "working"


async def create_key(parts: ApiParts, call: Call) -> Answer:
    """Make a key. The answer is the only one that ever holds it."""
    draft = read_body(KeyBody, call.body).draft()
    key, text = await parts.keys.create(draft, author=call.author)
    return success(201, CREATED, {**_shown(parts, key), "key": text})


async def list_keys(parts: ApiParts, call: Call) -> Answer:  # noqa: ARG001 - one signature for all views
    """All keys, without their secrets."""
    keys = parts.keys.all()
    shown: list[JsonValue] = []
    for key in keys:
        shown.append(_shown(parts, key))
        if len(shown) % SERVICES_PER_LOOK == 0:
            await trio.lowlevel.checkpoint()
    return success(200, "", shown, total_count=len(keys))


async def rotate_key(parts: ApiParts, call: Call) -> Answer:
    """Give a key its next secret; the one before works on for a while."""
    body = read_body(RotationBody, call.body or b"{}")
    key, text = await parts.keys.rotate(call.text("key_id"), body.overlap_hours, author=call.author)
    return success(200, ROTATED, {**_shown(parts, key), "key": text})


async def revoke_key(parts: ApiParts, call: Call) -> Answer:
    """Revoke a key, from now on and for ever."""
    key_id = call.text("key_id")
    if key_id == "coverage":  # a path of its own, which has no DELETE; no key has such an id
        return refuse_framework(405, path="/v2/keys/coverage", limit=0, allow="GET, HEAD, OPTIONS")
    if not call.flag("force"):
        parts.keys.require_other_admin(key_id)
    key = await parts.keys.revoke(key_id, author=call.author)
    return success(200, REVOKED, _shown(parts, key))


async def show_coverage(parts: ApiParts, call: Call) -> Answer:
    """The services heard without a key lately, by name: those that have to be taught before keys can be required."""
    cursor, limit = call.query.get("cursor"), call.limit or PAGE_MAX
    after = "" if cursor is None else read_service_cursor(cursor)
    found: list[tuple[Service, Day]] = []
    total = 0
    for looked_at, service in enumerate(parts.roster.services(), start=1):
        day = parts.keys.keyless_on(service.row.service_id)
        if day is not None:
            total += 1
            if len(found) <= limit and name_key(service.row.heartbeat_name) > after:
                found.append((service, day))
        if looked_at % SERVICES_PER_LOOK == 0:
            await trio.lowlevel.checkpoint()
    page = found[:limit]
    following = after_service(name_key(page[-1][0].row.heartbeat_name)) if len(found) > limit else None
    shown: list[JsonValue] = [_keyless_json(service, day) for service, day in page]
    return success(200, COVERAGE, shown, next_cursor=following, total_count=total)


def _shown(parts: ApiParts, key: ApiKey) -> JsonObject:
    use = parts.keys.last_use(key.key_id)
    return {
        "key_id": key.key_id,
        "name": key.name,
        "scopes": sorted(scope.value for scope in key.scopes),
        "names": list(key.names),
        "teams": list(key.teams),
        "state": key.fault_at(parts.clock.now()) or WORKING,
        "date_added": isoformat(key.date_added),
        "added_by": key.added_by or None,
        "expires_at": _time(key.expires_at),
        "rotated_at": _time(key.rotated_at),
        "former_until": _time(key.former_until),
        "revoked_at": _time(key.revoked_at),
        "last_used_at": None if use is None else isoformat(use.at),
        "last_used_from": None if use is None else use.address or None,
    }


def _keyless_json(service: Service, day: Day) -> JsonObject:
    row = service.row
    return {
        "service_id": row.service_id,
        "heartbeat_name": row.heartbeat_name,
        "service_name": row.service_name,
        "team": row.team,
        "last_day_without_key": isoformat(InstantMs(day * DAY_MS))[:10],
        "require_key": int(row.require_key),
    }


def _time(instant: InstantMs | None) -> str | None:
    return None if instant is None else isoformat(instant)
