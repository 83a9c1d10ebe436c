"""What a key looks like, which one is found, and why another is not."""

from __future__ import annotations

import hmac
from contextlib import suppress
from dataclasses import replace

import pytest

from medic.access import keys
from medic.access.keys import (
    ADMIN_ID,
    ID_BYTES,
    KEY_LENGTH,
    SECRET_BYTES,
    SHOWN_LENGTH_MAX,
    ApiKey,
    KeyDraft,
    KeyRing,
    digest_of,
    key_id_of,
    secret_of,
    text_of,
)
from medic.access.scope import Scope
from medic.core.units import DAY_MS, HOUR_MS
from medic.errors import UnauthorizedError

NOW = 1_700_000_000_000
KEY_ID = key_id_of(b"\x01\x23\x45\x67\x89\xab\xcd\xef")
SECRET = secret_of(bytes(range(32)))
NEXT_SECRET = secret_of(bytes(range(32, 64)))
TEXT = text_of(KEY_ID, SECRET)
ADMIN = "an admin key: of forty characters or so!"


def key_of(**fields: object) -> ApiKey:
    return replace(ApiKey(KEY_ID, "hosts", frozenset({Scope.HEARTBEAT}), digest_of(SECRET), NOW), **fields)


def reason(ring: KeyRing, text: str, now: int = NOW) -> str:
    with pytest.raises(UnauthorizedError) as raised:
        ring.find(text, now)
    assert SECRET not in raised.value.message
    return raised.value.reason


def test_a_key_is_found_by_its_text():
    assert KeyRing([key_of()]).find(TEXT, NOW) == key_of()


def test_the_form_is_60_characters_that_need_no_quoting_and_holds_all_its_random_bits():
    assert len(TEXT) == KEY_LENGTH == 60
    assert TEXT.replace("_", "").isalnum()
    assert len({secret_of(bytes(31) + bytes([last])) for last in range(256)}) == 256
    assert len({secret_of(bytes([first]) + bytes(31)) for first in range(256)}) == 256
    assert len({key_id_of(bytes(7) + bytes([last])) for last in range(256)}) == 256
    assert secret_of(b"\xff" * SECRET_BYTES) != secret_of(b"\xfe" + b"\xff" * 31)
    assert key_id_of(b"\xff" * ID_BYTES) == "7" * 12


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mdk_",
        "secret",
        TEXT[:-1],
        TEXT + "a",
        TEXT + "\n",
        " " + TEXT,
        TEXT.upper(),
        TEXT.replace("mdk_", "mdk-"),
        text_of(KEY_ID, SECRET[:-1] + "_"),
        text_of(KEY_ID, SECRET[:-1] + "é"),
        text_of(KEY_ID[:-1] + "1", SECRET),
        text_of(KEY_ID.upper(), SECRET),
        "x" * (SHOWN_LENGTH_MAX + 1),
        "mdk_\udc80",
    ],
)
def test_what_has_not_the_form_is_malformed(text):
    assert reason(KeyRing([key_of()]), text) == "malformed"
    assert reason(KeyRing([key_of()], admin=ADMIN), text) == "malformed"


def test_an_id_that_nobody_has_and_a_wrong_secret_are_told_apart_in_the_metric_only():
    ring = KeyRing([key_of()])
    assert reason(ring, text_of("a" * 12, SECRET)) == "unknown"
    assert reason(ring, text_of(KEY_ID, NEXT_SECRET)) == "wrong_secret"
    said = []
    for text in (text_of("a" * 12, SECRET), text_of(KEY_ID, NEXT_SECRET)):
        with pytest.raises(UnauthorizedError) as raised:
            ring.find(text, NOW)
        said.append(raised.value.message)
    assert said[0] == said[1]


@pytest.mark.parametrize("text", [TEXT, text_of(KEY_ID, NEXT_SECRET), text_of("a" * 12, SECRET)])
def test_whoever_it_is_said_to_belong_to_two_digests_are_compared_and_in_constant_time(text, monkeypatch):
    compared = []
    real_compare = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return real_compare(one, other)

    monkeypatch.setattr(keys.hmac, "compare_digest", compare)
    with suppress(UnauthorizedError):
        KeyRing([key_of()]).find(text, NOW)
    assert [(len(one), len(other)) for one, other in compared] == [(32, 32)] * 2


def test_an_expired_and_a_revoked_key_say_so_to_who_knows_the_secret_and_to_nobody_else():
    expired, revoked = KeyRing([key_of(expires_at=NOW)]), KeyRing([key_of(revoked_at=NOW)])
    assert (reason(expired, TEXT), reason(revoked, TEXT)) == ("expired", "revoked")
    assert expired.find(TEXT, NOW - 1).name == "hosts"
    assert reason(expired, text_of(KEY_ID, NEXT_SECRET)) == "wrong_secret"


def test_a_rotated_key_is_found_by_both_secrets_until_the_overlap_is_over():
    rotated = key_of().rotated(digest_of(NEXT_SECRET), NOW, HOUR_MS)
    ring = KeyRing([rotated])
    assert ring.find(text_of(KEY_ID, NEXT_SECRET), NOW + DAY_MS) == rotated
    former = ring.find(TEXT, NOW + HOUR_MS - 1)
    assert (former.key_id, former.expires_at) == (KEY_ID, NOW + HOUR_MS), "a connection may keep it that long"
    assert reason(ring, TEXT, NOW + HOUR_MS) == "expired"


def test_rotating_again_ends_the_secret_before_the_last():
    ring = KeyRing([key_of().rotated(digest_of(NEXT_SECRET), NOW, HOUR_MS).rotated(bytes(32), NOW, HOUR_MS)])
    assert reason(ring, TEXT) == "wrong_secret"
    assert ring.find(text_of(KEY_ID, NEXT_SECRET), NOW).key_id == KEY_ID


def test_rotation_begins_a_keys_lifetime_anew_and_lengthens_nothing_else():
    key = key_of(expires_at=NOW + 10 * DAY_MS, told_days_left=3)
    first = key.rotated(digest_of(NEXT_SECRET), NOW + 9 * DAY_MS, 5 * DAY_MS)
    assert (first.expires_at, first.former_until) == (NOW + 19 * DAY_MS, NOW + 10 * DAY_MS)
    assert first.told_days_left is None
    second = first.rotated(digest_of(SECRET), NOW + 12 * DAY_MS, HOUR_MS)
    assert (second.expires_at, second.former_until) == (NOW + 22 * DAY_MS, NOW + 12 * DAY_MS + HOUR_MS)
    assert key_of().lifetime_ms is None


def test_a_draft_becomes_a_key():
    draft = KeyDraft("hosts", frozenset({Scope.READ}), ("pay-*",), ("shop",), DAY_MS)
    key = draft.key(KEY_ID, digest_of(SECRET), NOW, "anna")
    assert (key.names, key.teams, key.expires_at, key.added_by) == (("pay-*",), ("shop",), NOW + DAY_MS, "anna")
    assert KeyDraft("hosts", frozenset({Scope.READ})).key(KEY_ID, digest_of(SECRET), NOW, "").expires_at is None


@pytest.mark.parametrize("admin", [ADMIN, "ä" * 32, "日" * 32, text_of("b" * 12, SECRET)])
def test_the_admin_variable_is_a_key_of_any_form(admin):
    ring = KeyRing([key_of()], admin=admin)
    found = ring.find(admin.encode().decode("latin-1"), NOW)
    assert (found.key_id, found.name, found.scopes) == (ADMIN_ID, "admin", {Scope.ADMIN})
    assert ring.find(TEXT, NOW) == key_of()
    assert ring.by_id(ADMIN_ID) == found
    assert (ring.has_admin_variable, KeyRing().has_admin_variable) == (True, False)
    assert ring.all() == [key_of()], "it is not stored"


def test_an_admin_key_that_came_as_text_and_not_as_bytes_is_found_as_well():
    assert KeyRing(admin="日" * 32).find("日" * 32, NOW).key_id == ADMIN_ID


def test_every_change_is_a_new_version_and_what_changes_nothing_is_none():
    ring = KeyRing()
    ring.put(key_of())
    assert (ring.version, ring.by_id(KEY_ID)) == (1, key_of())
    assert not ring.replace_all([key_of()])
    assert ring.version == 1
    assert ring.replace_all([key_of(revoked_at=NOW)])
    assert (ring.version, reason(ring, TEXT)) == (2, "revoked")
    ring.remove(KEY_ID)
    ring.remove(KEY_ID)
    assert (ring.version, ring.by_id(KEY_ID)) == (3, None)


def test_keys_are_listed_by_name():
    ring = KeyRing([key_of(name="b"), key_of(key_id="a" * 12, name="a")])
    assert [key.name for key in ring.all()] == ["a", "b"]


def test_a_ring_is_usable_with_any_key_that_works():
    assert KeyRing([key_of()]).usable(NOW)
    assert KeyRing(admin=ADMIN).usable(NOW)
    assert not KeyRing().usable(NOW)
    assert not KeyRing([key_of(revoked_at=NOW), key_of(key_id="a" * 12, expires_at=NOW)]).usable(NOW)


def test_a_revoked_key_works_no_more():
    assert reason(KeyRing([key_of().revoked(NOW)]), TEXT, NOW - 1) == "revoked"


def test_nothing_that_is_shown_of_a_key_holds_its_secret():
    assert SECRET not in repr(key_of())
