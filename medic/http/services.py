"""`/service`: registration, listing, edits, deletion; and two routes beside it, a test page and the names refused."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog
import trio

from medic.access.keys import ApiKey
from medic.access.limits import Counted
from medic.access.reach import reach_of
from medic.access.restriction import may_see
from medic.core.author import Author
from medic.core.draft import ServiceEdit
from medic.core.names import name_key, normal_name
from medic.core.service import Service
from medic.core.units import InstantMs
from medic.errors import AlertClosedError
from medic.http.answers import Answer, Headers, JsonObject, JsonValue, Stream, listing, success
from medic.http.bodies import Registration, ServiceFields, ServiceUpdate, read_body
from medic.http.call import Call
from medic.http.counting import count
from medic.http.cursor import after_service, read_service_cursor
from medic.http.limits import PAGE_MAX, SERVICES_PER_LOOK, SERVICES_PER_PIECE
from medic.http.narrowing import find_service, require_within
from medic.http.parts import ApiParts
from medic.http.shown import refused_json, service_json

REGISTERED: Final = "Heartbeat successfully registered."
ALREADY_REGISTERED: Final = "Heartbeat is already registered."
UPDATED: Final = "Successfully posted update"
DELETED: Final = "Heartbeat successfully deleted."


@dataclass(frozen=True, slots=True)
class Selection:
    """Which services a listing asks for; None leaves a property open.

    Attributes:
        service_name, team: Exactly this.
        active, muted, down: Whether it is.
        q: A part of the name or of the label, case of A-Z aside.
        key: A key that is restricted: only what it reaches.
    """

    service_name: str | None = None
    team: str | None = None
    active: bool | None = None
    muted: bool | None = None
    down: bool | None = None
    q: str = ""
    key: ApiKey | None = None

    @classmethod
    def of(cls, call: Call) -> Selection:
        """The selection a query asks for.

        Raises:
            InvalidInputError: a parameter is no flag, or none of this route's.
        """
        label, team, key = call.query.get("service_name"), call.query.get("team"), call.caller.key
        return cls(
            service_name=normal_name(label) if label else None,
            team=normal_name(team) if team else None,
            active=call.flag("active"),
            muted=call.flag("muted"),
            down=call.flag("down"),
            q=name_key(normal_name(call.query.get("q", ""))),
            key=key if key is not None and (key.names or key.teams) else None,
        )

    def selects(self, service: Service) -> bool:
        """Whether the listing asks for this service."""
        row = service.row
        return (
            (self.service_name is None or row.service_name == self.service_name)
            and (self.team is None or row.team == self.team)
            and (self.active is None or row.active == self.active)
            and (self.muted is None or (service.mute is not None) == self.muted)
            and (self.down is None or (service.alert is not None) == self.down)
            and (self.q in name_key(row.heartbeat_name) or self.q in name_key(row.service_name))
            and (self.key is None or may_see(self.key, service))
        )


async def list_services(parts: ApiParts, call: Call) -> Answer | Stream:
    """All services asked for, streamed; or one page of them where `limit` or `cursor` is given."""
    selection, limit = Selection.of(call), call.limit
    cursor = call.query.get("cursor")
    if limit is None and cursor is None:
        return Stream(listing(_pieces(parts, selection)))
    after = "" if cursor is None else read_service_cursor(cursor)
    found, more = await _page(parts, selection, after, limit or PAGE_MAX)
    total = len(parts.roster) if selection == Selection() else await _count(parts, selection)
    following = after_service(name_key(found[-1].row.heartbeat_name)) if more else None
    return success(200, "", _shown_all(parts, found), next_cursor=following, total_count=total)


async def show_service(parts: ApiParts, call: Call) -> Answer:
    """A list of one."""
    return success(200, "", [_shown(parts, find_service(parts, call, call.name))])


async def register_service(parts: ApiParts, call: Call) -> Answer:
    """Register, or say how what is registered differs from what was asked for; with `update=1` make it so."""
    update = call.flag("update")
    body = read_body(Registration, call.body)
    body.require_mute()
    draft = body.draft()
    structlog.contextvars.bind_contextvars(heartbeat_name=draft.heartbeat_name)
    require_within(call, draft.heartbeat_name, draft.team)
    taken = parts.roster.find(draft.heartbeat_name)
    stands: Headers = ()
    if taken is None:
        # A fleet registers all of its services at each start: only what is new is counted.
        stands = await count(parts, Counted.MANAGEMENT, call.caller)
    else:
        require_within(call, draft.heartbeat_name, taken.row.team)
    service, is_new = await parts.changes.register(draft, by=call.author)
    if is_new:
        parts.refused.forget_name(draft.heartbeat_name)
        if body.muted:
            service = await _mute(parts, service, body, by=call.author)
        return replace(success(201, REGISTERED, _shown(parts, service)), headers=stands)
    stored = _shown(parts, service)
    wanted = body.wanted()
    differs: dict[str, JsonValue] = {
        name: [stored[name], value] for name, value in wanted.items() if stored[name] != value
    }
    if update and differs:
        stands = await count(parts, Counted.MANAGEMENT, call.caller)
        service = await _apply(parts, service, body, by=call.author, mute="muted" in differs)
    return replace(success(200, ALREADY_REGISTERED, _shown(parts, service), differs=differs), headers=stands)


async def update_service(parts: ApiParts, call: Call) -> Answer:
    """Change any fields of a service but its name."""
    service = find_service(parts, call, call.name)
    body = read_body(ServiceUpdate, call.body)
    body.require_mute()
    if body.team is not None:
        require_within(call, service.row.heartbeat_name, body.team)
    service = await _apply(parts, service, body, by=call.author, mute=body.muted is not None)
    if body.down is not None and service.alert is not None:
        try:
            service = (await parts.changes.resolve(service.alert.alert_id, by=call.author, note="")).service
        except AlertClosedError:
            service = find_service(parts, call, call.name)
    return success(200, UPDATED, _shown(parts, service))


async def delete_service(parts: ApiParts, call: Call) -> Answer:
    """Delete a service; its history keeps name and id."""
    find_service(parts, call, call.name)
    await parts.changes.delete(call.name, by=call.author)
    return success(200, DELETED, "")


async def send_test(parts: ApiParts, call: Call) -> Answer:
    """Send a marked page about the service through the real notifiers, and its resolve."""
    find_service(parts, call, call.name)
    targets = await parts.changes.send_test(call.name, by=call.author)
    told = (
        f"A test page goes to {', '.join(targets)}."
        if targets
        else "There is nobody to tell: no notifier is configured, or MEDIC_NOTIFY is off."
    )
    return success(200, told, {"targets": list(targets)})


async def list_refused(parts: ApiParts, call: Call) -> Answer:
    """Names heard of since the start that are not registered, last heard of first."""
    reach = reach_of(call.caller)
    names = [name for name in parts.refused.names() if reach.covers(name.heartbeat_name, "")]
    shown: list[JsonValue] = [refused_json(name) for name in names[: call.limit or PAGE_MAX]]
    return success(200, "", shown, total_count=len(names))


async def _apply(parts: ApiParts, service: Service, body: ServiceFields, *, by: Author, mute: bool) -> Service:
    """Columns first, because that is what PostgreSQL may refuse; then the mute, which never needs it."""
    name, edit = service.row.heartbeat_name, body.edit()
    if edit != ServiceEdit():
        service = await parts.changes.update(name, edit, by=by)
    if mute and body.muted:
        service = await _mute(parts, service, body, by=by)
    elif mute:
        service = await parts.changes.unmute(name, by=by)
    return service


async def _mute(parts: ApiParts, service: Service, body: ServiceFields, *, by: Author) -> Service:
    duration = parts.defaults.auto_unmute_ms if body.mute_minutes is None else body.mute_minutes
    until = InstantMs(parts.clock.now() + duration) if duration else None
    return await parts.changes.mute(service.row.heartbeat_name, until=until, reason=body.mute_reason or "", by=by)


def _shown(parts: ApiParts, service: Service) -> JsonObject:
    return service_json(service, parts.clock.skew, parts.refused.of_service(service.row.service_id))


def _shown_all(parts: ApiParts, services: Iterable[Service]) -> list[JsonObject]:
    skew = parts.clock.skew
    return [service_json(service, skew, parts.refused.of_service(service.row.service_id)) for service in services]


async def _pieces(parts: ApiParts, selection: Selection) -> AsyncGenerator[Sequence[JsonObject], None]:
    found: list[Service] = []
    for service in _selected(parts, selection, ""):
        if service is not None:
            found.append(service)
        if service is None or len(found) == SERVICES_PER_PIECE:
            yield _shown_all(parts, found)
            found.clear()
            await trio.lowlevel.checkpoint()
    yield _shown_all(parts, found)


async def _page(parts: ApiParts, selection: Selection, after: str, limit: int) -> tuple[list[Service], bool]:
    found: list[Service] = []
    for service in _selected(parts, selection, after):
        if service is None:
            await trio.lowlevel.checkpoint()
        elif len(found) == limit:
            return found, True
        else:
            found.append(service)
    return found, False


async def _count(parts: ApiParts, selection: Selection) -> int:
    count = 0
    for service in _selected(parts, selection, ""):
        if service is None:
            await trio.lowlevel.checkpoint()
        else:
            count += 1
    return count


def _selected(parts: ApiParts, selection: Selection, after: str) -> Iterator[Service | None]:
    """The services asked for; None after each `SERVICES_PER_LOOK` looked at, when it is time to let others run."""
    for looked_at, service in enumerate(parts.roster.services(after), start=1):
        if selection.selects(service):
            yield service
        if looked_at % SERVICES_PER_LOOK == 0:
            yield None
