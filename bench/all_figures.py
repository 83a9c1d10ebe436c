"""Every figure of the promise, each by its own command, and one summary of them: what `bench/run` runs.

    ./bench/run [--quick] [NAME...]

A figure that could not be taken is said, and the others are taken all the same. The summary, `summary.json` and
`summary.svg` in bench/results, is made from what each command left there: one figure can be taken anew by itself.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from bench.figures import figure_of, kept_in, machine, summary_row
from bench.plots import bars
from bench.served import ROOT, require_tools

PUBLISHED = ("intake", "hour", "paging", "same_second", "written", "restart", "scrape")
"""What publishes figures with targets, in the order of the table."""

APART = ("fleet",)
"""Prints tables of its own: memory, start and idleness of a million services."""

QUICK = {"fleet": ("--quick", "--thresholds", "1")}
"""How a short form is asked for, where that is not `--quick` alone."""

LONGEST_SECONDS = 3_600.0


def exists(name: str) -> bool:
    """Whether this checkout has that bench."""
    return (ROOT / "bench" / f"{name}.py").is_file()


def run(name: str, *, quick: bool) -> tuple[bool, float]:
    """Run one bench: whether it ended in order, and its seconds."""
    begun = time.monotonic()
    command = [sys.executable, "-m", f"bench.{name}", *(QUICK.get(name, ("--quick",)) if quick else ())]
    try:
        status = subprocess.run(command, cwd=ROOT, check=False, timeout=LONGEST_SECONDS).returncode
    except subprocess.TimeoutExpired:
        status = -1
    return status == 0, time.monotonic() - begun


def summarise(place: Path) -> None:
    """One file of all figures, and one plot."""
    rows: list[tuple[str, float, str]] = []
    found = {}
    for name in PUBLISHED:
        kept = place / f"{name}.json"
        if kept.is_file():
            found[name] = json.loads(kept.read_text(encoding="utf-8"))
            rows += [summary_row(figure_of(figure)) for figure in found[name]["figures"]]
    summary = {"machine": machine(), "benches": found}
    (place / "summary.json").write_text(json.dumps(summary, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    bars(place / "summary.svg", "Every figure: share of its target", rows)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(PUBLISHED + APART)}, crash; all but crash"
    )
    parser.add_argument("--quick", action="store_true", help="short forms, under three minutes together")
    options = parser.parse_args()
    require_tools()
    names = options.names or [name for name in PUBLISHED + APART if exists(name)]
    if unknown := [name for name in names if not exists(name)]:
        parser.error(f"no bench is called {', '.join(unknown)}")
    begun = time.monotonic()
    spent = {name: run(name, quick=options.quick) for name in names}
    place = kept_in(options.quick)
    summarise(place)
    print(f"\n{time.monotonic() - begun:.0f} s in all: ", end="")
    print(", ".join(f"{name} {seconds:.0f} s{'' if fine else ' FAILED'}" for name, (fine, seconds) in spent.items()))
    print(f"kept in {place.relative_to(ROOT)}")
    sys.exit(not all(fine for fine, _ in spent.values()))


if __name__ == "__main__":
    main()
