"""Name to actor, and the few other ways an actor is found. Everything here is in memory and synchronous.

Beside the two main indexes there are small ones of what is rare: open alerts, mutes, rings, and actors that wait for
an instant people named. All of them follow from the effects of a turn, so a heartbeat that changes nothing but a
deadline costs the directory nothing, and no count is ever made by walking over the services.

Of the two main indexes only the one by name is asked for each heartbeat. It is a dictionary whose keys are the very
strings in the rows; the one by id is a sorted list, 8 bytes an actor where a dictionary has 42.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from sortedcontainers import SortedDict

from medic.actors.actor import Actor
from medic.core.deadline import has_wall_timer
from medic.core.names import name_key
from medic.core.ring import ring_bytes
from medic.core.service import Service
from medic.core.status import Status
from medic.core.units import EventId, ServiceId
from medic.errors import InvariantError


@dataclass(frozen=True, slots=True)
class DirectoryStatistics:
    """How many services there are, by status, and how many of them are muted or have an open alert."""

    services: int
    by_status: dict[Status, int]
    muted: int
    alerts_active: int
    alerts_active_muted: int


class ActorsById:
    """Actors in the order of their ids.

    Looked up by halving: 3 µs among a million, asked some thousand times a second at most, by the writer. An id comes
    in behind all others nearly always; anywhere else costs moving the list's end, at most 8 MB.
    """

    __slots__ = ("_actors",)

    def __init__(self) -> None:
        self._actors: list[Actor] = []

    def __len__(self) -> int:
        return len(self._actors)

    def get(self, service_id: ServiceId) -> Actor | None:
        """The actor of that id."""
        place = bisect_left(self._actors, service_id, key=_id_of)
        if place < len(self._actors) and _id_of(actor := self._actors[place]) == service_id:
            return actor
        return None

    def add(self, actor: Actor) -> None:
        """Take in an actor whose id is not there."""
        service_id = _id_of(actor)
        if self._actors and service_id < _id_of(self._actors[-1]):
            self._actors.insert(bisect_left(self._actors, service_id, key=_id_of), actor)
        else:
            self._actors.append(actor)

    def add_all(self, actors: Sequence[Actor]) -> None:
        """Take in many."""
        self._actors = sorted((*self._actors, *actors), key=_id_of)

    def remove(self, actor: Actor) -> None:
        """Forget an actor that is there."""
        del self._actors[bisect_left(self._actors, _id_of(actor), key=_id_of)]


def _id_of(actor: Actor) -> ServiceId:
    return actor.row.service_id


class Directory:
    """Implements `ports.Roster`. The host is its only writer.

    Attributes:
        key_rules: Grows whenever a service goes, or begins or ceases to need a key (`require_key`).
    """

    def __init__(self) -> None:
        self.key_rules = 0
        self._keyed: set[ServiceId] = set()
        self._by_key: SortedDict[str, Actor] = SortedDict()
        self._by_id = ActorsById()
        self._alerting: dict[ServiceId, EventId] = {}
        self._by_alert: dict[EventId, Actor] = {}
        self._muted: set[ServiceId] = set()
        self._walled: dict[ServiceId, Actor] = {}
        # Thresholds of services with a ring: the policies' own integers, where bytes would be one of 32 bytes each.
        self._thresholds: dict[ServiceId, int] = {}
        self._ring_bytes = 0
        self._status: Counter[Status] = Counter()

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, actor: Actor) -> None:
        """Take in an actor.

        Raises:
            InvariantError: its name or id is taken; the caller has asked PostgreSQL first.
        """
        row = actor.service.row
        key = name_key(row.heartbeat_name)
        if key in self._by_key or self._by_id.get(row.service_id) is not None:
            raise InvariantError(f"service {row.service_id} is registered twice")
        self._by_key[key] = actor
        self._by_id.add(actor)
        self._status[actor.service.status] += 1
        self._index(actor)

    def add_all(self, actors: Sequence[Actor]) -> None:
        """Take in many actors at once, at a start: one sort in place of as many insertions."""
        self._by_key.update((name_key(actor.row.heartbeat_name), actor) for actor in actors)
        self._by_id.add_all(actors)
        for actor in actors:
            self._status[actor.status] += 1
            service = actor.service
            rare = service.alert is not None or service.mute is not None or service.ring is not None
            if rare or service.row.require_key:
                self._index(actor)
        if len(self._by_key) != len(self._by_id):
            raise InvariantError("two services have one name")

    def remove(self, actor: Actor) -> None:
        """Forget an actor; its name is free."""
        row = actor.service.row
        del self._by_key[name_key(row.heartbeat_name)]
        self._by_id.remove(actor)
        self._status[actor.service.status] -= 1
        self._index_alert(actor, row.service_id, None)
        self._index_ring(row.service_id, 1)
        self._muted.discard(row.service_id)
        self._walled.pop(row.service_id, None)
        self._keyed.discard(row.service_id)
        self.key_rules += 1

    def note(self, actor: Actor, previous: Status) -> None:
        """Follow an actor through a turn that did more than record a heartbeat; it had the status `previous` before."""
        if not self.holds(actor):
            return
        if actor.status is not previous:
            self._status[previous] -= 1
            self._status[actor.status] += 1
        self._index(actor)

    def replace(self, actor: Actor, service: Service) -> None:
        """Give an actor the state that was rebuilt for it."""
        self._status[actor.service.status] -= 1
        actor.become(service)
        self._status[service.status] += 1
        self._index(actor)

    def holds(self, actor: Actor) -> bool:
        """Whether the actor is still one of these: it may have been removed while its caller waited."""
        return self.actor(actor.row.heartbeat_name) is actor

    def actor(self, name: str) -> Actor | None:
        """The actor of that name, case of A-Z aside."""
        # Most names are written as their key: then there is no need to work it out.
        actor: Actor | None = self._by_key.get(name)
        if actor is None:
            actor = self._by_key.get(name_key(name))
        return actor

    def actor_by_id(self, service_id: ServiceId) -> Actor | None:
        """The actor of that id."""
        return self._by_id.get(service_id)

    def actor_by_alert(self, alert_id: EventId) -> Actor | None:
        """The actor whose open alert has this id."""
        return self._by_alert.get(alert_id)

    def ring_bytes_without(self, service_id: ServiceId | None) -> int:
        """What the rings of all services with a threshold above 1 cost, but for one of them."""
        return self._ring_bytes - (0 if service_id is None else ring_bytes(self._thresholds.get(service_id, 1)))

    def walled(self) -> Sequence[Actor]:
        """The actors that wait for an instant of wall time."""
        return tuple(self._walled.values())

    def find(self, name: str) -> Service | None:
        """The service of that name, case of A-Z aside."""
        actor = self.actor(name)
        return None if actor is None else actor.service

    def by_id(self, service_id: ServiceId) -> Service | None:
        """The service of that id."""
        actor = self._by_id.get(service_id)
        return None if actor is None else actor.service

    def in_order(self, service_id: ServiceId) -> Service | None:
        """The service of that id, unless its actor crashed and is being rebuilt: then nothing in it can be believed."""
        actor = self._by_id.get(service_id)
        return None if actor is None or actor.rare.mailbox is not None else actor.service

    def by_alert(self, alert_id: EventId) -> Service | None:
        """The service whose open alert has this id."""
        actor = self._by_alert.get(alert_id)
        return None if actor is None else actor.service

    def services(self, after: str = "") -> Iterator[Service]:
        """The services in order of their key, from the first key greater than `after`.

        The iterator stays valid while services come and go between two of its steps: it looks its place up again by key
        after each `_SLICE` services.
        """
        while True:
            keys = list(islice(self._by_key.irange(minimum=after, inclusive=(False, True)), _SLICE))
            for key in keys:
                actor = self._by_key.get(key)
                if actor is not None:
                    yield actor.service
            if len(keys) < _SLICE:
                return
            after = keys[-1]

    def open_alerts(self) -> Sequence[Service]:
        """The services with an open alert, oldest alert first."""
        services = [actor.service for actor in self._by_alert.values()]
        return sorted(services, key=lambda service: service.alert.opened_at if service.alert else 0)

    def statistics(self) -> DirectoryStatistics:
        """Counts for metrics and the start line."""
        return DirectoryStatistics(
            services=len(self._by_id),
            by_status={status: self._status[status] for status in Status},
            muted=len(self._muted),
            alerts_active=len(self._by_alert),
            alerts_active_muted=len(self._muted & self._alerting.keys()),
        )

    def _index(self, actor: Actor) -> None:
        """Let the small indexes say what is so now. In a burst nearly nothing of it is new but an alert."""
        service_id = actor.row.service_id
        alert_id = None if actor.alert is None else actor.alert.alert_id
        if alert_id != self._alerting.get(service_id):
            self._index_alert(actor, service_id, alert_id)
        if actor.rare.mute is None:
            self._muted.discard(service_id)
        else:
            self._muted.add(service_id)
        if has_wall_timer(actor):
            self._walled[service_id] = actor
        else:
            self._walled.pop(service_id, None)
        threshold = 1 if actor.ring is None else actor.policy.threshold
        if threshold != self._thresholds.get(service_id, 1):
            self._index_ring(service_id, threshold)
        if actor.row.require_key is not (service_id in self._keyed):
            self._keyed ^= {service_id}
            self.key_rules += 1

    def _index_alert(self, actor: Actor, service_id: ServiceId, alert_id: EventId | None) -> None:
        known = self._alerting.pop(service_id, None)
        if known is not None:
            del self._by_alert[known]
        if alert_id is not None:
            self._alerting[service_id] = alert_id
            self._by_alert[alert_id] = actor

    def _index_ring(self, service_id: ServiceId, threshold: int) -> None:
        self._ring_bytes += ring_bytes(threshold) - ring_bytes(self._thresholds.pop(service_id, 1))
        if threshold != 1:
            self._thresholds[service_id] = threshold


_SLICE = 500
"""Keys looked up at once while listing: under a millisecond between two chances to give way."""
