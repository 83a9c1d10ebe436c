"""What is noted of keys and of heartbeats without one, and what of it is written when."""

from __future__ import annotations

from medic.access.keys import ApiKey, admin_key
from medic.access.uses import COVERAGE_DAYS, SLICE_SERVICES, KeyUse, KeyUses, Unwritten, day_of
from medic.core.units import DAY_MS

NOW = 20_000 * DAY_MS + 5
KEY = ApiKey("a" * 12, "hosts", frozenset(), bytes(32), 0)


def written_all(uses: KeyUses) -> list[Unwritten]:
    return list(iter(uses.take_unwritten, Unwritten([], {})))


def test_the_newest_use_is_known_at_once_and_written_once():
    uses = KeyUses()
    assert uses.last_use(KEY.key_id) is None
    uses.note(KEY, NOW, "10.0.0.1")
    uses.note(KEY, NOW + 1, "10.0.0.2")
    newest = KeyUse(KEY.key_id, NOW + 1, "10.0.0.2")
    assert uses.last_use(KEY.key_id) == newest
    assert uses.take_unwritten() == Unwritten([newest], {})
    assert uses.last_use(KEY.key_id) == newest
    assert not uses.take_unwritten()


def test_the_admin_variable_is_no_stored_key_so_its_use_is_known_and_not_written():
    uses = KeyUses()
    admin = admin_key("x" * 32)
    uses.note(admin, NOW, "10.0.0.1")
    assert not uses.take_unwritten()
    assert uses.last_use(admin.key_id) == KeyUse(admin.key_id, NOW, "10.0.0.1")


def test_what_could_not_be_written_comes_again_unless_something_newer_did():
    uses = KeyUses()
    uses.note(KEY, NOW, "10.0.0.1")
    uses.note_keyless(7, NOW)
    taken = uses.take_unwritten()
    uses.give_back(taken)
    assert uses.take_unwritten() == taken
    uses.give_back(taken)
    uses.note(KEY, NOW + 1, "10.0.0.2")
    uses.give_back(taken)
    assert uses.take_unwritten().uses == [KeyUse(KEY.key_id, NOW + 1, "10.0.0.2")]


def test_a_service_heard_without_a_key_is_noted_once_a_day():
    uses = KeyUses()
    uses.note_keyless(7, NOW)
    uses.note_keyless(7, NOW + 1)
    assert uses.take_unwritten() == Unwritten([], {7: 20_000})
    uses.note_keyless(7, NOW + 2)
    assert not uses.take_unwritten()
    uses.note_keyless(7, NOW + DAY_MS)
    assert uses.take_unwritten() == Unwritten([], {7: 20_001})


def test_a_clock_that_was_put_back_makes_no_day_twice():
    uses = KeyUses()
    uses.note_keyless(7, NOW + DAY_MS)
    uses.note_keyless(8, NOW)
    assert uses.take_unwritten() == Unwritten([], {7: 20_001, 8: 20_001})


def test_coverage_tells_of_seven_days():
    uses = KeyUses()
    uses.note_keyless(7, NOW)
    last = NOW + (COVERAGE_DAYS - 1) * DAY_MS
    assert (uses.keyless_on(7, NOW), uses.keyless_on(7, last)) == (20_000, 20_000)
    assert uses.keyless_on(7, last + DAY_MS) is None
    assert uses.keyless_on(8, NOW) is None


def test_many_services_are_written_in_slices():
    uses = KeyUses()
    for service_id in range(SLICE_SERVICES + 1):
        uses.note_keyless(service_id, NOW)
    assert sorted(len(part.keyless) for part in written_all(uses)) == [1, SLICE_SERVICES]


def test_what_was_written_before_is_learnt_and_what_is_newer_stays():
    uses = KeyUses()
    uses.note(KEY, NOW, "10.0.0.2")
    uses.note_keyless(7, NOW)
    earlier = KeyUse("b" * 12, NOW - 9, "10.0.0.9")
    uses.learn([KeyUse(KEY.key_id, NOW - 9, "10.0.0.1"), earlier], {7: 19_999, 8: 19_998})
    assert uses.last_use(KEY.key_id) == KeyUse(KEY.key_id, NOW, "10.0.0.2")
    assert uses.last_use(earlier.key_id) == earlier
    assert [uses.keyless_on(service_id, NOW) for service_id in (7, 8)] == [20_000, 19_998]
    assert uses.take_unwritten().keyless == {7: 20_000}, "what was learnt is written already"


def test_what_nobody_is_told_any_more_is_forgotten_in_slices():
    uses = KeyUses()
    uses.learn((), dict.fromkeys(range(SLICE_SERVICES), 20000 - COVERAGE_DAYS))
    uses.learn((), {SLICE_SERVICES: day_of(NOW), SLICE_SERVICES + 1: 20_000 - COVERAGE_DAYS})
    uses.note_keyless(SLICE_SERVICES + 2, NOW - COVERAGE_DAYS * DAY_MS)
    assert len(list(uses.forget_old(NOW))) == 1
    assert set(uses._keyless) == {SLICE_SERVICES, SLICE_SERVICES + 2}, "what is not written yet is kept"
