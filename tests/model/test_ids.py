"""Ids against a set: whenever the process dies, and wherever a write was cut off, none is ever given out twice."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from medic.errors import OverloadedError
from medic.store.tables import ids as ids_module
from medic.store.tables.ids import BlockIds


class Blocks:
    def __init__(self) -> None:
        self.next_block = 1_024

    async def fetchrow(self, sql, wanted, *, operation):
        first, self.next_block = self.next_block, self.next_block + wanted
        return (first,)


class IdsMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.constants = (
            ids_module.BLOCK_IDS,
            ids_module.BLOCKS_AHEAD,
            ids_module.BLOCKS_TAKEN_MIN,
            ids_module.RESERVE_IDS,
        )
        ids_module.BLOCK_IDS, ids_module.BLOCKS_AHEAD, ids_module.BLOCKS_TAKEN_MIN, ids_module.RESERVE_IDS = 20, 3, 2, 7
        self.directory = Path(tempfile.mkdtemp(prefix="medic-ids-"))
        self.blocks = Blocks()
        self.drawn: set[int] = set()
        self.ids = BlockIds(self.directory)

    def teardown(self):
        shutil.rmtree(self.directory)
        ids_module.BLOCK_IDS, ids_module.BLOCKS_AHEAD, ids_module.BLOCKS_TAKEN_MIN, ids_module.RESERVE_IDS = (
            self.constants
        )

    @rule(count=st.integers(1, 30))
    def draw(self, count):
        for _ in range(count):
            try:
                drawn = self.ids.draw()
            except OverloadedError:
                assert self.ids.remaining == 0
                return
            assert drawn not in self.drawn
            self.drawn.add(drawn)

    @rule(count=st.integers(1, 30))
    def draw_many(self, count):
        count, remaining = min(count, self.ids.in_hand), self.ids.remaining
        drawn = set(self.ids.draw_many(count))
        assert len(drawn) == count == remaining - self.ids.remaining
        assert not drawn & self.drawn
        self.drawn |= drawn

    @rule()
    def refill(self):
        trio.run(self.ids.refill, self.blocks)

    @rule()
    def cut_ahead(self):
        trio.run(self.ids._cut_ahead)

    @rule()
    def die(self):
        self.ids = BlockIds(self.directory)

    @rule(cut=st.integers(0, 40), in_background=st.booleans())
    def die_while_writing(self, cut, in_background):
        """The new file is there in part under its other name; what it was written for was not done."""
        before = (self.directory / "ids").read_bytes() if (self.directory / "ids").exists() else None
        if in_background:
            trio.run(self.ids._cut_ahead)
        else:
            trio.run(self.ids.refill, self.blocks)
        after = (self.directory / "ids").read_bytes() if (self.directory / "ids").exists() else b""
        if before is not None:
            (self.directory / "ids").write_bytes(before)
        (self.directory / "ids.unfinished").write_bytes(after[:cut])
        self.ids = BlockIds(self.directory)


TestIds = IdsMachine.TestCase
TestIds.settings = settings(stateful_step_count=30, deadline=None)
