"""Sealing: only the key, the name and the whole record together give the value back."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from medic.access.secrets import Secret
from medic.core.units import InstantMs
from medic.store.sealing import Sealing, key_id_of
from tests.fakes.secrets import KEY, OTHER_KEY

SEALING = Sealing(KEY)


def sealed(name: str = "slack", value: str = "xoxb-value", sealing: Sealing = SEALING) -> Secret:
    return Secret(name, sealing.seal(name, value), InstantMs(1), InstantMs(1), "anna")


def test_what_was_sealed_is_opened_and_is_not_to_be_read():
    secret = sealed(value="xoxb-ü")
    assert SEALING.unseal(secret) == "xoxb-ü"
    assert b"xoxb" not in secret.sealed.content
    assert sealed().sealed.content != sealed().sealed.content
    assert "xoxb" not in repr(secret)


def test_it_is_aes_256_gcm_with_the_name_as_associated_data():
    secret = sealed()
    plain = AESGCM(base64.b64decode(KEY)).decrypt(secret.sealed.nonce, secret.sealed.content, b"slack")
    assert plain == b"xoxb-value"
    assert len(secret.sealed.nonce) == 12
    assert secret.sealed.key_id == key_id_of(base64.b64decode(KEY)) == SEALING.key_id


@pytest.mark.parametrize("part", ["name", "nonce", "content", "key_id", "length"])
def test_a_record_that_was_changed_is_not_opened(part):
    secret = sealed()
    flipped = bytes([secret.sealed.content[0] ^ 1]) + secret.sealed.content[1:]
    changed = {
        "name": replace(secret, name="pagerduty"),
        "nonce": replace(secret, sealed=replace(secret.sealed, nonce=bytes(12))),
        "content": replace(secret, sealed=replace(secret.sealed, content=flipped)),
        "key_id": replace(secret, sealed=replace(secret.sealed, key_id="00000000")),
        "length": replace(secret, sealed=replace(secret.sealed, content=b"short")),
    }
    assert SEALING.unseal(changed[part]) is None
    assert SEALING.reseal(changed[part]) is None


def test_both_keys_open_and_the_newest_seals():
    both = Sealing(OTHER_KEY, before=KEY)
    old = sealed()
    anew = both.reseal(old)
    assert anew is not None
    assert (both.unseal(old), anew.key_id, both.key_id) == ("xoxb-value", both.key_id, Sealing(OTHER_KEY).key_id)
    assert Sealing(OTHER_KEY).unseal(replace(old, sealed=anew)) == "xoxb-value"
    assert Sealing(OTHER_KEY).unseal(old) is None
    assert KEY not in repr(both)
    assert OTHER_KEY not in repr(both)
