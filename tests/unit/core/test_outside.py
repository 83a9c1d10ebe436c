"""A Medic judged from outside: paged for when it makes no progress, and for nothing else."""

from __future__ import annotations

import pytest

from medic.core.outside import Outside, Reply, Seen, Verdict, complaint

GRACE = 60.0
LOOK = 5.0
GAP = 15.0
A, B = "https://a.example", "https://b.example"

GONE = Seen(A, Reply.NONE, detail="does not answer within 5 s")


class Watch:
    """Looks in order, `LOOK` seconds apart."""

    def __init__(self, *, is_raised: bool = False) -> None:
        self.at = 1_000.0
        self.outside = Outside(at=self.at, grace=GRACE, gap=GAP, is_raised=is_raised)
        self.step = 0

    def look(self, *seen: Seen, after: float = LOOK, reaches_others: bool = True) -> Verdict:
        self.at += after
        return self.outside.look(seen, reaches_others=reaches_others, at=self.at)

    def well(self, address: str = A, **options) -> Verdict:
        self.step += 1
        return self.look(Seen(address, Reply.ACTIVE, progress=str(self.step)), **options)

    def verdicts(self, seconds: float, *seen: Seen, **options) -> list[Verdict]:
        """What follows within that time, nothing left out."""
        found = [self.look(*seen, **options) for _ in range(round(seconds / LOOK))]
        return [verdict for verdict in found if verdict is not Verdict.NOTHING]


def test_whoever_makes_progress_is_never_paged_for():
    watch = Watch()
    assert {watch.well() for _ in range(1_000)} == {Verdict.NOTHING}


@pytest.mark.parametrize(
    "seen",
    [
        GONE,
        Seen(A, Reply.STALLED, detail="says that it has stalled: wheel"),
        Seen(A, Reply.OTHER, detail="answers 502"),
        Seen(A, Reply.STANDS_BY),
        Seen(A, Reply.ACTIVE, progress="the same each time"),
    ],
)
def test_whoever_makes_none_for_longer_than_the_grace_is_paged_for_once_and_resolved_once(seen: Seen):
    watch = Watch()
    watch.well()
    watch.well()
    assert watch.verdicts(GRACE - LOOK, seen) == []
    assert watch.verdicts(10 * GRACE, seen) == [Verdict.RAISE]
    assert watch.outside.is_raised
    found = [watch.well() for _ in range(20)]
    assert [verdict for verdict in found if verdict is not Verdict.NOTHING] == [Verdict.RESOLVE]
    assert watch.verdicts(2 * GRACE, seen) == [Verdict.RAISE]


def test_a_restart_shorter_than_the_grace_is_no_page():
    watch = Watch()
    for _ in range(20):
        watch.well()
        assert watch.verdicts(GRACE - 2 * LOOK, GONE) == []


def test_a_takeover_moves_progress_from_one_address_to_the_other_without_a_page():
    watch = Watch()
    standby = Seen(B, Reply.STANDS_BY)
    for step in range(10):
        assert watch.look(Seen(A, Reply.ACTIVE, progress=str(step)), standby) is Verdict.NOTHING
    assert watch.verdicts(30, GONE, standby) == []
    for step in range(30):
        assert watch.look(GONE, Seen(B, Reply.ACTIVE, progress=str(step))) is Verdict.NOTHING
    assert watch.outside.silent == 0


def test_a_first_look_proves_nothing_and_a_second_that_says_the_same_neither():
    watch = Watch(is_raised=True)
    assert watch.look(Seen(A, Reply.ACTIVE, progress="1")) is Verdict.NOTHING
    assert watch.look(Seen(A, Reply.ACTIVE, progress="1")) is Verdict.NOTHING
    assert watch.look(Seen(A, Reply.ACTIVE, progress="2")) is Verdict.RESOLVE


def test_a_release_that_says_nothing_of_progress_is_believed_for_its_answer():
    watch = Watch()
    assert watch.verdicts(10 * GRACE, Seen(A, Reply.ACTIVE)) == []


def test_a_watcher_that_is_restarted_pages_no_second_time():
    watch = Watch(is_raised=True)
    assert watch.verdicts(10 * GRACE, GONE) == []


def test_time_in_which_the_watcher_itself_was_away_does_not_count():
    watch = Watch()
    watch.well()
    watch.well()
    assert watch.look(GONE, after=10 * GRACE) is Verdict.NOTHING
    assert watch.verdicts(GRACE - LOOK, GONE) == []
    assert watch.verdicts(LOOK, GONE) == [Verdict.RAISE]


def test_a_watcher_that_reaches_nothing_says_so_once_and_pages_for_nobody():
    watch = Watch()
    watch.well()
    watch.well()
    assert watch.verdicts(10 * GRACE, GONE, reaches_others=False) == [Verdict.CUT_OFF]
    assert watch.outside.is_cut_off
    assert watch.look(GONE) is Verdict.REJOINED
    assert watch.verdicts(GRACE - 2 * LOOK, GONE) == []
    assert watch.verdicts(LOOK, GONE) == [Verdict.RAISE]


def test_what_is_well_once_the_watcher_reaches_it_again_is_resolved_at_the_look_after():
    watch = Watch(is_raised=True)
    watch.well()
    watch.look(GONE, reaches_others=False)
    assert watch.well() is Verdict.REJOINED
    assert watch.well() is Verdict.RESOLVE


def test_the_complaint_names_each_matter_once():
    refuses = "cannot be connected to"
    assert (
        complaint([Seen(A, Reply.NONE, detail=refuses), Seen(B, Reply.NONE, detail=refuses)]) == f"{A}, {B} {refuses}"
    )
    said = complaint([Seen(A, Reply.ACTIVE, progress="1"), Seen(B, Reply.STANDS_BY)])
    assert said == f"{A} answers and makes no progress; {B} stands by"
    assert "nobody is active" in complaint([Seen(B, Reply.STANDS_BY)])
    assert complaint([GONE]) == f"{A} does not answer within 5 s"
