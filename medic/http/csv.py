"""CSV as RFC 4180 has it, that no spreadsheet takes for anything but text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

CSV_TYPE: Final = "text/csv"
CSV_CONTENT_TYPE: Final = f"{CSV_TYPE}; charset=utf-8"

FORMULA_BEGINNINGS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A cell that begins so is run by spreadsheets. Names and labels come from whoever may register a service."""


def csv_row(cells: Iterable[str]) -> bytes:
    """One line. Every cell is quoted; one that a spreadsheet would run has an apostrophe in front."""
    return (",".join(map(_cell, cells)) + "\r\n").encode()


def _cell(text: str) -> str:
    harmless = f"'{text}" if text.startswith(FORMULA_BEGINNINGS) else text
    return '"' + harmless.replace('"', '""') + '"'
