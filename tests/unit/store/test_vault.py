"""The vault: what is stored is found by its value, and what no key opens keeps the value it had."""

from __future__ import annotations

from dataclasses import replace

from medic.access.concealment import Concealer
from medic.access.secrets import Secret
from medic.core.units import InstantMs
from medic.store.sealing import Sealing
from medic.store.vault import Vault
from tests.fakes.secrets import KEY, OTHER_KEY


def secret(name: str, value: str, key: str = KEY) -> Secret:
    return Secret(name, Sealing(key).seal(name, value), InstantMs(1), InstantMs(1), "anna")


def test_values_are_found_by_name_and_kept_out_of_lines():
    concealer = Concealer()
    vault = Vault(Sealing(KEY), concealer)
    assert vault.replace_all([secret("b", "value-of-b"), secret("a", "value-of-a")])
    assert (vault.find("a"), vault.find("b"), vault.find("c")) == ("value-of-a", "value-of-b", None)
    assert [known.name for known in vault.all()] == ["a", "b"]
    assert concealer.conceal("value-of-a value-of-b") == "*** ***"
    vault.put(secret("a", "another-a"))
    vault.drop("b")
    assert (vault.find("a"), vault.find("b")) == ("another-a", None)
    assert concealer.conceal("value-of-b another-a") == "value-of-b ***"


def test_what_did_not_change_is_not_opened_again():
    vault = Vault(Sealing(KEY), Concealer())
    stored = [secret("a", "value-of-a")]
    assert vault.replace_all(stored)
    assert not vault.replace_all(stored)


def test_a_rotation_to_a_key_that_is_not_held_leaves_the_value_in_use():
    vault = Vault(Sealing(KEY), Concealer())
    old = secret("a", "value-of-a")
    vault.replace_all([old])
    vault.replace_all([replace(old, sealed=Sealing(OTHER_KEY).seal("a", "value-of-a"))])
    assert (vault.find("a"), vault.is_readable("a")) == ("value-of-a", False)
    vault.replace_all([old])
    assert (vault.find("a"), vault.is_readable("a")) == ("value-of-a", True)


def test_without_a_key_nothing_is_readable():
    vault = Vault(None, Concealer())
    vault.replace_all([secret("a", "value-of-a")])
    assert (vault.find("a"), vault.is_readable("a"), vault.is_readable("b")) == (None, False, False)
