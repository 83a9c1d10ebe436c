"""Whatever a crash leaves of a journal's last commits, what is kept ends where a turn ends.

The naive model: the bytes that are there, and which turns lie in them as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from medic.core.effects import CloseAlert, Effect, Notify
from medic.core.status import NotificationKind
from medic.store.codec import decode, encode
from medic.store.journal.frames import Frame, Pending, scan, seed_of
from medic.store.journal.tail import Tail, find_end
from tests.model.test_recovery import actions, by_id, journal_up_to, lived, recovered_from

SEED = seed_of("0123456789abcdef0123456789abcdef", 0)

TURN = st.lists(st.binary(max_size=12).map(lambda tail: b"\x01" + tail), min_size=1, max_size=5)
COMMITS = st.lists(st.tuples(st.booleans(), st.lists(TURN, min_size=1, max_size=3)), min_size=1, max_size=4)


@dataclass
class Written:
    """A journal's file without its header: where its turns end, and up to where it was synced and vouched for."""

    block: bytes = b""
    ends: tuple[int, ...] = (0,)
    synced: int = 0
    vouched: int = 0


def written(commits) -> Written:
    """One write for each commit, and a sync behind those that say so."""
    pending, journal = Pending(SEED, 0), Written()
    for is_synced, turns in commits:
        if journal.synced == pending.newest:
            journal.vouched = journal.synced
        for records in turns:
            journal.ends += (pending.add_turn(records)[-1],)
        journal.block += pending.take(journal.synced)
        if is_synced:
            journal.synced = pending.newest
    return journal


def scanned(block: bytes, start: int = 0):
    return scan(
        lambda position, most: block[position - start : position - start + most], SEED, start, start + len(block)
    )


def end_of(block: bytes) -> Tail:
    return find_end(scanned(block), 0)


@given(COMMITS)
def test_cut_at_any_byte_it_ends_behind_the_last_turn_that_is_whole(commits):
    journal = written(commits)
    for cut in range(journal.synced, len(journal.block) + 1):
        assert end_of(journal.block[:cut]) == Tail(max(end for end in journal.ends if end <= cut), ())


@given(COMMITS, st.integers(0, 7))
def test_spoilt_at_any_byte_that_no_sync_covers_it_ends_before_that_turn(commits, bit):
    journal = written(commits)
    for place in range(journal.synced, len(journal.block)):
        spoilt = bytearray(journal.block)
        spoilt[place] ^= 1 << bit
        assert end_of(bytes(spoilt)) == Tail(max(end for end in journal.ends if end <= place), ())


@given(COMMITS, TURN, st.data())
def test_spoilt_where_a_later_commit_vouches_for_it_only_the_records_hit_are_lost(commits, last, data):
    journal = written([*commits, (True, [last]), (False, [last])])
    place = data.draw(st.integers(0, journal.vouched - 1))
    spoilt = bytearray(journal.block)
    spoilt[place] ^= 1
    tail = end_of(bytes(spoilt))
    assert tail.end == len(journal.block)
    [hit] = tail.damage
    assert hit.start <= place < hit.end
    frames = [one for one in scanned(bytes(spoilt)) if isinstance(one, Frame)]
    assert frames == [one for one in scanned(journal.block) if not hit.start < one.end <= hit.end]


@given(COMMITS, TURN, TURN, st.data())
def test_a_torn_turn_that_vouches_for_the_one_before_it_is_cut_off_and_nothing_else(commits, before, torn, data):
    """Even where the last record of the one before is what was spoilt: it was whole once, and stays."""
    journal = written([*commits, (True, [before]), (False, [[b"\x01first", *torn]])])
    begun = journal.ends[-2]
    first = next(one.end for one in scanned(journal.block) if one.end > begun)
    spoilt = bytearray(journal.block)
    spoilt[data.draw(st.integers(0, begun - 1) | st.just(begun - 1))] ^= 1
    tail = end_of(bytes(spoilt[: data.draw(st.integers(first, len(spoilt) - 1))]))
    assert tail.end == begun
    assert len(tail.damage) == 1


@given(st.lists(TURN, min_size=1, max_size=4))
def test_what_releases_without_the_bit_wrote_is_read_a_record_a_turn(turns):
    pending = Pending(SEED, 0)
    ends = [pending.add(record) for records in turns for record in records]
    block = pending.take(synced=-1)
    for cut in range(len(block) + 1):
        assert end_of(block[:cut]).end == max(end for end in [0, *ends] if end <= cut)


def ends_untold(effects: list[Effect]) -> set[int]:
    """Alerts that were told, are closed, and whose end was not decided to be told."""
    told = {effect.notification.alert_id for effect in effects if isinstance(effect, Notify)}
    resolved = {
        effect.notification.alert_id
        for effect in effects
        if isinstance(effect, Notify) and effect.notification.kind is NotificationKind.RESOLVE
    }
    return {effect.alert.alert_id for effect in effects if isinstance(effect, CloseAlert)} & told - resolved


@given(actions, st.data())
def test_wherever_a_life_is_cut_off_it_was_so_once_and_what_is_closed_was_resolved(story, data):
    life = lived(story)
    pending = Pending(SEED, 0)
    turns = [pending.add_turn([encode(effect) for effect in turn]) for turn in life.turns]
    block = pending.take(0)
    assert len(block) == life.journal.newest
    ends = [0, *(records[-1] for records in turns)]
    for cut in {cut for records in turns for end in records for cut in (end - 1, end)}:
        assert end_of(block[:cut]).end == max(end for end in ends if end <= cut)
    effects: list[Effect] = []
    for one in scanned(block):
        effects.append(decode(one.record))
        assert one.end not in ends or not ends_untold(effects)
    # A beat may be two turns, and only whole actions are remembered.
    moment = data.draw(st.sampled_from([one for one in life.moments if one.position in ends]), label="cut behind")
    later = [end for end in ends if end > moment.position]
    cut = data.draw(st.integers(moment.position, min(later, default=len(block) + 1) - 1), label="cut")
    recovered = recovered_from(None, journal_up_to(life, end_of(block[:cut]).end))
    assert by_id(recovered.services) == moment.services
    assert recovered.ledger.pending() == moment.pending
