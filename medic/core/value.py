"""The decorator of values that are made thousands of times a second: frozen to mypy, cheap to the interpreter.

A frozen dataclass sets each field through `object.__setattr__`, 60 ns a field; an alert has 18 fields and what is told
of it has 24, and a burst makes a hundred thousand of each in a few seconds. That nobody assigns to a field is checked
where it costs nothing, by mypy, for which this is `dataclass` itself. Equality and hash are those of a frozen one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:
    from dataclasses import dataclass

    def value(*, frozen: bool, slots: bool) -> object:
        """A dataclass to whose fields nobody assigns: `frozen` says so to mypy, and is its hash here."""
        return dataclass(slots=slots, unsafe_hash=frozen)


__all__ = ["value"]
