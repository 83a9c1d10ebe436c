"""The file journal with its committer: group commit, disks that fail or hang, and the end."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager

import pytest
import trio

from medic.core.effects import EndMute, RecordHeartbeat
from medic.core.status import HeartbeatStatus
from medic.errors import InvariantError, JournalRefusedError
from medic.store.codec import decode
from medic.store.journal import limits
from medic.store.journal.file_journal import FileJournal
from medic.store.journal.files import Disk
from medic.store.journal.frames import RECORD_BYTES_MAX
from medic.store.journal.statistics import Sync


def heartbeat(number: int) -> RecordHeartbeat:
    return RecordHeartbeat(
        service_id=1, at=number, sighted=number, heartbeat_id=number, kind=HeartbeatStatus.UP, status="UP"
    )


class FailingDisk(Disk):
    """Fails as often as it is told to; says when it was synced; can be made to hang."""

    def __init__(self) -> None:
        self.failing_writes = 0
        self.failing_syncs = 0
        self.syncs = 0
        self.sync_begun = threading.Event()
        self.may_sync = threading.Event()
        self.may_sync.set()

    def forget(self) -> None:
        """Forget the syncs of making the first file."""
        self.syncs = 0
        self.sync_begun.clear()

    def write(self, fd, frames, offset):
        if self.failing_writes:
            self.failing_writes -= 1
            super().write(fd, frames[: len(frames) // 2], offset)
            raise OSError(28, "No space left on device")
        super().write(fd, frames, offset)

    def sync(self, fd):
        self.sync_begun.set()
        self.may_sync.wait()
        if self.failing_syncs:
            self.failing_syncs -= 1
            raise OSError(5, "Input/output error")
        self.syncs += 1
        super().sync(fd)


@asynccontextmanager
async def running(path, *, sync=Sync.ALWAYS, disk=None):
    journal = FileJournal(path, sync=sync, disk=disk)
    if disk is not None:
        disk.forget()
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        yield journal
        nursery.cancel_scope.cancel()


def stored(path) -> list[int]:
    """What a new process finds in the directory."""
    journal = FileJournal(path)
    entries = journal._files.read(0, journal.durable, most=100_000)
    journal._files.close()
    return [entry.effect.at for entry in entries]


async def wait_until_taken_again(journal) -> None:
    await journal.wait_newer(journal.durable)


async def test_commits_are_shared_by_all_who_wait(tmp_path):
    async with running(tmp_path) as journal:

        async def beat(first):
            for number in range(first, first + 20):
                await journal.wait_durable(journal.append_nowait(heartbeat(number)))

        async with trio.open_nursery() as nursery:
            for client in range(64):
                nursery.start_soon(beat, client * 20)
        statistics = journal.statistics()
        assert statistics.records == 64 * 20
        assert statistics.commits <= 64
        assert sum(statistics.commit_counts) == statistics.commits
        assert statistics.bytes == journal.newest
    assert len(stored(tmp_path)) == 64 * 20


async def test_a_second_process_finds_records_and_identity_and_goes_on(tmp_path):
    async with running(tmp_path) as journal:
        first = journal.append_nowait(heartbeat(1))
        journal_id = journal.journal_id
    async with running(tmp_path) as journal:
        assert (journal.journal_id, journal.newest, journal.durable) == (journal_id, first, first)
        second = journal.append_nowait(heartbeat(2))
        await journal.wait_durable(second)
        assert [entry.effect.at for entry in await journal.read_after(0, most=10)] == [1, 2]
        assert [entry.effect.at for entry in await journal.read_after(first, most=10)] == [2]


@pytest.mark.parametrize("fault", ["failing_writes", "failing_syncs"])
@pytest.mark.parametrize("times", [1, 3])
async def test_a_failing_disk_refuses_who_waits_and_keeps_what_was_appended(tmp_path, fault, times):
    disk = FailingDisk()
    async with running(tmp_path, disk=disk) as journal:
        await journal.wait_durable(journal.append_nowait(heartbeat(1)))
        setattr(disk, fault, times)
        position = journal.append_nowait(heartbeat(2))
        told = []
        journal.call_when_durable(position, told.append)
        with pytest.raises(JournalRefusedError, match="cannot be written"):
            await journal.wait_durable(position)
        journal.call_when_durable(position, told.append)
        assert [str(refused) for refused in told] == ["The journal cannot be written at the moment."] * 2
        await wait_until_taken_again(journal)
        await journal.wait_durable(position)
        journal.require_room()
        await journal.wait_durable(journal.append_nowait(heartbeat(3)))
        assert [entry.effect.at for entry in await journal.read_after(0, most=10)] == [1, 2, 3]
        assert journal.statistics().failures == times
    assert stored(tmp_path) == [1, 2, 3]
    assert len(list(tmp_path.glob("*.journal"))) == 2


async def test_while_no_new_file_can_be_begun_nothing_is_taken(tmp_path):
    disk = FailingDisk()
    async with running(tmp_path, disk=disk) as journal:
        disk.failing_syncs = 2
        position = journal.append_nowait(heartbeat(1))
        with pytest.raises(JournalRefusedError):
            await journal.wait_durable(position)
        statistics = journal.statistics()
        assert statistics.refusing == "The journal cannot be written at the moment."
        assert statistics.refusing_since is not None
        for ask in (journal.require_room, lambda: journal.append_nowait(heartbeat(2))):
            with pytest.raises(JournalRefusedError):
                ask()
        with pytest.raises(JournalRefusedError):
            await journal.wait_durable(position)
        await wait_until_taken_again(journal)
        assert journal.statistics().refusing is None
    assert stored(tmp_path) == [1]


async def test_what_a_failed_sync_covered_is_not_read_from_the_failed_file(tmp_path):
    disk = FailingDisk()
    async with running(tmp_path, disk=disk) as journal:
        first = journal.append_nowait(heartbeat(1))
        await journal.wait_durable(first)
        disk.failing_syncs = 1
        journal.append_nowait(heartbeat(2))
        await journal.wait_newer(first)
    failed = min(tmp_path.glob("*.journal"))
    failed.write_bytes(failed.read_bytes()[: 64 + first] + b"\xff" * 48)
    assert stored(tmp_path) == [1, 2]


async def test_a_disk_that_hangs_refuses_and_is_taken_up_again_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "WATCH_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(limits, "COMMIT_PATIENCE_SECONDS", 0.05)
    disk = FailingDisk()
    async with running(tmp_path, disk=disk) as journal:
        disk.may_sync.clear()
        position = journal.append_nowait(heartbeat(1))
        with pytest.raises(JournalRefusedError, match="does not answer"):
            await journal.wait_durable(position)
        assert journal.statistics().committing_since is not None
        disk.may_sync.set()
        await journal.wait_newer(0)
        await journal.wait_durable(position)
        journal.require_room()
    assert stored(tmp_path) == [1]


async def test_a_process_that_was_stopped_does_not_blame_its_disk(tmp_path, monkeypatch, mock_clock):
    monkeypatch.setattr(limits, "COMMIT_PATIENCE_SECONDS", 4 * limits.WATCH_EVERY_SECONDS)
    disk = FailingDisk()
    async with running(tmp_path, disk=disk) as journal:
        disk.may_sync.clear()
        position = journal.append_nowait(heartbeat(1))
        await trio.to_thread.run_sync(disk.sync_begun.wait)
        mock_clock.jump(3_600)
        await trio.testing.wait_all_tasks_blocked()
        journal.require_intake()
        for _ in range(4):
            mock_clock.jump(limits.WATCH_EVERY_SECONDS)
            await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(JournalRefusedError, match="does not answer"):
            journal.require_intake()
        disk.may_sync.set()
        await journal.wait_newer(0)
        await journal.wait_durable(position)


async def test_with_sync_interval_a_heartbeat_is_answered_for_before_it_is_synced(tmp_path):
    disk = FailingDisk()
    async with running(tmp_path, sync=Sync.INTERVAL, disk=disk) as journal:
        disk.may_sync.clear()
        await journal.wait_durable(journal.append_nowait(heartbeat(1)))
        assert disk.syncs == 0
        assert journal.statistics().pending_bytes == journal.newest
        await trio.to_thread.run_sync(disk.sync_begun.wait)
        disk.may_sync.set()
    assert disk.syncs == 1
    assert stored(tmp_path) == [1]


async def test_with_sync_interval_what_tells_people_is_synced_first(tmp_path):
    disk = FailingDisk()
    async with running(tmp_path, sync=Sync.INTERVAL, disk=disk) as journal:
        journal.append_nowait(heartbeat(1))
        await journal.wait_durable(journal.append_nowait(EndMute(service_id=1, at=2, sighted=2, by="")))
        assert disk.syncs == 1
        assert journal.statistics().pending_bytes == 0


async def test_with_sync_interval_a_turn_is_synced_first_if_anything_in_it_tells_people(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "SYNC_EVERY_SECONDS", 1e6)
    disk = FailingDisk()
    async with running(tmp_path, sync=Sync.INTERVAL, disk=disk) as journal:
        mute_ended = EndMute(service_id=1, at=2, sighted=2, by="")
        await journal.wait_durable(journal.append_turn_nowait([heartbeat(1), mute_ended, heartbeat(3)]))
        assert journal.synced == journal.durable == journal.newest
        assert disk.syncs == 1
        await journal.wait_durable(journal.append_turn_nowait([heartbeat(4), heartbeat(5)]))
        assert disk.syncs == 1
        assert journal.synced < journal.durable


async def test_with_sync_interval_a_failed_sync_loses_nothing_that_was_answered_for(tmp_path):
    disk = FailingDisk()
    async with running(tmp_path, sync=Sync.INTERVAL, disk=disk) as journal:
        disk.failing_syncs = 1
        await journal.wait_durable(journal.append_nowait(heartbeat(1)))
        await trio.to_thread.run_sync(disk.sync_begun.wait)
    assert stored(tmp_path) == [1]
    assert len(list(tmp_path.glob("*.journal"))) == 2


async def test_the_end_commits_what_is_pending_and_takes_nothing_more(tmp_path):
    async with running(tmp_path) as journal:
        for number in range(1, 101):
            journal.append_nowait(heartbeat(number))
    assert stored(tmp_path) == list(range(1, 101))
    with pytest.raises(JournalRefusedError, match="stopping"):
        journal.append_nowait(heartbeat(101))
    with pytest.raises(JournalRefusedError, match="stopping"):
        await journal.wait_durable(journal.newest + 1)


async def test_the_end_of_a_journal_whose_disk_fails_does_not_believe_another_sync(tmp_path):
    disk = FailingDisk()
    async with running(tmp_path, disk=disk) as journal:
        disk.failing_syncs = 2
        position = journal.append_nowait(heartbeat(1))
        with pytest.raises(JournalRefusedError):
            await journal.wait_durable(position)
    assert stored(tmp_path) == [1]
    assert len(list(tmp_path.glob("*.journal"))) == 2


async def test_the_end_does_not_wait_for_ever_for_a_disk_that_never_works_again(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "CLOSE_SECONDS", 0.05)
    disk = FailingDisk()
    async with running(tmp_path, disk=disk) as journal:
        disk.failing_syncs = 1_000
        with pytest.raises(JournalRefusedError):
            await journal.wait_durable(journal.append_nowait(heartbeat(1)))
    assert journal.durable == 0
    with pytest.raises(JournalRefusedError, match="stopping"):
        journal.require_room()


async def test_memory_is_bounded_and_a_turn_that_was_begun_has_room(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "PENDING_BYTES_MAX", 480)
    monkeypatch.setattr(limits, "TURN_BYTES_MAX", 144)
    disk = FailingDisk()
    async with running(tmp_path, disk=disk) as journal:
        disk.may_sync.clear()
        for number in range(8):
            journal.require_room()
            journal.append_nowait(heartbeat(number))
        with pytest.raises(JournalRefusedError, match="keep up"):
            journal.require_room()
        for number in range(8, 11):
            journal.append_nowait(heartbeat(number))
        with pytest.raises(JournalRefusedError, match="keep up"):
            journal.append_nowait(heartbeat(11))
        disk.may_sync.set()
    assert len(stored(tmp_path)) == 11


async def test_a_record_no_reader_could_hold_is_a_bug(tmp_path):
    async with running(tmp_path) as journal:
        with pytest.raises(InvariantError):
            journal.append_nowait(EndMute(service_id=1, at=2, sighted=3, by="x" * RECORD_BYTES_MAX))
        assert journal.newest == 0


async def test_a_turn_of_which_one_record_is_too_long_or_all_are_is_not_taken_at_all(tmp_path):
    def said(length: int) -> EndMute:
        return EndMute(service_id=1, at=2, sighted=3, by="x" * length)

    async with running(tmp_path) as journal:
        with pytest.raises(InvariantError, match="a record of"):
            journal.append_turn_nowait([heartbeat(1), said(RECORD_BYTES_MAX)])
        with pytest.raises(InvariantError, match="a turn of"):
            journal.append_turn_nowait([heartbeat(1), *[said(RECORD_BYTES_MAX // 2)] * 8])
        assert journal.newest == 0
        assert journal.statistics().records == 0


async def test_a_reader_far_behind_reads_from_the_files_in_bounded_reads(tmp_path, monkeypatch):
    async with running(tmp_path) as journal:
        journal._recent._most = 10
        for number in range(1, 101):
            journal.append_nowait(heartbeat(number))
        await journal.wait_durable(journal.newest)
        position, seen = 0, []
        while entries := await journal.read_after(position, most=7):
            assert len(entries) <= 7
            seen += [entry.effect.at for entry in entries]
            position = entries[-1].position
        assert seen == list(range(1, 101))
        run = await journal.read_records_after(0, most=7)
        assert [decode(record).at for record in run.records] == list(range(1, 8))
