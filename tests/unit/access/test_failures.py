"""Failures by address: counted a minute at a time, in bounded memory."""

from __future__ import annotations

from medic.access.failures import FailedSignIns
from medic.core.units import InstantMs

MINUTE = 60_000
BEGIN = InstantMs(29_000_000 * MINUTE)


def test_after_so_many_in_a_minute_the_rest_of_it_is_to_be_waited_out() -> None:
    failures = FailedSignIns(most=2)
    at = InstantMs(BEGIN + 15_500)
    assert [failures.note("192.0.2.1", at) for _ in range(4)] == [None, None, 45, 45]
    assert failures.note("192.0.2.2", at) is None
    assert failures.note("192.0.2.1", InstantMs(BEGIN + MINUTE - 1)) == 1
    assert failures.note("192.0.2.1", InstantMs(BEGIN + MINUTE)) is None


def test_a_clock_that_is_set_back_begins_a_minute_as_well() -> None:
    failures = FailedSignIns(most=1)
    assert [failures.note("192.0.2.1", BEGIN) for _ in range(2)] == [None, 60]
    assert failures.note("192.0.2.1", InstantMs(BEGIN - 1)) is None


def test_an_ipv6_network_is_one_and_what_is_no_address_is_itself() -> None:
    failures = FailedSignIns(most=1)
    assert failures.note("2001:db8::1", BEGIN) is None
    assert failures.note("2001:db8::2", BEGIN) == 60
    assert failures.note("2001:db8:0:1::2", BEGIN) is None
    assert [failures.note("local", BEGIN) for _ in range(2)] == [None, 60]


def test_beyond_its_memory_all_others_are_one() -> None:
    failures = FailedSignIns(most=1, addresses_max=2)
    assert [failures.note(f"192.0.2.{number}", BEGIN) for number in range(5)] == [None, None, None, 60, 60]
    assert failures.note("192.0.2.0", BEGIN) == 60
