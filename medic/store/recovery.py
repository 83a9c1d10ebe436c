"""What a start makes of snapshot, journal and PostgreSQL: the services as they were, and what is owed (HARD-CASES H12).

Recovery folds and decides nothing. `step` is not called, no effect arises, nothing is told. Each service begins as
the newest snapshot has it, and takes every record of the journal behind its position there; the two were made by the
same `fold` that the live machine used, so what comes out is what was there. Where there is no snapshot, the states
that the writer has brought to PostgreSQL stand in its place.

PostgreSQL is the truth about which services exist and what their rows say, because every change of an operator
commits there first (H13). The journal may be behind it, by a crash between the commit and the record, or by SQL
while Medic was down. Recovery does not mend that, for mending is deciding. It says what it found, and the caller
tells the actors, which decide as they always do:

* `edited`: the row is newer than the one that was folded. The service keeps the folded one; the row is an edit.
* `strangers`: a row that neither state nor journal knows. A registration.
* `gone`: a service without a row. A deletion; its open alert has to be closed and resolved where it was told.

Without PostgreSQL, snapshot and journal alone are folded: then services exist as they say, and what was changed by SQL
since is learnt when PostgreSQL is back (`medic.store.reconciling`).

After a takeover PostgreSQL has more to say than states: what was heard since they were written, and what was told
(`medic.store.takeover`). These are folded like records of the journal, before it.
"""

from __future__ import annotations

import gc
from bisect import bisect_left
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Final, Protocol

import structlog

from medic.core.blind import SIGHTED_ALWAYS, BlindLog, BlindSpan
from medic.core.effects import (
    Effect,
    RecordBlindSpan,
    RecordHeartbeat,
    RemoveService,
    SettleNotification,
    StoreService,
)
from medic.core.fold import fold, service_from
from medic.core.ledger import NotificationLedger
from medic.core.policy import INTERVAL_MIN_MS, Defaults
from medic.core.service import Service, ServiceRow
from medic.core.status import Status
from medic.core.units import DurationMs, ServiceId
from medic.ports import Entry, Journal, Position, StoredService
from medic.store.snapshot.content import Snapshot
from medic.store.watermark import Mark

_log = structlog.get_logger(__name__)

BEGINNING: Final = Position(0)

READ_RECORDS: Final = 5_000
"""Records folded between two chances for other tasks: some 10 ms."""


VersionOf = Callable[[ServiceId], int | None]
"""The version of a service's row as it is known already, or None."""


class StoredServices(Protocol):
    """What recovery asks of PostgreSQL. Each raises `DatabaseUnavailableError`."""

    def load(self) -> AsyncIterator[Sequence[StoredService]]:
        """Every service with its newest written state."""
        ...

    def load_beyond(self, version_of: VersionOf) -> AsyncIterator[tuple[Sequence[ServiceId], Sequence[StoredService]]]:
        """The ids of all services in slices, and those of each slice whose version is not the known one."""
        ...


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What another Medic wrote, and its states do not say.

    Attributes:
        heard: Heartbeats that are newer than the states.
        told: Records of its notifications.
    """

    heard: AsyncIterable[Sequence[RecordHeartbeat]]
    told: AsyncIterable[Sequence[Effect]]


@dataclass(frozen=True, slots=True)
class Recovered:
    """What is known at the start.

    Attributes:
        services: As they were, those that are gone included.
        ledger: What was decided to be told and has not been told yet.
        blind: The spans of blindness, the newest ones.
        last: The newest moment the journal knows of, or None if it is empty.
        edited: Rows that were committed and have still to be told to their services.
        strangers: Rows of services that have to be registered.
        gone: Services that have to be told of their deletion.
        records: How many records were folded or passed over.
        heard: Services that were heard of since another Medic wrote their state: only in memory, until it is written.
    """

    services: list[Service]
    ledger: NotificationLedger
    blind: BlindLog
    last: Mark | None
    edited: tuple[ServiceRow, ...]
    strangers: tuple[ServiceRow, ...]
    gone: tuple[ServiceId, ...]
    records: int
    heard: tuple[ServiceId, ...] = ()


async def recover(
    stored: StoredServices | None,
    journal: Journal,
    defaults: Defaults,
    *,
    snapshot: Snapshot | None = None,
    inheritance: Inheritance | None = None,
) -> Recovered:
    """Fold everything that is known. Costs some 4 µs a record, and 3 µs a service.

    Garbage is not collected meanwhile, and what was made is frozen at the end (HARD-CASES H8).

    Args:
        stored: PostgreSQL's; None while it is away.
        journal: The directory's; it need not run.
        defaults: The environment's.
        snapshot: The newest one, if there is one. Its ledger goes on as that of what comes out.
        inheritance: What another Medic left, at a takeover.

    Raises:
        DatabaseUnavailableError: PostgreSQL went away meanwhile.
        UnreadableRecordError: a later release wrote the directory or the states.
    """
    recovery = _Recovery(journal.journal_id, defaults, snapshot)
    with garbage_kept():
        if stored is not None:
            await _add_stored(recovery.folding, stored, known=snapshot is not None)
        if inheritance is not None:
            await recovery.inherit(inheritance)
        position = BEGINNING if snapshot is None else snapshot.facts.begun
        while entries := await journal.read_after(position, most=READ_RECORDS):
            recovery.take_all(entries, journal.unreadable)
            position = entries[-1].position
        recovered = recovery.outcome(knows_rows=stored is not None)
    _log.info(
        "recovered",
        services=len(recovered.services),
        records=recovered.records,
        notifications_pending=len(recovered.ledger),
        edited=len(recovered.edited),
        strangers=len(recovered.strangers),
        gone=len(recovered.gone),
        heard=len(recovered.heard),
    )
    return recovered


class _Recovery:
    """What is known so far: services, what is owed, blindness, and the newest moment of all."""

    def __init__(self, journal_id: str, defaults: Defaults, snapshot: Snapshot | None) -> None:
        self.folding = _Folding(journal_id, defaults)
        self._snapshot = snapshot
        self._blind, self._ledger = SIGHTED_ALWAYS, NotificationLedger()
        self._last: Mark | None = None
        self._records = 0
        self._spoilt = 0
        if snapshot is not None:
            self._blind, self._ledger = snapshot.blind, snapshot.ledger
            self._last = Mark(snapshot.facts.at, snapshot.facts.sighted)
            self.folding.add_kept(snapshot.services)

    async def inherit(self, inheritance: Inheritance) -> None:
        """Fold what another Medic left."""
        async for heartbeats in inheritance.heard:
            self.folding.add_heard(heartbeats)
        async for effects in inheritance.told:
            for effect in effects:
                self._ledger.fold(effect)

    def take_all(self, entries: Sequence[Entry], unreadable: Sequence[tuple[Position, Position]]) -> None:
        """Fold the next records, and take the time between the neighbours of each damaged stretch for blind.

        Who was heard of in that time is not known any more, and nobody is to be called late for what we lost.
        """
        for entry in entries:
            effect, spoilt = entry.effect, self._spoilt
            if spoilt < len(unreadable) and unreadable[spoilt][1] < entry.position:
                self._spoilt = bisect_left(unreadable, entry.position, key=itemgetter(1))
                before = self._last
                if before is not None:
                    self._add_blind(BlindSpan(min(before.at, effect.at), effect.at, before.sighted, "damaged"))
            self.take(entry)

    def _add_blind(self, span: BlindSpan) -> None:
        if span not in self._blind.spans:
            self._blind = self._blind.with_span(span)

    def take(self, entry: Entry) -> None:
        """Fold the next record, as far as the snapshot has not got it."""
        effect = entry.effect
        self.folding.fold(entry)
        if self._snapshot is None or not self._snapshot.has_told(entry.position, effect):
            self._ledger.fold(effect)
        if isinstance(effect, RecordBlindSpan):
            self._add_blind(effect.span)
        if self._last is None or effect.sighted >= self._last.sighted:
            self._last = Mark(effect.at, effect.sighted)
        self._records += 1

    def outcome(self, *, knows_rows: bool) -> Recovered:
        """All of it; who is gone only where the rows are known."""
        return Recovered(
            services=self.folding.services(),
            ledger=self._ledger,
            blind=self._blind,
            last=self._last,
            edited=self.folding.edited(),
            strangers=self.folding.strangers(),
            gone=self.folding.gone() if knows_rows else (),
            records=self._records,
            heard=self.folding.heard(),
        )


async def _add_stored(folding: _Folding, stored: StoredServices, *, known: bool) -> None:
    """Add what PostgreSQL has: all of it, or where most is known already, what is not."""
    if not known:
        async for services in stored.load():
            folding.add_stored(services)
        return
    async for ids, services in stored.load_beyond(folding.version_of):
        folding.add_present(ids)
        folding.add_stored(services)


async def recover_one(
    service_id: ServiceId,
    stored: StoredService | None,
    journal: Journal,
    defaults: Defaults,
    *,
    kept: tuple[Service, Position] | None = None,
) -> Service | None:
    """One service as it was, for an actor that crashed; None where it was removed or is not known.

    Reads the journal from the state's position on, or from the beginning where no state of this journal is stored.

    Args:
        service_id: Which one.
        stored: Its newest written state, or None.
        journal: The one it is recorded in.
        defaults: The environment's.
        kept: As the newest snapshot has it, and where that was begun; used where what is stored is older.
    """
    folding = _Folding(journal.journal_id, defaults)
    position = BEGINNING
    if stored is not None and stored.journal_id == journal.journal_id:
        position = Position(stored.service.position)
    if kept is not None and max(kept[0].position, kept[1]) > position:
        folding.add_kept((kept[0],))
        position = Position(max(kept[0].position, kept[1]))
    if stored is not None:
        folding.add_stored((stored,))
    until = journal.durable
    while position < until and (entries := await journal.read_after(position, most=READ_RECORDS)):
        for entry in entries:
            if entry.effect.service_id == service_id:
                folding.fold(entry)
        position = entries[-1].position
    return next(iter(folding.services()), None)


class _Folding:
    """Services in the making."""

    def __init__(self, journal_id: str, defaults: Defaults) -> None:
        self._journal_id = journal_id
        self._defaults = defaults
        self._services: dict[ServiceId, Service] = {}
        # Rows as PostgreSQL has them, of those services that have been folded under another one, or not at all.
        self._committed: dict[ServiceId, ServiceRow] = {}
        self._stored: set[ServiceId] = set()
        self._heard: set[ServiceId] = set()
        # Services that are folded from a state in PostgreSQL, under a row that may be another than the state's.
        self._assumed: set[ServiceId] = set()

    def add_kept(self, services: Iterable[Service]) -> None:
        """Begin with what a snapshot has: each with the row it was folded under."""
        for service in services:
            self._services[service.row.service_id] = service

    def add_present(self, ids: Iterable[ServiceId]) -> None:
        """Know of these that PostgreSQL has them.

        Kept are the integers in the rows there are already: a million others, though let go of soon, would lie between
        what stays, and 25 MB could not be given back.
        """
        services = self._services
        self._stored.update(services[one].row.service_id if one in services else one for one in ids)

    def version_of(self, service_id: ServiceId) -> int | None:
        """The version of the row of a service that is there, or None."""
        service = self._services.get(service_id)
        return None if service is None else service.row.version

    def add_stored(self, services: Iterable[StoredService]) -> None:
        """Begin with what PostgreSQL has; what a snapshot has already is kept as it is."""
        for stored in services:
            service, row = stored.service, stored.service.row
            self._stored.add(row.service_id)
            if row.service_id in self._services:
                self._committed[row.service_id] = row
                continue
            self._assumed.add(row.service_id)
            if not stored.journal_id:
                self._committed[row.service_id] = row
                continue
            if stored.journal_id != self._journal_id:
                service.position = 0
            if _is_behind(service, stored.version):
                self._committed[row.service_id] = row
                self._set_row(service, _row_before(service, stored.version))
            self._services[row.service_id] = service

    def add_heard(self, heartbeats: Iterable[RecordHeartbeat]) -> None:
        """Take heartbeats that came after the states were written, in another Medic's time: they have no position."""
        for heartbeat in heartbeats:
            service = self._services.get(heartbeat.service_id)
            if service is not None:
                fold(service, heartbeat)
                self._heard.add(heartbeat.service_id)

    def fold(self, entry: Entry) -> None:
        """Take the next record."""
        effect = entry.effect
        if isinstance(effect, (SettleNotification, RecordBlindSpan)) or effect.service_id is None:
            return
        service = self._services.get(effect.service_id)
        if service is None:
            if isinstance(effect, StoreService):
                service = service_from(effect, self._defaults)
                service.position = entry.position
                self._services[effect.service_id] = service
            return
        if isinstance(effect, StoreService) and effect.service_id in self._assumed:
            if effect.row.version < service.row.version:
                self._committed.setdefault(effect.service_id, service.row)
            if entry.position <= service.position and effect.row != service.row:
                # The state was folded under this row, or under a later one that comes before its position too.
                self._set_row(service, effect.row)
        if entry.position <= service.position:
            return
        if isinstance(effect, RemoveService):
            del self._services[effect.service_id]
            if effect.service_id in self._stored:
                self._committed.setdefault(effect.service_id, service.row)
            return
        fold(service, effect)
        service.position = entry.position

    def services(self) -> list[Service]:
        """All of them, in no order."""
        return list(self._services.values())

    def edited(self) -> tuple[ServiceRow, ...]:
        """Rows that are newer than what was folded."""
        services = self._services
        return tuple(
            row
            for service_id, row in self._committed.items()
            if service_id in services and services[service_id].row.version < row.version
        )

    def strangers(self) -> tuple[ServiceRow, ...]:
        """Rows without a service."""
        return tuple(row for service_id, row in self._committed.items() if service_id not in self._services)

    def gone(self) -> tuple[ServiceId, ...]:
        """Services without a row."""
        return tuple(service_id for service_id in self._services if service_id not in self._stored)

    def heard(self) -> tuple[ServiceId, ...]:
        """Services of `add_heard`."""
        return tuple(self._heard)

    def _set_row(self, service: Service, row: ServiceRow) -> None:
        service.row = row
        service.policy = row.policy(self._defaults)


def _is_behind(service: Service, version: int | None) -> bool:
    """Whether the state was folded under another row than the one it comes with: by its version, or as it shows."""
    row = service.row
    if version is not None:
        return version < row.version
    threshold = 1 if service.ring is None else len(service.ring)
    return threshold != row.threshold or row.active == (service.status is Status.INACTIVE)


def _row_before(service: Service, version: int | None) -> ServiceRow:
    """A row that the state could have been folded under; the journal replaces it where it has the real one.

    What the promise was is not known then. Any other than the present one does: the edit counts as signs of life, as
    every edit of the promise does, and so pages nobody.
    """
    row = service.row
    another = 1 if row.interval_ms == INTERVAL_MIN_MS else -1
    return replace(
        row,
        version=row.version - 1 if version is None else version,
        active=service.status is not Status.INACTIVE,
        threshold=1 if service.ring is None else len(service.ring),
        interval_ms=DurationMs(row.interval_ms + another),
    )


@contextmanager
def garbage_kept() -> Iterator[None]:
    """No garbage collection within the block; what it made is not looked at again by any."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.collect()
        gc.freeze()
    finally:
        if was_enabled:
            gc.enable()
