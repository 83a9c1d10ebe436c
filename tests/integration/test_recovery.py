"""A data directory and a database put together again: pairing, states from PostgreSQL, and what one knows and the
other does not."""

from __future__ import annotations

import gc
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from medic.core.author import Author
from medic.core.blind import SIGHTED_ALWAYS
from medic.core.draft import ServiceDraft
from medic.core.effects import RecordHeartbeat
from medic.core.events import HeartbeatReceived, ServiceChanged
from medic.core.policy import Defaults
from medic.core.ring import NO_SIGN
from medic.core.service import Service
from medic.core.status import HeartbeatStatus, Status
from medic.core.step import register, step
from medic.errors import ConfigurationError, UnreadableRecordError
from medic.ports import StoredService
from medic.store.journal.file_journal import FileJournal
from medic.store.journal.memory_journal import MemoryJournal
from medic.store.pairing import pair
from medic.store.recovery import recover, recover_one
from medic.store.tables.services import PgServiceStore
from medic.store.tables.writer import ANSWER_MS, Writer
from medic.store.watermark import Mark
from tests.patience import PATIENCE_SECONDS

NOW = 1_790_000_000_000
MINUTE = 60_000
DEFAULTS = Defaults()


class StillClock:
    blind = SIGHTED_ALWAYS
    skew = 5_000

    def now(self):
        return NOW

    def sighted(self):
        return NOW - self.skew


class Ids:
    drawn = 5_000

    def draw(self):
        self.drawn += 1
        return self.drawn


class Directory:
    """A data directory on one database, opened again and again."""

    def __init__(self, database, path) -> None:
        self.database = database
        self.path = path
        self.ids = Ids()
        self.store = PgServiceStore(database, self.ids, StillClock(), DEFAULTS)
        self.services: dict[int, Service] = {}

    @asynccontextmanager
    async def process(self, *, finish: bool):
        """A process: journal and writer run; in the end everything is written, or it is as if killed."""
        journal = FileJournal(self.path / "journal")
        await pair(self.database, journal, self.path)
        writer = Writer(
            database=self.database,
            journal=journal,
            clock=StillClock(),
            state_of=self.services.get,
            rejected=self.path / "rejected",
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            await nursery.start(writer.run)
            yield journal
            await journal.wait_durable(journal.newest)
            if finish:
                with trio.fail_after(PATIENCE_SECONDS):
                    await writer.finish()
            nursery.cancel_scope.cancel()

    async def register(self, journal, name: str) -> Service:
        row, _ = await self.store.insert(
            ServiceDraft(heartbeat_name=name, service_name=name, interval_ms=MINUTE), by=Author("Ann")
        )
        service, effects = register(row, DEFAULTS, at=NOW, sighted=NOW)
        self.services[row.service_id] = service
        self.carry(journal, service, effects)
        return service

    def carry(self, journal, service: Service, effects) -> None:
        for effect in effects:
            service.position = journal.append_nowait(effect)

    def beat(self, journal, service: Service, status: str = "UP") -> None:
        kind = HeartbeatStatus(status)
        event = HeartbeatReceived(NOW + 7, NOW + 7, self.ids.draw(), kind=kind, status=status)
        self.carry(journal, service, step(service, event))

    async def recovered(self):
        journal = FileJournal(self.path / "journal")
        await pair(self.database, journal, self.path)
        return await recover(self.store, journal, DEFAULTS)


def slots(service: Service) -> dict[str, object]:
    return {name: getattr(service, name) for name in Service.__slots__}


def by_id(services) -> dict[int, dict[str, object]]:
    return {service.row.service_id: slots(service) for service in services}


@pytest.fixture
def directory(database, tmp_path) -> Directory:
    return Directory(database, tmp_path)


@pytest.mark.parametrize("finish", [True, False])
async def test_a_stop_and_a_kill_bring_back_what_was_there(directory, finish):
    async with directory.process(finish=finish) as journal:
        first = await directory.register(journal, "first")
        second = await directory.register(journal, "second")
        await directory.register(journal, "third")
        directory.beat(journal, first)
        directory.beat(journal, second, "FAILED")
    recovered = await directory.recovered()
    assert by_id(recovered.services) == by_id(directory.services.values())
    assert {service.row.heartbeat_name: service.status for service in recovered.services} == {
        "first": Status.UP,
        "second": Status.DOWN,
        "third": Status.NEW,
    }
    assert [notification.kind.value for notification in recovered.ledger.pending()] == []
    assert recovered.last == Mark(NOW + 7, NOW + 7)
    assert (recovered.edited, recovered.strangers, recovered.gone) == ((), (), ())


async def test_an_edit_that_only_postgresql_has_is_an_edit_still(directory):
    async with directory.process(finish=True) as journal:
        service = await directory.register(journal, "first")
        directory.beat(journal, service)
    row = replace(service.row, version=2, interval_ms=5 * MINUTE, threshold=3)
    assert await directory.store.replace(row, by=Author("Ann")) == row
    recovered = await directory.recovered()
    assert recovered.edited == (row,)
    assert by_id(recovered.services) == by_id(directory.services.values())


async def test_a_row_that_nobody_journaled_is_a_stranger(directory):
    async with directory.process(finish=True) as journal:
        await directory.register(journal, "first")
    row, _ = await directory.store.insert(
        ServiceDraft(heartbeat_name="lost", service_name="lost", interval_ms=MINUTE), by=Author("Ann")
    )
    await directory.database.execute(
        "INSERT INTO medic.services (heartbeat_name, service_name, alert_interval) VALUES ('by SQL', 'x', 5)"
    )
    recovered = await directory.recovered()
    assert {stranger.heartbeat_name for stranger in recovered.strangers} == {"lost", "by SQL"}
    assert row in recovered.strangers
    assert len(recovered.services) == 1


async def test_a_service_without_a_row_is_gone_and_still_there_to_be_told(directory):
    async with directory.process(finish=True) as journal:
        service = await directory.register(journal, "first")
        directory.beat(journal, service, "DOWN")
    await directory.database.execute("DELETE FROM medic.services")
    recovered = await directory.recovered()
    assert recovered.gone == (service.row.service_id,)
    assert recovered.services[0].alert == service.alert


async def test_without_postgresql_the_journal_alone_is_folded(directory):
    async with directory.process(finish=False) as journal:
        service = await directory.register(journal, "first")
        directory.beat(journal, service)
    journal = FileJournal(directory.path / "journal")
    recovered = await recover(None, journal, DEFAULTS)
    assert by_id(recovered.services) == by_id(directory.services.values())
    assert recovered.gone == ()


async def test_a_new_directory_goes_on_with_the_states_and_the_time_of_the_old_one(directory, tmp_path):
    async with directory.process(finish=True) as journal:
        service = await directory.register(journal, "first")
        directory.beat(journal, service)
    directory.path = tmp_path / "another"
    directory.path.mkdir()
    journal = FileJournal(directory.path / "journal")
    pairing = await pair(directory.database, journal, directory.path)
    assert pairing.committed == 0
    assert pairing.mark == Mark(NOW - ANSWER_MS, NOW - 5_000 - ANSWER_MS)
    recovered = await recover(directory.store, journal, DEFAULTS)
    assert by_id(recovered.services) == {service.row.service_id: slots(service) | {"position": 0}}


async def test_a_directory_of_another_database_is_refused(directory, postgres):
    async with directory.process(finish=True):
        pass
    async with postgres.fresh_database() as (other, _):
        await other.execute("UPDATE medic.medic_instance SET database_id = gen_random_uuid()")
        with pytest.raises(ConfigurationError, match="belongs to database"):
            await pair(other, FileJournal(directory.path / "journal"), directory.path)


async def test_a_journal_that_is_shorter_than_postgresql_remembers_uses_no_position_twice(directory):
    async with directory.process(finish=True) as journal:
        service = await directory.register(journal, "first")
        directory.beat(journal, service)
        registered = service.position
    file = next((directory.path / "journal").glob("*.journal"))
    file.write_bytes(file.read_bytes()[:-10])
    recovered = await directory.recovered()
    assert by_id(recovered.services) == by_id(directory.services.values())
    async with directory.process(finish=True) as journal:
        assert journal.durable == registered
        directory.beat(journal, service)
        assert service.position > registered
    count = await directory.database.fetchrow('SELECT count(*) FROM "heartbeatEvents"')
    assert count[0] == 2
    recovered = await directory.recovered()
    assert by_id(recovered.services) == by_id(directory.services.values())


# -------------------------------------------------------------------- states of which the journal does not know the row


def stored_under_another_row(**columns) -> tuple[StoredService, Service]:
    """A state, and PostgreSQL's row that is one edit newer than what it was folded under."""
    row = ServiceDraft(heartbeat_name="a", service_name="a", interval_ms=MINUTE).row(7, NOW, "Ann")
    service, _ = register(row, DEFAULTS, at=NOW, sighted=NOW)
    service.status = Status.UP
    newer = replace(row, version=2, **columns)
    stored = Service(newer, newer.policy(DEFAULTS), registered=NOW)
    for name in set(Service.__slots__) - {"row", "policy"}:
        setattr(stored, name, getattr(service, name))
    return stored, service


class one_slice:  # noqa: N801 - a verb where it is used
    """PostgreSQL that has these services."""

    def __init__(self, *stored):
        self.stored = stored

    async def load(self):
        yield self.stored


@pytest.mark.parametrize(
    ("version", "columns"),
    [
        pytest.param(1, {"interval_ms": 9 * MINUTE}, id="known by the version"),
        pytest.param(None, {"threshold": 4}, id="seen by the signs"),
        pytest.param(None, {"active": False}, id="seen by the status"),
        pytest.param(1, {"interval_ms": 1_000}, id="at the bound of intervals"),
    ],
)
async def test_an_edit_since_a_state_of_another_directory_pages_nobody(version, columns):
    stored, before = stored_under_another_row(**columns)
    committed = stored.row
    slices = one_slice(StoredService(stored, journal_id="f" * 32, version=version))
    recovered = await recover(slices, MemoryJournal(), DEFAULTS)
    service = recovered.services[0]
    assert recovered.edited == (committed,)
    assert service.row.version == 1
    assert (service.status, service.ring) == (before.status, before.ring)
    late = NOW + 100 * MINUTE
    effects = step(service, ServiceChanged(late, late, 1, committed))
    assert service.row == committed
    assert service.kth_sign == late or not committed.active
    assert all(effect.service_id == 7 for effect in effects)
    assert NO_SIGN not in (service.ring or ())


async def test_a_crashed_actor_is_rebuilt_from_its_state_and_what_came_after(directory):
    async with directory.process(finish=True) as journal:
        service = await directory.register(journal, "first")
        directory.beat(journal, service)
    async with directory.process(finish=False) as journal:
        directory.beat(journal, service, "DEGRADED")
        await journal.wait_durable(journal.newest)
        stored = next(iter([part async for part in directory.store.load()]))[0]
        rebuilt = await recover_one(service.row.service_id, stored, journal, DEFAULTS)
        assert slots(rebuilt) == slots(service)
        alone = await recover_one(service.row.service_id, None, journal, DEFAULTS)
        assert slots(alone) == slots(service)
        assert await recover_one(1, None, journal, DEFAULTS) is None


async def test_garbage_is_collected_again_after_recovery_even_if_that_failed():
    class Unreadable(MemoryJournal):
        async def read_after(self, position, *, most):
            raise UnreadableRecordError("a record of the future")

    assert gc.isenabled()
    with pytest.raises(UnreadableRecordError):
        await recover(None, Unreadable(), DEFAULTS)
    assert gc.isenabled()


async def test_records_of_a_service_nobody_knows_are_passed_over():
    journal = MemoryJournal()
    journal.append_nowait(
        RecordHeartbeat(service_id=9, at=NOW, sighted=NOW, heartbeat_id=1, kind=HeartbeatStatus.UP, status="UP")
    )
    recovered = await recover(None, journal, DEFAULTS)
    assert (recovered.services, recovered.records) == ([], 1)
