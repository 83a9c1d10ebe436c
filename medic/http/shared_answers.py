"""Answers and parameters that routes of several files have in common."""

from __future__ import annotations

from typing import Final

from medic.http import shapes
from medic.http.limits import PAGE_MAX
from medic.http.route import Parameter, Told

AWAY: Final = Told(
    "PostgreSQL does not answer; nothing was changed. Retry-After says when to try again.", shapes.Refusal
)

LIMIT: Final = Parameter("limit", "integer", "How many a page holds.", 1, PAGE_MAX)
CURSOR: Final = Parameter("cursor", "string", "`next_cursor` of the page before.")
