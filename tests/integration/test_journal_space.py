"""Room: a limit and a full disk refuse heartbeats first, and everything else goes on in what was kept for it."""

from __future__ import annotations

import errno
from contextlib import asynccontextmanager

import pytest
import trio

from medic.core.effects import EndMute
from medic.errors import JournalRefusedError
from medic.store.journal import limits, space
from medic.store.journal import space as room
from medic.store.journal.file_journal import FileJournal
from medic.store.journal.files import Disk
from medic.store.journal.space import JournalSpace
from tests.integration.test_journal_file import heartbeat
from tests.patience import PATIENCE_SECONDS

RESERVE_BYTES = 256 << 10


class SmallDisk(Disk):
    """Takes so many bytes; what is given up of a reserve comes on top."""

    def __init__(self, directory) -> None:
        self._directory = directory
        self.left = 1 << 40
        self.error = errno.ENOSPC

    def write(self, fd, frames, offset):
        reserved = (self._directory / "reserve").exists()
        if len(frames) > self.left + (0 if reserved else RESERVE_BYTES):
            raise OSError(self.error, "No space left on device")
        super().write(fd, frames, offset)


@asynccontextmanager
async def running(path, **options):
    journal = FileJournal(path, **options)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        yield journal
        nursery.cancel_scope.cancel()


def decision(number: int) -> EndMute:
    return EndMute(service_id=1, at=number, sighted=number, by="")


async def test_beyond_the_limit_heartbeats_are_refused_and_decisions_are_not(tmp_path):
    async with running(tmp_path, bytes_max=10_000) as journal:
        while journal.newest <= 10_000:
            journal.require_intake()
            await journal.wait_durable(journal.append_nowait(heartbeat(1)))
        with pytest.raises(JournalRefusedError, match="limit") as refused:
            journal.require_intake()
        assert refused.value.retry_after_seconds == limits.INTAKE_RETRY_SECONDS
        assert "limit" in (journal.statistics().refusing_intake or "")
        journal.require_room()
        await journal.wait_durable(journal.append_nowait(decision(2)))
        gone = await journal.discard(journal.newest)
        assert gone > 0
        assert journal.oldest == gone
        journal.require_intake()
        assert journal.statistics().segments == 1
    with pytest.raises(JournalRefusedError, match="stopping"):
        journal.require_intake()


async def test_a_journal_found_beyond_its_limit_refuses_from_the_start(tmp_path):
    async with running(tmp_path) as journal:
        for number in range(100):
            journal.append_nowait(heartbeat(number))
    reopened = FileJournal(tmp_path, bytes_max=1_000)
    with pytest.raises(JournalRefusedError, match="limit"):
        reopened.require_intake()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_on_a_full_disk_decisions_go_on_in_the_reserve(tmp_path, monkeypatch, number):
    monkeypatch.setattr(space, "SPACE_LOOK_SECONDS", 0.01)
    disk = SmallDisk(tmp_path)
    disk.error = number
    async with running(tmp_path, disk=disk, reserve_bytes=RESERVE_BYTES) as journal:
        journal.require_intake()
        assert journal.statistics().reserved_bytes == RESERVE_BYTES
        assert (tmp_path / "reserve").stat().st_blocks * 512 >= RESERVE_BYTES
        monkeypatch.setattr(JournalSpace, "_allocate", lambda _: (_ for _ in ()).throw(OSError(number, "full")))
        disk.left = 0
        position = journal.append_nowait(heartbeat(1))
        with pytest.raises(JournalRefusedError, match="cannot be written"):
            await journal.wait_durable(position)
        await journal.wait_newer(0)
        assert not (tmp_path / "reserve").exists()
        with pytest.raises(JournalRefusedError, match="disk under the journal is full"):
            journal.require_intake()
        await journal.wait_durable(journal.append_nowait(decision(2)))
        monkeypatch.undo()
        monkeypatch.setattr(space, "SPACE_LOOK_SECONDS", 0.01)
        with trio.fail_after(PATIENCE_SECONDS):
            while journal.statistics().refusing_intake is not None:  # noqa: ASYNC110 - it is looked at, not told
                await trio.sleep(0.01)
        journal.require_intake()
    again = FileJournal(tmp_path, reserve_bytes=RESERVE_BYTES)
    assert again.statistics().reserved_bytes == RESERVE_BYTES
    assert [entry.effect.at for entry in again._files.read(0, again.durable, most=10)] == [1, 2]


async def test_a_disk_without_room_for_the_reserve_takes_no_heartbeat_from_the_start(tmp_path, monkeypatch):
    class Nearly:
        f_frsize = 1
        f_bavail = RESERVE_BYTES

    monkeypatch.setattr(room.os, "statvfs", lambda _: Nearly)
    async with running(tmp_path, reserve_bytes=RESERVE_BYTES) as journal:
        with pytest.raises(JournalRefusedError, match="full"):
            journal.require_intake()
        await journal.wait_durable(journal.append_nowait(decision(1)))


async def test_who_waits_for_a_sync_is_told_when_there_will_be_none(tmp_path):
    async with running(tmp_path) as journal:
        position = journal.append_nowait(heartbeat(1))
        await journal.wait_synced(position)
        assert journal.synced == position
    with pytest.raises(JournalRefusedError):
        await journal.wait_synced(position + 1)
