"""References to stored secrets: found, refused where they have not their form, and resolved once."""

from __future__ import annotations

import pytest

from medic.access.references import UnresolvedReferenceError, fault_in, names_in, resolved


def test_names_are_found_once_each():
    assert names_in("Basic ${secrets.user}:${secrets.pass-1}${secrets.user}") == ("user", "pass-1")
    assert names_in("$secrets.user ${user} {secrets.user}") == ()


@pytest.mark.parametrize("text", ["", "plain", "${secrets.a}", "x ${secrets.A.b_c-9} y ${other}", "${secretive"[:5]])
def test_what_has_the_form_of_a_reference_is_one(text):
    assert fault_in(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "${secrets.}",
        "${secrets.-a}",
        "${secrets.a-}",
        "${secrets.a b}",
        "${secrets.ä}",
        "${secrets.a",
        "${secrets}",
        "${secrets.a}${secrets.${secrets.b}}",
        "${secrets." + "x" * 101 + "}",
    ],
)
def test_what_is_nearly_a_reference_is_a_fault(text):
    assert fault_in(text) is not None


def test_a_reference_is_replaced_by_the_value_and_a_value_by_nothing():
    known = {"a": "${secrets.b}", "b": r"\1 & \g<0>"}
    assert resolved("x ${secrets.a} ${secrets.b}", known.get) == r"x ${secrets.b} \1 & \g<0>"


def test_what_is_not_there_is_named():
    with pytest.raises(UnresolvedReferenceError) as missing:
        resolved("${secrets.a} ${secrets.b}", {"a": "x"}.get)
    assert missing.value.name == "b"
