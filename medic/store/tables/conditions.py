"""The WHERE of a listing, made of what was asked for: so that each has a plan, and an index, of its own.

One statement for all of them (`$1 IS NULL OR service_id = $1 …`) gets one plan for all of them once PostgreSQL has seen
it five times, and that one reads the whole table.
"""

from __future__ import annotations

from collections.abc import Sequence


def conditions(asked: Sequence[tuple[str, object]]) -> tuple[str, list[object]]:
    """The clause and its arguments: of each pair the condition, with `{}` for its argument, unless that is None."""
    given = [(condition, argument) for condition, argument in asked if argument is not None]
    clauses = [condition.format(f"${number}") for number, (condition, _) in enumerate(given, start=1)]
    return f"WHERE {' AND '.join(clauses)}" if clauses else "", [argument for _, argument in given]
