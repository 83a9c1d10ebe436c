"""Known values stay out of text, in each spelling that a text may have."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medic.access.concealment import Concealer, conceal

VALUE = "pa\"ss\\wo rd'é/😀-1"


@pytest.mark.parametrize("write", [str, json.dumps, repr, lambda value: quote(value, safe="")])
def test_a_value_is_concealed_however_it_is_written(write):
    concealer = Concealer()
    concealer.know("test", [VALUE])
    line = f"refused {write(VALUE)} by the vendor"
    assert concealer.conceal(line) == conceal(line, [VALUE])
    for part in ("wo rd", "wo%20rd"):
        assert part not in concealer.conceal(line)


@given(
    st.lists(st.text(st.characters(codec="ascii", min_codepoint=33), min_size=8, max_size=12), min_size=1, max_size=5)
)
def test_no_known_value_is_left_in_a_line(values):
    concealer = Concealer()
    concealer.know("test", values)
    concealed = concealer.conceal(json.dumps({"error": " ".join(values)}))
    assert not [value for value in values if value.strip("*") and value in concealed]


def test_the_longer_words_of_a_value_are_concealed_by_themselves():
    concealer = Concealer()
    concealer.know("header", ["Bearer token-of-mine"])
    assert concealer.conceal("no such token: token-of-mine (Bearer)") == "no such token: *** (Bearer)"
    assert conceal("token-of-mine is wrong", ["Bearer token-of-mine"]) == "*** is wrong"


def test_a_value_that_is_part_of_another_leaves_none_of_that_to_be_read():
    concealer = Concealer()
    concealer.know("a", ["abcdefgh"])
    concealer.know("b", ["abcdefgh-and-more"])
    assert concealer.conceal("x abcdefgh-and-more y abcdefgh") == "x *** y ***"


def test_short_values_are_left_alone_and_an_owner_may_have_others_later():
    concealer = Concealer()
    concealer.know("a", ["up", "", "first-value"])
    assert concealer.conceal("up first-value") == "up ***"
    concealer.know("a", ["second-value"])
    assert concealer.conceal("first-value second-value") == "first-value ***"
    assert conceal("up", [""]) == "up"


def test_keys_are_known_by_their_form():
    concealer = Concealer()
    key = f"mdk_abcdefghij23_{'x' * 43}"
    signing = f"whsec_{'A' * 43}="
    assert concealer.conceal(f'{{"k":"{key}","s":"{signing}"}} mdk_ whsec_') == '{"k":"***","s":"***"} mdk_ whsec_'
