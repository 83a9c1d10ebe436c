"""The file journal against a list of records, with crashes, failing disks and damaged bytes.

The model is a list and three counts: how many records were discarded, synced, written. Whatever happens, an opened
journal holds a prefix of the list without what was discarded, which ends where a turn does, and the prefix contains
everything that was synced; after a `kill -9`, which leaves what the operating system has, everything that was written.
Segments are so short that nearly every commit begins one. A running journal gives whole turns to read, too.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from medic.core.effects import EndMute
from medic.errors import ConfigurationError
from medic.store.codec import decode, encode
from medic.store.journal.files import Disk, JournalFiles
from medic.store.journal.frames import HEADER_BYTES, Damage, Pending

SEGMENT_BYTES = 120
TURN = st.lists(st.text("abcäöü\x01\x00", max_size=12), min_size=1, max_size=5)
TURNS = st.lists(TURN, min_size=1, max_size=4)


def record(text: str) -> bytes:
    return encode(EndMute(service_id=1, at=2, sighted=3, by=text))


def text_of(frame) -> str:
    return decode(frame.record).by


class CrashDisk(Disk):
    """A disk that fails when told to, and knows how much of each file no sync covers."""

    def __init__(self) -> None:
        self.synced: dict[int, int] = {}
        self.write_fails_after: int | None = None
        self.syncs_fail = 0

    def write(self, fd, frames, offset):
        self.synced.setdefault(os.fstat(fd).st_ino, 0)
        if self.write_fails_after is not None:
            super().write(fd, frames[: self.write_fails_after], offset)
            self.write_fails_after = None
            raise OSError(28, "No space left on device")
        super().write(fd, frames, offset)

    def sync(self, fd):
        if self.syncs_fail:
            self.syncs_fail -= 1
            raise OSError(5, "Input/output error")
        self.synced[os.fstat(fd).st_ino] = os.fstat(fd).st_size


class JournalMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="medic-journal-"))
        self.records: list[str] = []
        self.ends: list[int] = []
        self.turns: list[int] = [0]
        self.synced = 0
        self.written = 0
        self.discarded = 0

    @initialize()
    def begin(self):
        self.open()

    def open(self):
        self.disk = CrashDisk()
        self.files = JournalFiles(self.directory, disk=self.disk, segment_bytes=SEGMENT_BYTES)
        for path in self.directory.glob("*.journal"):
            self.disk.synced[path.stat().st_ino] = path.stat().st_size
        self.pending = Pending(self.files.seed, self.files.end)
        self.synced_position = self.files.end
        self.unsynced = b""

    def teardown(self):
        shutil.rmtree(self.directory)

    # ------------------------------------------------------------------------------------------- what a journal does

    @rule(turns=TURNS)
    def append(self, turns):
        for texts in turns:
            self.records += texts
            self.ends += self.pending.add_turn([record(text) for text in texts])
            self.turns.append(len(self.records))

    def take(self) -> bytes:
        frames = self.pending.take(self.synced_position)
        self.unsynced += frames
        return frames

    def note_synced(self):
        self.synced = self.written = len(self.records)
        self.synced_position = self.pending.newest
        self.unsynced = b""

    def begin_anew(self):
        self.unsynced += self.pending.take(-1)
        self.files.begin_anew(self.synced_position, self.unsynced)
        self.note_synced()

    @rule()
    def write_and_sync(self):
        at = self.synced_position + len(self.unsynced)
        self.files.append_durably(self.take(), at)
        self.note_synced()

    @rule()
    def write(self):
        at = self.synced_position + len(self.unsynced)
        self.files.append(self.take(), at)
        self.written = len(self.records)

    @rule(kept=st.integers(0, 200))
    def write_fails(self, kept):
        at = self.synced_position + len(self.unsynced)
        self.disk.write_fails_after = kept
        with pytest.raises(OSError, match="No space"):
            self.files.append(self.take(), at)
        self.begin_anew()

    @rule(attempts=st.integers(1, 3), turns=TURNS)
    def sync_fails_and_so_do_new_files(self, attempts, turns):
        self.append(turns)
        at = self.synced_position + len(self.unsynced)
        self.disk.syncs_fail = attempts
        with pytest.raises(OSError, match="Input/output"):
            self.files.append_durably(self.take(), at)
        for _ in range(attempts - 1):
            with pytest.raises(OSError, match="Input/output"):
                self.begin_anew()
        self.begin_anew()

    @rule(data=st.data())
    def discard(self, data):
        """A segment goes only as a whole, and never the last one."""
        count = data.draw(st.integers(0, self.synced), label="no use for")
        position = self.ends[count - 1] if count else 0
        before = self.files.oldest
        assert self.files.discard(position) == self.files.oldest - before
        assert self.files.oldest <= max(position, before)
        self.discarded = sum(end <= self.files.oldest for end in self.ends)
        assert len(list(self.directory.glob("*.journal"))) == self.files.segments

    # ---------------------------------------------------------------------------------------------- what befalls one

    @rule()
    def kill(self):
        self.files.close()
        self.open()
        self.compare(at_least=self.written)

    @rule(data=st.data())
    def lose_power(self, data):
        """What no sync covers is cut, turned to zeros or overwritten at will; a failed file may hold anything."""
        self.files.close()
        for path in self.directory.glob("*.journal"):
            safe = self.disk.synced.get(path.stat().st_ino, 0)
            content = bytearray(path.read_bytes())
            if len(content) == safe:
                continue
            cut = data.draw(st.integers(safe, len(content)), label="cut")
            for place in data.draw(st.lists(st.integers(safe, len(content) - 1), max_size=3), label="hit"):
                content[place] = data.draw(st.sampled_from((0, 0xFF, content[place] ^ 1)))
            path.write_bytes(content[:cut])
        self.open()
        self.compare(at_least=self.synced)

    @precondition(lambda self: self.unsynced)
    @rule(data=st.data())
    def die_in_the_middle_of_a_new_file(self, data):
        """The unfinished file is there in part, under its other name."""
        self.files.close()
        (self.directory / "unfinished").write_bytes(self.unsynced[: data.draw(st.integers(0, len(self.unsynced)))])
        self.open()
        self.compare(at_least=self.synced)

    def compare(self, *, at_least: int):
        found = list(self.files.scan(0, self.files.end))
        assert not any(isinstance(one, Damage) for one in found)
        count = self.discarded + len(found)
        assert [text_of(frame) for frame in found] == self.records[self.discarded : count]
        assert [frame.end for frame in found] == self.ends[self.discarded : count]
        assert count >= at_least
        assert count in self.turns
        del self.records[count:], self.ends[count:]
        self.turns = [turn for turn in self.turns if turn <= count]
        self.synced = self.written = count

    @invariant()
    def everything_written_is_read(self):
        if not hasattr(self, "files"):
            return
        until = self.ends[self.written - 1] if self.written else 0
        entries = self.files.read(0, until, most=10_000)
        assert [entry.effect.by for entry in entries] == self.records[self.discarded : self.written]

    @precondition(lambda self: self.written > self.discarded)
    @rule(data=st.data())
    def read_some(self, data):
        """What is asked for, and the rest of the last turn; never more turns than that, and from any record on."""
        behind = data.draw(st.integers(self.discarded, self.written - 1), label="behind")
        most = data.draw(st.integers(1, 6), label="most")
        position, until = self.ends[behind - 1] if behind else 0, self.ends[self.written - 1]
        entries = self.files.read(position, until, most=most)
        last = next(turn for turn in self.turns if turn >= min(behind + most, self.written))
        assert [entry.position for entry in entries] == self.ends[behind:last]


TestJournal = JournalMachine.TestCase
TestJournal.settings = settings(stateful_step_count=25, deadline=None)


def journal_with_a_tail(directory: Path) -> tuple[Path, list[str], int]:
    """A journal of two synced commits and a written one that no sync covers; its file, its records, the safe bytes."""
    files = JournalFiles(directory)
    pending = Pending(files.seed, 0)
    texts = ["one", "zwei", "drei", "vier", "fünf", "sechs"]
    for count, text in enumerate(texts[:4]):
        pending.add(record(text))
        if count % 2:
            at = files.end
            files.append_durably(pending.take(at), at)
    safe = files.end
    for text in texts[4:]:
        pending.add(record(text))
    files.append(pending.take(safe), safe)
    files.close()
    return next(directory.glob("*.journal")), texts, HEADER_BYTES + safe


def test_a_tail_cut_at_any_byte_leaves_a_prefix_with_everything_synced(tmp_path):
    path, texts, safe = journal_with_a_tail(tmp_path)
    content = path.read_bytes()
    for cut in range(safe, len(content) + 1):
        path.write_bytes(content[:cut])
        files = JournalFiles(tmp_path)
        found = [text_of(frame) for frame in files.scan(0, files.end)]
        files.close()
        assert found == texts[: len(found)]
        assert len(found) >= 4
        assert (len(found) == 6) == (cut == len(content))
        assert path.stat().st_size == HEADER_BYTES + files.end


def test_a_tail_with_any_byte_flipped_leaves_a_prefix_with_everything_synced(tmp_path):
    path, texts, safe = journal_with_a_tail(tmp_path)
    content = path.read_bytes()
    for place in range(safe, len(content)):
        broken = bytearray(content)
        broken[place] ^= 0x41
        path.write_bytes(broken)
        files = JournalFiles(tmp_path)
        found = [text_of(frame) for frame in files.scan(0, files.end)]
        files.close()
        assert found == texts[: len(found)]
        assert 4 <= len(found) < 6


def test_damage_in_what_was_synced_is_reported_and_the_rest_is_read(tmp_path):
    path, texts, _ = journal_with_a_tail(tmp_path)
    content = path.read_bytes()
    second_commit = HEADER_BYTES + len(content[HEADER_BYTES:]) // 3
    for place in range(HEADER_BYTES, second_commit - 20):
        broken = bytearray(content)
        broken[place] ^= 0x41
        path.write_bytes(broken)
        files = JournalFiles(tmp_path)
        found = list(files.scan(0, files.end))
        lost = [one for one in found if isinstance(one, Damage)]
        kept = [text_of(one) for one in found if not isinstance(one, Damage)]
        assert len(lost) == 1
        assert files.opening.damage == tuple(lost)
        assert kept in ([*texts[:number], *texts[number + 1 :]] for number in range(3))
        assert [entry.effect.by for entry in files.read(0, files.end, most=100)] == kept
        files.close()


def test_of_several_commits_that_no_sync_covers_the_first_damaged_one_is_the_end(tmp_path):
    files = JournalFiles(tmp_path)
    pending = Pending(files.seed, 0)
    for text in ("one", "two", "three"):
        pending.add(record(text))
        files.append(pending.take(0), files.end)
    files.close()
    path = next(tmp_path.glob("*.journal"))
    content = path.read_bytes()
    third = (len(content) - HEADER_BYTES) // 3
    path.write_bytes(content[: HEADER_BYTES + third] + bytes(third) + content[HEADER_BYTES + 2 * third :])
    files = JournalFiles(tmp_path)
    assert [text_of(frame) for frame in files.scan(0, files.end)] == ["one"]
    assert files.opening.damage == ()
    assert files.opening.torn_bytes > third
    files.close()


def test_a_damaged_header_does_not_lose_the_file(tmp_path):
    path, texts, _ = journal_with_a_tail(tmp_path)
    content = path.read_bytes()
    path.write_bytes(b"\xff" * 8 + content[8:])
    files = JournalFiles(tmp_path)
    assert [text_of(frame) for frame in files.scan(0, files.end)] == texts
    files.close()


def test_a_lost_identity_is_read_from_the_files(tmp_path):
    journal_with_a_tail(tmp_path)
    identity = (tmp_path / "identity").read_text()
    (tmp_path / "identity").unlink()
    files = JournalFiles(tmp_path)
    assert files.journal_id == identity.strip()
    files.close()


def test_files_of_two_journals_in_one_directory_are_refused(tmp_path):
    journal_with_a_tail(tmp_path / "a")
    journal_with_a_tail(tmp_path / "b")
    shutil.copy(tmp_path / "a" / "identity", tmp_path / "b" / "identity")
    with pytest.raises(ConfigurationError, match="Move the file away"):
        JournalFiles(tmp_path / "b")


def test_a_journal_whose_identity_and_header_are_lost_is_refused(tmp_path):
    path, _, _ = journal_with_a_tail(tmp_path)
    (tmp_path / "identity").unlink()
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])
    with pytest.raises(ConfigurationError, match="backup"):
        JournalFiles(tmp_path)
