"""A journal is proven by a sync that began after the question, whether or not anybody writes."""

from __future__ import annotations

import pytest
import trio

from medic.errors import JournalRefusedError
from medic.store.journal import limits
from medic.store.journal.statistics import Sync
from tests.integration.test_journal_file import FailingDisk, heartbeat, running
from tests.patience import PATIENCE_SECONDS


@pytest.mark.parametrize("sync", list(Sync))
async def test_an_idle_journal_is_synced_for_whoever_asks(tmp_path, sync):
    disk = FailingDisk()
    async with running(tmp_path, sync=sync, disk=disk) as journal:
        newest = journal.newest
        for _ in range(3):
            await journal.prove()
        assert disk.syncs == 3
        assert journal.newest == newest, "no record is needed"
        await journal.wait_durable(journal.append_nowait(heartbeat(1)))


async def test_a_sync_that_is_under_way_is_none_that_began_after_the_question(tmp_path):
    disk = FailingDisk()
    async with running(tmp_path, disk=disk) as journal:
        disk.may_sync.clear()
        journal.append_nowait(heartbeat(1))
        await trio.to_thread.run_sync(disk.sync_begun.wait, PATIENCE_SECONDS)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(journal.prove)
            await trio.testing.wait_all_tasks_blocked(0.01)
            disk.may_sync.set()
        assert disk.syncs == 2


async def test_a_disk_that_fails_is_no_progress(tmp_path):
    disk = FailingDisk()
    async with running(tmp_path, disk=disk) as journal:
        disk.failing_syncs = 1
        with pytest.raises(JournalRefusedError):
            await journal.prove()
        with trio.fail_after(PATIENCE_SECONDS):
            await journal.wait_durable(journal.newest)
            while journal.statistics().refusing is not None:  # noqa: ASYNC110 - nobody tells of it
                await trio.sleep(0.01)
        await journal.prove()


async def test_a_disk_that_hangs_is_no_progress_until_it_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "COMMIT_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(limits, "WATCH_EVERY_SECONDS", 0.05)
    disk = FailingDisk()
    async with running(tmp_path, disk=disk) as journal:
        disk.may_sync.clear()
        with pytest.raises(JournalRefusedError):
            await journal.prove()
        with pytest.raises(JournalRefusedError):
            await journal.prove()
        disk.may_sync.set()
        with trio.fail_after(PATIENCE_SECONDS):
            while journal.statistics().refusing is not None:  # noqa: ASYNC110 - nobody tells of it
                await trio.sleep(0.01)
        await journal.prove()
