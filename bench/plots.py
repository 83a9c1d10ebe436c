"""Plots as SVG, written by hand: bars of what was reached beside what was asked for, and lines over seconds.

A dependency would draw prettier ones. These open in a browser, are a few kB, and differ from run to run only in their
numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

WIDTH = 860
ROW = 26
LABEL = 430
COLOURS = ("#2f6f9f", "#c8553d", "#5b8c5a", "#8d6a9f")
_STYLE = "<style>text{font:13px sans-serif;fill:#222} .small{font-size:11px;fill:#666}</style>"


def _document(height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}">'
        f'<rect width="100%" height="100%" fill="#fff"/>{_STYLE}\n' + "\n".join(parts) + "\n</svg>\n"
    )


def bars(path: Path, title: str, rows: Sequence[tuple[str, float, str]]) -> None:
    """One bar a row: its label, how much of what was asked for was reached (1.0: all of it), and words beside it.

    A bar ends at twice the target; the line is the target.
    """
    scale = (WIDTH - LABEL - 150) / 2
    parts = [f'<text x="10" y="24" font-weight="bold">{escape(title)}</text>']
    for place, (label, share, words) in enumerate(rows):
        y = 44 + place * ROW
        colour = COLOURS[2] if share >= 1 else COLOURS[1]
        parts.append(f'<text x="{LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(label)}</text>')
        length = min(max(share, 0.0), 2.0) * scale
        parts.append(f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{ROW - 8}" fill="{colour}"/>')
        parts.append(f'<text class="small" x="{LABEL + length + 6:.1f}" y="{y + 13}">{escape(words)}</text>')
    bottom = 44 + len(rows) * ROW
    target = LABEL + scale
    parts.append(f'<line x1="{target}" x2="{target}" y1="36" y2="{bottom}" stroke="#222" stroke-dasharray="3 3"/>')
    parts.append(f'<text class="small" x="{target - 20}" y="{bottom + 16}">target</text>')
    path.write_text(_document(bottom + 28, parts), encoding="utf-8")


def lines(
    path: Path, title: str, series: Mapping[str, Sequence[float]], *, unit: str, limit: float | None = None
) -> None:
    """One line a series, a point a second; `limit` is drawn across."""
    height, left, top, bottom = 320, 60, 40, 280
    longest = max((len(points) for points in series.values()), default=1)
    highest = max([1.0, limit or 0.0, *(max(points, default=0.0) for points in series.values())]) * 1.05
    across, up = (WIDTH - left - 20) / max(1, longest - 1), (bottom - top) / highest
    parts = [f'<text x="10" y="24" font-weight="bold">{escape(title)}</text>']
    for step in range(5):
        value = highest * step / 4
        y = bottom - value * up
        parts.append(f'<line x1="{left}" x2="{WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text class="small" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,.0f}</text>')
    if limit is not None:
        y = bottom - limit * up
        parts.append(
            f'<line x1="{left}" x2="{WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#222" stroke-dasharray="3 3"/>'
        )
    for place, (name, points) in enumerate(series.items()):
        colour = COLOURS[place % len(COLOURS)]
        drawn = " ".join(f"{left + n * across:.1f},{bottom - value * up:.1f}" for n, value in enumerate(points))
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{left + 180 * place}" y="{height - 8}" fill="{colour}">{escape(name)}</text>')
    parts.append(f'<text class="small" x="{WIDTH - 20}" y="{bottom + 14}" text-anchor="end">')
    parts[-1] += f"{escape(unit)}, over {longest} s</text>"
    path.write_text(_document(height, parts), encoding="utf-8")
