"""A figure with its rival and its target: taken in pairs, printed as a table and as a JSON line, kept in bench/results.

A rate on its own says little about another machine, or about this one an hour later. So Medic and its rival take turns
in the same run, and what counts is the ratio within a pair: its median, and the smallest and largest beside it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.plots import bars
from bench.served import ROOT, require_tools

RESULTS = ROOT / "bench" / "results"
PAIRS, QUICK_PAIRS = 5, 1


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table.

    Attributes:
        name: What was measured, as the target's sentence says it.
        value, unit: Medic's figure; a median where there were several rounds.
        target: What is to be reached.
        at_least: True: `value`, or `ratio` where the target is one, has to be so much or more; False: or less.
        rival, ratio, ratio_min, ratio_max: The rival's median, and the ratios of the pairs; None without a rival.
        of_ratio: The target is about the ratio.
        words: What else a reader has to know: conditions, tails, faults.
    """

    name: str
    value: float
    unit: str
    target: float
    at_least: bool = True
    rival: float | None = None
    ratio: float | None = None
    ratio_min: float | None = None
    ratio_max: float | None = None
    of_ratio: bool = False
    words: str = ""

    @property
    def reached(self) -> float:
        """How much of the target: 1.0 or more is all of it."""
        measured = self.ratio if self.of_ratio and self.ratio is not None else self.value
        if self.at_least:
            return measured / self.target
        if self.target == 0:
            return 0.0 if measured > 0 else 2.0
        return self.target / measured if measured > 0 else 2.0

    @property
    def met(self) -> bool:
        """Whether the target was reached."""
        return self.reached >= 1


def at_most(name: str, value: float, unit: str, target: float, words: str = "") -> Figure:
    """A figure that is to be so much or less, without a rival."""
    return Figure(name=name, value=value, unit=unit, target=target, at_least=False, words=words)


@dataclass(slots=True)
class Pairs:
    """Medic and its rival, in turn."""

    medic: list[float] = field(default_factory=list)
    rival: list[float] = field(default_factory=list)

    def take(self, rounds: int, medic: Callable[[], float], rival: Callable[[], float]) -> Pairs:
        """Measure so many pairs; who begins changes with each."""
        for number in range(rounds):
            if number % 2:
                self.rival.append(rival())
                self.medic.append(medic())
            else:
                self.medic.append(medic())
                self.rival.append(rival())
        return self

    def figure(self, name: str, unit: str, target: float, words: str = "") -> Figure:
        """The ratio of the pairs against its target."""
        ratios = [ours / theirs for ours, theirs in zip(self.medic, self.rival, strict=True)]
        return Figure(
            name=name,
            value=statistics.median(self.medic),
            unit=unit,
            target=target,
            rival=statistics.median(self.rival),
            ratio=statistics.median(ratios),
            ratio_min=min(ratios),
            ratio_max=max(ratios),
            of_ratio=True,
            words=words,
        )


def table(figures: Sequence[Figure]) -> str:
    """For people."""
    lines = []
    for figure in figures:
        sign = "≥" if figure.at_least else "≤"
        lines.append(f"{'ok    ' if figure.met else 'MISSED'}  {figure.name}")
        measured = f"{figure.value:,.4g} {figure.unit}" if figure.value < 1000 else f"{figure.value:,.0f} {figure.unit}"
        if figure.ratio is not None and figure.rival is not None:
            measured += f", rival {figure.rival:,.0f}: ratio {figure.ratio:.2f}"
            measured += f" ({figure.ratio_min:.2f} to {figure.ratio_max:.2f})"
        lines.append(f"        {measured}; to reach {sign} {figure.target:,g}")
        if figure.words:
            lines.append(f"        {figure.words}")
    return "\n".join(lines)


def machine() -> dict[str, object]:
    """What the figures were taken on, and how busy it was with other things."""
    return {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "taken": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def publish(name: str, figures: Sequence[Figure], *, quick: bool, **facts: object) -> None:
    """Print table and JSON line, and keep both forms: `NAME.json`, `NAME.svg`. Quick ones do not replace the others."""
    print(f"\n{name}{' (quick)' if quick else ''}")
    print(table(figures))
    document = {
        "bench": name,
        "quick": quick,
        "machine": machine(),
        **facts,
        "figures": [kept(figure) for figure in figures],
    }
    line = json.dumps(document, ensure_ascii=False)
    print(line, flush=True)
    place = kept_in(quick)
    (place / f"{name}.json").write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    bars(place / f"{name}.svg", f"{name}: share of the target", [summary_row(figure) for figure in figures])


def summary_row(figure: Figure) -> tuple[str, float, str]:
    """The figure as a bar."""
    words = f"{figure.value:,.4g} {figure.unit}" if figure.ratio is None else f"ratio {figure.ratio:.2f}"
    return figure.name[:66], figure.reached, words


def figure_of(document: dict[str, Any]) -> Figure:
    """The figure that was kept as JSON."""
    known = {field.name for field in dataclasses.fields(Figure)}
    return Figure(**({"unit": ""} | {name: value for name, value in document.items() if name in known}))


def kept_in(quick: bool) -> Path:
    """Where results are kept; of a short form apart, not to be taken for figures."""
    place = RESULTS / "quick" if quick else RESULTS
    place.mkdir(parents=True, exist_ok=True)
    return place


def kept(figure: Figure) -> dict[str, Any]:
    """The figure as it is kept: rounded, and without what is empty."""
    said = {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in dataclasses.asdict(figure).items()
        if value not in (None, "")
    }
    return {**said, "met": figure.met}


def options(description: str | None) -> bool:
    """Parse the arguments every figure has: whether the short form is asked for. Ends with 2 if a tool is missing."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a short form, for a first impression")
    quick: bool = parser.parse_args().quick
    require_tools()
    return quick
