"""What a snapshot holds, section by section, and how it is read back whole.

A snapshot is fuzzy: it is written in slices while heartbeats come in, so its services are not of one instant. Each has
the position of its newest record, and each piece of the ledger the position at which it was copied; `begun` is where
the journal ended when the first slice was taken. Whoever folds the journal behind `begun` passes over what a service or
a piece has already, and comes out where the live machine was. Nothing has to stand still for that.

What is registered behind `begun` is in the journal; what was removed before its slice came is not in the snapshot, and
its records behind `begun` meet nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson
import trio
from pydantic import TypeAdapter, ValidationError

from medic.core.blind import SIGHTED_ALWAYS, BlindLog
from medic.core.effects import Effect, Notify, SettleNotification
from medic.core.ledger import NotificationLedger, Telling
from medic.core.policy import Defaults
from medic.core.service import Service
from medic.core.units import EventId, InstantMs, ServiceId, SightedMs
from medic.errors import UnreadableRecordError
from medic.ports import Position
from medic.store.snapshot.layout import DamagedSnapshotError, read_blocks
from medic.store.snapshot.services import ServiceReader

FACTS: Final = b"facts"
BLIND: Final = b"blind"
LEDGER: Final = b"ledger"
SERVICES: Final = b"services"
CLOSING: Final = b"closing"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a snapshot says of itself: whose it is, and where and when it was begun."""

    journal_id: str
    shard: int
    begun: Position
    at: InstantMs
    sighted: SightedMs


@dataclass(frozen=True, slots=True)
class Closing:
    """What is known at the end of a snapshot: no position in it is beyond `newest`."""

    newest: Position
    services: int


@dataclass(frozen=True, slots=True)
class CopiedTelling:
    """A piece of the ledger, and the position up to which it has every record."""

    position: Position
    telling: Telling


_FACTS: Final = TypeAdapter(Facts)
_BLIND: Final = TypeAdapter(BlindLog)
_CLOSING: Final = TypeAdapter(Closing)
_TELLINGS: Final = TypeAdapter(tuple[CopiedTelling, ...])


@dataclass(slots=True)
class Snapshot:
    """A snapshot as it was read. Made by `read_snapshot`."""

    facts: Facts
    newest: Position
    services: list[Service] = field(default_factory=list)
    blind: BlindLog = SIGHTED_ALWAYS
    ledger: NotificationLedger = field(default_factory=NotificationLedger)
    _told_until: dict[str | EventId, Position] = field(default_factory=dict)

    def restore(self, copied: CopiedTelling) -> None:
        """Take a piece of the ledger."""
        telling = copied.telling
        self.ledger.restore(telling)
        if telling.alert_id is not None:
            self._told_until[telling.alert_id] = copied.position
        for notification in telling.pending:
            self._told_until[notification.notification_id] = copied.position

    def has_told(self, position: Position, effect: Effect) -> bool:
        """Whether the ledger was copied with this record of the journal in it."""
        if isinstance(effect, Notify):
            one, alert_id = effect.notification.notification_id, effect.notification.alert_id
            until = self._told_until.get(one if alert_id is None else alert_id, 0)
        elif isinstance(effect, SettleNotification):
            until = self._told_until.get(effect.notification_id, 0)
        else:
            return False
        return position <= until


def pack_facts(facts: Facts) -> bytes:
    """The payload of section `facts`."""
    return orjson.dumps(facts)


def pack_blind(blind: BlindLog) -> bytes:
    """The payload of section `blind`."""
    return orjson.dumps(blind)


def pack_tellings(tellings: Iterable[CopiedTelling]) -> bytes:
    """The payload of a block of section `ledger`. Costs some 2 µs a piece."""
    return orjson.dumps(list(tellings))


def pack_closing(closing: Closing) -> bytes:
    """The payload of section `closing`, the last one."""
    return orjson.dumps(closing)


async def read_snapshot(path: Path, defaults: Defaults) -> Snapshot:
    """The whole of it. Costs some 6 µs a service; other tasks run between two blocks.

    Raises:
        DamagedSnapshotError: it is not whole.
        UnreadableRecordError: a later release wrote it.
        OSError: it cannot be read.
    """
    reader = ServiceReader(defaults)
    snapshot: Snapshot | None = None
    closing: Closing | None = None
    for section, payload in read_blocks(path):
        try:
            if snapshot is None:
                snapshot = Snapshot(_FACTS.validate_json(payload, strict=True), newest=Position(0))
            elif section == SERVICES:
                snapshot.services += reader.unpack(payload)
            elif section == LEDGER:
                for copied in _TELLINGS.validate_json(payload, strict=True):
                    snapshot.restore(copied)
            elif section == BLIND:
                snapshot.blind = _BLIND.validate_json(payload, strict=True)
            elif section == CLOSING:
                closing = _CLOSING.validate_json(payload, strict=True)
        except ValidationError as error:
            raise UnreadableRecordError(f"a snapshot with an unknown form of its {section.decode()}") from error
        await trio.lowlevel.checkpoint()
    if snapshot is None or closing is None or closing.services != len(snapshot.services):
        raise DamagedSnapshotError("something is missing in it")
    snapshot.newest = closing.newest
    return snapshot


def find_service(
    path: Path, service_id: ServiceId, journal_id: str, defaults: Defaults
) -> tuple[Service, Position] | None:
    """One service of a snapshot of that journal, and where it was begun; or None. Blocks; 20 µs a thousand services.

    Raises:
        DamagedSnapshotError, UnreadableRecordError, OSError: as `read_snapshot`.
    """
    reader = ServiceReader(defaults)
    begun = Position(0)
    for section, payload in read_blocks(path):
        if section == FACTS:
            facts = _FACTS.validate_json(payload, strict=True)
            if facts.journal_id != journal_id:
                return None
            begun = facts.begun
        elif section == SERVICES and reader.has(payload, service_id):
            service = next(service for service in reader.unpack(payload) if service.row.service_id == service_id)
            return service, begun
    return None
