"""Lengths of time on the command line: 2h, 90m, 1h30m, 45s, 7d, 2w."""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer

from medic.http.answers import JsonObject

_UNITS: Final = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_PART: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(w|d|h|min|m|s)\s*")
_SPAN: Final = re.compile(rf"(?:{_PART.pattern})+", re.IGNORECASE)
_NUMBER: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,6})?")

METAVAR: Final = "DURATION"

HOUR_SECONDS: Final = 3_600


def parse_span(text: str) -> float:
    """The seconds of a length of time with its unit.

    Raises:
        typer.BadParameter: it is none; a number alone does not say of what.
    """
    found = text.strip().lower()
    if _SPAN.fullmatch(found) is None:
        raise typer.BadParameter(f"{text!r} is no length of time: write 2h, 90m, 1h30m, 45s or 7d")
    return sum(float(number) * _UNITS[unit[0]] for number, unit in _PART.findall(found))


def parse_interval(text: str) -> float:
    """The same for an interval, where a number alone means minutes, as `alert_interval` does."""
    bare = text.strip()
    return float(bare) * 60 if _NUMBER.fullmatch(bare) else parse_span(text)


Overlap = Annotated[
    float | None,
    typer.Option(
        "--overlap",
        parser=parse_span,
        metavar=METAVAR,
        help="How long the secret before is good as well, as in 2h.",
        show_default="24h",
    ),
]
"""Of whatever is rotated: for so long both secrets are good."""


def overlap_body(overlap: float | None) -> JsonObject:
    """What Medic is asked for; None: as long as it thinks right."""
    return {} if overlap is None else {"overlap_hours": overlap / HOUR_SECONDS}
