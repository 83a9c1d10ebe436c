"""`docs/limits.md` says what the code does: each number there is the constant's that stands beside it."""

from __future__ import annotations

import importlib
import re

import pytest

from medic.config.variables import TABLES
from medic.http import limits
from tests.shape.checkout import ROOT

PAGE = ROOT / "docs" / "limits.md"

ROW = re.compile(
    r"^\| (?P<what>[^|]+) \| (?P<most>\d+(?: \d+)*)(?: (?P<unit>[A-Za-z]+))?\b[^|]*\| [^|]+ \| `(?P<held>[\w.]+)` \|$"
)

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "min": 60, "h": 3_600}
"""What a unit makes of a number, in bytes and seconds; a word that is none counts things."""

NOBODY_MEETS = {
    "BODIES_RESERVE_BYTES": "part of BODIES_BYTES_MAX",
    "BODY_DISCARD_MAX": "beyond a 413",
    "BODY_SMALL_BYTES": "which way a body goes",
    "BULK_SLICE": "how often others have their turn",
    "BULK_SLICE_OTHERS": "how often others have their turn",
    "QUOTED_MAX": "how much of a caller's text is repeated",
    "LINGER_SECONDS": "how a refusal reaches its client",
    "PARTING_SECONDS": "how a drain tells its clients that it ends",
    "OVERLAP_DEFAULT_MS": "a default",
    "ENTRIES_DEFAULT": "a default",
    "SERVICES_PER_PIECE": "how often others have their turn",
    "SERVICES_PER_LOOK": "how often others have their turn",
    "ALERTS_PER_READ": "how PostgreSQL is read",
    "FILES_RESERVED": "part of CONNECTIONS_MAX",
    "BACKLOG": "the kernel's",
    "LANE_HEAD_BYTES_MAX": "which way a request goes",
    "LANE_HEADS_KNOWN_MAX": "what is remembered",
    "LANE_HEAD_KNOWN_BYTES_MAX": "what is remembered",
    "LANE_RECEIVE_BYTES": "how a socket is read",
    "LANE_SLICE_REQUESTS": "how often others have their turn",
    "LANE_UNANSWERED_MAX": "in the order of answers nobody sees it",
    "LANE_ACCEPTS_PER_SLICE": "how often others have their turn",
    "ACCEPT_PAUSE_SECONDS": "part of CONNECTIONS_MAX",
    "REQUEST_SECONDS_MAX": "the same as BODY_SECONDS_MAX",
    "LANE_LOOK_SECONDS": "how exact the others are",
}
"""Limits of the HTTP side that no user meets, or meets as another one, and why."""


def rows() -> list[re.Match[str]]:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if re.match(r"\| (?!What|-)", line)]
    found = [ROW.match(line) for line in lines]
    assert None not in found, [line for line, match in zip(lines, found, strict=True) if match is None]
    return [match for match in found if match is not None]


def in_code(name: str) -> float:
    """The constant, or the variable's default; milliseconds as seconds."""
    if "." in name:
        module, _, constant = name.rpartition(".")
        number = getattr(importlib.import_module(module), constant)
        return number / 1000 if constant.endswith("_MS") else number
    [number] = [field.default for table in TABLES for key, field in table.model_fields.items() if key.upper() == name]
    return float(number)


def said(row: re.Match[str]) -> float:
    unit = row["unit"] or ""
    number = int(row["most"].replace(" ", "")) * UNITS.get(unit, 1)
    return number * 86_400 if unit == "days" and row["held"].endswith("_MS") else number


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["held"])
def test_the_number_is_the_codes(row: re.Match[str]) -> None:
    assert said(row) == in_code(row["held"]), row["what"]


def test_every_limit_of_the_http_side_is_on_the_page_or_nobodys() -> None:
    held = {row["held"].rpartition(".")[2] for row in rows() if row["held"].startswith("medic.http.limits.")}
    there = {name for name in vars(limits) if name.isupper() and not name.startswith("_")} - {"DAY_MS", "HOUR_MS"}
    assert there - held == NOBODY_MEETS.keys()


def test_no_limit_is_on_the_page_twice() -> None:
    lines = [(row["what"], row["held"]) for row in rows()]
    assert [line for line in lines if lines.count(line) > 1] == []


def test_every_limit_that_is_a_variable_is_on_the_page() -> None:
    variables = {name.upper() for table in TABLES for name in table.model_fields}
    limits_set = {
        name for name in variables if name.startswith("RATE_LIMIT_") or name.endswith(("_MAX", "_RETENTION_DAYS"))
    }
    assert limits_set - {row["held"] for row in rows()} == set()
