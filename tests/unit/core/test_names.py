"""When two names are one (HARD-CASES H10), and which names are refused."""

from __future__ import annotations

import pytest

from medic.core.names import NAME_MAX, name_fault, name_key, normal_name

SAME_OR_NOT = [
    ("web", "web", True),
    ("web", "WEB", True),
    ("Web", "wEB", True),
    ("prod-Web", "PROD-web", True),
    ("a/b", "A/B", True),
    ("a.b_c-d", "A.B_C-D", True),
    ("web", "web1", False),
    ("web-1", "web_1", False),
    ("web", "we b", False),
    ("i", "I", True),
    ("ı", "i", False),  # dotless i
    ("İ", "i", False),  # dotted capital I
    ("ı", "I", False),
    ("\u212a", "k", True),  # the Kelvin sign is K in NFC
    ("ß", "SS", False),
    ("ß", "ẞ", False),
    ("straße", "STRASSE", False),
    ("ſ", "s", False),  # long s
    ("é", "É", False),
    ("café", "CAFé", True),
    ("caf\u00e9", "cafe\u0301", True),  # composed and not
    ("Å", "\u212b", True),  # Angstrom sign is Å in NFC
    ("Ａ", "a", False),  # full width
    ("Ａ", "ａ", False),
    ("Ω", "ω", False),
    ("Ω", "\u2126", True),  # Ohm sign is Ω in NFC
    ("Д", "д", False),
    ("ﬁ", "fi", False),  # ligature
    ("ǆ", "Ǆ", False),
    ("日本", "日本", True),
    ("z", "Z", True),
]


@pytest.mark.parametrize(("one", "other", "same"), SAME_OR_NOT)
def test_names_are_one_in_nfc_and_regardless_of_the_case_of_a_to_z(one, other, same):
    assert (name_key(normal_name(one)) == name_key(normal_name(other))) is same


@pytest.mark.parametrize("name", ["web", "WEB", "Über", "i̇", "ﬀ", "A" * 249])
def test_the_key_is_what_lower_does_to_the_bytes(name):
    assert name_key(name).encode() == name.encode().lower()


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("web", None),
        ("a/b c", None),
        ("ß" * NAME_MAX, None),
        ("", "must not be empty"),
        ("x" * (NAME_MAX + 1), "must have at most 249 characters, this one has 250"),
        ("a\nb", "must consist of printable characters"),
        ("a\x00", "must consist of printable characters"),
        ("\ud800", "must consist of printable characters"),
        (" web", "must not begin or end with a space"),
        ("web ", "must not begin or end with a space"),
    ],
)
def test_a_name_that_is_refused_is_told_why(name, fault):
    assert name_fault(name) == fault


def test_another_longest_may_be_asked_for():
    assert name_fault("abc", longest=2) == "must have at most 2 characters, this one has 3"
