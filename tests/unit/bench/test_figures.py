"""What a figure says of its target; a harness that is wrong about that proves nothing."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from bench.figures import Figure, Pairs, at_most, figure_of, kept, summary_row, table
from bench.paced import Pace, quantile
from bench.plots import bars, lines
from bench.served import Medic, Metrics
from bench.written import distinct


@pytest.mark.parametrize(
    ("figure", "reached"),
    [
        (Figure("rate", 100_000, "rows/s", 50_000), 2.0),
        (Figure("rate", 25_000, "rows/s", 50_000), 0.5),
        (at_most("p99", 10, "ms", 20), 2.0),
        (at_most("p99", 40, "ms", 20), 0.5),
        (at_most("lost", 0, "", 0), 2.0),
        (at_most("lost", 1, "", 0), 0.0),
        (at_most("nothing came", 0, "ms", 20), 2.0),
    ],
)
def test_a_figure_reaches_its_target_from_the_right_side(figure, reached):
    assert figure.reached == reached
    assert figure.met == (reached >= 1)
    assert figure_of(kept(figure)) == figure


def test_pairs_are_judged_by_their_own_ratios_and_take_turns_in_beginning():
    asked = []
    ours, theirs = iter([10.0, 30.0, 5.0]), iter([20.0, 30.0, 20.0])

    def medic() -> float:
        asked.append("medic")
        return next(ours)

    def rival() -> float:
        asked.append("rival")
        return next(theirs)

    figure = Pairs().take(3, medic, rival).figure("rate", "requests/s", 0.6)
    assert asked == ["medic", "rival", "rival", "medic", "medic", "rival"]
    assert (figure.ratio, figure.ratio_min, figure.ratio_max) == (0.5, 0.25, 1.0)
    assert not figure.met
    assert "ratio 0.50 (0.25 to 1.00)" in table([figure])
    assert summary_row(figure) == ("rate", 0.5 / 0.6, "ratio 0.50")


def test_requests_never_answered_are_in_the_tail():
    assert Pace(due=1_000, answered={"201": 995}, p99_ms=3.0).tail_ms == 3.0
    assert Pace(due=1_000, answered={"201": 900, "503": 100}, p99_ms=3.0).tail_ms == 10_000
    assert Pace(answered={"201": 1, "503": 2, "500": 1}).failed == 3


def test_quantiles_of_little():
    assert quantile([], 0.99) == 0.0
    assert quantile([7.0], 0.99) == 7.0
    assert quantile([float(value) for value in range(100)], 0.99) == 99.0


def test_draws_repeat_services_as_chance_has_it():
    assert distinct(1) == 1
    assert distinct(100_000, 20_000) == 18_127


def test_metrics_add_up_the_series_that_are_asked_for():
    metrics = Metrics([("medic_services", 'status="up"', 3.0), ("medic_services", 'status="late"', 2.0)])
    assert metrics.total("medic_services") == 5
    assert metrics.total("medic_services", status="late") == 2
    assert metrics.total("medic_absent") == 0


def test_the_longest_stall_since_a_scrape_is_the_bound_of_its_slot(monkeypatch, tmp_path):
    def scrape(*counts: float) -> Metrics:
        name = "medic_loop_stall_seconds_bucket"
        bounds = ("0.01", "0.05", "1.0", "+Inf")
        samples = [(name, f'cause="loop",le="{bound}"', count) for bound, count in zip(bounds, counts, strict=True)]
        return Metrics([*samples, ("medic_loop_stall_longest_seconds", "", 0.8)])

    medic = Medic(tmp_path / "data")
    monkeypatch.setattr(medic, "metrics", lambda: scrape(15, 17, 19, 19))
    assert medic.stall_max_ms(scrape(10, 12, 14, 14)) == 10
    assert medic.stall_max_ms(scrape(10, 11, 13, 13)) == 50
    assert medic.stall_max_ms(scrape(15, 17, 18, 18)) == 1_000


def test_plots_are_documents(tmp_path):
    bars(tmp_path / "bars.svg", "a < b & c", [("reached", 1.5, "3 ms"), ("missed", 0.2, "9 ms")])
    lines(tmp_path / "lines.svg", "seconds", {"p99": [1.0, 2.0, 3.0], "none": []}, unit="ms", limit=100)
    for name in ("bars.svg", "lines.svg"):
        assert ET.parse(tmp_path / name).getroot().tag.endswith("svg")
