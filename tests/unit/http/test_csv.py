"""CSV that a spreadsheet reads as text."""

from __future__ import annotations

import csv
import io

import pytest

from medic.http.csv import csv_row


@pytest.mark.parametrize("text", ['a,b "c"', "two\nlines", "Zahlläufe ✓", "", " =1", "'quoted'"])
def test_what_was_said_is_read_back(text: str) -> None:
    [[read, end]] = csv.reader(io.StringIO(csv_row((text, "end")).decode(), newline=""))

    assert (read, end) == (text, "end")


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_what_a_spreadsheet_would_run_has_an_apostrophe_in_front(text: str) -> None:
    [[read]] = csv.reader(io.StringIO(csv_row((text,)).decode(), newline=""))

    assert read == f"'{text}"


def test_a_line_ends_as_rfc_4180_says() -> None:
    assert csv_row(("a", "b")) == b'"a","b"\r\n'
