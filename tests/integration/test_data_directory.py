"""The small files of the data directory: its lock, the watermark, the tokens, and the ids kept ahead."""

from __future__ import annotations

import subprocess
import sys

import pytest
import trio
import trio.testing

from medic.errors import ConfigurationError, DatabaseUnavailableError, OverloadedError, PassingError
from medic.store.directory_lock import DirectoryLock
from medic.store.tables import ids as ids_module
from medic.store.tables.ids import BLOCK_IDS, BLOCKS_AHEAD, RESERVE_IDS, BlockIds
from medic.store.tokens import TokenFile, Tokens
from medic.store.watermark import Mark, Watermark

HOLD = """
import sys
from pathlib import Path
from medic.store.directory_lock import DirectoryLock
with DirectoryLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_and_told_which_one_is_first(tmp_path, holder):
    with pytest.raises(PassingError, match=f"in use by another Medic, process {holder.pid}") as refused:
        DirectoryLock(tmp_path).__enter__()
    assert refused.value.faults[0].field == "MEDIC_DATA_DIR"


def test_a_killed_process_leaves_no_lock(tmp_path, holder):
    holder.kill()
    holder.wait()
    with DirectoryLock(tmp_path):
        pass


def test_the_lock_is_given_back_at_the_end_of_the_block(tmp_path):
    directory = tmp_path / "made" / "here"
    for _ in range(2):
        with DirectoryLock(directory):
            assert directory.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_is_a_file_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        DirectoryLock(tmp_path / "file").__enter__()


def test_the_newest_mark_is_read_back_by_the_next_process(tmp_path):
    first = Watermark(tmp_path / "watermark")
    assert first.read() is None
    for number in range(1, 8):
        first.write(Mark(at=number * 1_000, sighted=number * 900))
    first.close()
    second = Watermark(tmp_path / "watermark")
    assert second.read() == Mark(7_000, 6_300)
    second.write(Mark(8_000, 7_200, clean=True))
    second.close()
    third = Watermark(tmp_path / "watermark")
    assert third.read() == Mark(8_000, 7_200, clean=True)
    third.close()


def test_a_torn_mark_leaves_the_one_before_it(tmp_path):
    path = tmp_path / "watermark"
    mark = Watermark(path)
    mark.write(Mark(1_000, 900))
    mark.write(Mark(2_000, 1_800))
    mark.close()
    content = path.read_bytes()
    for place in range(32):
        path.write_bytes(bytes((*content[:place], content[place] ^ 0x55, *content[place + 1 :])))
        torn = Watermark(path)
        assert torn.read() == Mark(1_000, 900)
        torn.close()


class Blocks:
    """Gives blocks as PostgreSQL does, while it is there."""

    def __init__(self) -> None:
        self.next_block = 1_024
        self.taken = 0
        self.given = trio.Event()
        self.away = False

    async def fetchrow(self, sql, wanted, *, operation):
        assert "take_id_blocks" in sql
        if self.away:
            raise DatabaseUnavailableError("PostgreSQL does not answer")
        first, self.next_block = self.next_block, self.next_block + wanted
        self.taken += 1
        self.given.set()
        return (first,)


async def test_enough_is_kept_ahead_that_a_thousand_million_ids_need_no_database(tmp_path):
    ids, blocks = BlockIds(tmp_path), Blocks()
    await ids.refill(blocks)
    assert ids.remaining >= 10**9
    await ids.refill(blocks)
    assert blocks.taken == 1
    assert 1 << 30 <= ids.draw() < 1 << 53


async def test_ids_come_from_the_file_while_the_database_is_away(tmp_path):
    blocks = Blocks()
    await BlockIds(tmp_path).refill(blocks)
    blocks.away = True
    ids = BlockIds(tmp_path)
    drawn = [ids.draw() for _ in range(10)]
    assert len(set(drawn)) == 10
    ids._ranges = ()
    with pytest.raises(DatabaseUnavailableError):
        await ids.refill(blocks)


async def test_without_ids_and_database_the_caller_waits(tmp_path):
    with pytest.raises(OverloadedError, match="no ids left"):
        BlockIds(tmp_path).draw()


async def test_the_last_id_of_the_last_block_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(ids_module, "BLOCKS_AHEAD", 1)
    monkeypatch.setattr(ids_module, "BLOCKS_TAKEN_MIN", 1)
    ids = BlockIds(tmp_path)
    await ids.refill(Blocks())
    drawn = [ids.draw() for _ in range(BLOCK_IDS)]
    assert drawn == list(range(1_024 * BLOCK_IDS, 1_025 * BLOCK_IDS))
    with pytest.raises(OverloadedError):
        ids.draw()


async def test_in_the_background_reserves_are_cut_before_they_are_wanted_and_blocks_taken(tmp_path):
    ids, blocks = BlockIds(tmp_path), Blocks()
    async with trio.open_nursery() as nursery:
        await nursery.start(ids.run, blocks)
        seen = set()
        for _ in range(5):
            while ids._ahead is None:
                await trio.lowlevel.checkpoint()
            seen.update(ids.draw() for _ in range(RESERVE_IDS))
        assert len(seen) == 5 * RESERVE_IDS
        nursery.cancel_scope.cancel()
    assert BlockIds(tmp_path).remaining <= BLOCKS_AHEAD * BLOCK_IDS - 5 * RESERVE_IDS


async def test_a_database_that_comes_back_is_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr(ids_module, "RETRY_SECONDS", 0.001)
    ids, blocks = BlockIds(tmp_path), Blocks()
    blocks.away = True
    async with trio.open_nursery() as nursery:
        await nursery.start(ids.run, blocks)
        await trio.testing.wait_all_tasks_blocked()
        blocks.away = False
        await blocks.given.wait()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert ids.draw()


async def test_a_damaged_file_of_ids_costs_ids_and_repeats_none(tmp_path):
    blocks = Blocks()
    first = BlockIds(tmp_path)
    await first.refill(blocks)
    drawn = {first.draw() for _ in range(100)}
    (tmp_path / "ids").write_bytes(b'[["a"')
    second = BlockIds(tmp_path)
    assert second.remaining == 0
    await second.refill(blocks)
    assert second.draw() not in drawn


async def test_a_directory_that_cannot_be_written_gives_no_ids(tmp_path):
    ids = BlockIds(tmp_path)
    await ids.refill(Blocks())
    (tmp_path / "ids.unfinished").mkdir()
    remaining = ids.remaining
    with pytest.raises(OverloadedError, match="data directory"):
        ids.draw()
    with pytest.raises(OSError, match="directory"):
        await ids._cut_ahead()
    assert ids.remaining == remaining
    (tmp_path / "ids.unfinished").rmdir()
    await ids._cut_ahead()
    assert ids.draw() != ids.draw()


# --------------------------------------------------------------------------------------------------------------- tokens


async def test_a_directory_remembers_its_token_and_the_newest_it_has_seen(tmp_path):
    tokens = TokenFile(tmp_path)
    directory = tokens.tokens.directory
    await tokens.see(3)
    await tokens.see(2)
    assert TokenFile(tmp_path).tokens == Tokens(directory, own=0, newest_seen=3)
    await tokens.begin_inheriting()
    assert TokenFile(tmp_path).tokens.inheriting
    await tokens.own(4)
    assert TokenFile(tmp_path).tokens == Tokens(directory, own=4, newest_seen=4)
    await tokens.see(9)
    await tokens.own(5)
    assert TokenFile(tmp_path).tokens == Tokens(directory, own=5, newest_seen=9)
    assert not list(tmp_path.glob("*.unfinished"))


@pytest.mark.parametrize("torn", [b"", b'{"directory": "x", "own": 3', b'{"own": "3"}', b"\xff"])
def test_a_damaged_file_of_tokens_makes_a_new_directory_of_it(tmp_path, torn):
    (tmp_path / "token").write_bytes(torn)
    found = TokenFile(tmp_path).tokens
    assert (found.own, found.newest_seen) == (0, 0)
    assert found.directory not in {"", "x", TokenFile(tmp_path).tokens.directory}
