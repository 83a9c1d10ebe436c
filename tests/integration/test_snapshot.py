"""Snapshots on the disk: written while services change, two kept, a damaged one passed over, segments let go."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from medic.core.effects import Notify, SettleNotification
from medic.core.events import HeartbeatReceived
from medic.core.ledger import NotificationLedger
from medic.core.notification import Notification
from medic.core.policy import Defaults
from medic.core.service import Service
from medic.core.status import HeartbeatStatus, NotificationKind, Outcome
from medic.core.step import register, step
from medic.errors import UnreadableRecordError
from medic.store.codec import pack_state
from medic.store.journal.file_journal import FileJournal
from medic.store.journal.statistics import Sync
from medic.store.recovery import recover
from medic.store.snapshot import keeper as keeping
from medic.store.snapshot.content import read_snapshot
from medic.store.snapshot.files import SnapshotDisk, SnapshotFiles
from medic.store.snapshot.keeper import SnapshotKeeper
from tests.integration.test_recovery import NOW, StillClock
from tests.patience import PATIENCE_SECONDS
from tests.unit.store.snapshot.test_services import row

DEFAULTS = Defaults()
LIMIT_BYTES = 40_000


class FullDisk(SnapshotDisk):
    """Takes so many blocks."""

    def __init__(self) -> None:
        self.blocks = 1_000_000

    def write(self, fd, block):
        self.blocks -= 1
        if self.blocks < 0:
            raise OSError(28, "No space left on device")
        super().write(fd, block)


class Fleet:
    """Services with a journal and a keeper, and none of the parts that decide when anything happens."""

    def __init__(self, path, *, sync=Sync.ALWAYS, disk=None) -> None:
        self.path = path
        self.journal = FileJournal(path / "journal", sync=sync, bytes_max=LIMIT_BYTES)
        self.files = SnapshotFiles(path / "snapshot", disk=disk)
        self.members: dict[int, Service] = {}
        self.crashed: set[int] = set()
        self.ledger = NotificationLedger()
        self.committed = 0
        self.keeper = SnapshotKeeper(
            files=self.files,
            journal=self.journal,
            roster=self,
            in_order=lambda service_id: None if service_id in self.crashed else self.members.get(service_id),
            rebuild=self.rebuild,
            ledger=self.ledger,
            clock=StillClock(),
            committed=lambda: self.committed,
        )

    def services(self, after=""):
        yield from list(self.members.values())

    async def rebuild(self, service_id):
        await trio.lowlevel.checkpoint()
        return self.members.get(service_id)

    def register(self, number: int) -> Service:
        service, effects = register(row(number), DEFAULTS, at=NOW, sighted=NOW)
        self.members[number] = service
        self.carry(service, effects)
        return service

    def carry(self, service, effects) -> None:
        for effect in effects:
            service.position = self.journal.append_nowait(effect)
            self.ledger.fold(effect)

    def beat(self, number: int, status: str = "UP") -> None:
        service = self.members[number]
        event = HeartbeatReceived(NOW + 7, NOW + 7, 9_000 + number, kind=HeartbeatStatus(status), status=status)
        self.carry(service, step(service, event))

    def decide(self, effect) -> None:
        self.journal.append_nowait(effect)
        self.ledger.fold(effect)

    @property
    def snapshots(self):
        return sorted((self.path / "snapshot").glob("*.snapshot"))


@asynccontextmanager
async def running(path, **options):
    fleet = Fleet(path, **options)
    async with trio.open_nursery() as nursery:
        await nursery.start(fleet.journal.run)
        yield fleet
        nursery.cancel_scope.cancel()


def states(services) -> dict[int, bytes]:
    return {service.row.service_id: pack_state(service) for service in services}


async def recovered_from(path):
    """What the next process makes of the directory, without PostgreSQL; and whether it had a snapshot."""
    journal = FileJournal(path / "journal", bytes_max=LIMIT_BYTES)
    snapshot = await SnapshotFiles(path / "snapshot").read_newest(journal.journal_id, journal.oldest, DEFAULTS)
    recovered = await recover(None, journal, DEFAULTS, snapshot=snapshot)
    journal._files.close()
    return recovered, snapshot


async def test_services_that_change_while_it_is_written_come_back_as_they_were(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "SERVICES_A_BLOCK", 2)
    async with running(tmp_path) as fleet:
        for number in range(1, 12):
            fleet.register(number)
        fleet.crashed.add(4)

        async def live() -> None:
            for turn in range(30):
                fleet.beat(1 + turn % 11)
                fleet.beat(1 + turn * 7 % 11, "DOWN")
                await trio.lowlevel.checkpoint()
            del fleet.members[11]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(live)
            nursery.start_soon(fleet.keeper.write)
        await fleet.journal.wait_durable(fleet.journal.newest)
        expected = states(fleet.members.values())
    recovered, snapshot = await recovered_from(tmp_path)
    assert snapshot is not None
    found = states(recovered.services)
    found.pop(11, None)
    assert found == expected
    assert fleet.keeper.statistics().services >= 10
    assert fleet.keeper.statistics().seconds > 0


async def test_what_was_told_and_not_told_comes_back(tmp_path):
    pending = Notification("7.0", NotificationKind.TRIGGER, "medic-a", NOW, alert_id=7, targets=("slack", "pagerduty"))
    alone = Notification("b.1", NotificationKind.BLIND, "medic-self", NOW, targets=("slack",))
    async with running(tmp_path) as fleet:
        fleet.decide(Notify(NOW, NOW, pending))
        fleet.decide(SettleNotification(NOW, NOW, "7.0", 1, "slack", Outcome.DELIVERED, 1))
        fleet.decide(Notify(NOW, NOW, alone))
        assert await fleet.keeper.write()
    recovered, snapshot = await recovered_from(tmp_path)
    assert snapshot.facts.begun == snapshot.newest == fleet.journal.newest
    assert recovered.ledger.pending() == (replace(pending, targets=("pagerduty",)), alone)
    assert dict(recovered.ledger.delivered(7)) == {"slack": "7.0"}


async def test_two_are_kept_and_a_damaged_one_falls_back_to_the_one_before(tmp_path):
    async with running(tmp_path) as fleet:
        for number in range(1, 5):
            fleet.register(number)
            assert await fleet.keeper.write()
        expected = states(fleet.members.values())
    assert len(fleet.snapshots) == 2
    newest = fleet.snapshots[-1]
    whole = newest.read_bytes()
    newest.write_bytes(whole[:-3])
    recovered, snapshot = await recovered_from(tmp_path)
    assert len(snapshot.services) == 3
    assert len(fleet.snapshots) == 1
    assert newest.with_suffix(".aside").exists()
    assert states(recovered.services) == expected
    found = await fleet.files.find(3, fleet.journal.journal_id, DEFAULTS)
    assert found is not None
    assert found[0].row == row(3)
    assert await fleet.files.find(3, "f" * 32, DEFAULTS) is None
    assert await fleet.files.find(99, fleet.journal.journal_id, DEFAULTS) is None
    for path in fleet.snapshots:
        path.write_bytes(b"")
    recovered, snapshot = await recovered_from(tmp_path)
    assert snapshot is None
    assert states(recovered.services) == expected
    assert await fleet.files.find(3, fleet.journal.journal_id, DEFAULTS) is None


async def test_a_snapshot_of_another_journal_or_from_before_its_beginning_is_passed_over(tmp_path):
    async with running(tmp_path) as fleet:
        fleet.register(1)
        assert await fleet.keeper.write()
        begun = fleet.journal.newest
    assert await fleet.files.read_newest(fleet.journal.journal_id, begun + 1, DEFAULTS) is None
    assert await fleet.files.read_newest(fleet.journal.journal_id, begun, DEFAULTS) is not None
    assert await fleet.files.read_newest("f" * 32, 0, DEFAULTS) is None
    assert not fleet.files.any_kept, "it must not count as one of two"


async def test_a_form_of_a_later_release_is_told_to_the_operator(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "pack_blind", lambda _: b'{"spans": 5}')
    async with running(tmp_path) as fleet:
        assert await fleet.keeper.write()
    with pytest.raises(UnreadableRecordError, match="unknown form of its blind"):
        await read_snapshot(fleet.snapshots[0], DEFAULTS)


async def test_segments_go_once_postgresql_and_both_snapshots_are_past_them(tmp_path):
    async with running(tmp_path) as fleet:
        for number in range(1, 5):
            fleet.register(number)

        async def fill() -> None:
            for turn in range(300):
                fleet.beat(1 + turn % 4)
                await fleet.journal.wait_durable(fleet.journal.newest)

        await fill()
        statistics = fleet.journal.statistics
        segments = statistics().segments
        assert segments > 2
        await fleet.keeper.finish()
        fleet.committed = fleet.journal.newest
        await fill()
        await fleet.keeper.finish()
        first_begun = fleet.keeper.statistics().covered
        assert 0 < fleet.journal.oldest <= first_begun
        expected = states(fleet.members.values())
        held = statistics().held_bytes
        fleet.committed = 0
        await fleet.keeper.finish()
        assert statistics().held_bytes == held
    assert int(fleet.snapshots[0].name[:20]) == first_begun
    fleet.snapshots[1].write_bytes(b"")
    recovered, snapshot = await recovered_from(tmp_path)
    assert snapshot.facts.begun == first_begun
    assert states(recovered.services) == expected


async def test_a_disk_that_takes_no_snapshot_leaves_the_one_before_and_the_journal(tmp_path):
    disk = FullDisk()
    async with running(tmp_path, disk=disk) as fleet:
        fleet.register(1)
        assert await fleet.keeper.write()
        for blocks in range(3):
            fleet.register(2 + blocks)
            disk.blocks = blocks
            assert not await fleet.keeper.write()
        assert fleet.keeper.statistics().failures == 3
        assert len(fleet.snapshots) == 1
        assert not (tmp_path / "snapshot" / "unfinished").exists()
        expected = states(fleet.members.values())
    recovered, _ = await recovered_from(tmp_path)
    assert states(recovered.services) == expected


async def test_with_sync_interval_no_snapshot_knows_more_than_the_disk_has_of_the_journal(tmp_path):
    async with running(tmp_path, sync=Sync.INTERVAL) as fleet:
        fleet.register(1)
        await fleet.journal.wait_synced(fleet.journal.newest)
        fleet.beat(1)
        assert fleet.journal.synced < fleet.journal.newest
        assert await fleet.keeper.write()
        assert fleet.journal.synced == fleet.journal.newest


async def test_it_is_written_at_the_start_and_whenever_the_journal_has_grown(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "LOOK_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(keeping, "GROWTH_BYTES_MIN", 200)
    async with running(tmp_path) as fleet, trio.open_nursery() as nursery:
        fleet.register(1)
        await nursery.start(fleet.keeper.run)
        with trio.fail_after(PATIENCE_SECONDS):
            while fleet.keeper.statistics().written < 3:
                fleet.beat(1)
                await trio.sleep(0.005)
        nursery.cancel_scope.cancel()
    assert fleet.keeper.statistics().at == NOW


async def test_a_snapshot_that_is_due_waits_for_a_writer_that_is_behind_but_not_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "GROWTH_BYTES_MIN", 200)
    monkeypatch.setattr(keeping, "BEHIND_BYTES", 100)
    async with running(tmp_path) as fleet:
        fleet.register(1)
        assert await fleet.keeper.write()
        while fleet.journal.newest - fleet.keeper.statistics().size < 2_000:
            fleet.beat(1)
        await fleet.journal.wait_durable(fleet.journal.newest)
        assert not fleet.keeper._is_due()
        fleet.committed = fleet.journal.newest
        assert fleet.keeper._is_due()
        fleet.committed = 0
        assert not fleet.keeper._is_due()
        monkeypatch.setattr(keeping, "BEHIND_SECONDS", 0.0)
        assert fleet.keeper._is_due()
