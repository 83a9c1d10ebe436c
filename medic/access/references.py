"""References to stored secrets: `${secrets.NAME}` within a text, such as `Bearer ${secrets.pager}`.

The text is kept and shown with the reference in it; the value takes its place only where a request is made. A value is
not looked at for references again: whoever may store a secret must not be able to read another one with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

NAME_MAX: Final = 100
"""Characters of a secret's name."""

NAME_FORM: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,98}[A-Za-z0-9_])?")
"""Letters, digits, `_`, `.` and `-`: a name stands in addresses, shells and references without being quoted."""

FORM: Final = "${secrets.NAME}"

_BEGINNING: Final = "${secrets"
_REFERENCE: Final = re.compile(r"\$\{secrets\.([^{}]*)\}")

FindSecret = Callable[[str], str | None]
"""The value of the secret of that name; None where there is none that can be read."""


class UnresolvedReferenceError(Exception):
    """A text refers to a secret that is not there."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def names_in(text: str) -> tuple[str, ...]:
    """The names of the secrets that a text refers to, each once."""
    return tuple(dict.fromkeys(_REFERENCE.findall(text)))


def fault_in(text: str) -> str | None:
    """None for a text whose references have their form; else what is wrong, as the end of a sentence."""
    if all(NAME_FORM.fullmatch(name) for name in names_in(text)) and _BEGINNING not in _REFERENCE.sub("", text):
        return None
    return f"must refer to secrets as {FORM}, NAME being letters, digits, _ . and -"


def resolved(text: str, find: FindSecret) -> str:
    """The text with values in place of references.

    Raises:
        UnresolvedReferenceError: it refers to a secret that `find` does not find.
    """

    def value(match: re.Match[str]) -> str:
        found = find(match[1])
        if found is None:
            raise UnresolvedReferenceError(match[1])
        return found

    return _REFERENCE.sub(value, text)
