"""The stall histogram measures turns of the loop, and names garbage collection where it was the cause."""

from __future__ import annotations

from medic.metrics.stall import LoopStall


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def turn(stall: LoopStall, hand: Hand, *, own: float, collected: float = 0.0, generation: int = 2) -> None:
    stall.after_io_wait(0.0)
    hand.seconds += own
    if collected:
        stall.note_collection("start", {"generation": generation})
        hand.seconds += collected
        stall.note_collection("stop", {"generation": generation})
    stall.before_io_wait(0.0)


def test_the_time_that_sockets_were_not_looked_at_is_a_stall():
    hand = Hand()
    stall = LoopStall(hand)
    turn(stall, hand, own=0.040)
    hand.seconds += 3_600
    turn(stall, hand, own=0.002)
    statistics = stall.statistics()
    assert statistics.other.count == 2
    assert round(statistics.other.total, 6) == 0.042
    assert round(statistics.longest_seconds, 6) == 0.040
    assert statistics.gc.count == 0


def test_a_turn_is_put_down_to_collection_once_half_of_it_was():
    hand = Hand()
    stall = LoopStall(hand)
    turn(stall, hand, own=0.010, collected=0.270)
    turn(stall, hand, own=0.010, collected=0.001, generation=0)
    statistics = stall.statistics()
    assert statistics.gc.count == 1
    assert statistics.other.count == 1
    assert statistics.collections == (1, 0, 1)
    assert round(statistics.collection_seconds[2], 6) == 0.270


def test_a_loop_that_has_not_begun_a_turn_yet_is_not_measured():
    stall = LoopStall(Hand())
    stall.before_io_wait(0.0)
    assert stall.statistics().other.count == 0
