"""Recovery against the life it has to bring back: whatever happened, after any turn, whichever states were written.

A few services live through random events. Then Medic is taken to have died after some turn, with the journal up to
there; PostgreSQL has a state of some services, written after any earlier turn, and rows that may be one edit newer.
What recovery makes of that must be what lived, field by field. Or there is a snapshot, begun after any earlier turn
and fuzzy: each service and each piece of the ledger was copied after another turn between that and the death.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio
from hypothesis import given
from hypothesis import strategies as st

from medic.core.author import Author
from medic.core.blind import SIGHTED_ALWAYS, BlindSpan
from medic.core.deadline import next_deadline
from medic.core.draft import ServiceDraft
from medic.core.effects import Effect, Notify, RecordBlindSpan, SettleNotification
from medic.core.events import (
    AcknowledgeRequested,
    DeadlineExpired,
    HeartbeatLimited,
    HeartbeatReceived,
    MuteRequested,
    ResolveRequested,
    ServiceChanged,
    ServiceDeleted,
    TestRequested,
    UnmuteRequested,
)
from medic.core.heartbeat_words import kind_of
from medic.core.ledger import NotificationLedger
from medic.core.policy import Defaults
from medic.core.service import Service, ServiceRow
from medic.core.status import Outcome
from medic.core.step import register, step
from medic.ports import StoredService
from medic.store.codec import pack_state, unpack_state
from medic.store.journal.memory_journal import MemoryJournal
from medic.store.recovery import recover, recover_one
from medic.store.snapshot.content import (
    BLIND,
    CLOSING,
    FACTS,
    LEDGER,
    SERVICES,
    Closing,
    CopiedTelling,
    Facts,
    Snapshot,
    pack_blind,
    pack_closing,
    pack_facts,
    pack_tellings,
    read_snapshot,
)
from medic.store.snapshot.layout import BlockWriter
from medic.store.snapshot.services import pack_services

NOW = 1_790_000_000_000
MINUTE = 60_000
DEFAULTS = Defaults(first_heartbeat_ms=0)
TARGETS = ("pagerduty", "slack")


def slots(service: Service) -> dict[str, object]:
    values = {name: getattr(service, name) for name in Service.__slots__}
    ring = service.ring
    shown = None if ring is None else (tuple(ring), tuple(ring.marks or ()))
    return values | {"ring": shown}


@dataclass(frozen=True)
class Moment:
    """Everything as it was after one turn."""

    position: int
    services: dict[int, dict[str, object]]
    states: dict[int, bytes]
    rows: dict[int, ServiceRow]
    pending: tuple[object, ...]
    reached_nobody: tuple[int, ...]
    delivered: dict[int, dict[str, str]]
    blind: object
    last: tuple[int, int]


@dataclass
class Life:
    """Services, the journal they are recorded in, and a clock."""

    journal: MemoryJournal = field(default_factory=MemoryJournal)
    services: dict[int, Service] = field(default_factory=dict)
    ledger: NotificationLedger = field(default_factory=NotificationLedger)
    blind: object = SIGHTED_ALWAYS
    at: int = NOW
    sighted: int = NOW
    drawn: int = 1_000
    moments: list[Moment] = field(default_factory=list)
    turns: list[tuple[Effect, ...]] = field(default_factory=list)

    def draw(self) -> int:
        self.drawn += 1
        return self.drawn

    def append(self, *effects: Effect) -> int:
        """One turn."""
        self.turns.append(effects)
        for effect in effects:
            self.ledger.fold(effect)
        return self.journal.append_turn_nowait(effects)

    def carry(self, service: Service, effects) -> None:
        addressed = [
            replace(effect, notification=replace(effect.notification, targets=TARGETS))
            if isinstance(effect, Notify)
            else effect
            for effect in effects
        ]
        if addressed:
            service.position = self.append(*addressed)

    def register(self, service_id: int, threshold: int) -> None:
        if service_id in self.services:
            return
        draft = ServiceDraft(
            heartbeat_name=f"s-{service_id}", service_name="s", interval_ms=5 * MINUTE, threshold=threshold
        )
        # Ids are never used again: a service that is registered anew is another one.
        row = draft.row(service_id, self.at, "Ann")
        service, effects = register(row, DEFAULTS, at=self.at, sighted=self.sighted)
        self.services[service_id] = service
        self.carry(service, effects)

    def tell(self, service_id: int, event) -> None:
        service = self.services.get(service_id)
        if service is None:
            return
        self.carry(service, step(service, event))
        if isinstance(event, ServiceDeleted):
            del self.services[service_id]

    def act(self, action) -> None:
        word, service_id, value = action
        times = {"at": self.at, "sighted": self.sighted}
        match word:
            case "pass":
                self.at += value
                self.sighted += value
            case "beat":
                status = ("UP", "DOWN", "FAILED", "DEGRADED", "STARTED", "COMPLETED", "läuft")[value % 7]
                # One in three is sent twice, and then with an hour-old time of its own.
                key = f"k{value % 2}" if value % 3 == 0 else None
                # One in five is over its service's limit.
                kind = HeartbeatReceived if value % 5 else HeartbeatLimited
                event = kind(**times, event_id=self.draw(), kind=kind_of(status), status=status, key=key)
                self.tell(service_id, event)
                if key is None:
                    return
                event = replace(event, event_id=self.draw(), said_at=self.at - 60 * MINUTE if value % 2 else None)
                self.tell(service_id, event)
            case "expire":
                self.expire(service_id)
            case "edit":
                self.edit(service_id, value)
            case "mute":
                until = None if value % 2 else self.at + value
                self.tell(service_id, MuteRequested(**times, until=until, reason="r", by=Author("Ann")))
            case "unmute":
                self.tell(service_id, UnmuteRequested(**times, event_id=self.draw(), by=Author("Bob")))
            case "acknowledge":
                self.tell(service_id, AcknowledgeRequested(**times, by=Author("Bob"), note="n"))
            case "resolve":
                self.tell(service_id, ResolveRequested(**times, by=Author("Bob")))
            case "test":
                self.tell(service_id, TestRequested(**times, event_id=self.draw(), by=Author("Bob")))
            case "delete":
                self.tell(service_id, ServiceDeleted(**times, by=Author("Bob")))
            case "settle":
                self.settle(value)
            case "blind":
                self.go_blind(value)

    def expire(self, service_id: int) -> None:
        service = self.services.get(service_id)
        due = None if service is None else next_deadline(service, self.at - self.sighted)
        if due is None:
            return
        passed = max(0, due - self.sighted)
        self.at, self.sighted = self.at + passed, self.sighted + passed
        event = DeadlineExpired(self.at, self.sighted, self.draw(), armed_for=due, blind=self.blind)
        self.tell(service_id, event)

    def edit(self, service_id: int, value: int) -> None:
        service = self.services.get(service_id)
        if service is not None:
            row = edited(service.row, value)
            self.tell(service_id, ServiceChanged(self.at, self.sighted, self.draw(), row))

    def settle(self, value: int) -> None:
        pending = self.ledger.pending()
        if not pending:
            return
        notification = pending[value % len(pending)]
        self.append(
            SettleNotification(
                at=self.at,
                sighted=self.sighted,
                notification_id=notification.notification_id,
                service_id=notification.service_id,
                target=notification.targets[value % len(notification.targets)],
                outcome=(Outcome.DELIVERED, Outcome.GIVEN_UP)[value % 2],
                attempts=1,
            )
        )

    def go_blind(self, value: int) -> None:
        span = BlindSpan(begun_at=self.at, ended_at=self.at + value, sighted=self.sighted, cause="stopped")
        self.at, self.sighted = self.at + value, self.sighted + 1
        self.append(RecordBlindSpan(at=self.at, sighted=self.sighted, span=span))
        self.blind = self.blind.with_span(span)

    def remember(self) -> None:
        effects = self.journal.effects()
        self.moments.append(
            Moment(
                position=self.journal.newest,
                services={key: slots(service) for key, service in self.services.items()},
                states={key: pack_state(service) for key, service in self.services.items()},
                rows={key: service.row for key, service in self.services.items()},
                pending=self.ledger.pending(),
                reached_nobody=tuple(
                    service.alert.alert_id
                    for service in self.services.values()
                    if service.alert is not None and self.ledger.reached_nobody(service.alert.alert_id)
                ),
                delivered={
                    service.alert.alert_id: dict(self.ledger.delivered(service.alert.alert_id))
                    for service in self.services.values()
                    if service.alert is not None
                },
                blind=self.blind,
                last=max(((effect.sighted, effect.at) for effect in effects), default=(0, 0)),
            )
        )


def edited(row: ServiceRow, value: int) -> ServiceRow:
    columns = (
        {"threshold": 1 + value % 4},
        {"interval_ms": MINUTE * (1 + value % 3)},
        {"active": not row.active},
        {"priority": f"p{1 + value % 5}"},
        {"team": f"team {value}"},
    )[value % 5]
    return replace(row, **columns, version=row.version + 1, date_modified=NOW, changed_by="Ann")


WORDS = ("pass", "beat", "beat", "beat", "expire", "expire", "edit", "mute", "unmute", "acknowledge", "resolve", "test")
actions = st.lists(
    st.tuples(
        st.sampled_from((*WORDS, "delete", "settle", "settle", "blind")),
        st.integers(1, 3),
        st.integers(0, 40 * MINUTE) | st.integers(0, 30),
    ),
    max_size=40,
)


def lived(story) -> Life:
    life = Life()
    for service_id in (1, 2, 3):
        life.register(service_id, threshold=service_id)
        life.remember()
    for action in story:
        life.act(action)
        life.remember()
    return life


def journal_up_to(life: Life, position: int) -> MemoryJournal:
    journal = MemoryJournal()
    for effect in life.journal.effects():
        if journal.newest == position:
            break
        journal.append_nowait(effect)
    assert journal.newest == position
    return journal


@dataclass
class Stored:
    """What PostgreSQL has."""

    services: list[StoredService]

    async def load(self):
        for one in self.services:
            yield [one]

    async def load_beyond(self, version_of):
        for one in self.services:
            row = one.service.row
            yield [row.service_id], [one] if version_of(row.service_id) != row.version else []


def recovered_from(stored, journal, snapshot=None):
    async def run():
        return await recover(None if stored is None else Stored(stored), journal, DEFAULTS, snapshot=snapshot)

    return trio.run(run)


def by_id(services) -> dict[int, dict[str, object]]:
    return {service.row.service_id: slots(service) for service in services}


@given(actions, st.data())
def test_the_journal_alone_brings_back_what_lived_after_any_turn(story, data):
    life = lived(story)
    moment = data.draw(st.sampled_from(life.moments), label="died after")
    recovered = recovered_from(None, journal_up_to(life, moment.position))
    assert by_id(recovered.services) == moment.services
    assert recovered.ledger.pending() == moment.pending
    assert recovered.blind == moment.blind
    assert (recovered.last.sighted, recovered.last.at) == moment.last
    assert (recovered.edited, recovered.strangers, recovered.gone) == ((), (), ())


@given(actions, st.data())
def test_states_that_were_written_at_any_time_bring_back_the_same(story, data):
    life = lived(story)
    died = data.draw(st.integers(2, len(life.moments) - 1), label="died after")
    moment = life.moments[died]
    journal = journal_up_to(life, moment.position)
    stored, newer, unwritten = [], [], []
    for service_id, row in moment.rows.items():
        committed = edited(row, data.draw(st.integers(0, 30))) if data.draw(st.booleans(), label="edit lost") else row
        if committed is not row:
            newer.append(committed)
        written = data.draw(st.integers(-1, died), label=f"state of {service_id} written after")
        state = life.moments[written].states.get(service_id) if written >= 0 else None
        policy = committed.policy(DEFAULTS)
        if state is None:
            unwritten.append(service_id)
            stored.append(StoredService(Service(committed, policy, registered=0), journal_id=""))
            continue
        version = data.draw(st.sampled_from((None, life.moments[written].rows[service_id].version)), label="version")
        stored.append(StoredService(unpack_state(state, committed, policy), journal.journal_id, version))
    recovered = recovered_from(stored, journal)
    assert by_id(recovered.services) == moment.services
    assert sorted(recovered.edited, key=lambda row: row.service_id) == sorted(newer, key=lambda row: row.service_id)
    assert (recovered.strangers, recovered.gone) == ((), ())
    assert recovered.ledger.pending() == moment.pending


def snapshot_of(life: Life, begun: int, died: int, data) -> Snapshot:
    """A snapshot as it would have been written while the turns from `begun` to `died` were taken."""
    position = life.moments[begun].position
    facts = Facts(life.journal.journal_id, 0, position, at=NOW, sighted=NOW)
    blocks = BlockWriter()
    content = [blocks.begin(), blocks.block(FACTS, pack_facts(facts))]
    content.append(blocks.block(BLIND, pack_blind(life.moments[begun].blind)))
    content += [blocks.block(LEDGER, pack_tellings([copied])) for copied in ledger_copied(life, begun, died, data)]
    count = 0
    for service_id in (1, 2, 3):
        moment = life.moments[data.draw(st.integers(begun, died), label=f"{service_id} copied after")]
        if service_id in moment.states:
            row = moment.rows[service_id]
            service = unpack_state(moment.states[service_id], row, row.policy(DEFAULTS))
            content.append(blocks.block(SERVICES, pack_services([service])))
            count += 1
    content += [blocks.block(CLOSING, pack_closing(Closing(life.moments[died].position, count))), blocks.end()]
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(b"".join(content))
        return trio.run(read_snapshot, Path(file.name), DEFAULTS)


def ledger_copied(life: Life, begun: int, died: int, data) -> list[CopiedTelling]:
    """The pieces of the ledger, with further records folded between any two of them."""
    ledger, position, copied = NotificationLedger(), 0, []

    def fold_until(until: int) -> None:
        nonlocal position
        for entry in life.journal._entries:
            if position < entry.position <= until:
                ledger.fold(entry.effect)
        position = until

    fold_until(life.moments[begun].position)
    tellings = ledger.tellings()
    reached = begun
    while True:
        reached = data.draw(st.integers(reached, died), label="ledger copied after")
        fold_until(life.moments[reached].position)
        telling = next(tellings, None)
        if telling is None:
            return copied
        copied.append(CopiedTelling(position, telling))


def owed(notifications) -> dict[object, list[object]]:
    """What is pending, by alert: between two alerts there is no order."""
    by_alert: dict[object, list[object]] = {}
    for notification in notifications:
        by_alert.setdefault(notification.alert_id or notification.notification_id, []).append(notification)
    return by_alert


@given(actions, st.data())
def test_a_fuzzy_snapshot_and_the_journal_behind_it_bring_back_what_lived(story, data):
    life = lived(story)
    died = data.draw(st.integers(2, len(life.moments) - 1), label="died after")
    begun = data.draw(st.integers(2, died), label="snapshot begun after")
    moment = life.moments[died]
    recovered = recovered_from(None, journal_up_to(life, moment.position), snapshot_of(life, begun, died, data))
    assert by_id(recovered.services) == moment.services
    assert owed(recovered.ledger.pending()) == owed(moment.pending)
    assert {alert_id: dict(recovered.ledger.delivered(alert_id)) for alert_id in moment.delivered} == moment.delivered
    for alert_id in moment.reached_nobody:
        assert recovered.ledger.reached_nobody(alert_id)
    for service in recovered.services:
        if service.alert is not None and service.alert.alert_id not in moment.reached_nobody:
            assert not recovered.ledger.reached_nobody(service.alert.alert_id)
    assert recovered.blind == moment.blind


@given(actions, st.data())
def test_beside_a_snapshot_postgresql_tells_only_what_is_newer_unknown_or_gone(story, data):
    life = lived(story)
    died = data.draw(st.integers(2, len(life.moments) - 1), label="died after")
    begun = data.draw(st.integers(2, died), label="snapshot begun after")
    moment = life.moments[died]
    stored, newer, gone = [], [], []
    for service_id, row in moment.rows.items():
        fate = data.draw(st.sampled_from(("same", "edited", "gone")), label=f"{service_id} in PostgreSQL")
        if fate == "gone":
            gone.append(service_id)
            continue
        committed = edited(row, data.draw(st.integers(0, 30))) if fate == "edited" else row
        newer += [committed] if fate == "edited" else []
        state = unpack_state(moment.states[service_id], committed, committed.policy(DEFAULTS))
        stored.append(StoredService(state, life.journal.journal_id, row.version))
    stranger = edited(life.moments[0].rows[1], 4)
    stranger = replace(stranger, service_id=9)
    stored.append(StoredService(Service(stranger, stranger.policy(DEFAULTS), registered=0), journal_id=""))
    journal = journal_up_to(life, moment.position)
    recovered = recovered_from(stored, journal, snapshot_of(life, begun, died, data))
    assert by_id(recovered.services) == moment.services
    assert {row.service_id: row for row in recovered.edited} == {row.service_id: row for row in newer}
    assert sorted(recovered.gone) == sorted(gone)
    assert recovered.strangers == (stranger,)


@given(actions, st.data())
def test_one_service_is_rebuilt_from_a_snapshot(story, data):
    life = lived(story)
    service_id = data.draw(st.integers(1, 3))
    begun = data.draw(st.integers(2, len(life.moments) - 1))
    copied = data.draw(st.integers(begun, len(life.moments) - 1))
    state, row = life.moments[copied].states.get(service_id), life.moments[copied].rows.get(service_id)
    if state is None:
        return
    kept = (unpack_state(state, row, row.policy(DEFAULTS)), life.moments[begun].position)

    async def run():
        return await recover_one(service_id, None, life.journal, DEFAULTS, kept=kept)

    rebuilt = trio.run(run)
    live = life.moments[-1].services.get(service_id)
    assert (None if rebuilt is None else slots(rebuilt)) == live


@given(actions, st.data())
def test_one_service_is_rebuilt_as_it_lived(story, data):
    life = lived(story)
    service_id = data.draw(st.integers(1, 3))
    written = data.draw(st.sampled_from(life.moments))
    state = written.states.get(service_id)
    stored = None
    if state is not None:
        row = written.rows[service_id]
        stored = StoredService(unpack_state(state, row, row.policy(DEFAULTS)), life.journal.journal_id, row.version)

    async def run():
        return await recover_one(service_id, stored, life.journal, DEFAULTS)

    rebuilt = trio.run(run)
    live = life.moments[-1].services.get(service_id)
    assert (None if rebuilt is None else slots(rebuilt)) == live
