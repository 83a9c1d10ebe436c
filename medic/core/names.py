"""When two names are the same name (HARD-CASES H10): one function for actors, SQL and HTTP.

Names are NFC, printable, without a space at either end. Case is ignored for A-Z only, because full Unicode folding
differs between Python and PostgreSQL; `lower(heartbeat_name COLLATE "C")` in the unique index is the same function.
"""

from __future__ import annotations

import unicodedata
from typing import Final

NAME_MAX: Final = 249
"""Characters a name may have, its environment prefix included. The earlier system's column was that wide."""

_ASCII_LOWER: Final = {ord(upper): ord(upper) + 32 for upper in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def name_key(name: str) -> str:
    """What names are compared by: `name` with A-Z lowered and nothing else changed. Takes NFC, gives NFC."""
    return name if name.isascii() and name.islower() else name.translate(_ASCII_LOWER)


def normal_name(name: str) -> str:
    """The name in NFC, as Medic stores it. Says nothing about whether it is allowed: `name_fault` does."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def name_fault(name: str, *, longest: int = NAME_MAX) -> str | None:
    """Why a normalised name is refused, as the end of a sentence that begins with the field's name, or None."""
    if not name:
        return "must not be empty"
    if len(name) > longest:
        return f"must have at most {longest} characters, this one has {len(name)}"
    if not name.isprintable():
        return "must consist of printable characters"
    if name != name.strip():
        return "must not begin or end with a space"
    return None
