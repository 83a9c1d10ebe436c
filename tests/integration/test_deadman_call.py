"""A call to `MEDIC_DEADMAN_URL` over real sockets: what arrives, how it ends, and that nothing shows the address."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from medic.access.allowlist import read_entry
from medic.alerting.attempt import Attempt, Delivered, Refused, Retry, SecretMissing, Throttled
from medic.alerting.deadman import DeadmanCall
from medic.alerting.guard import Guard
from medic.alerting.resolving import resolve_from
from tests.fakes.alerting import WallClock
from tests.vendors.behaviour import Behaviour, Refuse, Reset
from tests.vendors.calls import CallReceiver

PATH = "4f6b9a6e-uuid-of-the-check"
KEY = "mdk_abcdefghijkl_the-key-of-the-other"
LOOPBACK = (read_entry("127.0.0.1"),)


class Stored:
    """Secrets by name."""

    def __init__(self, **values: str) -> None:
        self.values = values

    def find(self, name: str) -> str | None:
        return self.values.get(name)

    def conceal(self, owner: str, values: object) -> None:
        """There is no log here."""


@pytest.fixture
def calls() -> Iterator[CallReceiver]:
    with CallReceiver() as receiver:
        yield receiver
        assert receiver.faults() == []


async def attempt(url: str, *, key: str = "", guard: Guard | None = None, **stored: str) -> Attempt:
    call = DeadmanCall(
        url, key=key, clock=WallClock(), guard=guard or Guard(LOOPBACK), resolve=resolve_from(Stored(**stored))
    )
    try:
        return await call.attempt()
    finally:
        await call.aclose()


async def test_a_call_is_one_post_and_says_who_calls_with_the_key(calls: CallReceiver) -> None:
    assert await attempt(f"{calls.origin}/{PATH}?rid=1") == Delivered()
    [plain] = calls.arrivals
    assert plain.path == f"/{PATH}?rid=1"
    assert "authorization" not in plain.headers
    assert (
        await attempt(f"{calls.origin}/${{secrets.check}}", key="${secrets.mine}", check=PATH, mine=KEY) == Delivered()
    )
    assert calls.arrivals[-1].path == f"/{PATH}"
    assert calls.arrivals[-1].headers["authorization"] == f"Bearer {KEY}"


async def test_a_secret_that_is_missing_sends_nothing(calls: CallReceiver) -> None:
    assert isinstance(await attempt(f"{calls.origin}/${{secrets.check}}"), SecretMissing)
    assert isinstance(await attempt(calls.url, key="${secrets.mine}"), SecretMissing)
    assert calls.arrivals == []


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (Refuse(404), Refused),
        (Refuse(302), Refused),
        (Refuse(429, retry_after="2"), Throttled),
        (Refuse(503), Retry),
        (Reset(), Retry),
    ],
)
async def test_what_ends_otherwise_says_why_and_shows_nothing_of_the_address(
    calls: CallReceiver, behaviour: Behaviour, kind: type[Attempt]
) -> None:
    calls.behave(behaviour)
    ended = await attempt(f"{calls.origin}/v1/{PATH}?token={KEY}", key=KEY)
    assert isinstance(ended, kind)
    assert not isinstance(ended, Delivered)
    assert ended.detail
    assert not any(part in ended.detail for part in (PATH, KEY, "/v1"))


async def test_nobody_there_is_worth_another_try(calls: CallReceiver) -> None:
    calls.refuse_connections()
    assert await attempt(calls.url) == Retry("the connection was refused", maybe_taken=False)


async def test_the_address_is_asked_through_the_guard(calls: CallReceiver) -> None:
    ended = await attempt(f"{calls.origin}/{PATH}", guard=Guard())
    assert isinstance(ended, Refused)
    assert "127.0.0.1" not in ended.detail or PATH not in ended.detail
    assert calls.arrivals == []


async def test_whom_it_calls_is_shown_by_the_host_alone() -> None:
    call = DeadmanCall(f"https://calls.example/{PATH}", clock=WallClock(), guard=Guard())
    assert call.describe() == "calls.example"
    await call.aclose()
