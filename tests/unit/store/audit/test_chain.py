"""The chain shows what was done to it, and says where."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from medic.store.audit.chain import BEGINNING, START, Head, Seal, Walk, next_hash, seal_all

AT = 1_790_000_000_000


def digest(number: int) -> bytes:
    return hashlib.sha256(b"entry %d" % number).digest()


def sealed(count: int = 6) -> list[Seal]:
    return list(seal_all(START, ((100 + number, digest(number)) for number in range(count)), AT))


def findings(seals: list[Seal], *, kept: tuple[Head, ...] = (), made: tuple[Head, ...] = ()) -> list[tuple[int, str]]:
    walk = Walk(kept, made)
    found = [finding for seal in seals for finding in walk.take(seal)] + list(walk.end())
    return [(finding.place, finding.sentence) for finding in found]


def heads(seals: list[Seal]) -> tuple[Head, ...]:
    return tuple(Head(seal.place, seal.hash) for seal in seals)


def test_a_hash_covers_the_one_before_the_place_the_instant_and_the_entry():
    made = next_hash(BEGINNING, 1, AT, digest(0))

    assert made == hashlib.sha256(bytes(32) + bytes(7) + b"\x01" + AT.to_bytes(8, "big") + digest(0)).digest()
    others = (
        next_hash(b"\x01" * 32, 1, AT, digest(0)),
        next_hash(BEGINNING, 2, AT, digest(0)),
        next_hash(BEGINNING, 1, AT + 1, digest(0)),
        next_hash(BEGINNING, 1, AT, digest(1)),
    )
    assert len({made, *others}) == 5


def test_a_chain_that_nobody_touched_is_whole_and_goes_on_where_it_ended():
    first = sealed()
    more = list(seal_all(Head(6, first[-1].hash), [(200, digest(7))], AT + 5))

    assert [seal.place for seal in first + more] == [1, 2, 3, 4, 5, 6, 7]
    assert findings(first + more, kept=heads(first)) == []
    assert findings([]) == []


def test_a_changed_entry_is_named():
    seals = sealed()
    seals[2] = replace(seals[2], digest=digest(99))

    [(place, sentence)] = findings(seals)

    assert place == 3
    assert "entry 102 does not fit its seal" in sentence


def test_a_removed_entry_is_named_whether_its_seal_went_as_well_or_not():
    seals = sealed()

    assert findings([*seals[:2], replace(seals[2], digest=None), *seals[3:]]) == [(3, "entry 102 is missing")]
    [(place, sentence)] = findings([*seals[:2], *seals[4:]])
    assert place == 5
    assert "seals 3 to 4 are missing" in sentence


def test_two_entries_that_changed_places_fit_neither():
    seals = sealed()
    one, other = seals[1], seals[3]
    seals[1], seals[3] = replace(one, digest=other.digest), replace(other, digest=one.digest)

    assert [place for place, _ in findings(seals)] == [2, 4]


def test_an_entry_put_in_between_moves_what_is_behind_it():
    seals = sealed()
    forged = Seal(3, 999, AT, next_hash(seals[1].hash, 3, AT, digest(999)), digest(999))
    pushed = [replace(seal, place=seal.place + 1) for seal in seals[2:]]

    found = findings([*seals[:2], forged, *pushed])

    assert [place for place, _ in found] == [4, 5, 6, 7]


def test_a_seal_that_stands_twice_is_told():
    seals = sealed()

    [(place, sentence), _] = findings([*seals[:3], seals[2], *seals[4:]])

    assert (place, sentence.split(":")[0]) == (3, "seals stand twice")


def test_a_chain_that_was_computed_anew_as_a_whole_is_not_the_one_that_is_known():
    known = heads(sealed())
    rewritten = list(seal_all(START, ((100 + n, digest(n or 99)) for n in range(6)), AT))

    assert findings(rewritten) == []
    [(place, sentence)] = findings(rewritten, kept=(known[3],))
    assert place == 4
    assert "the chain was rewritten" in sentence


def test_a_chain_whose_end_was_cut_off_ends_before_what_is_known():
    seals = sealed()

    [(place, sentence)] = findings(seals[:4], kept=heads(seals)[4:5])

    assert place == 5
    assert "ends at place 4" in sentence
    assert "cut off" in sentence


def test_a_chain_whose_beginning_was_retained_elsewhere_begins_at_the_checkpoint():
    seals = sealed()
    made = heads(seals)[:2]

    assert findings(seals[2:], made=made, kept=heads(seals)) == []
    assert findings([], made=made) == []
    assert findings(seals[3:], made=made)[0] == (4, findings(seals[3:], made=made[1:])[0][1])


def test_what_still_stands_before_a_checkpoint_is_looked_at_as_well():
    seals = sealed()
    made = heads(seals)[3:4]

    assert findings(seals, made=made) == []
    assert findings([*seals[:2], *seals[4:]], made=made) == []
    assert [place for place, _ in findings([replace(seals[0], digest=digest(9)), *seals[4:]], made=made)] == [1]
    assert [place for place, _ in findings([*seals[:3], replace(seals[3], hash=bytes(32))], made=made)] == [4, 4]


@pytest.mark.parametrize("place", range(6))
def test_any_single_change_is_found(place: int):
    for change in ({"digest": digest(50)}, {"sealed_at": AT + 1}, {"hash": bytes(32)}):
        seals = sealed()
        seals[place] = replace(seals[place], **change)
        assert place + 1 in [found for found, _ in findings(seals, kept=heads(sealed())[-1:])]
