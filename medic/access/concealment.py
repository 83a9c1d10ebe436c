"""Keeps known values out of text that people read: the last line of defence, behind parts that show no secret anyhow.

A value is looked for in each spelling that a log line or an error may have: as it is, within JSON, within a Python
literal, within an address. Text is searched by plain `in`, value after value, which C does at gigabytes a second: a
hundred values cost a log line 7 µs, where one pattern of all of them costs 32 (docs/decisions/0020-stored-secrets.md).

Values of fewer than `SHORTEST` characters are not looked for: a password `up` would take the word out of every line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

CONCEALED: Final = "***"

SHORTEST: Final = 8
"""Characters of a value that is looked for. Shorter ones stand in ordinary words, and can be guessed anyhow."""

_BY_FORM: Final = re.compile(r"mdk_[a-z2-7]{12}_[^\s\"'\\]+|whsec_[A-Za-z0-9+/=]{24,}")
"""API keys and signing secrets are known by their form, whoever they belong to: Medic itself knows only digests."""


def spellings(value: str) -> frozenset[str]:
    """The value as texts may carry it."""
    return frozenset((value, _in_json(value), repr(value)[1:-1], quote(value, safe="")))


def conceal(text: str, values: Iterable[str]) -> str:
    """`text` without those values, nor the longer words of one: `Bearer …` may be quoted without `Bearer`."""
    found = {spelling for value in values if value for part in _parts(value) for spelling in spellings(part)}
    return _without(text, sorted(found, key=len, reverse=True))


class Concealer:
    """What is to be kept out of every log line, by whom it belongs to.

    Knowing takes a sort of all values, and is for changes; `conceal` is for each line.
    """

    def __init__(self) -> None:
        self._known: dict[str, frozenset[str]] = {}
        self._spellings: tuple[str, ...] = ()

    def know(self, owner: str, values: Iterable[str]) -> None:
        """From now on these are what belongs to that owner; none: nothing does any more."""
        long_enough = (part for value in values for part in _parts(value) if len(part) >= SHORTEST)
        self._known[owner] = frozenset(spelling for part in long_enough for spelling in spellings(part))
        everything = {spelling for found in self._known.values() for spelling in found}
        # The longest first: a value that is part of another must not leave the rest of that one to be read.
        self._spellings = tuple(sorted(everything, key=len, reverse=True))

    def conceal(self, text: str) -> str:
        """The text without what is known, nor anything in the form of a key."""
        text = _without(text, self._spellings)
        if "mdk_" in text or "whsec_" in text:
            text = _BY_FORM.sub(CONCEALED, text)
        return text


def _parts(value: str) -> tuple[str, ...]:
    return (value, *(word for word in value.split() if len(word) >= SHORTEST))


def _without(text: str, spelled: Iterable[str]) -> str:
    for spelling in spelled:
        if spelling in text:
            text = text.replace(spelling, CONCEALED)
    return text


def _in_json(value: str) -> str:
    return "".join(
        f"\\{character}"
        if character in '"\\'
        else character
        if " " <= character <= "~"
        else "".join(f"\\u{unit:04x}" for unit in _utf16(character))
        for character in value
    )


def _utf16(character: str) -> tuple[int, ...]:
    encoded = character.encode("utf-16-be", "surrogatepass")
    return tuple(int.from_bytes(encoded[at : at + 2]) for at in range(0, len(encoded), 2))
