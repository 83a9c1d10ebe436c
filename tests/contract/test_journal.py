"""What every journal promises, whatever it is written on."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
from structlog.testing import capture_logs

from medic.core.effects import EndMute, RecordHeartbeat
from medic.core.status import HeartbeatStatus
from medic.errors import JournalRefusedError
from medic.store.journal.file_journal import FileJournal
from medic.store.journal.files import entries_of
from medic.store.journal.memory_journal import MemoryJournal
from medic.store.journal.recent import RECENT_RECORDS_MAX
from medic.store.journal.statistics import Sync


def heartbeat(number: int) -> RecordHeartbeat:
    return RecordHeartbeat(
        service_id=1,
        at=number,
        sighted=number,
        heartbeat_id=number,
        kind=HeartbeatStatus.UP,
        status="UP",
        run_id=f"läuft-{number}",
    )


@asynccontextmanager
async def opened_in_memory(path):
    yield MemoryJournal()


def on_files(sync):
    @asynccontextmanager
    async def opened(path):
        journal = FileJournal(path / "journal", sync=sync)
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            yield journal
            nursery.cancel_scope.cancel()

    return opened


@pytest.fixture(params=["memory", "file-always", "file-interval"])
def opened(request, tmp_path):
    """A function that opens the journal: again and again the same one, where it is on files."""
    opens = {
        "memory": opened_in_memory,
        "file-always": on_files(Sync.ALWAYS),
        "file-interval": on_files(Sync.INTERVAL),
    }[request.param]
    return lambda: opens(tmp_path)


async def test_a_new_journal_is_empty_and_has_an_identity(opened):
    async with opened() as journal:
        assert (journal.newest, journal.durable, journal.shard) == (0, 0, 0)
        assert len(journal.journal_id) == 32
        assert list(await journal.read_after(0, most=10)) == []


async def test_positions_are_assigned_without_waiting_and_grow(opened):
    async with opened() as journal:
        positions = [journal.append_nowait(heartbeat(number)) for number in range(1, 6)]
        assert positions == sorted(set(positions))
        assert journal.newest == positions[-1]
        await journal.wait_durable(positions[-1])
        assert journal.durable >= positions[-1]


async def test_durable_records_are_read_back_in_order_from_any_position(opened):
    async with opened() as journal:
        effects = [heartbeat(1), EndMute(service_id=1, at=2, sighted=2, by="Ännchen"), heartbeat(3)]
        positions = [journal.append_nowait(effect) for effect in effects]
        await journal.wait_durable(positions[-1])
        for count, position in enumerate([0, *positions]):
            entries = await journal.read_after(position, most=10)
            assert [(entry.position, entry.effect) for entry in entries] == list(
                zip(positions[count:], effects[count:], strict=True)
            )


async def test_a_plain_heartbeat_is_the_record_that_says_so(opened):
    async with opened() as journal:
        plain = RecordHeartbeat(7, 8, 9, 10, HeartbeatStatus.COMPLETED, "COMPLETED")
        first = journal.append_nowait(plain)
        second = journal.append_heartbeat_nowait(7, 8, 9, 10, HeartbeatStatus.COMPLETED)
        assert second == 2 * first
        await journal.wait_durable(second)
        assert [entry.effect for entry in await journal.read_after(0, most=10)] == [plain, plain]


async def test_many_plain_heartbeats_are_as_many_records(opened):
    kinds = [HeartbeatStatus.UP, HeartbeatStatus.STARTED, HeartbeatStatus.UP]
    async with opened() as journal:
        first = journal.append_nowait(heartbeat(1))
        positions = journal.append_heartbeats_nowait([7, 8, 7], 9, 10, range(11, 14), kinds)
        last = journal.append_nowait(heartbeat(2))
        plain = [
            RecordHeartbeat(*one, kind, kind.value)
            for one, kind in zip([(7, 9, 10, 11), (8, 9, 10, 12), (7, 9, 10, 13)], kinds, strict=True)
        ]
        await journal.wait_durable(last)
        entries = await journal.read_after(0, most=10)
        assert [entry.position for entry in entries] == [first, *positions, last]
        assert [entry.effect for entry in entries] == [heartbeat(1), *plain, heartbeat(2)]
    async with opened() as journal:
        if journal.newest:
            assert list(await journal.read_after(0, most=10)) == entries


async def test_more_records_than_are_kept_in_memory_are_all_there(tmp_path):
    count = 3 * RECENT_RECORDS_MAX
    async with on_files(Sync.INTERVAL)(tmp_path) as journal:
        positions = []
        for begin in range(0, count, 1_000):
            many = len(range(begin, min(begin + 1_000, count)))
            positions += journal.append_heartbeats_nowait(
                [7] * many, 8, 9, range(begin, begin + many), [HeartbeatStatus.UP] * many
            )
        await journal.wait_durable(positions[-1])
        read = []
        while len(read) < count:
            read += (await journal.read_records_after(read[-1] if read else 0, most=20_000)).positions
        assert read == positions


async def test_records_are_read_as_they_were_encoded(opened):
    async with opened() as journal:
        effects = [heartbeat(1), EndMute(service_id=1, at=2, sighted=2, by="Ännchen"), heartbeat(3)]
        positions = [journal.append_nowait(effect) for effect in effects]
        await journal.wait_durable(positions[-1])
        run = await journal.read_records_after(positions[0], most=10)
        assert list(run.positions) == positions[1:]
        assert [entry.effect for entry in entries_of(run)] == effects[1:]
        assert list((await journal.read_records_after(0, most=2)).positions) == positions[:2]


async def test_a_read_gives_at_most_what_was_asked_for(opened):
    async with opened() as journal:
        positions = [journal.append_nowait(heartbeat(number)) for number in range(1, 8)]
        await journal.wait_durable(positions[-1])
        entries = await journal.read_after(positions[1], most=3)
        assert [entry.position for entry in entries] == positions[2:5]


async def test_a_turn_has_one_position_and_is_read_as_a_whole(opened):
    turn = [
        heartbeat(2),
        EndMute(service_id=1, at=3, sighted=3, by="Ann"),
        EndMute(service_id=1, at=4, sighted=4, by=""),
    ]
    async with opened() as journal:
        journal.append_nowait(heartbeat(1))
        end = journal.append_turn_nowait(turn)
        assert end == journal.newest
        alone = journal.append_turn_nowait([heartbeat(5)])
        await journal.wait_durable(alone)
        entries = await journal.read_after(0, most=10)
        assert [entry.effect for entry in entries] == [heartbeat(1), *turn, heartbeat(5)]
        assert [entry.position for entry in entries][3:] == [end, alone]
    async with opened() as journal:
        for behind, most, expected in ((0, 1, 1), (0, 2, 4), (0, 4, 4), (1, 1, 4), (2, 1, 4), (3, 1, 4), (4, 1, 5)):
            position = entries[behind - 1].position if behind else 0
            if journal.newest:
                assert list(await journal.read_after(position, most=most)) == entries[behind:expected]


async def test_who_waits_for_a_turn_is_answered_for_all_of_it(opened):
    async with opened() as journal:
        seen = []
        end = journal.append_turn_nowait([heartbeat(1), heartbeat(2)])
        journal.call_when_durable(end, lambda _: seen.append(journal.durable))
        await journal.wait_durable(1)
        assert journal.durable >= end
        assert seen == [journal.durable]


async def test_many_wait_for_one_commit_and_all_are_woken(opened):
    async with opened() as journal:
        woken = []

        async def wait_for(position):
            await journal.wait_durable(position)
            woken.append(position)

        async with trio.open_nursery() as nursery:
            positions = [journal.append_nowait(heartbeat(number)) for number in range(1, 201)]
            for position in positions:
                nursery.start_soon(wait_for, position)
        assert sorted(woken) == positions


async def test_calls_are_run_once_their_record_is_durable_in_the_order_they_were_handed_in(opened):
    async with opened() as journal:
        called = []

        def caller(number, position):
            return lambda refused: called.append((number, refused, journal.durable >= position))

        for number in range(1, 101):
            position = journal.append_nowait(heartbeat(number))
            journal.call_when_durable(position, caller(number, position))
        await journal.wait_durable(position)
        assert called == [(number, None, True) for number in range(1, 101)]


async def test_a_call_for_what_is_durable_is_run_at_once(opened):
    async with opened() as journal:
        position = journal.append_nowait(heartbeat(1))
        await journal.wait_durable(position)
        called = []
        journal.call_when_durable(position, called.append)
        assert called == [None]


async def test_a_call_that_raises_is_reported_and_hurts_nobody_else(opened):
    async with opened() as journal:
        called = []

        def raising(_refused):
            raise RuntimeError("a bug of the caller")

        with capture_logs() as lines:
            position = journal.append_nowait(heartbeat(1))
            journal.call_when_durable(position, raising)
            journal.call_when_durable(position, called.append)
            await journal.wait_durable(position)
        assert called == [None]
        assert [type(line["exc_info"]) for line in lines if line["log_level"] == "error"] == [RuntimeError]
        await journal.wait_durable(journal.append_nowait(heartbeat(2)))


async def test_a_reader_is_woken_by_the_next_durable_record(opened):
    async with opened() as journal:
        seen = []

        async def follow():
            position = 0
            while len(seen) < 3:
                await journal.wait_newer(position)
                for entry in await journal.read_after(position, most=2):
                    seen.append(entry.effect.at)
                    position = entry.position

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            for number in (1, 2, 3):
                await journal.wait_durable(journal.append_nowait(heartbeat(number)))
        assert seen == [1, 2, 3]


async def test_nothing_undurable_is_read(opened):
    async with opened() as journal:
        journal.append_nowait(heartbeat(1))
        durable = journal.durable
        assert all(entry.position <= durable for entry in await journal.read_after(0, most=10))


async def test_room_for_a_turn_is_there(opened):
    async with opened() as journal:
        journal.require_room()


async def test_who_waits_is_told_when_it_never_will_be(opened):
    async with opened() as journal:
        if not isinstance(journal, MemoryJournal):
            position = journal.append_nowait(heartbeat(1))
            await journal.wait_durable(position)
            return
        journal.hold()
        position = journal.append_nowait(heartbeat(1))
        waited = []
        journal.call_when_durable(position, waited.append)
        assert waited == []
        journal.refuse()
        assert isinstance(waited.pop(), JournalRefusedError)
        with pytest.raises(JournalRefusedError):
            await journal.wait_durable(position)
        told = []
        journal.call_when_durable(position, told.append)
        assert isinstance(told.pop(), JournalRefusedError)
        with pytest.raises(JournalRefusedError):
            journal.append_nowait(heartbeat(2))
        with pytest.raises(JournalRefusedError):
            journal.append_turn_nowait([heartbeat(2), heartbeat(3)])
        with pytest.raises(JournalRefusedError):
            journal.require_room()
        journal.take_again()
        journal.release()
        await journal.wait_durable(position)
        assert journal.effects() == [heartbeat(1)]
