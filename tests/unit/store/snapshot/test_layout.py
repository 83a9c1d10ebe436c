"""A snapshot is whole, or it is none: cut anywhere, changed anywhere, blocks swapped or left out."""

from __future__ import annotations

import pytest

from medic.errors import UnreadableRecordError
from medic.store.snapshot import layout
from medic.store.snapshot.layout import BlockWriter, DamagedSnapshotError, read_blocks

BLOCKS = [(b"facts", b"{}"), (b"services", b"abc" * 5), (b"services", b""), (b"closing", b"x")]


def parts() -> list[bytes]:
    writer = BlockWriter()
    return [writer.begin(), *(writer.block(section, payload) for section, payload in BLOCKS), writer.end()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "one.snapshot"


def test_what_was_written_is_read(path):
    path.write_bytes(b"".join(parts()))
    assert list(read_blocks(path)) == BLOCKS


def test_cut_at_any_byte_it_is_no_snapshot(path):
    whole = b"".join(parts())
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises(DamagedSnapshotError):
            list(read_blocks(path))


def test_with_any_byte_changed_it_is_no_snapshot(path):
    whole = b"".join(parts())
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 0x41
        path.write_bytes(broken)
        with pytest.raises(DamagedSnapshotError):
            list(read_blocks(path))


def test_a_block_left_out_swapped_or_added_is_noticed(path):
    begin, first, second, third, *rest = parts()
    for content in (
        [begin, second, third, *rest],
        [begin, second, first, third, *rest],
        [begin, first, second, third, third, *rest],
        [begin, first, second, third, *rest, b"more"],
    ):
        path.write_bytes(b"".join(content))
        with pytest.raises(DamagedSnapshotError):
            list(read_blocks(path))


def test_a_later_layout_is_told_to_the_operator(path, monkeypatch):
    monkeypatch.setattr(layout, "LAYOUT_VERSION", 2)
    path.write_bytes(b"".join(parts()))
    monkeypatch.undo()
    with pytest.raises(UnreadableRecordError, match="version 2"):
        list(read_blocks(path))
