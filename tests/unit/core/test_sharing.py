"""Rows keep what is their own and point at what many have."""

from __future__ import annotations

import copy
from dataclasses import FrozenInstanceError, dataclass, fields, replace

import pytest

from medic.core import sharing as module
from medic.core.sharing import shared, sharing


@sharing("team", "interval")
@dataclass(frozen=True, kw_only=True)
class Row:
    """A row."""

    number: int
    name: str
    team: str
    interval: int = 60_000

    def told(self) -> str:
        return f"{self.name} of {self.team}"


def text(word: str) -> str:
    """A string that is no other's object."""
    return "".join(list(word))


def row(number: int = 1, **columns) -> Row:
    return Row(**({"number": number, "name": f"row {number}", "team": text("payments")} | columns))


def test_rows_with_the_same_columns_point_at_one_object():
    one, other = row(1), row(2)
    assert one._shared is other._shared
    assert one.team is other.team


def test_tuples_that_differ_share_the_strings_that_do_not():
    assert row(interval=1).team is row(interval=2).team


def test_a_row_is_a_frozen_dataclass_to_whoever_uses_it():
    one = row()
    assert [column.name for column in fields(one)] == ["number", "name", "team", "interval"]
    assert repr(one).endswith("Row(number=1, name='row 1', team='payments', interval=60000)")
    assert one == row()
    assert hash(one) == hash(row())
    assert one != row(2)
    assert one != row(team="search")
    assert one != "row 1"
    assert one.told() == "row 1 of payments"
    assert replace(one, team="search", number=3) == row(3, name="row 1", team="search")
    assert copy.copy(one) is copy.deepcopy(one) is one
    with pytest.raises(FrozenInstanceError):
        one.team = "search"
    with pytest.raises(FrozenInstanceError):
        one.name = "other"


def test_a_row_has_slots_for_its_own_columns_only():
    assert Row.__slots__ == ("number", "name", "_shared")
    assert not hasattr(row(), "__dict__")


def test_a_column_that_is_missing_or_not_there_is_named():
    with pytest.raises(TypeError, match=r"has the columns \('number', .*, not \('number', 'team'\)"):
        Row(number=1, team="payments")
    with pytest.raises(TypeError, match="'colour'"):
        row(colour="red")
    with pytest.raises(TypeError, match="'colour'"):
        row(colour="red", interval=5)


def test_the_class_before_sharing_can_be_filled_one_by_one():
    wide = Row.wide(number=1, name="row 1", team="payments")
    assert repr(wide) == repr(row())


def test_a_full_table_is_begun_anew_and_rows_keep_what_they_have(monkeypatch):
    monkeypatch.setattr(module, "SHARED_MAX", len(module._tuples) + 1)
    before = shared((text("a"), "table that is nearly full"))
    assert shared(("a", "table that is nearly full")) is before
    after = shared(("b", "table that was full"))
    assert len(module._tuples) == 1
    assert shared(("b", "table that was full")) is after
    assert before == ("a", "table that is nearly full")
