"""Remembers heartbeats that were refused, so that an operator can ask why a service is silent.

Two small memories, both bounded and both lost at a restart: names heard of that are not registered (a typing error in a
job's configuration looks like that), and for each registered service its newest refusal.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from medic.core.names import name_key
from medic.core.units import InstantMs, ServiceId
from medic.http.limits import REFUSED_NAMES_MAX

NOT_REGISTERED: Final = "not_registered"
INACTIVE: Final = "inactive"
UNAVAILABLE: Final = "unavailable"
INVALID: Final = "invalid"
TOO_LARGE: Final = "too_large"
UNAUTHORIZED: Final = "unauthorized"
FORBIDDEN: Final = "forbidden"
RATE_LIMITED: Final = "rate_limited"
"""Why a heartbeat was refused; also the label `reason` of `medic_heartbeats_refused_total`."""


@dataclass(frozen=True, slots=True)
class RefusedName:
    """A name heard of that is not registered: as last sent, how often since the start, from where, first and last."""

    heartbeat_name: str
    count: int
    address: str
    first_at: InstantMs
    last_at: InstantMs


@dataclass(frozen=True, slots=True)
class ServiceRefusal:
    """Why a registered service's newest refused heartbeat was refused."""

    at: InstantMs
    reason: str
    address: str


class RefusedHeartbeats:
    """Both memories. Beyond `most` entries each forgets what it has not heard of for longest."""

    def __init__(self, *, most: int = REFUSED_NAMES_MAX) -> None:
        self._most = most
        self._names: OrderedDict[str, RefusedName] = OrderedDict()
        self._services: OrderedDict[ServiceId, ServiceRefusal] = OrderedDict()

    def note_unknown(self, name: str, *, address: str, at: InstantMs) -> None:
        """A heartbeat came for a name that is not registered."""
        key = name_key(name)
        known = self._names.pop(key, None)
        count, first_at = (1, at) if known is None else (known.count + 1, known.first_at)
        self._names[key] = RefusedName(name, count, address, first_at, at)
        if len(self._names) > self._most:
            self._names.popitem(last=False)

    def note_refusal(self, service_id: ServiceId, reason: str, *, address: str, at: InstantMs) -> None:
        """A heartbeat of a registered service was refused."""
        self._services.pop(service_id, None)
        self._services[service_id] = ServiceRefusal(at, reason, address)
        if len(self._services) > self._most:
            self._services.popitem(last=False)

    def forget_name(self, name: str) -> None:
        """The name was registered: it is no longer unknown."""
        self._names.pop(name_key(name), None)

    def names(self) -> Sequence[RefusedName]:
        """The unknown names, last heard of first."""
        return tuple(reversed(self._names.values()))

    def of_service(self, service_id: ServiceId) -> ServiceRefusal | None:
        """The newest refusal of a registered service."""
        return self._services.get(service_id)
