"""Heads of the chain in the data directory: a line a day, the newest, and what was contradicted."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from medic.core.units import DAY_MS
from medic.store.audit.chain import Head
from medic.store.audit.heads import FILE_NAME, AuditHeads, merged_heads, read_heads

AT = 1_790_000_000_000


def head(place: int) -> Head:
    return Head(place, place.to_bytes(32, "big"))


def read(folder: Path) -> list[int]:
    return [kept.place for kept in AuditHeads(folder).read()]


def test_a_line_a_day_is_kept_and_the_newest(tmp_path: Path) -> None:
    heads = AuditHeads(tmp_path)
    assert heads.expected is None
    for place, at in ((1, AT), (2, AT + 1), (3, AT + DAY_MS), (4, AT + DAY_MS + 5)):
        assert heads.begins_day(at) == (place in {1, 3})
        heads.keep(head(place), at)

    assert read(tmp_path) == [2, 4]
    assert heads.expected == head(4)
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


def test_what_was_contradicted_stays(tmp_path: Path) -> None:
    AuditHeads(tmp_path).keep(head(7), AT)
    heads = AuditHeads(tmp_path)
    heads.read()
    heads.pin_newest()
    assert heads.expected is None
    for place in (3, 4):
        heads.keep(head(place), AT + place)
    again = AuditHeads(tmp_path)

    assert [kept.place for kept in again.read()] == [7, 4]
    again.keep(head(5), AT + 9)
    assert read(tmp_path) == [7, 5]


def test_what_medic_removed_itself_is_not_expected_to_be_there(tmp_path: Path) -> None:
    heads = AuditHeads(tmp_path)
    heads.keep(head(7), AT)
    heads.keep_checkpoint(head(6), AT)
    assert heads.expected == head(7)
    heads.keep_checkpoint(head(7), AT)
    assert heads.expected is None


@pytest.mark.parametrize("text", ["one\n", "1 xyz 2 3\n", "1 00 2 3 4 5\n", "\ufffd"])
def test_a_file_that_is_no_list_of_heads_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)

    with pytest.raises(ValueError, match=r"head|hex|ascii"):
        AuditHeads(tmp_path).read()


def test_a_copy_of_the_chain_has_the_heads_from_before_it_and_every_checkpoint(tmp_path: Path) -> None:
    assert read_heads(tmp_path) == b""
    heads = AuditHeads(tmp_path)
    heads.keep(head(7), AT)
    before = read_heads(tmp_path)
    heads.keep_checkpoint(head(5), AT + 1)
    heads.keep(head(9), AT + 2)
    (tmp_path / FILE_NAME).write_bytes(merged_heads(before, read_heads(tmp_path)))

    copied = AuditHeads(tmp_path)
    assert [kept.place for kept in copied.read()] == [7]
    assert [checkpoint.head.place for checkpoint in copied.checkpoints] == [5]
