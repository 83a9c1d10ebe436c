"""Who is counted as whom, and what they are told."""

from __future__ import annotations

import pytest

from medic.access.caller import NOBODY, Caller
from medic.access.gcra import MINUTE_US, Limit
from medic.access.keys import ApiKey
from medic.access.limits import UNLIMITED, Counted, Limits, name_of, refusal
from medic.access.scope import Scope

KEY = ApiKey("abc", "checkout", frozenset({Scope.READ}), b"", 0)


def test_a_caller_is_the_key_and_else_the_address():
    assert name_of(Caller("192.0.2.1")) == "192.0.2.1"
    assert name_of(Caller("192.0.2.1", KEY)) == name_of(Caller("192.0.2.2", KEY)) == "key:abc"


def test_zero_is_no_limit():
    limits = Limits(unknown=600, reads=1)
    assert {counted: limits.of(counted) for counted in Counted} == {
        Counted.SERVICE: None,
        Counted.CALLER: None,
        Counted.UNKNOWN: Limit(600),
        Counted.MANAGEMENT: None,
        Counted.READ: Limit(1),
    }


@pytest.mark.parametrize("counted", list(Counted))
def test_whoever_is_refused_reads_of_how_many_and_when_to_come_again(counted):
    error = refusal(counted, Limit(60), 2_000_001)
    assert "60" in error.message
    assert (error.limit, error.remaining, error.retry_after_seconds, error.reset_seconds) == (60, 0, 3, 62)
    assert refusal(counted, Limit(60), 1).retry_after_seconds == 1


def test_nobody_waits_longer_than_the_limit_takes():
    assert refusal(Counted.READ, Limit(1), MINUTE_US).retry_after_seconds == 60


async def test_where_nothing_is_limited_nothing_is_refused():
    assert UNLIMITED.refuse_unknown(NOBODY) is None
    assert UNLIMITED.heartbeat_wait_us(object(), 0, 0) == 0
    assert await UNLIMITED.count(Counted.READ, NOBODY) is None
