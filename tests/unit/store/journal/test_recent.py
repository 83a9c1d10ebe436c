"""The newest records in memory: whole turns, whatever was forgotten before them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from medic.core.effects import EndMute
from medic.store.journal.recent import RecentRecords


@given(st.lists(st.integers(1, 5), min_size=1, max_size=20), st.data())
def test_a_run_has_what_was_asked_for_and_the_rest_of_the_last_turn(lengths, data):
    most_kept = 6
    recent = RecentRecords(0, most=most_kept)
    count, turns = 0, []
    for length in lengths:
        ends = list(range(count + 1, count + length + 1))
        effects = [EndMute(service_id=1, at=end, sighted=end, by="") for end in ends]
        if length == 1 and data.draw(st.booleans(), label="alone"):
            recent.add(ends[0], effects[0])
        else:
            recent.add_turn(ends, effects)
        count += length
        turns.append(count)
    position, most = data.draw(st.integers(0, count)), data.draw(st.integers(1, 8))
    run = recent.read(position, count, most=most)
    if run is None:
        assert position < count - most_kept
        return
    last = next((turn for turn in turns if turn >= min(position + most, count)), count)
    expected = list(range(position + 1, last + 1))
    assert list(run.positions) == expected
    assert [effect.at for effect in run.records] == expected
